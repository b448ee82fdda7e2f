//! Credits: which records an answer rests on, in integers, with the evidence.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::hash::{leaf, tags, word};
use crate::{ContributionId, DatanetId, RecordRef, merkle};

/// A kind of evidence, each with a pot of its own in the split.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Layer {
    /// The answer repeats the record word for word.
    Spans = 0,
    /// Training on the record made the answer likelier.
    Influence = 1,
    /// The record was shown to the model.
    Retrieval = 2,
    /// The record was trained on: what the other layers do not pay follows the manifest's weights.
    Rest = 3,
}

/// A piece of the answer that stands word for word in a record. Offsets and length in UTF-8 bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Span {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version whose root commits to the record.
    pub version: u64,
    /// The record.
    #[serde(flatten)]
    pub record: RecordRef,
    /// Where it begins in the record's canonical text.
    pub record_offset: u32,
    /// How long it is.
    pub length: u32,
    /// Where it begins in the answer.
    pub output_offset: u32,
    /// Its rarity in milli-bits, shared among the records that contain it.
    pub weight: u64,
}

impl Span {
    /// The leaf under a receipt's `spansRoot`.
    #[must_use]
    pub fn leaf(&self) -> B256 {
        leaf(
            tags::span(),
            &[
                word(self.datanet.0),
                word(self.version),
                self.record.contribution.0,
                word(self.record.index),
                word(self.record_offset),
                word(self.length),
                word(self.output_offset),
                word(self.weight),
            ],
        )
    }
}

/// An integer score: the weight the split uses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Score {
    /// The evidence.
    pub layer: Layer,
    /// The datanet.
    pub datanet: DatanetId,
    /// The record (for [`Layer::Rest`]: the contribution, index 0).
    #[serde(flatten)]
    pub record: RecordRef,
    /// Relative within its layer.
    pub score: u64,
}

impl Score {
    /// The leaf under a receipt's `scoresRoot`.
    #[must_use]
    pub fn leaf(&self) -> B256 {
        leaf(
            tags::score(),
            &[
                word(self.layer as u8),
                word(self.datanet.0),
                self.record.contribution.0,
                word(self.record.index),
                word(self.score),
            ],
        )
    }

    /// The contribution that is paid for it.
    #[must_use]
    pub fn contribution(&self) -> ContributionId {
        self.record.contribution
    }
}

/// λ of each layer in millionths: the part of its pot that evidence covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// Spans.
    pub spans: u32,
    /// Influence.
    pub influence: u32,
    /// Retrieval.
    pub retrieval: u32,
}

impl Coverage {
    /// All of a pot.
    pub const FULL: u32 = 1_000_000;

    /// λ of a layer; [`Layer::Rest`] has none, so zero.
    #[must_use]
    pub fn of(&self, layer: Layer) -> u32 {
        match layer {
            Layer::Spans => self.spans,
            Layer::Influence => self.influence,
            Layer::Retrieval => self.retrieval,
            Layer::Rest => 0,
        }
    }
}

/// What an answer rests on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Credits {
    /// The spans, ordered by (output offset, contribution, index).
    pub spans: Vec<Span>,
    /// The scores, ordered by (layer, contribution, index).
    pub scores: Vec<Score>,
    /// How much of each pot evidence covers.
    pub coverage: Coverage,
    /// The versions of the methods that made them, in layer order, such as `spans/1`.
    pub methods: Vec<String>,
}

impl Credits {
    /// Puts spans and scores in the order their roots are defined over.
    pub fn sort(&mut self) {
        self.spans.sort_by_key(|s| (s.output_offset, s.record));
        self.scores.sort_by_key(|s| (s.layer, s.record));
    }

    /// The Merkle root over the span leaves.
    #[must_use]
    pub fn spans_root(&self) -> B256 {
        merkle::root(&self.spans.iter().map(Span::leaf).collect::<Vec<_>>())
    }

    /// The Merkle root over the score leaves.
    #[must_use]
    pub fn scores_root(&self) -> B256 {
        merkle::root(&self.scores.iter().map(Score::leaf).collect::<Vec<_>>())
    }
}
