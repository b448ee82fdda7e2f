//! Options of the signer: a key from a file, or a demo identity of a local network.

use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::U256;
use clap::Args;
use openledger_api::Network;
use openledger_api::client::Client as Node;
use openledger_chain::flow::Flow;
use openledger_chain::rpc::{Client, HttpRpc};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Sender};
use openledger_protocol::{Amount, Key};

use crate::connection::addresses;
use crate::error::{CliError, Exit, Result};

/// Amount that the faucet sends to a demo identity without coins, in OPEN.
const GAS: u64 = 100;

/// The signer of a step.
#[derive(Args, Debug, Clone)]
pub(crate) struct Signer {
    /// File with the signing key, 64 hexadecimal digits.
    #[arg(long, value_name = "FILE", conflicts_with = "demo_seed", required_unless_present = "demo_seed")]
    key_file: Option<PathBuf>,
    /// Sign with a demo identity, derived from the seed of a local network (`openledger dev`).
    #[arg(long, value_name = "SEED")]
    demo_seed: Option<u64>,
    /// Name of the demo identity.
    #[arg(long = "as", value_name = "NAME", default_value = "owner")]
    identity: String,
}

impl Signer {
    /// The key.
    pub(crate) fn key(&self) -> Result<Key> {
        match (self.demo_seed, &self.key_file) {
            (Some(seed), _) => Ok(Key::demo(seed, &self.identity)),
            (None, Some(file)) => super::keys::read_key(file),
            (None, None) => Err(CliError::refused(Exit::Usage, "name a key: --key-file or --demo-seed")),
        }
    }

    /// Reads the key and drops it. A verb that signs calls it before it calls a node, so that a
    /// fault of the key's file is not hidden behind an error of the node.
    pub(crate) fn check(&self) -> Result<()> {
        self.key().map(drop)
    }

    /// Whether it is an identity of a local network.
    pub(crate) fn is_demo(&self) -> bool {
        self.demo_seed.is_some()
    }

    /// The key of a contributor's handle: its demo identity, or the one key for all handles of the
    /// file.
    pub(crate) fn contributor(&self, handle: &str) -> Result<Key> {
        self.demo_seed.map_or_else(|| self.key(), |seed| Ok(Key::demo(seed, handle)))
    }

    /// The contracts, called with this signer's key. The faucet first sends coins to a demo
    /// identity without any.
    pub(crate) async fn flow(&self, node: &Node, network: &Network) -> Result<Flow> {
        let key = self.key()?;
        if let Some(seed) = self.demo_seed {
            let faucet = flow(node, network, Key::demo(seed, "faucet")).await?;
            if faucet.client().balance(key.address()).await? == U256::ZERO {
                let value = U256::from(Amount::open(GAS)?.0);
                faucet.sender().send("gas", key.address(), Default::default(), value).await?;
            }
        }
        flow(node, network, key).await
    }
}

async fn flow(node: &Node, network: &Network, key: Key) -> Result<Flow> {
    let client = Client::new(Arc::new(HttpRpc::new(format!("{}/rpc", node.base()))?));
    let sender = Sender::new(client, Arc::new(MemoryOutbox::default()), key, FeePolicy::default()).await?;
    Ok(Flow::new(Arc::new(sender), addresses(network)))
}
