//! Writes an adapter as a folder that Hugging Face tools read: PEFT files, a model card, the run's
//! figures.

use std::fmt::Write as _;
use std::path::Path;

use openledger_engine::NUMERIC_MODE;
use openledger_protocol::canonical_json;
use serde_json::json;

use crate::error::FactoryError;
use crate::files;
use crate::recipe::Recipe;
use crate::train::Trained;

/// The chat template of our bases, in Hugging Face's Jinja form; `serving` knows the same text by
/// its bytes.
pub const CHAT_TEMPLATE: &str = include_str!("../../../models/base/chat_template.jinja");

/// What a model card says besides the run's own figures.
#[derive(Debug, Clone, Default)]
pub struct Card {
    /// The adapter's name.
    pub name: String,
    /// The base's name or path, as PEFT's `base_model_name_or_path`.
    pub base: String,
    /// SPDX expression of the adapter's licence; empty leaves the line out.
    pub license: String,
    /// Names of the datanets or files it was trained on.
    pub datasets: Vec<String>,
}

/// Writes `adapter_config.json`, `adapter_model.safetensors`, `README.md` and `training.json` to
/// `dir`, all or nothing.
///
/// # Errors
/// [`FactoryError::OutputExists`] when `dir` holds anything, [`FactoryError::Io`] and
/// [`FactoryError::Load`] when it cannot be written.
pub fn export(dir: &Path, trained: &Trained, recipe: &Recipe, card: &Card) -> Result<(), FactoryError> {
    let training = canonical_json(&json!({
        "format": "openledger/training/v1",
        "adapter": hex(&trained.lora.hash()),
        "fingerprint": trained.fingerprint,
        "recipe": recipe.to_json()?,
        "numeric_mode": NUMERIC_MODE,
        "losses_micro_nats": trained.losses,
        "held_out": trained.held_out.as_ref().map(|e| json!({
            "records": e.records,
            "tokens": e.tokens,
            "before_micro_nats": e.before,
            "after_micro_nats": e.after,
        })),
        "trained_tokens": trained.trained_tokens,
        "contexts_cut": trained.contexts_cut,
        "overlaps": trained.overlaps.iter().map(|o| json!({
            "held_out": o.held_out,
            "training": o.training,
            "similarity_millionths": o.similarity,
        })).collect::<Vec<_>>(),
    }))?;
    files::write_folder(dir, |part| {
        trained.lora.save_peft(part, &card.base)?;
        let readme = part.join("README.md");
        std::fs::write(&readme, readme_text(trained, recipe, card)?).map_err(files::io(&readme))?;
        let log = part.join("training.json");
        std::fs::write(&log, training).map_err(files::io(&log))
    })
}

/// The model card: YAML for machines, then the figures for people.
fn readme_text(trained: &Trained, recipe: &Recipe, card: &Card) -> Result<String, FactoryError> {
    let mut out = String::from("---\nlibrary_name: peft\n");
    // JSON strings are YAML strings, so that no name can break out of its line.
    let quoted = |text: &str| serde_json::to_string(text);
    let _ = writeln!(out, "base_model: {}\nbase_model_relation: adapter", quoted(&card.base)?);
    if !card.license.is_empty() {
        let _ = writeln!(out, "license: {}", quoted(&card.license)?);
    }
    if !card.datasets.is_empty() {
        out.push_str("datasets:\n");
        for name in &card.datasets {
            let _ = writeln!(out, "  - {}", quoted(name)?);
        }
    }
    let records = trained.trained_tokens.iter().filter(|tokens| **tokens > 0).count();
    let tokens: u64 = trained.trained_tokens.iter().sum();
    let _ = writeln!(
        out,
        "---\n\n# {}\n\nA LoRA adapter (rank {}, alpha {}, {}) trained on {records} records with {tokens} tokens in {} steps.\n\n\
         Adapter hash: `{}`. The same base, records and recipe give the same bytes again (numeric mode `{NUMERIC_MODE}`).",
        card.name.replace(['\n', '\r'], " "),
        recipe.rank,
        recipe.alpha,
        recipe.targets,
        trained.losses.len(),
        hex(&trained.lora.hash()),
    );
    if trained.contexts_cut.records > 0 {
        let cut = trained.contexts_cut;
        let _ =
            writeln!(out, "\nThe contexts of {} records were shortened by {} tokens to fit.", cut.records, cut.tokens);
    }
    match &trained.held_out {
        Some(e) => {
            let _ = writeln!(
                out,
                "\n| held out | base | adapter |\n| --- | --- | --- |\n| {} records, {} tokens, nats a token | {} | {} |",
                e.records.len(),
                e.tokens,
                nats(e.before),
                nats(e.after),
            );
        }
        None => out.push_str("\nNo record was held out, so there is no figure of how well it generalises.\n"),
    }
    if !trained.overlaps.is_empty() {
        let _ = writeln!(
            out,
            "\n{} of the held-out records are near-identical to a record trained on (see `training.json`), so that the \
             figure above is better than it should be.",
            trained.overlaps.len()
        );
    }
    out.push_str("\n## Recipe\n\n| setting | value |\n| --- | --- |\n");
    for (name, value) in recipe.to_json()? {
        let _ = writeln!(out, "| {name} | {} |", value.as_str().unwrap_or_default());
    }
    Ok(out)
}

/// Micro-nats as nats with six places.
fn nats(micro: u64) -> String {
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

/// `0x` and lower-case digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
