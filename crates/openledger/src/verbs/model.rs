//! `openledger model`: the models of a node, and making a base model from its recipe.

use std::path::PathBuf;

use clap::Subcommand;
use openledger_factory::{Saving, pretrain};
use openledger_node::evidence::{self, TrainedRecord};
use serde_json::json;

use super::progress::{Watch, nats};
use super::{blocking, offering, print_json};
use crate::api::{NodeArgs, field};
use crate::error::{CliError, Exit, Result};

/// Verbs on models.
#[derive(Subcommand, Debug)]
pub(crate) enum ModelVerb {
    /// The models a node offers, with prices and split.
    List {
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// A model's manifest: all that went into it. Written to standard output as it is hashed.
    Manifest {
        /// The model's name.
        name: String,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// The records a model was trained on, in order, as JSON Lines: what `receipt verify --reexecute` takes.
    Records {
        /// The model's name.
        name: String,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Order an adapter from a node, on datanet versions it holds grants for, and wait for it.
    Train(offering::TrainArgs),
    /// Register a trained adapter's title with its price, and offer it.
    Publish(offering::PublishArgs),
    /// Make a base model from its recipe; needs no node.
    Pretrain {
        /// The recipe, TOML.
        #[arg(long, value_name = "FILE")]
        recipe: PathBuf,
        /// The model's folder.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Where the state of a stopped run is kept; none by default.
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

/// Does what was asked.
pub(crate) async fn run(verb: ModelVerb) -> Result<()> {
    match verb {
        ModelVerb::List { node, json } => {
            let answer = node.api()?.get("/api/v1/models").await?;
            if json {
                return print_json(&answer);
            }
            for model in answer["models"].as_array().into_iter().flatten() {
                println!("{}", super::epoch::flat(model));
            }
            Ok(())
        }
        ModelVerb::Manifest { name, node } => {
            print_json(&node.api()?.get(&format!("/api/v1/models/{name}/manifest")).await?)
        }
        ModelVerb::Records { name, node } => {
            let answer = node.api()?.get(&format!("/api/v1/models/{name}/records")).await?;
            let records: Vec<TrainedRecord> = field(&answer, "GET records", "records")?;
            print!("{}", evidence::to_jsonl(&records)?);
            Ok(())
        }
        ModelVerb::Train(args) => offering::train(args).await,
        ModelVerb::Publish(args) => offering::publish(args).await,
        ModelVerb::Pretrain { recipe, out, checkpoint, save_every, json } => {
            blocking(move || make_base(recipe, out, checkpoint, save_every, json)).await
        }
    }
}

fn make_base(recipe: PathBuf, out: PathBuf, checkpoint: Option<PathBuf>, every: u64, as_json: bool) -> Result<()> {
    let mut watch = Watch::new();
    let saving = Saving { file: checkpoint.as_deref(), every };
    let Some(made) = pretrain(&recipe, &out, saving, &mut watch)? else {
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
