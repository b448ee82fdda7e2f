//! `openledger deploy`: the contracts on any Ethereum network, by CREATE2, at addresses known
//! beforehand.
//!
//! The same parameters give the same addresses on every network, so a node started with them
//! (`openledger node --rpc`) finds these contracts. What is there already is left alone: a second
//! run sends nothing, and one that was interrupted goes on where it stopped.

use std::sync::Arc;

use clap::Args;
use openledger_chain::contracts::{DeployError, DeployParams, Deployed, Deployment, Token};
use openledger_chain::rpc::{Client, HttpRpc};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Sender};
use openledger_protocol::{Address, Amount};
use serde_json::json;

use super::print_json;
use super::signing::Signer;
use crate::console::table;
use crate::error::{CliError, Exit, Result};

/// Seconds in a day.
const DAY_S: u64 = 24 * 3_600;

/// Arguments of `openledger deploy`.
#[derive(Args, Debug)]
pub(crate) struct DeployArgs {
    /// JSON-RPC URL of the network.
    #[arg(long, value_name = "URL")]
    rpc: String,
    /// List deployed and missing contracts and the cost of deployment; send nothing.
    #[arg(long)]
    dry_run: bool,
    /// ERC-20 of OPEN on that network; default: OPEN is its native coin, and WOPEN is deployed to
    /// wrap it.
    #[arg(long, value_name = "0x…")]
    token: Option<Address>,
    /// Account of the platform's treasury, which may also set the governed numbers; default: the
    /// signer.
    #[arg(long, value_name = "0x…")]
    treasury: Option<Address>,
    /// Account of the validation budget; default: the signer.
    #[arg(long, value_name = "0x…")]
    validation: Option<Address>,
    /// Account of disputes and insurance; default: the signer.
    #[arg(long, value_name = "0x…")]
    insurance: Option<Address>,
    /// Account that can pause proposals and deposits for a limited time; default: none.
    #[arg(long, value_name = "0x…")]
    guardian: Option<Address>,
    /// Account that can annul a pending proposal; default: none.
    #[arg(long, value_name = "0x…")]
    jury: Option<Address>,
    /// Bond of an operator, above 0.
    #[arg(long, default_value = "5000 OPEN")]
    bond: Amount,
    /// Challenge window, in seconds: from 1/24 of --day to seven times --day.
    #[arg(long, value_name = "S", default_value_t = DAY_S)]
    window: u64,
    /// Length of a day in seconds, 1 to 86,400; shorter ones are for local networks.
    #[arg(long, value_name = "S", default_value_t = DAY_S)]
    day: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    signer: Signer,
}

/// Deploys the missing contracts, or lists them.
pub(crate) async fn run(args: DeployArgs) -> Result<()> {
    let key = args.signer.key()?;
    let deployer = key.address();
    let plan = Deployment::plan(&params(&args, deployer));
    let client = Client::new(Arc::new(HttpRpc::new(&args.rpc)?));
    let chain_id = client.chain_id().await?;
    let steps = if args.dry_run {
        plan.dry_run(&client, deployer).await
    } else {
        let outbox = Arc::new(MemoryOutbox::default());
        let sender = Sender::new(client, outbox, key, FeePolicy::default()).await?;
        plan.deploy(&sender).await
    };
    let steps = steps.map_err(refused)?;
    if args.json {
        let as_json = |step: &Deployed| json!({ "name": step.name, "address": step.address, "present": step.present, "gas": step.gas });
        let list: Vec<_> = steps.iter().map(as_json).collect();
        return print_json(&json!({
            "chain_id": chain_id, "deployer": deployer, "dry_run": args.dry_run,
            "addresses": plan.addresses, "steps": list,
        }));
    }
    print(&args, chain_id, &plan, &steps);
    Ok(())
}

fn params(args: &DeployArgs, deployer: Address) -> DeployParams {
    DeployParams {
        token: args.token.map_or(Token::Native, Token::Erc20),
        owner: args.treasury.unwrap_or(deployer),
        guardian: args.guardian.unwrap_or_default(),
        jury: args.jury.unwrap_or_default(),
        treasury: args.treasury.unwrap_or(deployer),
        validation: args.validation.unwrap_or(deployer),
        insurance: args.insurance.unwrap_or(deployer),
        bond: args.bond,
        window_s: args.window,
        day_s: args.day,
    }
}

fn print(args: &DeployArgs, chain_id: u64, plan: &Deployment, steps: &[Deployed]) {
    let row = |step: &Deployed| {
        let state = match (step.present, args.dry_run) {
            (true, _) => "is there",
            (false, true) => "missing",
            (false, false) => "deployed",
        };
        let gas = match (step.present, step.gas) {
            (true, _) => String::new(),
            (false, Some(gas)) => gas.to_string(),
            // Its constructor calls one that is missing too.
            (false, None) => "unknown".to_owned(),
        };
        vec![step.name.to_owned(), step.address.to_string(), state.to_owned(), gas]
    };
    let channels = vec!["Channels".to_owned(), plan.addresses.channels.to_string(), "made by Payouts".to_owned()];
    let rows: Vec<Vec<String>> = steps.iter().map(row).chain([channels]).collect();
    println!("{}", table(&["contract", "address", "state", "gas"], &rows));
    let missing = steps.iter().filter(|step| !step.present).count();
    let gas: u64 = steps.iter().filter_map(|step| step.gas).sum();
    match (missing, args.dry_run) {
        (0, _) => println!("chain {chain_id}: everything is there; nothing was sent"),
        (missing, true) => println!("chain {chain_id}: {missing} missing, {gas} gas or more; nothing was sent"),
        (missing, false) => println!("chain {chain_id}: {missing} deployed for {gas} gas"),
    }
}

fn refused(error: DeployError) -> CliError {
    match error {
        DeployError::Send(error) => error.into(),
        DeployError::Rpc(error) => error.into(),
        other => CliError::refused(Exit::Config, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;
    use clap::Parser;
    use openledger_chain::embedded::{ChainConfig, EmbeddedChain};
    use openledger_protocol::Key;

    use super::*;
    use crate::cli::{Cli, Verb};

    async fn deploy(url: &str, more: &[&str]) -> Result<()> {
        let words = ["openledger", "deploy", "--rpc", url, "--demo-seed", "1", "--as", "owner"];
        let Verb::Deploy(args) = Cli::try_parse_from(words.iter().chain(more)).unwrap().verb else {
            panic!("another verb")
        };
        run(args).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dry_run_sends_nothing_a_run_deploys_everything_and_another_run_sends_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Key::demo(1, "owner").address();
        let coins = U256::from(Amount::open(1_000).unwrap().0);
        let config = ChainConfig { genesis_accounts: vec![(owner, coins)], ..ChainConfig::default() };
        let chain = EmbeddedChain::open(dir.path(), &config).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/rpc", listener.local_addr().unwrap());
        let router = chain.router();
        tokio::spawn(async move { axum::serve(listener, router).await });

        deploy(&url, &["--dry-run"]).await.unwrap();
        deploy(&url, &["--dry-run", "--json"]).await.unwrap();
        assert_eq!(chain.head(), 0);
        deploy(&url, &[]).await.unwrap();
        let head = chain.head();
        assert_eq!(head, 7, "one transaction for each contract but the one that another makes");
        deploy(&url, &["--json"]).await.unwrap();
        assert_eq!(chain.head(), head);
        deploy(&url, &["--treasury", "0x4f50454e00000000000000000000000000000002"]).await.unwrap();
        // The treasury owns the governed numbers, which models, verifier and payouts name.
        assert_eq!(
            chain.head(),
            head + 4,
            "other parameters give other addresses to the contracts that depend on them"
        );
    }

    #[tokio::test]
    async fn a_network_that_does_not_answer_is_unavailable() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failed = deploy(&format!("http://{closed}"), &["--dry-run"]).await.unwrap_err();
        assert_eq!(failed.exit(), Exit::Unavailable);
    }
}
