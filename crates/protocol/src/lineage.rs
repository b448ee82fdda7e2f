//! The origins of a receipt: the receipts before it and the passages that were retrieved for it.
//!
//! Both are positional Merkle trees whose root is a word of the receipt; an empty list has the zero
//! root.

use alloy_primitives::B256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{leaf, tags, word};
use crate::{ContributionId, DatanetId, ReceiptId, merkle};

/// A stretch of a record that was retrieved and shown to the model. Offset and length in UTF-8
/// bytes of its canonical text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Passage {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version whose root commits to the record.
    pub version: u64,
    /// The record's contribution.
    pub contribution: ContributionId,
    /// The record's place in the contribution, from 0.
    pub index: u32,
    /// Where the stretch begins.
    pub record_offset: u32,
    /// How long it is.
    pub length: u32,
}

impl Passage {
    /// The leaf under a receipt's `context` root.
    #[must_use]
    pub fn leaf(&self) -> B256 {
        let words = [
            word(self.datanet.0),
            word(self.version),
            self.contribution.0,
            word(self.index),
            word(self.record_offset),
            word(self.length),
        ];
        leaf(tags::context(), &words)
    }
}

/// A receipt's `context` word: the root over what was retrieved, in the order in which the model
/// saw it.
#[must_use]
pub fn context_root(passages: &[Passage]) -> B256 {
    merkle::root(&passages.iter().map(Passage::leaf).collect::<Vec<_>>())
}

/// A receipt's `parents` word: the root over the ids of the receipts it follows from, in the order
/// given.
#[must_use]
pub fn parents_root(parents: &[ReceiptId]) -> B256 {
    merkle::root(&parents.iter().map(|parent| leaf(tags::parent(), &[parent.0])).collect::<Vec<_>>())
}
