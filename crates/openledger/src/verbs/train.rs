//! `openledger train`: an adapter from a base folder and a file of records.

use std::path::PathBuf;

use clap::Args;
use openledger_factory::plain::{Job, train_folder};
use openledger_factory::{Granted, Outcome, Recipe};
use serde_json::json;

use super::print_json;
use super::progress::{Watch, nats};
use crate::error::{CliError, Exit, Result};
use crate::{hub, records};

/// Arguments of `openledger train`.
#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// Folder of the base model (config.json, model.safetensors, tokenizer.json), or its name on
    /// the hub, `org/name[@revision]`.
    #[arg(long, value_name = "DIR|ID")]
    base: PathBuf,
    /// Offline: use local models only; never contact the hub.
    #[arg(long)]
    offline: bool,
    /// File of records, JSONL.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder for the adapter; must be absent or empty. `<out>.checkpoint` keeps the state of a
    /// stopped run.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// File of the recipe, TOML or JSON; the options below override it.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Rank of the adapter.
    #[arg(long)]
    rank: Option<usize>,
    /// Alpha of the adapter; its scale is alpha / rank.
    #[arg(long)]
    alpha: Option<f64>,
    /// Modules to adapt: `all-linear`, `attention`, or names separated by commas.
    #[arg(long)]
    targets: Option<String>,
    /// Number of passes over the records.
    #[arg(long)]
    epochs: Option<u64>,
    /// Number of optimiser steps; overrides --epochs.
    #[arg(long)]
    max_steps: Option<u64>,
    /// Learning rate.
    #[arg(long)]
    lr: Option<f64>,
    /// Records per step.
    #[arg(long)]
    batch: Option<usize>,
    /// Maximum number of tokens per record; a longer one has its context cut, or without one its
    /// end.
    #[arg(long)]
    seq: Option<usize>,
    /// Seed of all random numbers.
    #[arg(long)]
    seed: Option<u64>,
    /// Share of records held out for evaluation, 0 to 0.5.
    #[arg(long)]
    holdout: Option<f64>,
    /// Steps between checkpoints; 0 saves only when the run is stopped.
    #[arg(long, default_value_t = 50)]
    save_every: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl TrainArgs {
    fn recipe(&self) -> Result<Recipe> {
        let mut recipe = match &self.recipe {
            Some(file) => Recipe::load(file)?,
            None => Recipe::default(),
        };
        macro_rules! overridden {
            ($($field:ident),*) => {$(
                if let Some(value) = &self.$field {
                    recipe.$field = value.clone();
                }
            )*};
        }
        overridden!(rank, alpha, targets, epochs, max_steps, lr, batch, seq, seed, holdout);
        Ok(recipe)
    }
}

/// Trains with progress on standard error; prints the result to standard output.
pub(crate) async fn run(mut args: TrainArgs) -> Result<()> {
    args.base = hub::base(&args.base, args.offline).await?.dir;
    super::blocking(move || train(&args)).await
}

fn train(args: &TrainArgs) -> Result<()> {
    let job = Job {
        base: args.base.clone(),
        records: Granted::own(records::read(&args.data)?.into_iter().map(records::to_learn).collect()),
        dataset: args.data.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        out: args.out.clone(),
        recipe: args.recipe()?,
        save_every: args.save_every,
    };
    let mut watch = Watch::new();
    let trained = match train_folder(&job, &mut watch)? {
        Outcome::Done(trained) => trained,
        Outcome::Stopped { step } => {
            let message = format!("stopped after step {step}; the same command goes on from there");
            return Err(CliError::refused(Exit::Failure, message));
        }
    };
    let adapter = openledger_protocol::AdapterHash(trained.lora.hash().into());
    let tokens: u64 = trained.trained_tokens.iter().sum();
    if args.json {
        let held_out = trained.held_out.as_ref();
        return print_json(&json!({
            "adapter": adapter,
            "out": args.out,
            "steps": trained.losses.len(),
            "loss_micro": [trained.losses.first(), trained.losses.last()],
            "held_out": held_out.map(|e| json!({
                "records": e.records.len(), "tokens": e.tokens, "before_micro": e.before, "after_micro": e.after,
            })),
            "overlaps": trained.overlaps.len(),
            "contexts_cut": trained.contexts_cut,
            "tokens": tokens,
            "tokens_per_s": watch.tokens_per_s(),
        }));
    }
    println!("adapter   {adapter}");
    println!("folder    {}", args.out.display());
    println!("steps     {}, {tokens} tokens learned, {} tokens/s", trained.losses.len(), watch.tokens_per_s());
    let cut = trained.contexts_cut;
    if cut.records > 0 {
        println!("cut       the contexts of {} records, by {} tokens, so that they fit", cut.records, cut.tokens);
    }
    if let Some(e) = &trained.held_out {
        println!(
            "held out  {} records: {} before, {} after (nats a token)",
            e.records.len(),
            nats(e.before),
            nats(e.after)
        );
    }
    if !trained.overlaps.is_empty() {
        println!("warning   {} held-out records are near-identical to trained ones", trained.overlaps.len());
    }
    Ok(())
}
