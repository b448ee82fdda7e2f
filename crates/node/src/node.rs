//! The running node: what it holds, how it comes up and goes down.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::{B256, U256};
use openledger_chain::contracts::{Addresses, DeployParams, Deployment, Token};
use openledger_chain::embedded::{BlockClock, ChainConfig, EmbeddedChain};
use openledger_chain::flow::Flow;
use openledger_chain::indexer::{Indexer, Until};
use openledger_chain::rpc::{ChainRpc, Client, HttpRpc};
use openledger_chain::sender::{FeePolicy, Sender};
use openledger_engine::{Model, Tokenizer};
use openledger_protocol::{Address, BaseHash, Domain, ModelId, keccak};
use openledger_serving::{Backend, ChatForm, Embedded, Remote, RemoteSetup};
use openledger_store::{BlobsConfig, Store};
use tokio::sync::{Mutex, RwLock};

use crate::config::{Answering, ChainChoice, Config, NodeClock};
use crate::error::{Blame, NodeError, Result};
use crate::link::{StoreOutbox, StoreSink};
use crate::metrics::Metrics;
use crate::models::Offered;

/// Adapters kept in memory, in bytes.
const ADAPTER_BYTES: usize = 512 << 20;
/// Genesis time of a chain on the logical clock: 2026-01-01T00:00:00Z.
const LOGICAL_START_S: u64 = 1_767_225_600;

/// The base that all adapters of this node sit on.
pub(crate) struct Base {
    pub(crate) name: String,
    pub(crate) dir: std::path::PathBuf,
    pub(crate) hash: BaseHash,
    pub(crate) model: Arc<Model>,
    pub(crate) tokenizer: Arc<Tokenizer>,
}

/// A running node. Clones are handles to the same node.
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<Inner>,
}

/// What a node holds.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) chain: Option<EmbeddedChain>,
    pub(crate) flow: Flow,
    pub(crate) chain_id: u64,
    pub(crate) base: Base,
    pub(crate) serving: Arc<dyn Backend>,
    /// How the base is asked.
    pub(crate) form: ChatForm,
    /// What is counted of answers, in the text form that Prometheus reads.
    pub(crate) counted: Box<dyn Fn() -> String + Send + Sync>,
    pub(crate) token: String,
    pub(crate) metrics: Metrics,
    /// Models that can be asked, with what answering and crediting needs in memory.
    pub(crate) offered: RwLock<BTreeMap<ModelId, Arc<Offered>>>,
    /// One reader of chain events at a time.
    sync: Mutex<()>,
    /// Receipts and the closing of epochs exclude each other, so that no receipt falls between two epochs.
    pub(crate) ledger: Mutex<()>,
    /// Imports and registrations are one at a time: nonces of registrants follow the order of acceptance.
    pub(crate) intake: Mutex<()>,
    /// Posts with an `Idempotency-Key` are one at a time: a repeat sent too early waits for the first answer.
    pub(crate) keyed: Mutex<()>,
}

impl Node {
    /// Brings a node up: folders, database, chain, contracts, operator bond, base model, models on offer.
    ///
    /// May be repeated after a crash at any point: what is there already is found.
    ///
    /// # Errors
    ///
    /// [`NodeError`] of the part that failed, naming file, contract or model.
    pub async fn open(config: Config) -> Result<Self> {
        std::fs::create_dir_all(&config.data).map_err(NodeError::file(&config.data))?;
        let token = operator_token(&config)?;
        let database = config
            .database
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", config.data.join("openledger.db").display()));
        let blobs = match &config.blobs {
            Some(url) => url.clone(),
            None => {
                let dir = absolute(&config.data.join("blobs"))?;
                std::fs::create_dir_all(&dir).map_err(NodeError::file(&dir))?;
                format!("file://{}", dir.display())
            }
        };
        let store = Store::open(&database, BlobsConfig::new(blobs)).await?;
        let base = load_base(&config.base, &config.base_name)?;
        let form = ChatForm::of_base(&config.base);
        let (serving, counted) = answering(&config, &base, &form).await?;

        let (chain, rpc): (Option<EmbeddedChain>, Arc<dyn ChainRpc>) = match &config.chain {
            ChainChoice::Embedded { chain_id, genesis_accounts } => {
                let clock = match config.clock {
                    NodeClock::Wall => BlockClock::Wall,
                    NodeClock::Logical => BlockClock::Logical { start: LOGICAL_START_S },
                };
                let genesis_accounts =
                    genesis_accounts.iter().map(|&(account, amount)| (account, U256::from(amount.0))).collect();
                let chain_config =
                    ChainConfig { chain_id: *chain_id, genesis_accounts, clock, ..ChainConfig::default() };
                let chain = EmbeddedChain::open(&config.data.join("chain"), &chain_config).await?;
                (Some(chain.clone()), Arc::new(chain))
            }
            ChainChoice::External { url, .. } => (None, Arc::new(HttpRpc::new(url)?)),
        };
        let client = Client::new(rpc);
        let outbox = Arc::new(StoreOutbox(store.clone()));
        let sender = Arc::new(Sender::new(client.clone(), outbox, config.key.clone(), FeePolicy::default()).await?);
        let chain_id = sender.chain_id();
        let deployment = Deployment::plan(&deploy_params(&config));
        same_contracts(&config, &deployment.addresses)?;
        deployment.deploy(&sender).await?;
        let flow = Flow::new(sender, deployment.addresses);

        let inner = Inner {
            store,
            chain,
            flow,
            chain_id,
            base,
            serving,
            form,
            counted,
            token,
            metrics: Metrics::default(),
            offered: RwLock::default(),
            sync: Mutex::default(),
            ledger: Mutex::default(),
            intake: Mutex::default(),
            keyed: Mutex::default(),
            config,
        };
        let node = Self { inner: Arc::new(inner) };
        node.join("boot").await?;
        node.sync().await?;
        node.load_models().await?;
        Ok(node)
    }

    /// Serves HTTP and works on jobs until `shutdown` is done, then stops in order.
    ///
    /// # Errors
    ///
    /// [`NodeError::File`] when the address cannot be listened on.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let listener = tokio::net::TcpListener::bind(self.inner.config.listen)
            .await
            .map_err(|source| NodeError::File { path: format!("listening on {}", self.inner.config.listen), source })?;
        let address = listener.local_addr().map_err(|source| NodeError::File { path: "listener".into(), source })?;
        let file = self.inner.config.address_file();
        write_atomically(&file, address.to_string().as_bytes())?;
        tracing::info!(%address, "node is ready");
        let (worker, guard) = (tokio::spawn(self.clone().work()), tokio::spawn(self.clone().guard_deposits()));
        let served = axum::serve(listener, crate::http::router(self.clone())).with_graceful_shutdown(shutdown).await;
        worker.abort();
        guard.abort();
        if let Some(chain) = self.inner.chain.clone() {
            chain.shutdown().await?;
        }
        self.inner.store.close().await;
        served.map_err(|source| NodeError::File { path: "HTTP server".into(), source })
    }

    /// Puts the operator's bond at stake, unless it is; `label` names the occasion, for which it is done once.
    pub(crate) async fn join(&self, label: &str) -> Result<()> {
        let (flow, bond) = (&self.inner.flow, self.inner.config.bond);
        let me = flow.account();
        if flow.operator(me).await?.stake >= bond {
            return Ok(());
        }
        if matches!(deploy_params(&self.inner.config).token, Token::Native) {
            flow.wrap(&format!("{label}/wrap"), bond).await?;
        }
        flow.approve(&format!("{label}/approve"), flow.addresses().payouts, bond).await?;
        flow.join(&format!("{label}/join"), me, bond).await?;
        Ok(())
    }

    /// Reads the chain's events up to its head into the store; returns the head's number and time.
    pub(crate) async fn sync(&self) -> Result<(u64, u64)> {
        let _one = self.inner.sync.lock().await;
        let client = self.inner.flow.client();
        let mut sink = StoreSink { store: self.inner.store.clone(), addresses: *self.inner.flow.addresses() };
        let until = if self.inner.chain.is_some() { Until::Latest } else { Until::Finalized };
        Indexer::new(client.clone(), *self.inner.flow.addresses(), 0, until).catch_up(&mut sink).await?;
        let head = if self.inner.chain.is_some() { client.latest().await? } else { client.finalized().await? };
        Ok(head.map_or((0, 0), |head| (head.number, head.timestamp)))
    }

    /// The time by the node's clock: the machine's, or that of the chain's head.
    pub(crate) fn now(&self, head_time: u64) -> u64 {
        match self.inner.config.clock {
            NodeClock::Logical => head_time,
            NodeClock::Wall => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.map_or(head_time, |since| since.as_secs())
            }
        }
    }

    /// The time that chat templates may write into prompts: the machine's, or the same on any day.
    pub(crate) fn day(&self) -> u64 {
        self.now(LOGICAL_START_S)
    }

    /// The EIP-712 domain of one of the contracts.
    pub(crate) fn domain(&self, contract: Address) -> Domain {
        Domain { chain_id: self.inner.chain_id, contract }
    }

    /// A key of the node's own for one purpose, derived from its main key.
    pub(crate) fn derived_key(&self, purpose: &str) -> openledger_protocol::Key {
        let signature = self.inner.config.key.sign(keccak(format!("openledger node key\n{purpose}")));
        let mut secret = keccak(signature.0);
        loop {
            match openledger_protocol::Key::from_bytes(&secret.0) {
                Ok(key) => return key,
                Err(_) => secret = keccak(secret), // happens once in 2^128
            }
        }
    }
}

fn deploy_params(config: &Config) -> DeployParams {
    let platform = config.platform;
    let local = DeployParams::local(platform.treasury, platform.validation, platform.insurance, config.bond);
    let window = |network| config.window_s.unwrap_or(network);
    match &config.chain {
        ChainChoice::Embedded { .. } => {
            let window_s = window(local.window_s);
            // The contracts take a window of seven days at most, so a longer one makes a local network's day longer.
            DeployParams { window_s, day_s: window_s.div_ceil(7).max(local.day_s), ..local }
        }
        ChainChoice::External { token, .. } => DeployParams {
            token: token.map_or(Token::Native, Token::Erc20),
            window_s: window(24 * 3600),
            day_s: 24 * 3600,
            ..local
        },
    }
}

/// Refuses to open a folder whose network has its contracts elsewhere: their addresses follow from how they were set up, so
/// others would be deployed, and what happened would be forgotten.
fn same_contracts(config: &Config, planned: &Addresses) -> Result<()> {
    let file = config.data.join("contracts.json");
    let kept = match std::fs::read(&file) {
        Ok(kept) => kept,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return write_atomically(&file, &serde_json::to_vec_pretty(planned)?);
        }
        Err(error) => return Err(NodeError::file(&file)(error)),
    };
    if serde_json::from_slice::<Addresses>(&kept).is_ok_and(|kept| kept == *planned) {
        return Ok(());
    }
    let detail = format!(
        "{} names other contracts than these settings lead to; start with the window, accounts and token that the folder was \
         made with, by a version with the same contracts, or in another folder",
        file.display()
    );
    Err(NodeError::refused(Blame::Operator, "other-contracts", detail))
}

/// Who computes answers, and what is counted of them.
type Answers = (Arc<dyn Backend>, Box<dyn Fn() -> String + Send + Sync>);

async fn answering(config: &Config, base: &Base, form: &ChatForm) -> Result<Answers> {
    let tokenizer = Arc::clone(&base.tokenizer);
    match &config.answering {
        Answering::Here(mode) => {
            let model = if *mode == base.model.mode() {
                Arc::clone(&base.model)
            } else {
                Arc::new(Model::load(&base.dir)?.with_mode(*mode)?)
            };
            let embedded = Embedded::new(model, tokenizer, form.clone(), &base.name, ADAPTER_BYTES);
            Ok((Arc::new(embedded.clone()), Box::new(move || embedded.prometheus())))
        }
        Answering::There(peer) => {
            let (peer, url, shape) = (peer.clone(), peer.url.clone(), base.model.config().clone());
            let setup = RemoteSetup { peer, base_name: base.name.clone(), base: base.hash, config: shape };
            let remote = Remote::new(setup, tokenizer)?;
            let checked = remote.clone();
            tokio::task::spawn_blocking(move || checked.check()).await??;
            tracing::info!(url, "another server answers");
            Ok((Arc::new(remote.clone()), Box::new(move || remote.prometheus())))
        }
    }
}

fn load_base(dir: &Path, name: &str) -> Result<Base> {
    let model = Model::load(dir)?;
    let tokenizer = Tokenizer::load(&dir.join("tokenizer.json"))?;
    let hash = BaseHash(B256::from(model.hash()));
    Ok(Base {
        name: name.to_owned(),
        dir: dir.to_path_buf(),
        hash,
        model: Arc::new(model),
        tokenizer: Arc::new(tokenizer),
    })
}

fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(NodeError::file(path))
}

/// Writes a file so that a reader, or a restart, sees the old one or the new one whole.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let staged = path.with_extension("tmp");
    std::fs::write(&staged, bytes).map_err(NodeError::file(&staged))?;
    std::fs::rename(&staged, path).map_err(NodeError::file(path))
}

/// Writes a file that no other account can read at any moment; see [`write_atomically`].
fn write_secret(path: &Path, secret: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let staged = path.with_extension("tmp");
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
        // What a crash left behind keeps the mode it was made with.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(secret.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&staged, path)
    };
    write().map_err(NodeError::file(path))
}

/// The operator's token: made from the key at the first start, readable by the operator alone.
fn operator_token(config: &Config) -> Result<String> {
    let file = config.token_file();
    if let Ok(token) = std::fs::read_to_string(&file) {
        let token = token.trim().to_owned();
        return if token.len() >= 32 {
            Ok(token)
        } else {
            Err(NodeError::refused(Blame::Operator, "bad-token", format!("{} is damaged; remove it", file.display())))
        };
    }
    let token = format!("olop_{}", hex::encode(keccak(config.key.sign(keccak("openledger operator token")).0)));
    write_secret(&file, &token)?;
    Ok(token)
}
