//! `openledger influence`: how much likelier each record made an answer, on plain files.

use std::path::PathBuf;

use clap::Subcommand;
use openledger_attribution::folder::{influence_cache, influence_score};
use openledger_attribution::influence::Method;
use serde_json::json;

use super::print_json;
use crate::error::{CliError, Exit, Result};

/// Verbs of influence.
#[derive(Subcommand, Debug)]
pub(crate) enum InfluenceVerb {
    /// Compute the gradients of every record and prepare them by a method.
    Cache {
        /// Folder of the base model, or its name on the hub, `org/name[@revision]`.
        #[arg(long, value_name = "DIR|ID")]
        base: PathBuf,
        /// Offline: use local models only; never contact the hub.
        #[arg(long)]
        offline: bool,
        /// Folder of the adapter.
        #[arg(long, value_name = "DIR")]
        adapter: PathBuf,
        /// File of records, JSONL: `input_ids`, or text for the base's tokenizer.
        #[arg(long, value_name = "FILE")]
        records: PathBuf,
        /// Maximum number of tokens per record, as in training. Default: what the adapter's
        /// `training.json` says, or the model's positions.
        #[arg(long)]
        seq: Option<usize>,
        /// Folder of the cache.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Method: `fisher`, `grad-dot`, `grad-cos` or `datainf`.
        #[arg(long, default_value = "fisher")]
        method: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Score queries against a cache. Output: a float32 matrix, one row per query, one column per
    /// record in file order.
    Score {
        /// Folder of the cache.
        #[arg(long, value_name = "DIR")]
        cache: PathBuf,
        /// File of queries, JSONL: `input_ids` with `loss_start`, or `prompt` and `response`.
        #[arg(long, value_name = "FILE")]
        queries: PathBuf,
        /// File for the matrix, .npy.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the verb.
pub(crate) async fn run(mut verb: InfluenceVerb) -> Result<()> {
    if let InfluenceVerb::Cache { base, offline, .. } = &mut verb {
        *base = crate::hub::base(base, *offline).await?.dir;
    }
    super::blocking(move || compute(&verb)).await
}

fn compute(verb: &InfluenceVerb) -> Result<()> {
    match verb {
        InfluenceVerb::Cache { base, offline: _, adapter, records, seq, out, method, json } => {
            let method: Method = method.parse().map_err(|error| CliError::refused(Exit::Usage, format!("{error}")))?;
            let records = crate::records::sources(records)?;
            let report = influence_cache(base, adapter, &records, *seq, out, method, &mut bar("gradients"))?;
            if *json {
                return print_json(&report);
            }
            println!(
                "{} records, {} parameters, {}, root {}",
                report.records, report.parameters, report.method, report.root
            );
            Ok(())
        }
        InfluenceVerb::Score { cache, queries, out, json } => {
            let scores = influence_score(cache, &crate::records::sources(queries)?, &mut bar("queries"))?;
            std::fs::write(out, scores.to_npy()).map_err(CliError::file(out))?;
            if *json {
                return print_json(&json!({ "queries": scores.queries(), "records": scores.records(), "out": out }));
            }
            println!("{} queries x {} records in {}", scores.queries(), scores.records(), out.display());
            Ok(())
        }
    }
}

/// A progress bar on standard error, if that is a terminal.
fn bar(name: &'static str) -> impl FnMut(usize, usize) {
    let bar = indicatif::ProgressBar::new(0).with_message(name);
    move |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    }
}
