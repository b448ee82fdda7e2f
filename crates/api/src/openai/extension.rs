//! The member `openledger` of requests and responses.

use openledger_protocol::{Address, Amount, B256, Coverage, PayeeRole, ReceiptId, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CreditedRecord;

/// How much of the attribution a response tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttributionLevel {
    /// Nothing beyond the receipt's id and price.
    None,
    /// The split, the coverage and the records with the largest weights.
    #[default]
    Summary,
    /// The spans as well.
    Full,
}

/// What a request may carry beside OpenAI's members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// How much of the attribution the response tells; without it, `summary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<AttributionLevel>,
    /// The most that the answer may cost, in base units; the largest answer is checked against it
    /// before generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<Amount>,
    /// The same key gives the same answer and is charged once; 1 to 200 printable ASCII characters
    /// that neither begin nor end with a space. Not together with `logprobs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[!-~]([ -~]{0,198}[!-~])?$"))]
    pub idempotency_key: Option<String>,
}

/// A line of an answer's split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SplitShare {
    /// What the line is paid for.
    pub role: PayeeRole,
    /// The account that is paid.
    pub to: Address,
    /// Its handle, where it has one.
    pub name: Option<String>,
    /// The amount, in base units.
    pub amount: Amount,
}

/// The attribution of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerAttribution {
    /// The versions of the methods, in layer order.
    pub methods: Vec<String>,
    /// The part of each layer's pot that evidence covers, in millionths.
    pub coverage: Coverage,
    /// The records with the largest weights, at most 5, largest first.
    pub top: Vec<CreditedRecord>,
    /// The spans, with `full` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans: Option<Vec<Span>>,
}

/// The receipt of an answer, in the response's member `openledger` and in the stream's event
/// `openledger.receipt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerNote {
    /// The receipt.
    pub receipt_id: ReceiptId,
    /// The EIP-712 struct hash of the receipt.
    pub receipt_hash: B256,
    /// The price, in base units.
    pub price: Amount,
    /// The account whose channel paid.
    pub payer: Address,
    /// Lines of the split for contributors.
    pub contributor_lines: u64,
    /// The split, with `summary` and `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splits: Option<Vec<SplitShare>>,
    /// The attribution, with `summary` and `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<AnswerAttribution>,
}
