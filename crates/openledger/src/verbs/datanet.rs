//! `openledger datanet`: the datanets of a node.

use clap::Subcommand;

use crate::api::NodeArgs;
use crate::error::Result;

/// Verbs on datanets.
#[derive(Subcommand, Debug)]
pub(crate) enum DatanetVerb {
    /// The datanets of a node.
    List {
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Does what was asked.
pub(crate) async fn run(verb: DatanetVerb) -> Result<()> {
    match verb {
        DatanetVerb::List { node, json } => super::epoch::list(&node, "/api/v1/datanets", "datanets", json).await,
    }
}
