//! A chain in a temporary directory with seeded accounts.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::{Address, U256};
use openledger_chain::contracts::{DeployParams, Deployment};
use openledger_chain::embedded::{BlockClock, ChainConfig, EmbeddedChain};
use openledger_chain::flow::Flow;
use openledger_chain::rpc::Client;
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Outbox, Sender};
use openledger_protocol::{Amount, Key};
use tempfile::TempDir;

/// Accounts that hold OPEN at genesis.
pub(crate) const SEEDED: [&str; 4] = ["river-gauge", "night-desk", "salt-archive", "node"];

pub(crate) fn key(name: &str) -> Key {
    Key::demo(1, name)
}

pub(crate) fn address(name: &str) -> Address {
    key(name).address()
}

pub(crate) fn open_amount(whole: u64) -> Amount {
    Amount::open(whole).unwrap()
}

pub(crate) fn config() -> ChainConfig {
    let million = U256::from(open_amount(1_000_000).0);
    ChainConfig {
        genesis_accounts: SEEDED.map(|name| (address(name), million)).to_vec(),
        clock: BlockClock::Logical { start: 1_800_000_000 },
        ..ChainConfig::default()
    }
}

pub(crate) struct Network {
    pub(crate) chain: EmbeddedChain,
    pub(crate) client: Client,
    pub(crate) dir: TempDir,
}

/// A fresh chain.
pub(crate) async fn network() -> Network {
    let dir = tempfile::tempdir().unwrap();
    let chain = EmbeddedChain::open(dir.path(), &config()).await.unwrap();
    let client = Client::new(Arc::new(chain.clone()));
    Network { chain, client, dir }
}

/// Opens the chain in `dir` again.
pub(crate) async fn reopen(dir: &Path) -> (EmbeddedChain, Client) {
    let chain = EmbeddedChain::open(dir, &config()).await.unwrap();
    let client = Client::new(Arc::new(chain.clone()));
    (chain, client)
}

pub(crate) async fn sender(client: &Client, name: &str) -> Sender {
    sender_with(client, name, Arc::new(MemoryOutbox::default())).await
}

pub(crate) async fn sender_with(client: &Client, name: &str, outbox: Arc<dyn Outbox>) -> Sender {
    Sender::new(client.clone(), outbox, key(name), FeePolicy::default()).await.unwrap()
}

/// The plan of our contracts on a local network.
pub(crate) fn deployment() -> Deployment {
    let params =
        DeployParams::local(address("treasury"), address("validation"), address("insurance"), open_amount(5_000));
    Deployment::plan(&params)
}

/// Our contracts on a fresh chain, driven by `node`'s account.
pub(crate) async fn deployed() -> (Network, Flow) {
    let network = network().await;
    let sender = sender(&network.client, "node").await;
    let deployment = deployment();
    deployment.deploy(&sender).await.unwrap();
    (network, Flow::new(Arc::new(sender), deployment.addresses))
}

/// The same contracts, driven by another account.
pub(crate) async fn flow_of(network: &Network, name: &str) -> Flow {
    Flow::new(Arc::new(sender(&network.client, name).await), deployment().addresses)
}
