//! `openledger claim`: has a node pay out what accounts earned in the finalized epochs.

use clap::Args;
use openledger_protocol::{Address, Amount};
use serde_json::json;

use super::print_json;
use crate::api::{NodeArgs, field};
use crate::error::Result;

/// Arguments of `openledger claim`.
#[derive(Args, Debug)]
pub(crate) struct ClaimArgs {
    /// Whose earnings; without, everybody's. The money goes to the account whoever asks.
    #[arg(long = "account", value_name = "0x…")]
    accounts: Vec<Address>,
    #[command(flatten)]
    node: NodeArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Claims and prints what was paid.
pub(crate) async fn run(args: ClaimArgs) -> Result<()> {
    let body = json!({ "accounts": args.accounts });
    let answer = args.node.api()?.post("/api/v1/claims", &body, "claim").await?;
    if args.json {
        return print_json(&answer);
    }
    for claim in answer["claims"].as_array().into_iter().flatten() {
        let amount: Amount = field(claim, "POST claims", "amount")?;
        let account: Address = field(claim, "POST claims", "account")?;
        println!("{account}  {amount}  {}", claim["name"].as_str().unwrap_or_default());
    }
    Ok(())
}
