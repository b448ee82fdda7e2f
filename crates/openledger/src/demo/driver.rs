//! Everybody but the node: calls that are repeated until answered, and accounts that send their own transactions.
//!
//! **Invariant:** what is repeated is the same call: the same idempotency key over HTTP, the same signed bytes on chain.

use std::path::PathBuf;
use std::sync::Arc;

use openledger_chain::contracts::Addresses;
use openledger_chain::flow::Flow;
use openledger_chain::rpc::{Client, HttpRpc};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Sender};
use openledger_protocol::{AdapterHash, Address, Amount, Domain, Key};
use serde_json::Value;

use super::keeper::Keeper;
use super::killer::Killer;
use crate::api::{Api, field};
use crate::error::{CliError, Result};
use crate::voice::Voice;

/// How often a call is repeated while the node is killed under it.
const REPEATS_MAX: u32 = 200;

/// What the node says about its network.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// EIP-155 id.
    pub(crate) chain_id: u64,
    /// Our contracts.
    pub(crate) addresses: Addresses,
    /// The node's account.
    pub(crate) node: Address,
    /// The document itself.
    pub(crate) document: Value,
}

/// Drives one node.
pub(crate) struct Driver {
    /// Tells what happens.
    pub(crate) voice: Voice,
    /// Kills on the way.
    pub(crate) killer: Killer,
    /// The network.
    pub(crate) network: Network,
    api: Api,
    keeper: Arc<Keeper>,
    seed: u64,
    /// What was signed for every account, so that a repeat sends the same bytes.
    outbox: Arc<MemoryOutbox>,
}

impl Driver {
    /// Meets the node that `keeper` has started.
    pub(crate) async fn meet(voice: Voice, keeper: Arc<Keeper>, killer: Killer, seed: u64) -> Result<Self> {
        let api = Api::new(&format!("http://{}", keeper.address()))?.with_token_of(&keeper.token_file())?;
        let document = api.get("/api/v1/network").await?;
        let network = Network {
            chain_id: field(&document, "GET network", "chain_id")?,
            addresses: field(&document, "GET network", "addresses")?,
            node: field(&document, "GET network", "node")?,
            document,
        };
        voice.figure("node", format!("{} at {}", network.node, api.base()));
        voice.figure("chain", format!("{}, WOPEN {}", network.chain_id, network.addresses.wopen));
        let base = &network.document["base"];
        voice.figure(
            "base model",
            format!("{} {}", base["name"].as_str().unwrap_or("?"), base["hash"].as_str().unwrap_or("?")),
        );
        voice.figure("numeric mode", network.document["numeric_mode"].as_str().unwrap_or("?"));
        Ok(Self { voice, killer, network, api, keeper, seed, outbox: Arc::default() })
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
        Domain { chain_id: self.network.chain_id, contract }
    }

    /// Where the node keeps a model's adapter.
    pub(crate) fn adapter_folder(&self, adapter: AdapterHash) -> PathBuf {
        let data = self.keeper.token_file().parent().map(PathBuf::from).unwrap_or_default();
        data.join("models").join(adapter.to_string()).join("adapter")
    }

    /// A file below the demonstration's folder, its own folders made.
    pub(crate) fn export(&self, name: &str, value: &Value) -> Result<PathBuf> {
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

    /// Makes a call that counts as `points` points until it is answered, waiting for the node where it was killed.
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

    /// Reads.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.again(1, async || self.api.get(path).await).await
    }

    /// Reads, while a long job runs: no point of its own.
    pub(crate) async fn peek(&self, path: &str) -> Result<Value> {
        self.again(0, async || self.api.get(path).await).await
    }

    /// Posts JSON as the operator; `key` names the call.
    pub(crate) async fn post(&self, path: &str, body: &Value, key: &str) -> Result<Value> {
        self.again(1, async || self.api.post(path, body, key).await).await
    }

    /// Posts JSON as the operator, once: the caller repeats it, and says how many points it counts.
    pub(crate) async fn post_once(&self, path: &str, body: &Value, key: &str) -> Result<Value> {
        self.api.post(path, body, key).await
    }

    /// Posts a file of records.
    pub(crate) async fn post_file(&self, path: &str, file: &[u8], key: &str) -> Result<Value> {
        self.again(1, async || self.api.post_file(path, file.to_vec(), key).await).await
    }

    /// Asks a model.
    pub(crate) async fn chat(&self, api_key: &str, body: &Value, key: &str) -> Result<Value> {
        self.again(1, async || self.api.chat(api_key, body, key).await).await
    }

    /// The contracts as the account of `key` drives them.
    pub(crate) async fn flow(&self, key: &Key) -> Result<Flow> {
        let url = format!("{}/rpc", self.api.base());
        self.again(0, async || {
            let client = Client::new(Arc::new(HttpRpc::new(&url)?));
            let sender = Sender::new(client, self.outbox.clone(), key.clone(), FeePolicy::default()).await?;
            Ok(Flow::new(Arc::new(sender), self.network.addresses))
        })
        .await
    }

    /// Gives `amount` from the faucet to the identity `name`, and lets the node know it by that name.
    pub(crate) async fn fund(&self, name: &str, amount: Amount) -> Result<()> {
        let to = self.key(name).address();
        let named = serde_json::json!({ "accounts": [{ "name": name, "address": to }] });
        self.post("/api/v1/accounts", &named, &format!("account/{name}")).await?;
        let faucet = self.flow(&self.key("faucet")).await?;
        let key = format!("fund/{name}");
        let value = alloy_primitives::U256::from(amount.0);
        self.again(1, async || Ok(faucet.sender().send(&key, to, Default::default(), value).await?)).await?;
        Ok(())
    }
}
