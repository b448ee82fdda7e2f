//! `openledger epoch`: the settled epochs of a node, and watching those that are proposed.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use openledger_api::{EpochPublication, EpochState, Verdict};

use super::receipt::read;
use super::{ListArgs, flat, print_json, print_list};
use crate::connection::NodeArgs;
use crate::error::{CliError, Exit, Result};

/// Verbs on epochs.
#[derive(Subcommand, Debug)]
pub(crate) enum EpochVerb {
    /// List the epochs of a node.
    List {
        #[command(flatten)]
        node: NodeArgs,
        #[command(flatten)]
        list: ListArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the header of an epoch to standard output, for `receipt verify`.
    Export {
        /// Number of the epoch, from 1.
        number: u64,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Settle the open epoch: close it, redeem channels, propose its roots, finalize. A window of
    /// more than a second is not waited for: call it again after the window.
    Settle {
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the lifetime earnings of every account up to an epoch.
    Payouts {
        /// Number of the epoch, from 1.
        number: u64,
        #[command(flatten)]
        node: NodeArgs,
        #[command(flatten)]
        list: ListArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the leaves under an epoch's roots to standard output, for `epoch watch`.
    Publication {
        /// Number of the epoch, from 1.
        number: u64,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Recompute the pending proposal. Exit status 1: it is false, or cannot be judged.
    Watch {
        /// File with the proposer's publication; default: compare with the node's own books.
        #[arg(long, value_name = "FILE")]
        publication: Option<PathBuf>,
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON: the verdict, and each refutation with its call data.
        #[arg(long)]
        json: bool,
    },
    /// Refute the pending proposal on chain with the first valid proof. The node earns a part of
    /// the bond.
    Challenge {
        /// File with the proposer's publication; default: compare with the node's own books.
        #[arg(long, value_name = "FILE")]
        publication: Option<PathBuf>,
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the verb.
pub(crate) async fn run(verb: EpochVerb) -> Result<()> {
    match verb {
        EpochVerb::List { node, list, json } => print_list(node.client()?.epochs(), &list, json).await,
        EpochVerb::Export { number, node } => print_json(&node.client()?.epoch(number).await?),
        EpochVerb::Settle { node, json } => settle(&node, json).await,
        EpochVerb::Payouts { number, node, list, json } => {
            print_list(node.client()?.payouts(number), &list, json).await
        }
        EpochVerb::Publication { number, node } => print_json(&node.client()?.publication(number).await?),
        EpochVerb::Watch { publication, node, json } => watch(&node, publication.as_deref(), json).await,
        EpochVerb::Challenge { publication, node, json } => challenge(&node, publication.as_deref(), json).await,
    }
}

fn publication(file: Option<&Path>) -> Result<Option<EpochPublication>> {
    file.map(|file| read(file, "an epoch's publication")).transpose()
}

async fn watch(node: &NodeArgs, file: Option<&Path>, json: bool) -> Result<()> {
    let watched = node.client()?.watch(publication(file)?.as_ref()).await?;
    if json {
        print_json(&watched)?;
    }
    let Some(watched) = watched else {
        if !json {
            println!("no proposal is pending");
        }
        return Ok(());
    };
    let (verdict, lines): (&str, Vec<String>) = match &watched.verdict {
        Verdict::Agrees => ("agrees", Vec::new()),
        Verdict::Refuted { refutations } => {
            let provable = |refutation: &openledger_api::Refutation| format!("{}: provable on chain", refutation.what);
            ("refuted", refutations.iter().map(provable).collect())
        }
        Verdict::Disputed { differences } => ("disputed", differences.clone()),
        Verdict::Withheld { reason } => ("withheld", vec![reason.clone()]),
    };
    if !json {
        println!("epoch {} by {}: {verdict}", watched.epoch, watched.proposer);
        lines.iter().for_each(|line| println!("  {line}"));
    }
    let next = match watched.verdict {
        Verdict::Agrees => return Ok(()),
        Verdict::Refuted { .. } => "`openledger epoch challenge` refutes it on chain",
        Verdict::Disputed { .. } => "no proof decides: bring the differences before the jury",
        Verdict::Withheld { .. } => "get its publication from the proposer and give it with --publication",
    };
    Err(CliError::refused(Exit::Failure, format!("the pending proposal is {verdict}; {next}")))
}

async fn challenge(node: &NodeArgs, file: Option<&Path>, json: bool) -> Result<()> {
    let dispute = node.client()?.challenge(publication(file)?.as_ref()).await?;
    match dispute {
        dispute if json => print_json(&dispute)?,
        None => println!("there is nothing to refute"),
        Some(dispute) => println!("{}", flat(&dispute)?),
    }
    Ok(())
}

/// Settles the open epoch. The idempotency key names the epoch before it, so that a repeat after a
/// lost answer returns that answer, and the next epoch has its own key.
async fn settle(node: &NodeArgs, json: bool) -> Result<()> {
    let client = node.client()?;
    let mut last = 0;
    let mut epochs = client.epochs();
    while let Some(page) = epochs.next().await? {
        let finalized = page.items.iter().filter(|epoch| epoch.state == EpochState::Finalized);
        if let Some(number) = finalized.map(|epoch| epoch.number).max() {
            last = number;
            break;
        }
    }
    let settled = client.settle(&format!("settle-after-{last}")).await?;
    if json {
        return print_json(&settled);
    }
    for step in &settled.steps {
        println!("{}", flat(step)?);
    }
    println!("{}", flat(&settled.epoch.header)?);
    Ok(())
}
