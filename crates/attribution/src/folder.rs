//! Spans and influence on plain folders, without a node or chain: what `openledger trace` and
//! `openledger influence` do.
//!
//! Place in the flow: the command line reads the files of records, calls these and prints their
//! reports. Invariants: a cache is only used with the very model and adapter it names; records are
//! cut as the adapter's training cut them. Not here: the rules of files of records (`datanet`),
//! progress bars, argument parsing.

use std::path::{Path, PathBuf};

use openledger_engine::{LoadError, Lora, Model, NUMERIC_MODE, Tokenizer};
use openledger_protocol::{B256, Body, Params};
use serde::{Deserialize, Serialize};

use crate::influence::{Cache, DAMPING, Gradients, InfluenceError, Item, Method, Provenance, Scores};
use crate::reading::{Reading, end_token, place};
use crate::spans::{Answer, IndexedRecord, SPANS_METHOD, SpanError, SpanIndex, SpanRules};

/// The file of an index's folder that names its records.
const NAMES: &str = "records.json";

/// The file that training writes beside an adapter.
const TRAINING: &str = "training.json";

/// A record or query, as its file was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name and authors.
    pub name: RecordName,
    /// Its content.
    pub content: Content,
}

/// Content of a record or query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text, for the base's tokenizer.
    Body(Body),
    /// Token ids, taken as they are.
    Ids {
        /// The ids.
        ids: Vec<u32>,
        /// The first id whose loss counts; at least 1.
        loss_from: usize,
    },
}

/// Why a folder command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file could not be read or written.
    #[error("could not access `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Records cannot be used here; nothing was done.
    #[error("{} records cannot be used, the first: {}", .records.len(), .records.first().map_or("", String::as_str))]
    Records {
        /// Their names with what is wrong; never empty.
        records: Vec<String>,
    },
    /// A file of a folder is not what this version writes; make the folder again.
    #[error("`{path}` is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The model or adapter in a cache's folder is no longer the one the cache was made of; build
    /// the cache again.
    #[error("the {what} in `{path}` has changed since the cache was built: hash {found}, then {expected}")]
    Changed {
        /// Which of the two.
        what: &'static str,
        /// Its folder.
        path: PathBuf,
        /// Its hash now.
        found: B256,
        /// Its hash in the cache.
        expected: B256,
    },
    /// A model, adapter or tokenizer could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Spans failed.
    #[error(transparent)]
    Spans(#[from] SpanError),
    /// Influence failed.
    #[error(transparent)]
    Influence(#[from] InfluenceError),
}

/// What was indexed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexReport {
    /// Records.
    pub records: usize,
    /// Tokens.
    pub tokens: usize,
    /// [`SpanIndex::root`].
    pub root: B256,
}

/// A record's name and authors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordName {
    /// The record's id, or its line number where it has none.
    pub id: String,
    /// Who wrote it, as the file says; may be empty.
    pub contributors: Vec<String>,
}

/// A span as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceSpan {
    /// The record that holds it.
    pub record: RecordName,
    /// Where it begins in the record's canonical text, in bytes.
    pub record_offset: u32,
    /// Where it begins in the text, in bytes.
    pub output_offset: u32,
    /// The words.
    pub text: String,
    /// This record's share of its rarity, in milli-bits.
    pub weight: u64,
    /// How many distinct records share it.
    pub shared_by: usize,
}

/// What a text repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceReport {
    /// The method's version.
    pub method: String,
    /// The root of the index.
    pub root: B256,
    /// Tokens of the text.
    pub tokens: usize,
    /// Tokens that lie in spans.
    pub covered: usize,
    /// λ in millionths.
    pub coverage: u32,
    /// The spans, in the order of the text.
    pub spans: Vec<TraceSpan>,
    /// Each credited record and its weight, heaviest first.
    pub scores: Vec<(RecordName, u64)>,
}

/// What was cached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheReport {
    /// Records.
    pub records: usize,
    /// LoRA parameters.
    pub parameters: usize,
    /// The method's version.
    pub method: String,
    /// [`Cache::root`].
    pub root: B256,
}

/// `trace index`: indexes `records` under a tokenizer, whole; the folder `out` holds all a query
/// needs.
///
/// # Errors
/// [`FolderError::Records`] for records of token ids, which have no text; [`FolderError::Load`] for
/// the tokenizer.
pub fn trace_index(records: &[Source], tokenizer: &Path, out: &Path) -> Result<IndexReport, FolderError> {
    let tokenizer = Tokenizer::load(tokenizer)?;
    let text = |source: &Source| match &source.content {
        Content::Body(body) => Ok(index_record(&tokenizer, body.canonical_text())),
        Content::Ids { .. } => Err(format!("`{}` has token ids and no text", source.name.id)),
    };
    let indexed = usable(records.iter().map(text))?;
    let index = SpanIndex::build(&indexed)?;
    index.save(out)?;
    tokenizer.save(out)?;
    let path = out.join(NAMES);
    let names: Vec<&RecordName> = records.iter().map(|source| &source.name).collect();
    let json = serde_json::to_vec(&names).map_err(|error| damaged(&path, &error))?;
    std::fs::write(&path, json).map_err(|source| FolderError::Io { path, source })?;
    Ok(IndexReport { records: index.records(), tokens: index.tokens(), root: index.root() })
}

/// `trace query`: which records of the index in folder `index` the `text` repeats; `prompt` is what
/// it answers, if anything.
/// Coverage is that of the governed numbers `params`.
///
/// # Errors
/// [`FolderError::Spans`] or [`FolderError::Load`] when the folder is not an index.
pub fn trace_query(
    index: &Path,
    prompt: &str,
    text: &str,
    rules: &SpanRules,
    params: &Params,
) -> Result<TraceReport, FolderError> {
    let tokenizer = Tokenizer::load(index)?;
    let path = index.join(NAMES);
    let names = std::fs::read(&path).map_err(|source| FolderError::Io { path: path.clone(), source })?;
    let names: Vec<RecordName> = serde_json::from_slice(&names).map_err(|error| damaged(&path, &error))?;
    let index = SpanIndex::load(index)?;
    if names.len() != index.records() {
        return Err(damaged(&path, &"it names other records than the index has"));
    }
    let record = index_record(&tokenizer, text.to_owned());
    let answer = Answer { ids: &record.tokens, text, offsets: &record.offsets, prompt };
    let found = index.query(&answer, rules)?;
    let spans = found.spans.iter().map(|span| TraceSpan {
        record: names[span.record as usize].clone(),
        record_offset: span.record_offset,
        output_offset: span.output.start,
        text: text[span.output.start as usize..span.output.end as usize].to_owned(),
        weight: span.weight,
        shared_by: span.clusters,
    });
    let mut scores = found.scores.clone();
    scores.sort_by_key(|(owner, score)| (std::cmp::Reverse(*score), *owner));
    Ok(TraceReport {
        method: SPANS_METHOD.into(),
        root: index.root(),
        tokens: found.written,
        covered: found.covered,
        coverage: found.coverage(params),
        spans: spans.collect(),
        scores: scores.into_iter().map(|(owner, score)| (names[owner as usize].clone(), score)).collect(),
    })
}

/// `influence cache`: gradients of `records`, solved by `method` and written to `out`.
///
/// A record's loss is the mean over what training learns of it: a text, the response of a dialog,
/// or token ids from `loss_from` on. Records are cut at `seq` tokens as training cuts them; without
/// it at the length that the adapter's `training.json` names, and at the model's positions.
/// `progress(done, all)` is called after each record.
///
/// # Errors
/// [`FolderError::Records`] when there is no tokenizer for records of text; [`FolderError::Load`]
/// for model, adapter or tokenizer; [`FolderError::Damaged`] for a `training.json` of ours that
/// names no length.
pub fn influence_cache(
    base: &Path,
    adapter: &Path,
    records: &[Source],
    seq: Option<usize>,
    out: &Path,
    method: Method,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<CacheReport, FolderError> {
    let model = Model::load(base)?;
    let lora = Lora::load_peft(adapter, &model)?;
    let seq = seq.map_or_else(|| trained_length(adapter), |seq| Ok(Some(seq)))?;
    let mut encoder = Encoder::new(base, &model, seq);
    let items = usable(records.iter().map(|source| encoder.record(source)))?;
    let gradients = Gradients::compute(&model, &lora, &items, progress)?;
    let provenance = Provenance {
        base: base.to_owned(),
        base_hash: model.hash().into(),
        adapter: adapter.to_owned(),
        adapter_hash: lora.hash().into(),
        numeric_mode: NUMERIC_MODE.into(),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cache = Cache::build(&gradients, method, DAMPING, threads, provenance)?;
    cache.save(out, &gradients)?;
    Ok(CacheReport {
        records: cache.records(),
        parameters: gradients.parameters(),
        method: method.version().into(),
        root: cache.root(),
    })
}

/// `influence score`: every query against the cache in folder `cache`: `[queries, records]`.
///
/// A query's loss is the mean over its response, or over its token ids from `loss_from` on. The
/// context of a query that is too long for the model is shortened.
///
/// # Errors
/// [`FolderError::Changed`] when base or adapter are not those of the cache;
/// [`FolderError::Influence`] for a query that the model cannot run.
pub fn influence_score(
    cache: &Path,
    queries: &[Source],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Scores, FolderError> {
    let cache = Cache::load(cache)?;
    let source = &cache.info().provenance;
    let model = Model::load(&source.base)?;
    unchanged("base", &source.base, model.hash().into(), source.base_hash)?;
    let lora = Lora::load_peft(&source.adapter, &model)?;
    unchanged("adapter", &source.adapter, lora.hash().into(), source.adapter_hash)?;
    let mut encoder = Encoder::new(&source.base, &model, None);
    let items = usable(queries.iter().map(|source| encoder.query(source)))?;
    let gradients = Gradients::compute(&model, &lora, &items, progress)?;
    Ok(cache.score(&gradients)?)
}

fn unchanged(what: &'static str, path: &Path, found: B256, expected: B256) -> Result<(), FolderError> {
    if found == expected { Ok(()) } else { Err(FolderError::Changed { what, path: path.to_owned(), found, expected }) }
}

/// The length in tokens at which the training of an adapter of ours cut its records; `None` for
/// another's adapter.
fn trained_length(adapter: &Path) -> Result<Option<usize>, FolderError> {
    #[derive(Deserialize)]
    struct Training {
        format: Option<String>,
        recipe: Option<Recipe>,
    }
    #[derive(Deserialize)]
    struct Recipe {
        seq: Option<String>,
    }
    let path = adapter.join(TRAINING);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| FolderError::Io { path: path.clone(), source })?,
    };
    // Other trainers may leave a file of this name, which says nothing here.
    let Ok(Training { format: Some(format), recipe }) = serde_json::from_slice(&bytes) else { return Ok(None) };
    if !format.starts_with("openledger/training/") {
        return Ok(None);
    }
    let seq = recipe.and_then(|recipe| recipe.seq).and_then(|seq| seq.parse().ok());
    seq.map(Some).ok_or_else(|| damaged(&path, &"its recipe has no number `seq`"))
}

/// Records and queries as items; the base's tokenizer is loaded when the first one of text asks for
/// it.
struct Encoder<'a> {
    base: &'a Path,
    model: &'a Model,
    limit: usize,
    tokenizer: Option<Tokenizer>,
}

impl<'a> Encoder<'a> {
    fn new(base: &'a Path, model: &'a Model, seq: Option<usize>) -> Self {
        let positions = model.config().max_positions;
        Self { base, model, limit: seq.map_or(positions, |seq| seq.min(positions)), tokenizer: None }
    }

    /// A record as it was trained on.
    fn record(&mut self, source: &Source) -> Result<Item, String> {
        match &source.content {
            Content::Ids { ids, loss_from } => {
                let ids = ids[..ids.len().min(self.limit)].to_vec();
                Ok(Item { ids, loss_from: *loss_from })
            }
            Content::Body(body) => {
                let (limit, config) = (self.limit, self.model.config());
                let tokenizer = self.tokenizer(source)?;
                Ok(Reading::of(tokenizer, end_token(tokenizer, config), body, limit).learned())
            }
        }
    }

    /// A question whose answer's loss counts.
    fn query(&mut self, source: &Source) -> Result<Item, String> {
        match &source.content {
            Content::Ids { ids, loss_from } => Ok(Item { ids: ids.clone(), loss_from: *loss_from }),
            Content::Body(body) => {
                let limit = self.limit;
                let reading = Reading::of(self.tokenizer(source)?, None, body, limit);
                if reading.reaches_the_end() {
                    return Ok(reading.learned());
                }
                Err(format!("`{}`: question and answer are longer than the model's {limit} positions", source.name.id))
            }
        }
    }

    fn tokenizer(&mut self, source: &Source) -> Result<&Tokenizer, String> {
        match &mut self.tokenizer {
            Some(tokenizer) => Ok(tokenizer),
            empty => {
                let loaded = Tokenizer::load(self.base);
                let without =
                    |error| format!("`{}` has no `input_ids`, and the base no tokenizer: {error}", source.name.id);
                Ok(empty.insert(loaded.map_err(without)?))
            }
        }
    }
}

fn index_record(tokenizer: &Tokenizer, text: String) -> IndexedRecord {
    let tokens = tokenizer.encode_with_offsets(&text);
    let offsets = tokens.iter().map(|(_, range)| place(range)).collect();
    IndexedRecord { tokens: tokens.into_iter().map(|(id, _)| id).collect(), offsets, text }
}

/// All results, or all that is wrong.
fn usable<T>(results: impl Iterator<Item = Result<T, String>>) -> Result<Vec<T>, FolderError> {
    let (mut good, mut records) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(item) => good.push(item),
            Err(reason) => records.push(reason),
        }
    }
    if records.is_empty() { Ok(good) } else { Err(FolderError::Records { records }) }
}

fn damaged(path: &Path, reason: &dyn std::fmt::Display) -> FolderError {
    FolderError::Damaged { path: path.to_owned(), reason: reason.to_string() }
}
