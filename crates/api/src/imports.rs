//! Imports: a file of records becomes batches to sign, and signed batches become contributions.

use openledger_protocol::{Address, B256, Contribution, ContributionId, Signature};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A record that a rule refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedRecord {
    /// Its line in the file, from 1.
    pub line: u64,
    /// Its id, where the line had one.
    pub id: Option<String>,
    /// The rule and what broke it.
    pub reason: String,
}

/// An accepted record that nearly repeats an earlier one; the earlier one's contributor keeps the
/// credit for what both say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NearDuplicate {
    /// The record's id.
    pub record: String,
    /// The earlier record's id.
    pub of: String,
}

/// A batch for its registrant to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchToSign {
    /// Its title.
    pub contribution: ContributionId,
    /// The account that signs.
    pub registrant: Address,
    /// The contributors' handles.
    pub contributors: Vec<String>,
    /// The contribution as it will be registered.
    pub registered: Contribution,
    /// The EIP-712 digest of its registration for `Contributions`.
    pub digest: B256,
}

/// The result of reading a file. Nothing enters the datanet before the batches are signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportReport {
    /// The import's name: keccak-256 of datanet and file hash.
    pub import: B256,
    /// Records in the file.
    pub lines: u64,
    /// Records accepted.
    pub accepted: u64,
    /// Records refused, by line.
    pub refused: Vec<RefusedRecord>,
    /// Records accepted as near duplicates.
    pub near_duplicates: Vec<NearDuplicate>,
    /// The batches, in order of first appearance.
    pub batches: Vec<BatchToSign>,
}

/// The registrant's signature under one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchSignature {
    /// The batch.
    pub contribution: ContributionId,
    /// The registrant's signature over the batch's digest.
    pub signature: Signature,
}

/// Signatures under all batches of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportSignatures {
    /// One signature a batch, in any order.
    pub signatures: Vec<BatchSignature>,
}

/// A registered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchRegistered {
    /// Its title.
    pub contribution: ContributionId,
    /// The account that is paid for it: the contributor, or the splitter of several.
    pub holder: Address,
    /// The transaction.
    pub tx: B256,
    /// The transaction's block number.
    pub block: u64,
}

/// The registered batches of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Imported {
    /// The batches, in the import's order.
    pub registered: Vec<BatchRegistered>,
}
