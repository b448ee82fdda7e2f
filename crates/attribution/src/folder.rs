//! Spans and influence on plain folders, without a node or chain: what `openledger trace` and `openledger influence` do.
//!
//! Place in the flow: the command line calls these and prints their reports. Records are JSONL with `input_ids`, `text`
//! or `prompt` and `response` (and `context`); a query's `loss_start` says where its completion begins. Invariants: bad
//! lines are refused by number, all of them at once; a cache is only used with the very model and adapter it names.
//! Not here: progress bars, argument parsing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use openledger_engine::{LoadError, Lora, Model, NUMERIC_MODE, Tokenizer};
use openledger_protocol::{B256, Body};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::influence::{Cache, DAMPING, Gradients, InfluenceError, Item, Method, Provenance, Scores};
use crate::spans::{Answer, IndexedRecord, SPANS_METHOD, SpanError, SpanIndex, SpanRules};

/// The longest line of a records file, in bytes.
const MAX_LINE_BYTES: usize = 16 << 20;
/// The file of an index's folder that names its records.
const NAMES: &str = "records.json";

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
    /// Lines of a file are not records or queries; nothing was done.
    #[error("`{path}` has {} bad lines, the first: line {}: {}", .lines.len(), .lines[0].0, .lines[0].1)]
    Lines {
        /// The file.
        path: PathBuf,
        /// Line numbers from 1, and what is wrong; never empty.
        lines: Vec<(usize, String)>,
    },
    /// The model or adapter in a cache's folder is no longer the one the cache was made of; build the cache again.
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

/// `trace index`: indexes the records of a JSONL file under a tokenizer; the folder holds all a query needs.
///
/// # Errors
/// [`FolderError::Lines`] with every line that is not a record; [`FolderError::Load`] for the tokenizer.
pub fn trace_index(records: &Path, tokenizer: &Path, out: &Path) -> Result<IndexReport, FolderError> {
    let tokenizer = Tokenizer::load(tokenizer)?;
    let lines = read_lines(records, |number, value| Ok((name(number, &value), text_of(value)?)))?;
    let (names, texts): (Vec<RecordName>, Vec<String>) = lines.into_iter().unzip();
    let indexed: Vec<IndexedRecord> = texts.into_iter().map(|text| index_record(&tokenizer, text)).collect();
    let index = SpanIndex::build(&indexed)?;
    index.save(out)?;
    tokenizer.save(out)?;
    let path = out.join(NAMES);
    let json = serde_json::to_vec(&names).map_err(|error| line_error(&path, 1, &error))?;
    std::fs::write(&path, json).map_err(|source| FolderError::Io { path, source })?;
    Ok(IndexReport { records: index.records(), tokens: index.tokens(), root: index.root() })
}

/// `trace query`: which records of the index in folder `index` the `text` repeats; `prompt` is what it answers, if
/// anything.
///
/// # Errors
/// [`FolderError::Spans`] or [`FolderError::Load`] when the folder is not an index.
pub fn trace_query(index: &Path, prompt: &str, text: &str, rules: &SpanRules) -> Result<TraceReport, FolderError> {
    let tokenizer = Tokenizer::load(index)?;
    let path = index.join(NAMES);
    let names = std::fs::read(&path).map_err(|source| FolderError::Io { path: path.clone(), source })?;
    let names: Vec<RecordName> = serde_json::from_slice(&names).map_err(|error| line_error(&path, 1, &error))?;
    let index = SpanIndex::load(index)?;
    if names.len() != index.records() {
        return Err(line_error(&path, 1, &"it names other records than the index has"));
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
        coverage: found.coverage(),
        spans: spans.collect(),
        scores: scores.into_iter().map(|(owner, score)| (names[owner as usize].clone(), score)).collect(),
    })
}

/// `influence cache`: gradients of every record of a JSONL file, solved by `method` and written to `out`.
///
/// A record's loss is the mean over `input_ids[1..]`; without `input_ids` over what training learns of it: a text, or
/// the response of a dialog. `progress(done, all)` is called after each record.
///
/// # Errors
/// [`FolderError::Lines`] with every line that is not a record; [`FolderError::Load`] for model, adapter or tokenizer.
pub fn influence_cache(
    base: &Path,
    adapter: &Path,
    records: &Path,
    out: &Path,
    method: Method,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<CacheReport, FolderError> {
    let model = Model::load(base)?;
    let lora = Lora::load_peft(adapter, &model)?;
    let mut encoder = Encoder::new(base, &model);
    let items = read_lines(records, |_, value| encoder.record(value))?;
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

/// `influence score`: every query of a JSONL file against the cache in folder `cache`: `[queries, records]`.
///
/// A query's loss is the mean over `input_ids[loss_start..]`, or over the response of a `prompt` and `response`.
///
/// # Errors
/// [`FolderError::Changed`] when base or adapter are not those of the cache; [`FolderError::Lines`] with every line
/// that is not a query.
pub fn influence_score(
    cache: &Path,
    queries: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Scores, FolderError> {
    let cache = Cache::load(cache)?;
    let source = &cache.info().provenance;
    let model = Model::load(&source.base)?;
    unchanged("base", &source.base, model.hash().into(), source.base_hash)?;
    let lora = Lora::load_peft(&source.adapter, &model)?;
    unchanged("adapter", &source.adapter, lora.hash().into(), source.adapter_hash)?;
    let mut encoder = Encoder::new(&source.base, &model);
    let items = read_lines(queries, |_, value| encoder.query(value))?;
    let gradients = Gradients::compute(&model, &lora, &items, progress)?;
    Ok(cache.score(&gradients)?)
}

fn unchanged(what: &'static str, path: &Path, found: B256, expected: B256) -> Result<(), FolderError> {
    if found == expected { Ok(()) } else { Err(FolderError::Changed { what, path: path.to_owned(), found, expected }) }
}

/// Lines as items; the base's tokenizer is loaded when the first line without `input_ids` asks for it.
struct Encoder<'a> {
    base: &'a Path,
    positions: usize,
    end: Option<u32>,
    tokenizer: Option<Tokenizer>,
}

impl<'a> Encoder<'a> {
    fn new(base: &'a Path, model: &Model) -> Self {
        let config = model.config();
        Self { base, positions: config.max_positions, end: config.eos.first().copied(), tokenizer: None }
    }

    /// A record as it was trained on, cut off at the model's positions.
    fn record(&mut self, value: Value) -> Result<Item, String> {
        let mut item = match input_ids(&value)? {
            Some(ids) => Item::record(ids),
            None => {
                let mut item = self.body(value)?;
                item.ids.extend(self.tokenizer()?.eos().or(self.end));
                item
            }
        };
        item.ids.truncate(self.positions);
        checked(item)
    }

    /// A question whose answer's loss counts.
    fn query(&mut self, value: Value) -> Result<Item, String> {
        let no_place = || "`loss_start` is no place among the tokens".to_owned();
        let loss_start = match &value["loss_start"] {
            Value::Null => None,
            start => Some(start.as_u64().and_then(|start| usize::try_from(start).ok()).ok_or_else(no_place)?),
        };
        match input_ids(&value)? {
            Some(ids) => checked(Item { ids, loss_from: loss_start.unwrap_or(1) }),
            None => checked(self.body(value)?),
        }
    }

    /// Start token and text; the loss begins with the token in which the answer does.
    fn body(&mut self, value: Value) -> Result<Item, String> {
        let (question, answer) = body(value)?.question_and_answer();
        let tokenizer = self.tokenizer()?;
        let mut ids: Vec<u32> = tokenizer.bos().into_iter().collect();
        let mut loss_from = None;
        for (id, range) in tokenizer.encode_with_offsets(&format!("{question}{answer}")) {
            if range.end > question.len() {
                loss_from.get_or_insert(ids.len().max(1));
            }
            ids.push(id);
        }
        Ok(Item { loss_from: loss_from.unwrap_or(ids.len()), ids })
    }

    fn tokenizer(&mut self) -> Result<&Tokenizer, String> {
        match &mut self.tokenizer {
            Some(tokenizer) => Ok(tokenizer),
            empty => {
                let loaded = Tokenizer::load(self.base);
                Ok(empty.insert(loaded.map_err(|error| format!("no `input_ids`, and no tokenizer: {error}"))?))
            }
        }
    }
}

fn index_record(tokenizer: &Tokenizer, text: String) -> IndexedRecord {
    let tokens = tokenizer.encode_with_offsets(&text);
    let offsets = tokens.iter().map(|(_, range)| (range.start as u32, range.end as u32)).collect();
    IndexedRecord { tokens: tokens.into_iter().map(|(id, _)| id).collect(), offsets, text }
}

/// An item whose loss covers at least one token.
fn checked(item: Item) -> Result<Item, String> {
    if item.loss_from == 0 || item.loss_from >= item.ids.len() {
        return Err(format!("a loss from token {} of {} covers nothing", item.loss_from, item.ids.len()));
    }
    Ok(item)
}

fn input_ids(value: &Value) -> Result<Option<Vec<u32>>, String> {
    match &value["input_ids"] {
        Value::Null => Ok(None),
        ids => Vec::deserialize(ids).map(Some).map_err(|error| format!("`input_ids`: {error}")),
    }
}

fn body(value: Value) -> Result<Body, String> {
    serde_json::from_value(value).map_err(|_| "neither `text` nor `prompt` and `response`".into())
}

fn text_of(value: Value) -> Result<String, String> {
    Ok(body(value)?.canonical_text())
}

fn name(number: usize, value: &Value) -> RecordName {
    let id = value["id"].as_str().map_or_else(|| format!("line {number}"), str::to_owned);
    let many = value["contributors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut contributors: Vec<String> = many.map(str::to_owned).collect();
    if contributors.is_empty() {
        contributors.extend(value["contributor"].as_str().map(str::to_owned));
    }
    RecordName { id, contributors }
}

fn line_error(path: &Path, line: usize, reason: &dyn std::fmt::Display) -> FolderError {
    FolderError::Lines { path: path.to_owned(), lines: vec![(line, reason.to_string())] }
}

/// Reads a JSONL file object by object; blank lines are skipped, bad ones collected.
fn read_lines<T>(path: &Path, mut take: impl FnMut(usize, Value) -> Result<T, String>) -> Result<Vec<T>, FolderError> {
    let io = |source| FolderError::Io { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let mut out = Vec::new();
    let mut bad = BTreeMap::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut limited = std::io::Read::take(&mut reader, MAX_LINE_BYTES as u64);
        if limited.read_until(b'\n', &mut line).map_err(io)? == 0 {
            break;
        }
        if line.len() == MAX_LINE_BYTES && line.last() != Some(&b'\n') {
            // What follows would be read as lines of its own.
            bad.insert(number, format!("longer than {MAX_LINE_BYTES} bytes"));
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let value: Result<Value, String> = serde_json::from_slice(&line).map_err(|error| error.to_string());
        let value = value.and_then(|value| if value.is_object() { Ok(value) } else { Err("not an object".into()) });
        match value.and_then(|value| take(number, value)) {
            Ok(item) => out.push(item),
            Err(reason) => {
                bad.insert(number, reason);
            }
        }
    }
    if bad.is_empty() {
        Ok(out)
    } else {
        Err(FolderError::Lines { path: path.to_owned(), lines: bad.into_iter().collect() })
    }
}
