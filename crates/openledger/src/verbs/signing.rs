//! Who signs: a key from a file, or a demo identity of a local network.

use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::U256;
use clap::Args;
use openledger_chain::contracts::Addresses;
use openledger_chain::flow::Flow;
use openledger_chain::rpc::{Client, HttpRpc};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Sender};
use openledger_protocol::{Address, Amount, Domain, Key};

use crate::api::{Api, field};
use crate::error::{CliError, Exit, Result};

/// What a demo identity without coins gets from the faucet, in OPEN.
const GAS: u64 = 100;

/// Whose signature a step carries.
#[derive(Args, Debug, Clone)]
pub(crate) struct Signer {
    /// File with the key, 64 hexadecimal digits.
    #[arg(long, value_name = "FILE", conflicts_with = "demo_seed", required_unless_present = "demo_seed")]
    key_file: Option<PathBuf>,
    /// Sign as an identity derived from the seed of a local network (`openledger dev`).
    #[arg(long, value_name = "SEED")]
    demo_seed: Option<u64>,
    /// The demo identity's name.
    #[arg(long = "as", value_name = "NAME", default_value = "owner")]
    identity: String,
}

/// The node's network, as far as signing needs it.
pub(crate) struct Network {
    pub(crate) chain_id: u64,
    pub(crate) addresses: Addresses,
    pub(crate) node: Address,
}

impl Network {
    /// Asks the node.
    pub(crate) async fn of(api: &Api) -> Result<Self> {
        let told = api.get("/api/v1/network").await?;
        Ok(Self {
            chain_id: field(&told, "GET network", "chain_id")?,
            addresses: field(&told, "GET network", "addresses")?,
            node: field(&told, "GET network", "node")?,
        })
    }

    /// The domain of one of the contracts.
    pub(crate) fn domain(&self, contract: Address) -> Domain {
        Domain { chain_id: self.chain_id, contract }
    }
}

impl Signer {
    /// The key.
    pub(crate) fn key(&self) -> Result<Key> {
        match (self.demo_seed, &self.key_file) {
            (Some(seed), _) => Ok(Key::demo(seed, &self.identity)),
            (None, Some(file)) => super::node::read_key(file),
            (None, None) => Err(CliError::refused(Exit::Usage, "name a key: --key-file or --demo-seed")),
        }
    }

    /// Whether it is an identity of a local network.
    pub(crate) fn is_demo(&self) -> bool {
        self.demo_seed.is_some()
    }

    /// The key of a contributor's handle: its demo identity, or the one key for all handles of the file.
    pub(crate) fn contributor(&self, handle: &str) -> Result<Key> {
        self.demo_seed.map_or_else(|| self.key(), |seed| Ok(Key::demo(seed, handle)))
    }

    /// The contracts as this signer drives them; a demo identity without coins is given some by the faucet first.
    pub(crate) async fn flow(&self, api: &Api, network: &Network) -> Result<Flow> {
        let key = self.key()?;
        if let Some(seed) = self.demo_seed {
            let faucet = flow(api, network, Key::demo(seed, "faucet")).await?;
            if faucet.client().balance(key.address()).await? == U256::ZERO {
                let value = U256::from(Amount::open(GAS)?.0);
                faucet.sender().send("gas", key.address(), Default::default(), value).await?;
            }
        }
        flow(api, network, key).await
    }
}

async fn flow(api: &Api, network: &Network, key: Key) -> Result<Flow> {
    let client = Client::new(Arc::new(HttpRpc::new(format!("{}/rpc", api.base()))?));
    let sender = Sender::new(client, Arc::new(MemoryOutbox::default()), key, FeePolicy::default()).await?;
    Ok(Flow::new(Arc::new(sender), network.addresses))
}
