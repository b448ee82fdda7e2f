//! `openledger epoch`: the settled epochs of a node.

use clap::Subcommand;
use serde_json::Value;

use super::print_json;
use crate::api::NodeArgs;
use crate::error::Result;

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
}

/// Does what was asked.
pub(crate) async fn run(verb: EpochVerb) -> Result<()> {
    match verb {
        EpochVerb::List { node, json } => list(&node, "/api/v1/epochs", "epochs", json).await,
        EpochVerb::Export { number, node } => print_json(&node.api()?.get(&format!("/api/v1/epochs/{number}")).await?),
        EpochVerb::Payouts { number, node, json } => {
            list(&node, &format!("/api/v1/epochs/{number}/payouts"), "payouts", json).await
        }
    }
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
