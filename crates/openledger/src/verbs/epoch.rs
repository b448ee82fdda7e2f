//! `openledger epoch`: the settled epochs of a node, and watching those that are proposed.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use serde_json::{Value, json};

use super::print_json;
use super::receipt::read;
use crate::api::NodeArgs;
use crate::error::{CliError, Exit, Result};

/// Verbs on epochs.
#[derive(Subcommand, Debug)]
pub(crate) enum EpochVerb {
    /// The epochs of a node.
    List {
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// An epoch's header as a file for `receipt verify`, on standard output.
    Export {
        /// Its number, from 1.
        number: u64,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Settle the open epoch: redeem what channels owe, propose the payout root, wait out the window, finalize.
    Settle {
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// What every account has earned up to an epoch.
    Payouts {
        /// Its number, from 1.
        number: u64,
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// What lies under an epoch's roots as a file for `epoch watch`, on standard output.
    Publication {
        /// Its number, from 1.
        number: u64,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Computes the pending proposal again and says whether it is true; exits with 1 when it is not, or cannot be judged.
    Watch {
        /// What its proposer published; without, it is compared with the node's own books.
        #[arg(long, value_name = "FILE")]
        publication: Option<PathBuf>,
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON: the verdict, each refutation with its call data.
        #[arg(long)]
        json: bool,
    },
    /// Refutes the pending proposal on chain with the first proof that holds; a part of the bond is the node's then.
    Challenge {
        /// What its proposer published; without, it is compared with the node's own books.
        #[arg(long, value_name = "FILE")]
        publication: Option<PathBuf>,
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Does what was asked.
pub(crate) async fn run(verb: EpochVerb) -> Result<()> {
    match verb {
        EpochVerb::List { node, json } => list(&node, "/api/v1/epochs", "epochs", json).await,
        EpochVerb::Export { number, node } => print_json(&node.api()?.get(&format!("/api/v1/epochs/{number}")).await?),
        EpochVerb::Settle { node, json } => settle(&node, json).await,
        EpochVerb::Payouts { number, node, json } => {
            list(&node, &format!("/api/v1/epochs/{number}/payouts"), "payouts", json).await
        }
        EpochVerb::Publication { number, node } => {
            print_json(&node.api()?.get(&format!("/api/v1/epochs/{number}/publication")).await?)
        }
        EpochVerb::Watch { publication, node, json } => watch(&node, publication.as_deref(), json).await,
        EpochVerb::Challenge { publication, node, json } => challenge(&node, publication.as_deref(), json).await,
    }
}

/// Asks the node about the pending proposal. Each call is one of its own: what is pending changes.
async fn about_pending(node: &NodeArgs, what: &str, publication: Option<&Path>) -> Result<Value> {
    let body = publication.map_or(Ok(json!({})), |file| read(file, "an epoch's publication"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    node.api()?.post(&format!("/api/v1/epochs/pending/{what}"), &body, &format!("{what}/{now}")).await
}

async fn watch(node: &NodeArgs, publication: Option<&Path>, json: bool) -> Result<()> {
    let watched = about_pending(node, "watch", publication).await?;
    if json {
        print_json(&watched)?;
    } else if watched.is_null() {
        println!("no proposal is pending");
    } else {
        println!("epoch {} by {}: {}", watched["epoch"], text(&watched["proposer"]), text(&watched["verdict"]));
        for refutation in watched["refutations"].as_array().into_iter().flatten() {
            println!("  {}: provable on chain", text(&refutation["what"]));
        }
        for difference in watched["differences"].as_array().into_iter().flatten().chain(watched.get("reason")) {
            println!("  {}", text(difference));
        }
    }
    match watched["verdict"].as_str() {
        None | Some("agrees") => Ok(()),
        Some(verdict) => Err(CliError::refused(Exit::Failure, format!("the pending proposal is {verdict}"))),
    }
}

async fn challenge(node: &NodeArgs, publication: Option<&Path>, json: bool) -> Result<()> {
    let dispute = about_pending(node, "challenge", publication).await?;
    if json {
        return print_json(&dispute);
    }
    if dispute.is_null() {
        println!("there is nothing to refute");
    } else {
        println!("{}", flat(&dispute));
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Settles what is open. The call is named by the epoch before it, so that a repeat after a lost answer gets that answer
/// and the next epoch a call of its own.
async fn settle(node: &NodeArgs, json: bool) -> Result<()> {
    let api = node.api()?;
    let known = api.get("/api/v1/epochs").await?;
    let finalized = known["epochs"].as_array().into_iter().flatten().filter(|epoch| epoch["state"] == "finalized");
    let last = finalized.filter_map(|epoch| epoch["number"].as_u64()).max().unwrap_or(0);
    let settled = api.post("/api/v1/epochs", &json!({}), &format!("settle-after-{last}")).await?;
    if json {
        return print_json(&settled);
    }
    for step in settled["steps"].as_array().into_iter().flatten() {
        println!("{}", flat(step));
    }
    println!("{}", flat(&settled["header"]));
    Ok(())
}

/// Prints the list `name` of the answer to `path`: a line an item, or the document.
pub(super) async fn list(node: &NodeArgs, path: &str, name: &str, json: bool) -> Result<()> {
    let answer = node.api()?.get(path).await?;
    if json {
        return print_json(&answer);
    }
    for item in answer[name].as_array().into_iter().flatten() {
        println!("{}", flat(item));
    }
    Ok(())
}

/// A JSON object as one line of `name=value`.
pub(super) fn flat(item: &Value) -> String {
    let Some(object) = item.as_object() else { return item.to_string() };
    let parts = object.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name}={}", crate::voice::short(text, 80)),
        other => format!("{name}={other}"),
    });
    parts.collect::<Vec<_>>().join("  ")
}
