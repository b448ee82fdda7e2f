//! Answering a receipt's request again, and finding its spans again, from files.
//!
//! **Invariant:** what could not be done is not passed over: it is an error, or said to be unchecked.

use std::path::{Path, PathBuf};

use openledger_attribution::influence::{Gradients, Item};
use openledger_attribution::spans::{Answer, IndexedRecord, SpanIndex, SpanRules};
use openledger_datanet::{Limits, parse_jsonl};
use openledger_engine::Tokenizer;
use openledger_ledger::Fault;
use openledger_protocol::{AdapterHash, BaseHash, Layer, Manifest, ReceiptBundle};
use openledger_serving::{Check, Embedded, ReexecuteError};

use crate::error::{CliError, Exit, Result};

/// Adapters kept in memory: one.
const ADAPTER_BYTES: usize = 1 << 30;

/// Where the files are.
pub(super) struct Materials<'a> {
    /// The base's folder.
    pub(super) base: &'a Path,
    /// The adapter's folder.
    pub(super) adapter: &'a Path,
    /// Files of records.
    pub(super) records: &'a [PathBuf],
}

/// Answers again; returns the faults found and what was done.
pub(super) fn answer_again(
    bundle: &ReceiptBundle,
    manifest: &Manifest,
    materials: &Materials<'_>,
) -> Result<(Vec<Fault>, Vec<String>)> {
    let (mut faults, mut done) = (Vec::new(), Vec::new());
    let mut fault = |field: &str, reason: String| faults.push(Fault { field: field.to_owned(), reason });
    let backend = Embedded::load(materials.base, "base", ADAPTER_BYTES)?;
    let base = BaseHash(backend.model().hash().into());
    if base != manifest.base {
        fault("manifest.base", format!("the folder holds {base}"));
    }
    let adapter: AdapterHash = backend.adapters().register(materials.adapter)?;
    if adapter != bundle.completion.adapter {
        fault("completion.adapter", format!("the folder holds {adapter}"));
    }
    if !faults.is_empty() {
        return Ok((faults, done));
    }
    match backend.reexecute(&bundle.completion, Check::Regenerate) {
        Ok(()) => done.push(format!("the answer of {} tokens comes out the same", bundle.completion.output_ids.len())),
        Err(ReexecuteError::Mismatch(mismatch)) => {
            faults.push(Fault { field: format!("completion.{}", mismatch.field), reason: mismatch.to_string() })
        }
        Err(ReexecuteError::Serve(error)) => return Err(error.into()),
        Err(error) => return Err(CliError::refused(Exit::Failure, error.to_string())),
    }
    if materials.records.is_empty() {
        done.push("spans and influence were not looked up: no --records were given".to_owned());
        return Ok((faults, done));
    }
    let texts = texts(materials.records)?;
    spans(bundle, backend.tokenizer(), &texts, &mut faults, &mut done)?;
    influence(bundle, &backend, materials.adapter, &mut done)?;
    Ok((faults, done))
}

/// The canonical texts of all records in the files.
fn texts(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for file in files {
        let bytes = std::fs::read(file).map_err(CliError::file(file))?;
        let parsed = parse_jsonl(&bytes, &Limits::default())
            .map_err(|error| CliError::refused(Exit::Data, format!("{}: {error}", file.display())))?;
        texts.extend(parsed.records.into_iter().map(|parsed| parsed.record.body.canonical_text()));
    }
    Ok(texts)
}

/// Every span of the receipt must stand in a record, at its offset, byte for byte; every span an index finds must be in the
/// receipt.
fn spans(
    bundle: &ReceiptBundle,
    tokenizer: &Tokenizer,
    texts: &[String],
    faults: &mut Vec<Fault>,
    done: &mut Vec<String>,
) -> Result<()> {
    let completion = &bundle.completion;
    for (at, span) in bundle.credits.spans.iter().enumerate() {
        let output = completion.text.get(span.output_offset as usize..(span.output_offset + span.length) as usize);
        let from = span.record_offset as usize;
        let stands = |text: &String| text.get(from..from + span.length as usize) == output;
        if output.is_none() || !texts.iter().any(stands) {
            let reason = format!("no record of the files holds these bytes at offset {from}");
            faults.push(Fault { field: format!("credits.spans[{at}]"), reason });
        }
    }
    let record = |text: &String| {
        let tokens = tokenizer.encode_with_offsets(text);
        IndexedRecord {
            offsets: tokens.iter().map(|(_, range)| (range.start as u32, range.end as u32)).collect(),
            tokens: tokens.into_iter().map(|(id, _)| id).collect(),
            text: text.clone(),
        }
    };
    let index = SpanIndex::build(&texts.iter().map(record).collect::<Vec<_>>())?;
    let answer = Answer {
        ids: &completion.output_ids,
        text: &completion.text,
        offsets: &completion.offsets,
        prompt: &completion.prompt,
    };
    let found = index.query(&answer, &SpanRules::default())?;
    let places = |spans: Vec<(u32, u32)>| -> std::collections::BTreeSet<(u32, u32)> { spans.into_iter().collect() };
    let again = places(found.spans.iter().map(|span| (span.output.start, span.output.end)).collect());
    let told = places(
        bundle.credits.spans.iter().map(|span| (span.output_offset, span.output_offset + span.length)).collect(),
    );
    if again == told {
        done.push(format!("{} stretches of the answer stand in the records, the same as in the receipt", told.len()));
    } else {
        // The files may hold more or fewer records than the model was trained on: said, not judged.
        done.push(format!("an index over the files finds {} stretches, the receipt tells {}", again.len(), told.len()));
    }
    Ok(())
}

/// The gradient of the answer, as far as files allow: which records clear the threshold needs the model's own cache.
fn influence(bundle: &ReceiptBundle, backend: &Embedded, adapter: &Path, done: &mut Vec<String>) -> Result<()> {
    let completion = &bundle.completion;
    let mut ids = completion.prompt_ids.clone();
    let loss_from = ids.len().max(1);
    ids.extend(&completion.output_ids);
    if loss_from >= ids.len() {
        return Ok(());
    }
    let lora = openledger_engine::Lora::load_peft(adapter, backend.model())?;
    let gradients = Gradients::compute(backend.model(), &lora, &[Item { ids, loss_from }], &mut |_, _| {})?;
    let credited = bundle.credits.scores.iter().filter(|score| score.layer == Layer::Influence).count();
    let loss = gradients.loss(0).unwrap_or_default();
    done.push(format!(
        "the answer's gradient has {} parameters, its loss is {loss:.4} nats a token; {credited} records are credited. \
         Score it against a cache with `openledger influence`",
        gradients.parameters()
    ));
    Ok(())
}
