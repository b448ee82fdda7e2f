//! The records a model was trained on, and, built from them, all that its answers are credited by.
//!
//! # Place in the flow
//!
//! Training builds this once and keeps it; whoever doubts a receipt builds it again from the exported records, the base and
//! the adapter, and compares: the roots with the manifest's, the credits with the receipt's.
//!
//! # Invariants
//!
//! - Same records, base and adapter: same roots and same credits, on any machine and any number of threads.
//!
//! # Not here
//!
//! Where records and caches lie (`models`), what credits are paid (`ledger`).

use std::ops::Range;
use std::path::PathBuf;

use alloy_primitives::B256;
use openledger_attribution::credit::{Attributor, RecordTitle};
use openledger_attribution::influence::{Cache, DAMPING, Gradients, Item, Method, Provenance};
use openledger_attribution::spans::{IndexedRecord, SPANS_METHOD, SpanIndex, SpanRules};
use openledger_datanet::near::Clusters;
use openledger_engine::{Lora, Model, NUMERIC_MODE, Tokenizer};
use openledger_protocol::{Body, DatanetId, Manifest, RecordRef, TrainedContribution, chunk_root, merkle, record_leaf};
use serde::{Deserialize, Serialize};

use crate::error::{Blame, NodeError, Result};

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
        record_leaf(chain_id, self.datanet, self.at.contribution, self.at.index, root, place(text.len()))
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
/// [`NodeError::Json`] never for records that were read.
pub fn to_jsonl(records: &[TrainedRecord]) -> Result<String> {
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
/// `bad-records` naming the line.
pub fn from_jsonl(text: &str) -> Result<Vec<TrainedRecord>> {
    let read = |(line, text): (usize, &str)| {
        serde_json::from_str(text)
            .map_err(|error| NodeError::refused(Blame::Data, "bad-records", format!("line {}: {error}", line + 1)))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(read).collect()
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
    /// Builds index and cache; `seq` is the recipe's length, beyond which nothing was learned.
    ///
    /// # Errors
    /// [`NodeError::Spans`], [`NodeError::Influence`] for records that cannot be indexed or run.
    pub fn build(
        model: &Model,
        tokenizer: &Tokenizer,
        lora: &Lora,
        records: &[TrainedRecord],
        seq: usize,
        (base, adapter): (PathBuf, PathBuf),
    ) -> Result<Self> {
        let texts: Vec<String> = records.iter().map(|record| record.body.canonical_text()).collect();
        let range = |r: &Range<usize>| (place(r.start), place(r.end));
        let indexed: Vec<IndexedRecord> = texts
            .iter()
            .map(|text| {
                let tokens = tokenizer.encode_with_offsets(text);
                IndexedRecord {
                    offsets: tokens.iter().map(|(_, r)| range(r)).collect(),
                    tokens: tokens.into_iter().map(|(id, _)| id).collect(),
                    text: text.clone(),
                }
            })
            .collect();
        let index = SpanIndex::build(&indexed)?;
        let length = seq.min(model.config().max_positions);
        let item = |text: &String| {
            let mut ids = tokenizer.encode(text, true);
            ids.truncate(length);
            Item::record(ids)
        };
        let items: Vec<Item> = texts.iter().map(item).collect();
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

/// What credits a model's answers: its records with the clusters they fall into, index and cache.
///
/// # Errors
/// [`NodeError::Credit`] when index or cache are of other records.
pub fn attributor(
    records: &[TrainedRecord],
    trained: &[TrainedContribution],
    index: SpanIndex,
    cache: Cache,
) -> Result<Attributor> {
    let texts: Vec<String> = records.iter().map(|record| record.body.canonical_text()).collect();
    let clusters = Clusters::of(texts.iter().map(String::as_str));
    let titles = records
        .iter()
        .zip(clusters.placements())
        .map(|(record, placement)| RecordTitle {
            datanet: record.datanet,
            version: record.version,
            record: record.at,
            owner: placement.owner,
            multiplier: placement.multiplier,
            source: placement.source,
        })
        .collect();
    Ok(Attributor::new(titles, trained.to_vec())?.with_spans(index, SpanRules::default())?.with_influence(cache)?)
}

/// The recipe's length in tokens, as a manifest tells it.
#[must_use]
pub fn recipe_length(manifest: &Manifest) -> usize {
    let told = manifest.recipe.get("seq").and_then(|seq| seq.as_str()?.parse().ok());
    told.unwrap_or(usize::MAX)
}

/// A byte place in a text; texts are far below 4 GiB.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
