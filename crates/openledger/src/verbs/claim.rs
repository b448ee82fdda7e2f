//! `openledger claim`: has a node pay out what accounts earned in the finalized epochs.

use clap::Args;
use openledger_api::{Address, ClaimsRequest};

use super::{print_json, print_table};
use crate::connection::NodeArgs;
use crate::error::Result;

/// Arguments of `openledger claim`.
#[derive(Args, Debug)]
pub(crate) struct ClaimArgs {
    /// Account to pay out; may be repeated; default: all accounts. Earnings always go to the
    /// account itself.
    #[arg(long = "account", value_name = "0x…")]
    accounts: Vec<Address>,
    #[command(flatten)]
    node: NodeArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Sends the claims and prints the payments.
pub(crate) async fn run(args: ClaimArgs) -> Result<()> {
    let request = ClaimsRequest { accounts: args.accounts };
    let made = args.node.client()?.claim(&request).await?;
    if args.json {
        return print_json(&made);
    }
    print_table(&made.claims);
    Ok(())
}
