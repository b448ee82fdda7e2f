//! Receipts by permission: the public view has ids, sums, roots and times; the detail adds prompt,
//! answer and record texts. The bundle is [`openledger_protocol::ReceiptBundle`].

use openledger_protocol::{
    AdapterHash, Address, Amount, B256, ContributionId, Coverage, CreditState, ModelId, PayeeRole, ReceiptId,
    ReceiptKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sum of a receipt's lines of one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleSum {
    /// The role.
    pub role: PayeeRole,
    /// Lines of that role.
    pub lines: u32,
    /// Their sum, in base units.
    pub amount: Amount,
}

/// The public view of a receipt: ids, sums, roots and times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptView {
    /// The receipt.
    pub id: ReceiptId,
    /// What it is for.
    pub kind: ReceiptKind,
    /// When its credits are known.
    pub credit_state: CreditState,
    /// The node that signed it.
    pub node: Address,
    /// The model's title.
    pub model: ModelId,
    /// The model's name on this node, where it is on offer.
    pub model_name: Option<String>,
    /// The adapter that answered.
    pub adapter: AdapterHash,
    /// The price, in base units.
    pub price: Amount,
    /// Tokens of the prompt.
    pub tokens_in: u32,
    /// Tokens of the answer.
    pub tokens_out: u32,
    /// The part of each layer's pot that evidence covers, in millionths.
    pub coverage: Coverage,
    /// The root over the spans.
    pub spans_root: B256,
    /// The root over the scores.
    pub scores_root: B256,
    /// The root over the answer's 256-byte chunks.
    pub output_root: B256,
    /// The hash of the root over the split's lines.
    pub lines_root: B256,
    /// The root over the passages that were retrieved; zero without retrieval.
    pub context_root: B256,
    /// The root over the ids of parent receipts; zero without parents.
    pub parents_root: B256,
    /// The hash of the governed parameters.
    pub params: B256,
    /// The split, summed by role; the amounts sum to the price.
    pub split: Vec<RoleSum>,
    /// The epoch that it was closed into; null while its epoch is open.
    pub epoch: Option<u64>,
    /// When it was signed, in Unix seconds by the node's clock.
    pub time: u64,
}

/// A piece of an answer that stands word for word in a record. Offsets are bytes of UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptSpan {
    /// Where it begins in the answer.
    pub start: u32,
    /// Where it ends in the answer.
    pub end: u32,
    /// The contributor's name for the record.
    pub record: String,
    /// The contribution that brought the record.
    pub contribution: ContributionId,
    /// The record's place in the contribution, from 0.
    pub index: u32,
    /// Where it begins in the record's canonical text.
    pub record_offset: u32,
    /// The handles of the record's contributors, in order.
    pub contributors: Vec<String>,
    /// The record's canonical text; null when the caller may not read it.
    pub text: Option<String>,
}

/// A line of a receipt's split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SplitLine {
    /// What the line is paid for.
    pub role: PayeeRole,
    /// The account that is paid.
    pub account: Address,
    /// Its handle, where it has one.
    pub name: Option<String>,
    /// The contribution that earned it; null for other roles than contributor.
    pub contribution: Option<ContributionId>,
    /// The amount, in base units.
    pub amount: Amount,
}

/// Opens a receipt's `principal` word, which is
/// `keccak256(keccak256("openledger/principal/v1") ‖ salt ‖ principal)` with the principal in UTF-8
/// bytes. Its holder can show on whose behalf a receipt was made; without it the word identifies no
/// one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrincipalOpening {
    /// The principal: `operator`, `account:0x…`, `key:0x…`, `agent:N` or `anonymous`.
    pub principal: String,
    /// The salt, of this receipt alone.
    pub salt: B256,
}

/// A receipt with its prompt, answer, evidence and split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptDetail {
    /// The public view.
    #[serde(flatten)]
    pub view: ReceiptView,
    /// On whose behalf the call was made.
    pub on_behalf_of: PrincipalOpening,
    /// The last message of the request, or its prompt.
    pub prompt: Option<String>,
    /// The answer.
    pub text: String,
    /// The spans, by place in the answer.
    pub spans: Vec<ReceiptSpan>,
    /// The split, by line.
    pub entries: Vec<SplitLine>,
}
