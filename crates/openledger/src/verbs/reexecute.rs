//! Answering a receipt's request again, and crediting the answer again, from files.
//!
//! **Invariant:** what could not be done is not passed over: it is an error, or said to be
//! unchecked.

use std::path::Path;
use std::sync::Arc;

use openledger_attribution::evidence::{self, ClusterPlace, Evidence};
use openledger_datanet::near::{Clusters, Placement};
use openledger_engine::{Model, NumericMode};
use openledger_ledger::Fault;
use openledger_protocol::{AdapterHash, BaseHash, Completion, Manifest, ReceiptBundle};
use openledger_serving::{Backend, Check, Embedded, Mismatch, REMOTE_MODE, ReexecuteError};

use crate::error::{CliError, Exit, Result};

/// Adapters kept in memory: one.
const ADAPTER_BYTES: usize = 1 << 30;

/// Where the files are.
pub(super) struct Materials<'a> {
    /// The base's folder.
    pub(super) base: &'a Path,
    /// The adapter's folder.
    pub(super) adapter: &'a Path,
    /// The records trained on, in order, as JSON Lines.
    pub(super) records: Option<&'a Path>,
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
    let completion = &bundle.completion;
    let count = completion.output_ids.len();
    let name = completion.numeric_mode.as_str();
    let checked = match NumericMode::from_name(name) {
        Some(mode) => in_mode(&backend, mode, materials)?
            .reexecute(completion, Check::Regenerate)
            .map(|()| format!("the answer of {count} tokens comes out the same")),
        None if name == REMOTE_MODE => Ok(foreign(&backend, completion)?),
        None => {
            let expected = NumericMode::ALL.map(NumericMode::name).join(" or ");
            Err(ReexecuteError::Mismatch(Mismatch { field: "numeric_mode", expected, found: name.to_owned() }))
        }
    };
    match checked {
        Ok(line) => done.push(line),
        Err(ReexecuteError::Mismatch(mismatch)) => {
            faults.push(Fault { field: format!("completion.{}", mismatch.field), reason: mismatch.to_string() })
        }
        Err(ReexecuteError::Serve(error)) => return Err(error.into()),
        Err(error) => return Err(CliError::refused(Exit::Failure, error.to_string())),
    }
    if materials.records.is_none() {
        done.push("spans and influence were not computed again: no --records were given".to_owned());
        return Ok((faults, done));
    }
    credits_again(bundle, manifest, &backend, materials, &mut faults, &mut done)?;
    Ok((faults, done))
}

/// `backend` in numeric mode `mode`, in which gradients may not be computed.
fn in_mode(backend: &Embedded, mode: NumericMode, materials: &Materials<'_>) -> Result<Embedded> {
    if mode == backend.model().mode() {
        return Ok(backend.clone());
    }
    let model = Arc::new(Model::load(materials.base)?.with_mode(mode)?);
    let (tokenizer, form) = (Arc::clone(backend.tokenizer()), backend.chat_form().clone());
    let other = Embedded::new(model, tokenizer, form, "base", ADAPTER_BYTES);
    other.adapters().register(materials.adapter)?;
    Ok(other)
}

/// What can be said of an answer that another server made: how likely it is here.
fn foreign(backend: &Embedded, completion: &Completion) -> Result<String> {
    let ids = [completion.prompt_ids.as_slice(), &completion.output_ids].concat();
    let scores = backend.score(&completion.adapter.to_string(), &ids)?;
    let answer = scores.get(completion.prompt_ids.len().saturating_sub(1)..).unwrap_or_default();
    let mean = answer.iter().map(|score| f64::from(*score)).sum::<f64>() / answer.len().max(1) as f64;
    Ok(format!(
        "the answer of {} tokens is unchecked: another server made it (mode `{REMOTE_MODE}`), which is not repeatable to the \
         byte; here its tokens have a mean log-probability of {mean:.3}",
        completion.output_ids.len()
    ))
}

/// The place of each record among near copies of it.
fn cluster_places(records: &[evidence::TrainedRecord]) -> Vec<ClusterPlace> {
    let texts: Vec<String> = records.iter().map(|record| record.body.canonical_text()).collect();
    let clusters = Clusters::of(texts.iter().map(String::as_str));
    let place =
        |place: &Placement| ClusterPlace { owner: place.owner, multiplier: place.multiplier, source: place.source };
    clusters.placements().iter().map(place).collect()
}

/// Builds index and influence cache again from the records trained on, compares their roots with
/// the manifest's, and credits the answer again.
fn credits_again(
    bundle: &ReceiptBundle,
    manifest: &Manifest,
    backend: &Embedded,
    materials: &Materials<'_>,
    faults: &mut Vec<Fault>,
    done: &mut Vec<String>,
) -> Result<()> {
    let Some(file) = materials.records else { return Ok(()) };
    let mut fault = |field: &str, reason: String| faults.push(Fault { field: field.to_owned(), reason });
    let text = std::fs::read_to_string(file).map_err(CliError::file(file))?;
    let records = evidence::from_jsonl(&text)
        .map_err(|error| format!("{}: {error}; write it again with `openledger model records`", file.display()))
        .map_err(|message| CliError::refused(Exit::Data, message))?;
    let root = evidence::records_root(bundle.signed.domain.chain_id, &records);
    if root != manifest.records_root {
        let reason = format!("the {} records of {} have root {root}", records.len(), file.display());
        fault("manifest.records_root", reason);
        return Ok(());
    }
    done.push(format!("{} records have the root that the manifest commits to", records.len()));
    let (model, tokenizer) = (backend.model(), backend.tokenizer());
    let lora = openledger_engine::Lora::load_peft(materials.adapter, model)?;
    let folders = (materials.base.to_owned(), materials.adapter.to_owned());
    let length = evidence::recipe_length(manifest)?;
    let again = Evidence::build(model, tokenizer, &lora, &records, length, folders)?;
    for (at, ((version, cache), declared)) in again.methods().into_iter().zip(&manifest.methods).enumerate() {
        if version != declared.version || cache != declared.cache {
            fault(&format!("manifest.methods[{at}]"), format!("{version} comes out with the cache {cache}"));
        } else {
            done.push(format!("the cache of {version} comes out the same"));
        }
    }
    let places = cluster_places(&records);
    let attributor = evidence::attributor(&records, &places, &manifest.contributions, again.index, again.cache)?;
    let credits = attributor.credit(&bundle.completion, Some((model, &lora)), &bundle.params)?;
    let declared = &bundle.credits;
    let parts = [
        ("credits.spans", credits.spans == declared.spans, declared.spans.len()),
        ("credits.scores", credits.scores == declared.scores, declared.scores.len()),
        ("credits.coverage", credits.coverage == declared.coverage, 3),
        ("credits.methods", credits.methods == declared.methods, declared.methods.len()),
    ];
    for (field, equal, count) in parts {
        if equal {
            done.push(format!("{field} ({count}) come out the same"));
        } else {
            fault(field, "comes out otherwise".to_owned());
        }
    }
    Ok(())
}
