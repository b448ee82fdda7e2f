//! `openledger epoch`: the settled epochs of a node, and watching those that are proposed.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use openledger_api::{EpochPublication, EpochState, Refutation, Verdict};

use super::receipt::read;
use super::{ListArgs, flat, print_json, print_list};
use crate::connection::NodeArgs;
use crate::console::one_line;
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
    /// more than a second is not waited for: call it again after the window. After a response that
    /// was lost, `epoch list` shows whether the epoch is settled: a repeat settles the next one.
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
    let (verdict, lines) = described(&watched.verdict);
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

/// The word for a verdict, and its reasons as lines of text. They quote what strangers published.
fn described(verdict: &Verdict) -> (&'static str, Vec<String>) {
    match verdict {
        Verdict::Agrees => ("agrees", Vec::new()),
        Verdict::Refuted { refutations } => {
            let provable = |refutation: &Refutation| format!("{}: provable on chain", one_line(&refutation.what));
            ("refuted", refutations.iter().map(provable).collect())
        }
        Verdict::Disputed { differences } => {
            ("disputed", differences.iter().map(|difference| one_line(difference)).collect())
        }
        Verdict::Withheld { reason } => ("withheld", vec![one_line(reason)]),
    }
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

/// Settles the open epoch. The idempotency key names it as the one after the last finalized epoch:
/// commands that run at once share one response, and the next epoch has its own key. A command
/// after a lost response reads that the epoch is finalized: it settles the next one, or is refused
/// with `no-receipts`.
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
    let settled = client.settle(&format!("settle/{}", last + 1)).await?;
    if json {
        return print_json(&settled);
    }
    for step in &settled.steps {
        println!("{}", flat(step)?);
    }
    println!("{}", flat(&settled.epoch.header)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::get;
    use axum::{Json, Router};
    use clap::Parser;
    use openledger_protocol::{Amount, B256};
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::{Cli, Verb};

    /// The last finalized epoch of a node, and the idempotency keys of its calls to settle.
    type Settling = Arc<Mutex<(u64, Vec<String>)>>;

    /// The epochs, newest first: one is proposed, those before it are finalized.
    async fn epochs(State(settling): State<Settling>) -> Json<Value> {
        let finalized = settling.lock().unwrap().0;
        let epoch = |number: u64| {
            let state = if number > finalized { "proposed" } else { "finalized" };
            json!({
                "number": number, "state": state, "receipts": 1, "entries_total": Amount::OPEN, "total": Amount::OPEN,
                "receipts_root": B256::ZERO, "entries_root": B256::ZERO, "payout_root": B256::ZERO,
            })
        };
        let items: Vec<Value> = (1..=finalized + 1).rev().map(epoch).collect();
        Json(json!({ "items": items, "next": null }))
    }

    async fn refuse(State(settling): State<Settling>, headers: HeaderMap) -> StatusCode {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        settling.lock().unwrap().1.push(key);
        StatusCode::CONFLICT
    }

    #[tokio::test]
    async fn the_key_of_a_settlement_names_the_epoch_after_the_last_finalized() {
        let settling = Settling::default();
        let router = Router::new().route("/api/v1/epochs", get(epochs).post(refuse)).with_state(Arc::clone(&settling));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        for finalized in [0, 2, 2, 3] {
            settling.lock().unwrap().0 = finalized;
            let words = ["openledger", "epoch", "settle", "--node", &url];
            let Verb::Epoch(verb) = Cli::try_parse_from(words).unwrap().verb else { panic!("another verb") };
            assert_eq!(run(verb).await.unwrap_err().exit(), Exit::Conflict);
        }
        assert_eq!(settling.lock().unwrap().1, ["settle/1", "settle/3", "settle/3", "settle/4"]);
    }

    #[test]
    fn what_a_proposer_published_moves_no_cursor() {
        let lines = |verdict: Value| described(&serde_json::from_value(verdict).unwrap()).1;
        let what = "leaf\n\u{1b}[2J";
        let refuted = json!({ "verdict": "refuted", "refutations": [{ "what": what, "fault": 1, "calldata": "0x" }] });
        assert_eq!(lines(refuted), ["leaf \\u{1b}[2J: provable on chain"]);
        assert_eq!(lines(json!({ "verdict": "disputed", "differences": [what] })), ["leaf \\u{1b}[2J"]);
        assert_eq!(lines(json!({ "verdict": "withheld", "reason": what })), ["leaf \\u{1b}[2J"]);
    }
}
