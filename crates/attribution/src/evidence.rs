//! The records a model was trained on, and, built from them, all that its answers are credited by.
//!
//! # Place in the flow
//!
//! Training builds this once and keeps it. A verifier builds it again from the exported records,
//! the base and the adapter, and compares the roots with the manifest's and the credits with the
//! receipt's.
//!
//! # Invariants
//!
//! - Same records, base and adapter: same roots and same credits, on any machine and any number of
//!   threads.
//! - Records are cut as training cuts them (`reading`).
//!
//! # Not here
//!
//! Where records and caches lie (`node`), which records are near copies (`datanet`), what credits
//! are paid (`ledger`).

use std::path::PathBuf;

use openledger_engine::{Lora, Model, NUMERIC_MODE, Tokenizer};
use openledger_protocol::{
    B256, Body, DatanetId, Manifest, RecordRef, TrainedContribution, chunk_root, merkle, record_leaf,
};
use serde::{Deserialize, Serialize};

use crate::credit::{Attributor, CreditError, RecordTitle};
use crate::influence::{Cache, DAMPING, Gradients, InfluenceError, Item, Method, Provenance};
use crate::reading::{Reading, end_token};
use crate::spans::{IndexedRecord, SPANS_METHOD, SpanError, SpanIndex, SpanRules};

/// Why evidence could not be built or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// A line of exported records is not a record; export them again.
    #[error("line {line} is not a record that was trained on")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A record could not be written as JSON; a defect of this crate, worth reporting.
    #[error("a record could not be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The manifest does not say how many tokens of a record were read; it is damaged.
    #[error("the manifest's recipe has no number `seq`")]
    Length,
    /// There is not one place in a cluster for each record; work the clusters out again.
    #[error("{places} places in clusters for {records} records")]
    Places {
        /// Places given.
        places: usize,
        /// Records.
        records: usize,
    },
    /// Records cannot be indexed.
    #[error(transparent)]
    Spans(#[from] SpanError),
    /// Records cannot be run through the model.
    #[error(transparent)]
    Influence(#[from] InfluenceError),
    /// Index or cache are of other records.
    #[error(transparent)]
    Credit(#[from] CreditError),
}

/// A record that a model was trained on; the list of them is in the order of training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedRecord {
    /// Its datanet.
    pub datanet: DatanetId,
    /// The version it was read from.
    pub version: u64,
    /// Its title's contribution and its place there.
    pub at: RecordRef,
    /// Its contributor's name for it.
    pub id: String,
    /// What it says.
    pub body: Body,
}

impl TrainedRecord {
    /// Its leaf, computed from what it says; public content has no salt.
    #[must_use]
    pub fn leaf(&self, chain_id: u64) -> B256 {
        let text = self.body.canonical_text();
        let root = chunk_root(B256::ZERO, text.as_bytes());
        // A contribution holds no longer text than 32 bits can say.
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        record_leaf(chain_id, self.datanet, self.at.contribution, self.at.index, root, length)
    }
}

/// The root that a manifest commits to its records by.
#[must_use]
pub fn records_root(chain_id: u64, records: &[TrainedRecord]) -> B256 {
    merkle::root(&records.iter().map(|record| record.leaf(chain_id)).collect::<Vec<_>>())
}

/// Records as JSON Lines.
///
/// # Errors
/// [`EvidenceError::Json`] never for records that were read.
pub fn to_jsonl(records: &[TrainedRecord]) -> Result<String, EvidenceError> {
    let mut out = String::new();
    for record in records {
        out.push_str(&serde_json::to_string(record)?);
        out.push('\n');
    }
    Ok(out)
}

/// Records from JSON Lines as [`to_jsonl`] writes them.
///
/// # Errors
/// [`EvidenceError::Line`] for the first line that is not one.
pub fn from_jsonl(text: &str) -> Result<Vec<TrainedRecord>, EvidenceError> {
    let lines = (1..).zip(text.split('\n')).filter(|(_, text)| !text.trim().is_empty());
    lines
        .map(|(line, text)| serde_json::from_str(text).map_err(|source| EvidenceError::Line { line, source }))
        .collect()
}

/// How many tokens of a record were read, as the recipe in a manifest says.
///
/// # Errors
/// [`EvidenceError::Length`] when it does not.
pub fn recipe_length(manifest: &Manifest) -> Result<usize, EvidenceError> {
    length_in(&manifest.recipe)
}

fn length_in(recipe: &serde_json::Map<String, serde_json::Value>) -> Result<usize, EvidenceError> {
    let length = recipe.get("seq").and_then(|seq| seq.as_str()?.parse().ok());
    length.ok_or(EvidenceError::Length)
}

/// What credits are found by.
pub struct Evidence {
    /// The index of spans.
    pub index: SpanIndex,
    /// The records' gradients.
    pub gradients: Gradients,
    /// The solved side of influence.
    pub cache: Cache,
}

impl Evidence {
    /// Builds index and cache; `seq` is the recipe's length in tokens, beyond which nothing was
    /// read.
    ///
    /// **Cost:** a forward and a backward pass a record. `(base, adapter)` are the paths that the
    /// cache names.
    ///
    /// # Errors
    /// [`EvidenceError::Spans`], [`EvidenceError::Influence`] for records that cannot be indexed or
    /// run.
    pub fn build(
        model: &Model,
        tokenizer: &Tokenizer,
        lora: &Lora,
        records: &[TrainedRecord],
        seq: usize,
        (base, adapter): (PathBuf, PathBuf),
    ) -> Result<Self, EvidenceError> {
        let (end, limit) = (end_token(tokenizer, model.config()), seq.min(model.config().max_positions));
        let read = |record: &TrainedRecord| Reading::of(tokenizer, end, &record.body, limit);
        let readings: Vec<Reading> = records.iter().map(read).collect();
        let indexed: Vec<IndexedRecord> = readings.iter().map(|reading| reading.indexed(tokenizer)).collect();
        let index = SpanIndex::build(&indexed)?;
        let items: Vec<Item> = readings.iter().map(Reading::whole).collect();
        let gradients = Gradients::compute(model, lora, &items, &mut |_, _| {})?;
        let provenance = Provenance {
            base,
            base_hash: B256::from(model.hash()),
            adapter,
            adapter_hash: B256::from(lora.hash()),
            numeric_mode: NUMERIC_MODE.to_owned(),
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cache = Cache::build(&gradients, Method::Fisher, DAMPING, threads, provenance)?;
        Ok(Self { index, gradients, cache })
    }

    /// Each method's version with the root of its cache, in layer order, as a manifest tells them.
    #[must_use]
    pub fn methods(&self) -> Vec<(String, B256)> {
        vec![(SPANS_METHOD.to_owned(), self.index.root()), (Method::Fisher.version().to_owned(), self.cache.root())]
    }
}

/// Where a record stands among near copies of it, among the records of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterPlace {
    /// The place of the record that owns its cluster; its own place when it is alone.
    pub owner: u32,
    /// What of it no earlier record says, in 1/65,535.
    pub multiplier: u16,
    /// The place of the record that said most of the rest first; its own place when all of it is
    /// its own.
    pub source: u32,
}

/// What credits a model's answers: its records with the clusters they fall into, index and cache.
///
/// # Errors
/// [`EvidenceError::Places`] unless each record has a place; [`EvidenceError::Credit`] when index
/// or cache are of other records.
pub fn attributor(
    records: &[TrainedRecord],
    places: &[ClusterPlace],
    trained: &[TrainedContribution],
    index: SpanIndex,
    cache: Cache,
) -> Result<Attributor, EvidenceError> {
    if places.len() != records.len() {
        return Err(EvidenceError::Places { places: places.len(), records: records.len() });
    }
    let title = |(record, place): (&TrainedRecord, &ClusterPlace)| RecordTitle {
        datanet: record.datanet,
        version: record.version,
        record: record.at,
        owner: place.owner,
        multiplier: place.multiplier,
        source: place.source,
    };
    let titles = records.iter().zip(places).map(title).collect();
    Ok(Attributor::new(titles, trained.to_vec())?.with_spans(index, SpanRules::default())?.with_influence(cache)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_without_its_length_is_an_error_and_no_length_of_its_own() {
        let length = |json: &str| length_in(&serde_json::from_str(json).unwrap());
        assert_eq!(length(r#"{"seq": "96"}"#).unwrap(), 96);
        for damaged in ["{}", r#"{"seq": 96}"#, r#"{"seq": "ninety"}"#] {
            assert!(matches!(length(damaged), Err(EvidenceError::Length)), "{damaged}");
        }
    }
}
