//! `openledger model`: the models of a node, and making a base model from its recipe.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use openledger_factory::{Saving, Texts, pretrain};
use serde_json::json;

use super::progress::{Watch, nats};
use super::{ListArgs, blocking, offering, print_json, print_list};
use crate::connection::NodeArgs;
use crate::error::{CliError, Exit, Result};
use crate::records;

/// Verbs on models.
#[derive(Subcommand, Debug)]
pub(crate) enum ModelVerb {
    /// List the models of a node, with prices and split: platform, model, stakers, contributors.
    List {
        #[command(flatten)]
        node: NodeArgs,
        #[command(flatten)]
        list: ListArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the manifest of a model to standard output, in the bytes that are hashed.
    Manifest {
        /// Name of the model.
        name: String,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Write the training records of a model in order, as JSONL, for `receipt verify --reexecute`.
    /// Without the operator token only records of public terms.
    Records {
        /// Name of the model.
        name: String,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Train an adapter on a node, on datanet versions with a grant for it, and wait. `job follow`
    /// shows its progress.
    Train(offering::TrainArgs),
    /// Register the title of a trained adapter with its price, and offer it.
    Publish(offering::PublishArgs),
    /// Pretrain a base model from its recipe; needs no node.
    Pretrain {
        /// File of the recipe, TOML.
        #[arg(long, value_name = "FILE")]
        recipe: PathBuf,
        /// File of texts to train on, JSONL with `text`: one for each input of the recipe, in
        /// order.
        #[arg(long, value_name = "FILE", required = true)]
        texts: Vec<PathBuf>,
        /// File of texts to measure on, JSONL with `text`.
        #[arg(long, value_name = "FILE")]
        held_out: PathBuf,
        /// Folder for the model.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// File for the state of a stopped run; default: none.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Steps between checkpoints.
        #[arg(long, default_value_t = 100)]
        save_every: u64,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the verb.
pub(crate) async fn run(verb: ModelVerb) -> Result<()> {
    match verb {
        ModelVerb::List { node, list, json } => print_list(node.client()?.models(), &list, json).await,
        ModelVerb::Manifest { name, node } => print_json(&node.client()?.manifest(&name).await?),
        ModelVerb::Records { name, node } => {
            let client = node.client()?;
            let mut pages = client.trained_records(&name);
            while let Some(page) = pages.next().await? {
                for record in &page.items {
                    println!("{}", serde_json::to_string(record)?);
                }
            }
            Ok(())
        }
        ModelVerb::Train(args) => offering::train(args).await,
        ModelVerb::Publish(args) => offering::publish(args).await,
        ModelVerb::Pretrain { recipe, texts, held_out, out, checkpoint, save_every, json } => {
            let read = move || {
                let inputs = texts.iter().map(|file| records::texts(file)).collect::<Result<_>>()?;
                let texts = Texts { inputs, held_out: records::texts(&held_out)? };
                make_base(&recipe, &texts, out, checkpoint, save_every, json)
            };
            blocking(read).await
        }
    }
}

fn make_base(
    recipe: &Path,
    texts: &Texts,
    out: PathBuf,
    checkpoint: Option<PathBuf>,
    every: u64,
    as_json: bool,
) -> Result<()> {
    let mut watch = Watch::new();
    let saving = Saving { file: checkpoint.as_deref(), every };
    let Some(made) = pretrain(recipe, texts, &out, saving, &mut watch)? else {
        let message = "stopped; the same command goes on from the checkpoint, if one was named";
        return Err(CliError::refused(Exit::Failure, message));
    };
    let hash = openledger_protocol::BaseHash(made.model.into());
    let tokenizer = openledger_protocol::B256::from(made.tokenizer);
    if as_json {
        return print_json(&json!({
            "base": hash,
            "tokenizer": tokenizer,
            "steps": made.losses.len(),
            "held_out_micro": made.held_out,
            "out": out,
        }));
    }
    println!("base       {hash}");
    println!("tokenizer  {tokenizer}");
    println!("steps      {}", made.losses.len());
    println!("held out   {} nats a token", nats(made.held_out));
    Ok(())
}
