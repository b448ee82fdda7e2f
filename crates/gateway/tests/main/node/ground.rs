//! A chain with our contracts and nothing else: the embedded one, or anvil, driven alike through `ChainRpc`.
//!
//! **Invariant:** a fact stated on one ground is stated on the other, by [`on_both`].

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::U256;
use openledger_chain::contracts::{Addresses, DeployParams, Deployment};
use openledger_chain::embedded::{BlockClock, ChainConfig, EmbeddedChain};
use openledger_chain::flow::{Flow, FlowError};
use openledger_chain::rpc::{ChainRpc, Client, HttpRpc, RpcFuture};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, SendError, Sender};
use openledger_protocol::Amount;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::world::{BOND, RUNTIME, WINDOW_S, key, repository};

/// The chain id of both grounds.
pub(crate) const CHAIN_ID: u64 = 2626;
/// How long anvil may take to answer.
const READY_MAX: Duration = Duration::from_secs(60);

/// An external network of its own, ended with this value.
pub(crate) struct Anvil {
    process: Child,
    pub(crate) url: String,
}

impl Anvil {
    /// Starts anvil on a free port; `None`, told aloud, where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let program = repository("contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
        if !program.exists() {
            println!(
                "skipped: no anvil; install it by `npm ci --ignore-scripts` in contracts/, as `cargo xtask test` does"
            );
            return None;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let chain_id = CHAIN_ID.to_string();
        let process = Command::new(program)
            .args(["--port", &port.to_string(), "--chain-id", &chain_id, "--accounts", "1", "--silent"])
            // The newest block counts as final, so that what a node waits for on a real network is there at once.
            .args(["--slots-in-an-epoch", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { process, url: format!("http://127.0.0.1:{port}") })
    }

    /// Access to it, once it answers.
    pub(crate) async fn client(&self) -> Client {
        let client = eager(&self.url);
        let deadline = Instant::now() + READY_MAX;
        while client.chain_id().await.is_err() {
            assert!(Instant::now() < deadline, "anvil does not answer");
        }
        client
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Access to anvil at an address.
pub(crate) fn eager(url: &str) -> Client {
    Client::new(Arc::new(Eager(HttpRpc::new(url).unwrap())))
}

/// HTTP that looks for the next block at once: anvil makes one for each transaction.
struct Eager(HttpRpc);

impl ChainRpc for Eager {
    fn call<'a>(&'a self, method: &'a str, params: Value) -> RpcFuture<'a, Value> {
        self.0.call(method, params)
    }

    fn next_block(&self, _after: u64) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(Duration::from_millis(5)))
    }
}

enum Kind {
    Embedded(EmbeddedChain),
    Anvil { _process: Anvil },
}

/// A network with our contracts.
pub(crate) struct Ground {
    kind: Kind,
    client: Client,
    outbox: Arc<MemoryOutbox>,
    ticks: AtomicU64,
    pub(crate) addresses: Addresses,
    _dir: Option<TempDir>,
}

impl Ground {
    async fn embedded() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let each = U256::from(Amount::open(1_000_000).unwrap().0);
        let config = ChainConfig {
            genesis_accounts: vec![(key("faucet").address(), each)],
            clock: BlockClock::Logical { start: 1_800_000_000 },
            ..ChainConfig::default()
        };
        let chain = EmbeddedChain::open(dir.path(), &config).await.unwrap();
        let client = Client::new(Arc::new(chain.clone()));
        Self::with(Kind::Embedded(chain), client, Some(dir)).await
    }

    async fn anvil() -> Option<Self> {
        let anvil = Anvil::start()?;
        let client = anvil.client().await;
        set_balance(&client, "faucet", 1_000_000).await;
        Some(Self::with(Kind::Anvil { _process: anvil }, client, None).await)
    }

    async fn with(kind: Kind, client: Client, dir: Option<TempDir>) -> Self {
        let accounts = ["treasury", "validation", "insurance"].map(|name| key(name).address());
        let local = DeployParams::local(accounts[0], accounts[1], accounts[2], Amount::open(BOND).unwrap());
        let deployment = Deployment::plan(&DeployParams { window_s: WINDOW_S, ..local });
        let (outbox, addresses) = (Arc::default(), deployment.addresses);
        let ground = Self { kind, client, outbox, ticks: AtomicU64::new(0), addresses, _dir: dir };
        deployment.deploy(&ground.sender("faucet").await).await.unwrap();
        ground
    }

    async fn sender(&self, name: &str) -> Sender {
        Sender::new(self.client.clone(), self.outbox.clone(), key(name), FeePolicy::default()).await.unwrap()
    }

    /// The chain as the account of `name` drives it.
    pub(crate) async fn flow(&self, name: &str) -> Flow {
        Flow::new(Arc::new(self.sender(name).await), self.addresses)
    }

    /// The same, with whole OPEN of its own.
    pub(crate) async fn rich(&self, name: &str, whole: u64) -> Flow {
        let (to, amount) = (key(name).address(), U256::from(Amount::open(whole).unwrap().0));
        self.sender("faucet")
            .await
            .send(&format!("give/{name}/{whole}"), to, Default::default(), amount)
            .await
            .unwrap();
        self.flow(name).await
    }

    /// The time of the newest block.
    pub(crate) async fn now(&self) -> u64 {
        self.client.latest().await.unwrap().unwrap().timestamp
    }

    /// Lets the chain's clock pass some seconds: a block each on the embedded chain, by its clock on anvil.
    pub(crate) async fn pass(&self, seconds: u64) {
        match &self.kind {
            Kind::Embedded(_) => {
                let faucet = self.sender("faucet").await;
                for _ in 0..seconds {
                    let label = format!("pass/{}", self.ticks.fetch_add(1, Ordering::Relaxed));
                    faucet.send(&label, faucet.address(), Default::default(), U256::ZERO).await.unwrap();
                }
            }
            Kind::Anvil { .. } => travel(&self.client, seconds).await,
        }
    }

    async fn end(self) {
        if let Kind::Embedded(chain) = self.kind {
            chain.shutdown().await.unwrap();
        }
    }
}

/// Moves anvil's clock, and makes a block there.
pub(crate) async fn travel(client: &Client, seconds: u64) {
    client.rpc().call("evm_increaseTime", json!([seconds])).await.unwrap();
    client.rpc().call("evm_mine", json!([])).await.unwrap();
}

/// Gives a name whole native coins on anvil.
pub(crate) async fn set_balance(client: &Client, name: &str, whole: u64) {
    let amount = U256::from(Amount::open(whole).unwrap().0);
    client.rpc().call("anvil_setBalance", json!([key(name).address(), amount])).await.unwrap();
}

/// States a fact on the embedded chain.
pub(crate) fn on_embedded(fact: impl AsyncFnOnce(&Ground)) {
    RUNTIME.block_on(async {
        let ground = Ground::embedded().await;
        fact(&ground).await;
        ground.end().await;
    });
}

/// States a fact on anvil, where it is installed.
pub(crate) fn on_anvil(fact: impl AsyncFnOnce(&Ground)) {
    RUNTIME.block_on(async {
        if let Some(ground) = Ground::anvil().await {
            fact(&ground).await;
            ground.end().await;
        }
    });
}

/// Writes the two tests of facts: each on the embedded chain and on anvil.
macro_rules! on_both {
    ($($fact:ident),* $(,)?) => {
        mod embedded {
            $(#[test] fn $fact() { crate::node::ground::on_embedded(super::$fact); })*
        }
        mod anvil {
            $(#[test] fn $fact() { crate::node::ground::on_anvil(super::$fact); })*
        }
    };
}
pub(crate) use on_both;

/// The contract refused, by this name.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, FlowError>, name: &str) {
    match result {
        Err(FlowError::Send(SendError::Refused { revert, .. } | SendError::Reverted { revert, .. })) => {
            assert!(revert.is(name), "{name} expected, {revert}");
        }
        Err(FlowError::Refused(revert)) => assert!(revert.is(name), "{name} expected, {revert}"),
        other => panic!("{name} expected, {other:?}"),
    }
}
