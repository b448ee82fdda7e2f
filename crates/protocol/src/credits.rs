//! Credits: which records an answer rests on, in integers, with the evidence.

use alloy_primitives::B256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{leaf, tags, word};
use crate::{ContributionId, DatanetId, RecordRef, merkle};

/// A kind of evidence, each with a pot of its own in the split.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(from = "FlatSpan", into = "FlatSpan")]
pub struct Span {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version whose root commits to the record.
    pub version: u64,
    /// The record.
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(from = "FlatScore", into = "FlatScore")]
pub struct Score {
    /// The evidence.
    pub layer: Layer,
    /// The datanet.
    pub datanet: DatanetId,
    /// The record (for [`Layer::Rest`]: the contribution, index 0).
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

/// The evidence of an answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

/// A [`Span`] as JSON has it: the record's members stand beside the others, and unknown ones are
/// refused.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FlatSpan {
    datanet: DatanetId,
    version: u64,
    contribution: ContributionId,
    index: u32,
    record_offset: u32,
    length: u32,
    output_offset: u32,
    weight: u64,
}

impl From<Span> for FlatSpan {
    fn from(span: Span) -> Self {
        let Span { datanet, version, record, record_offset, length, output_offset, weight } = span;
        let RecordRef { contribution, index } = record;
        Self { datanet, version, contribution, index, record_offset, length, output_offset, weight }
    }
}

impl From<FlatSpan> for Span {
    fn from(span: FlatSpan) -> Self {
        let FlatSpan { datanet, version, contribution, index, record_offset, length, output_offset, weight } = span;
        let record = RecordRef { contribution, index };
        Self { datanet, version, record, record_offset, length, output_offset, weight }
    }
}

/// A [`Score`] as JSON has it, like [`FlatSpan`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FlatScore {
    layer: Layer,
    datanet: DatanetId,
    contribution: ContributionId,
    index: u32,
    score: u64,
}

impl From<Score> for FlatScore {
    fn from(score: Score) -> Self {
        let Score { layer, datanet, record: RecordRef { contribution, index }, score } = score;
        Self { layer, datanet, contribution, index, score }
    }
}

impl From<FlatScore> for Score {
    fn from(score: FlatScore) -> Self {
        let FlatScore { layer, datanet, contribution, index, score } = score;
        Self { layer, datanet, record: RecordRef { contribution, index }, score }
    }
}
