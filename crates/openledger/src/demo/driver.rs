//! Everybody but the node: calls that are repeated until answered, and accounts that send their own
//! transactions.
//!
//! **Invariant:** what is repeated is the same call: the same idempotency key over HTTP, the same
//! signed bytes on chain.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openledger_api::client::{self, Client as Node};
use openledger_api::{Handle, Network, NewHandles};
use openledger_chain::flow::Flow;
use openledger_chain::rpc::{Client, HttpRpc};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Sender};
use openledger_protocol::{Address, Amount, BlobHash, Domain, Key};
use serde::Serialize;

use super::keeper::Keeper;
use super::killer::Killer;
use crate::connection::{addresses, domain, token};
use crate::console::Console;
use crate::error::{CliError, Result};

/// How often a call is repeated while the node is killed under it.
const REPEATS_MAX: u32 = 200;

/// Drives one node.
pub(crate) struct Driver {
    /// Prints the steps.
    pub(crate) console: Console,
    /// Kills on the way.
    pub(crate) killer: Killer,
    /// The network.
    pub(crate) network: Network,
    /// The node, called as its operator.
    node: Node,
    keeper: Arc<Keeper>,
    seed: u64,
    /// What was signed for every account, so that a repeat sends the same bytes.
    outbox: Arc<MemoryOutbox>,
}

impl Driver {
    /// Meets the node that `keeper` has started.
    pub(crate) async fn meet(console: Console, keeper: Arc<Keeper>, killer: Killer, seed: u64) -> Result<Self> {
        let node = Node::new(&format!("http://{}", keeper.address()))?.with_token(token(&keeper.token_file())?);
        let network = node.network().await?;
        console.figure("node", format!("{} at {}", network.node, node.base()));
        console.figure("chain", format!("{}, WOPEN {}", network.chain_id, network.addresses.wopen));
        console.figure("base model", format!("{} {}", network.base.name, network.base.hash));
        console.figure("numeric mode", &network.numeric_mode);
        Ok(Self { console, killer, network, node, keeper, seed, outbox: Arc::default() })
    }

    /// The key of a demonstration's identity.
    pub(crate) fn key(&self, name: &str) -> Key {
        Key::demo(self.seed, name)
    }

    /// The seed.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The EIP-712 domain of one of the contracts.
    pub(crate) fn domain(&self, contract: Address) -> Domain {
        domain(&self.network, contract)
    }

    /// The base model's folder.
    pub(crate) fn base_folder(&self) -> &Path {
        self.keeper.base()
    }

    /// The node's local copy of a trained artifact's adapter.
    pub(crate) fn adapter_folder(&self, artifact: BlobHash) -> PathBuf {
        let data = self.keeper.token_file().parent().map(PathBuf::from).unwrap_or_default();
        data.join("artifacts/folders").join(hex::encode(artifact.0)).join("adapter")
    }

    /// A file below the demonstration's folder, its own folders made.
    pub(crate) fn export(&self, name: &str, value: &impl Serialize) -> Result<PathBuf> {
        self.export_text(name, &serde_json::to_string_pretty(value)?)
    }

    /// As [`Driver::export`], of text.
    pub(crate) fn export_text(&self, name: &str, text: &str) -> Result<PathBuf> {
        let folder = self.keeper.token_file().parent().and_then(|data| data.parent()).map(|dir| dir.join("export"));
        let folder = folder.unwrap_or_else(|| PathBuf::from("export"));
        std::fs::create_dir_all(&folder).map_err(CliError::file(&folder))?;
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(CliError::file(&file))?;
        Ok(file)
    }

    /// Makes a call that counts as `points` points until it is answered, waiting for the node where
    /// it was killed.
    pub(crate) async fn again<T>(&self, points: u64, call: impl AsyncFn() -> Result<T>) -> Result<T> {
        self.killer.pass(points);
        let mut repeats = 0;
        loop {
            match call().await {
                Err(error) if error.is_transient() && repeats < REPEATS_MAX => {
                    repeats += 1;
                    self.keeper.ready().await?;
                }
                answer => return answer,
            }
        }
    }

    /// Makes a call of the node as its operator, counting as `points` points, until it is answered.
    pub(crate) async fn call<T>(&self, points: u64, call: impl AsyncFn(&Node) -> client::Result<T>) -> Result<T> {
        self.again(points, async || Ok(call(&self.node).await?)).await
    }

    /// As [`Driver::call`], as the payer of a channel.
    pub(crate) async fn call_as<T>(&self, api_key: &str, call: impl AsyncFn(&Node) -> client::Result<T>) -> Result<T> {
        let payer = self.node.clone().with_token(api_key);
        self.again(1, async || Ok(call(&payer).await?)).await
    }

    /// The contracts as the account of `key` drives them.
    pub(crate) async fn flow(&self, key: &Key) -> Result<Flow> {
        let url = format!("{}/rpc", self.node.base());
        self.again(0, async || {
            let client = Client::new(Arc::new(HttpRpc::new(&url)?));
            let sender = Sender::new(client, self.outbox.clone(), key.clone(), FeePolicy::default()).await?;
            Ok(Flow::new(Arc::new(sender), addresses(&self.network)))
        })
        .await
    }

    /// Gives `amount` from the faucet to the identity `name`, and lets the node know it by that
    /// name.
    pub(crate) async fn fund(&self, name: &str, amount: Amount) -> Result<()> {
        let to = self.key(name).address();
        let handles = NewHandles { handles: vec![Handle { name: name.to_owned(), address: to }] };
        let key = format!("handle/{name}");
        self.call(1, async |node| node.note_handles(&handles, &key).await).await?;
        let faucet = self.flow(&self.key("faucet")).await?;
        let key = format!("fund/{name}");
        let value = alloy_primitives::U256::from(amount.0);
        self.again(1, async || Ok(faucet.sender().send(&key, to, Default::default(), value).await?)).await?;
        Ok(())
    }
}
