//! The running node: its services, composed in one place, and how it comes up and goes down.

use std::collections::BTreeSet;
use std::sync::Arc;

use alloy_primitives::U256;
use openledger_chain::contracts::{Addresses, DeployParams, Deployment, Token};
use openledger_chain::embedded::{BlockClock, ChainConfig, EmbeddedChain};
use openledger_chain::flow::Flow;
use openledger_chain::rpc::{ChainRpc, Client, HttpRpc};
use openledger_chain::sender::{FeePolicy, Sender};
use openledger_engine::Model;
use openledger_protocol::Address;
use openledger_serving::{Backend, Embedded, Remote, RemoteSetup};
use openledger_store::artifacts::Artifacts;
use openledger_store::{BlobsConfig, Store, transact_locked};
use tokio::task::JoinHandle;

use crate::answering;
use crate::answering::Answering;
use crate::auditing::Auditing;
use crate::auth::Auth;
use crate::base::Base;
use crate::chain_view::ChainView;
use crate::clock::{Clock, LOGICAL_START_S};
use crate::config::{AnswerSource, ChainChoice, Config, NodeClock};
use crate::crediting::{Crediting, LocalCrediting};
use crate::datanets::Datanets;
use crate::deposits::Deposits;
use crate::epochs::Epochs;
use crate::error::{Blame, NodeError, Result};
use crate::files::{absolute, create_folder, write_atomically};
use crate::grants::Grants;
use crate::handles::Handles;
use crate::instance::Instance;
use crate::intake::Intake;
use crate::jobs::{Jobs, Worker};
use crate::keys::NodeKeys;
use crate::metrics::Metrics;
use crate::models::{self, Models};
use crate::outbox::StoreOutbox;
use crate::pipeline::TrainAdapter;
use crate::reading::{self, Reading};
use crate::records::Records;
use crate::requests::Requests;
use crate::settlement::{self, Settlement};
use crate::training::{self, Training};
use crate::watching::Watching;

/// Adapters kept in memory, in bytes.
const ADAPTER_BYTES: usize = 512 << 20;
/// Folders of models kept in the local cache, in bytes.
const CACHE_BYTES: u64 = 16 << 30;

/// A running node: one service for each part of the economy.
pub struct Node {
    /// Who calls.
    pub auth: Auth,
    /// Contributors' handles.
    pub handles: Handles,
    /// Datanets and their versions.
    pub datanets: Datanets,
    /// Grants to this node.
    pub grants: Grants,
    /// Files of records.
    pub intake: Intake,
    /// The queue of jobs.
    pub jobs: Jobs,
    /// Training.
    pub training: Training,
    /// Models on offer.
    pub models: Models,
    /// Channels and their API keys.
    pub deposits: Deposits,
    /// Answers.
    pub answering: Answering,
    /// What answers rest on.
    pub crediting: Arc<dyn Crediting>,
    /// Settlement and claims.
    pub settlement: Settlement,
    /// Pending proposals.
    pub watching: Watching,
    /// Idempotency keys.
    pub requests: Requests,
    /// Views.
    pub reading: Reading,
    /// The audit.
    pub auditing: Auditing,
    /// The chain.
    pub chain: ChainView,
    pub(crate) epochs: Epochs,
    pub(crate) metrics: Arc<Metrics>,
    store: Store,
    clock: Clock,
    instance: Instance,
    config: Config,
    /// The backend's counters, in Prometheus' text format.
    backend_metrics: Box<dyn Fn() -> String + Send + Sync>,
}

/// Tasks that run beside the requests; ended when it is dropped.
pub struct Background(Vec<JoinHandle<()>>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
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
        create_folder(&config.data)?;
        let clock = Clock::of_machine(config.clock);
        let keys = NodeKeys::new(config.key.clone());
        let instance = Instance::of(&config.data)?;
        let auth_token = keys.operator_token(&config)?;
        let store = open_store(&config).await?;
        let artifacts = Artifacts::open(store.blobs().clone(), &config.data.join("artifacts"), CACHE_BYTES)?;
        let base = Arc::new(Base::load(&config.base, &config.base_name)?);
        let (backend, backend_metrics) = backend(&config, &base).await?;
        let chain = open_chain(&config, &keys, &clock, &store).await?;
        let metrics = Arc::new(Metrics::default());

        let handles = Handles::new(store.clone(), config.platform, keys.account());
        let datanets = Datanets::new(store.clone(), Arc::new(chain.clone()));
        let grants = Grants::new(store.clone(), Arc::new(chain.clone()), datanets.clone());
        let records = Records::new(store.clone());
        let intake = Intake::new(
            store.clone(),
            Arc::new(chain.clone()),
            datanets.clone(),
            handles.clone(),
            records.clone(),
            keys.clone(),
            clock.clone(),
        );
        let jobs = Jobs::new(store.clone(), clock.clone());
        let training = Training::new(training::Parts {
            store: store.clone(),
            artifacts: artifacts.clone(),
            datanets: datanets.clone(),
            grants: grants.clone(),
            records: records.clone(),
            jobs: jobs.clone(),
            base: Arc::clone(&base),
            governed: chain.governed().clone(),
            chain_id: chain.chain_id(),
            folder: config.data.join("jobs"),
        });
        let models = Models::new(models::Parts {
            store: store.clone(),
            artifacts,
            chain: Arc::new(chain.clone()),
            jobs: jobs.clone(),
            base: Arc::clone(&base),
            backend: Arc::clone(&backend),
            clock: clock.clone(),
        });
        let on_chain = Arc::new(chain.clone());
        let deposits = Deposits::new(store.clone(), on_chain, keys.clone(), clock.clone(), instance.clone());
        let requests = Requests::new(store.clone(), clock.clone(), instance.clone());
        let numeric_mode = backend.capabilities().numeric_mode.to_owned();
        let answering = Answering::new(answering::Parts {
            store: store.clone(),
            chain: Arc::new(chain.clone()),
            backend,
            base: Arc::clone(&base),
            models: models.clone(),
            deposits: deposits.clone(),
            keys: keys.clone(),
            platform: config.platform,
            clock: clock.clone(),
            requests: requests.clone(),
            metrics: Arc::clone(&metrics),
        });
        let epochs = Epochs::new(store.clone(), chain.domain(chain.at().payouts));
        let watching = Watching::new(store.clone(), chain.clone(), epochs.clone(), records.clone());
        let settlement = Settlement::new(settlement::Parts {
            store: store.clone(),
            chain: chain.clone(),
            epochs: epochs.clone(),
            deposits: deposits.clone(),
            watching: watching.clone(),
            handles: handles.clone(),
            clock: clock.clone(),
            instance: instance.clone(),
            terms: settlement::Terms {
                bond: config.bond,
                token: deploy_params(&config).token,
                window_is_for_show: config.window_s.is_none(),
            },
        });
        let reading = Reading::new(reading::Parts {
            store: store.clone(),
            chain: chain.clone(),
            handles: handles.clone(),
            models: models.clone(),
            records,
            epochs: epochs.clone(),
            base: Arc::clone(&base),
            keys,
            platform: config.platform,
            numeric_mode,
        });
        let auditing =
            Auditing::new(store.clone(), chain.clone(), epochs.clone(), models.clone(), genesis_accounts(&config));
        let node = Self {
            auth: Auth::new(store.clone(), clock.clone(), &auth_token),
            handles,
            datanets,
            grants,
            intake,
            jobs,
            training,
            models,
            deposits,
            answering,
            crediting: Arc::new(LocalCrediting::new(base, Arc::clone(&metrics))),
            settlement,
            watching,
            requests,
            reading,
            auditing,
            chain,
            epochs,
            metrics,
            store,
            clock,
            instance,
            config,
            backend_metrics,
        };
        node.begin().await?;
        Ok(node)
    }

    /// Takes up what a run before left: its bond, its holds, its files, its models.
    async fn begin(&self) -> Result<()> {
        self.settlement.stake_bond("boot", None).await?;
        let account = self.chain.account();
        let open = transact_locked!(self.store, |tx| tx.open_epoch(account).await)?;
        if open.node != account {
            let detail = format!("the database is of operator {}, this node is {account}; use its own", open.node);
            return Err(NodeError::refused(Blame::Operator, "other-operator", detail));
        }
        self.deposits.release_own().await?;
        self.requests.release_own().await?;
        self.training.tidy().await?;
        self.chain.catch_up().await?;
        self.models.load_all().await.map(drop)
    }

    /// Starts the tasks that run beside the requests: the index, the worker, the guard of deposits,
    /// the models of other nodes, the removal of expired responses.
    #[must_use]
    pub fn start(&self) -> Background {
        let kinds = vec![Arc::new(TrainAdapter(self.training.clone())) as _];
        let worker = Worker::new(self.store.clone(), self.clock.clone(), self.instance.clone(), kinds);
        Background(vec![
            tokio::spawn(self.chain.clone().follow()),
            tokio::spawn(worker.work()),
            tokio::spawn(self.deposits.clone().guard()),
            tokio::spawn(self.models.clone().follow()),
            tokio::spawn(self.requests.clone().keep_pruned()),
        ])
    }

    /// Stops the chain in this process and closes the database.
    ///
    /// # Errors
    ///
    /// [`NodeError::Chain`].
    pub async fn close(&self) -> Result<()> {
        if let Some(chain) = self.chain.embedded() {
            chain.clone().shutdown().await?;
        }
        self.store.close().await;
        Ok(())
    }

    /// How it was set up.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Writes where the node listens, for those who share its data folder.
    ///
    /// # Errors
    ///
    /// [`NodeError::File`].
    pub fn note_address(&self, address: std::net::SocketAddr) -> Result<()> {
        write_atomically(&self.config.address_file(), address.to_string().as_bytes())
    }

    /// The time by the machine, Unix milliseconds.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// The name of this process among those that share a database.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.instance.name()
    }

    /// Whether the database takes writes.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`] when it does not.
    pub async fn database_ready(&self) -> Result<()> {
        Ok(self.store.ready().await?)
    }

    /// The chain's head block number.
    ///
    /// # Errors
    ///
    /// [`NodeError::Rpc`] when the chain does not answer.
    pub async fn chain_ready(&self) -> Result<u64> {
        Ok(self.chain.flow().client().block_number().await?)
    }

    /// The node's counters, in Prometheus' text format.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        self.metrics.text() + &(self.backend_metrics)()
    }

    /// Counts an HTTP request that was answered with `status`.
    pub fn count_request(&self, status: u16) {
        Metrics::add(&self.metrics.requests, 1);
        if status >= 400 {
            Metrics::add(&self.metrics.errors, 1);
        }
    }

    /// The epochs' read model, for the steps of settlement.
    #[must_use]
    pub fn settle_parts(&self) -> (&Settlement, &Epochs) {
        (&self.settlement, &self.epochs)
    }
}

async fn open_store(config: &Config) -> Result<Store> {
    let database =
        config.database.clone().unwrap_or_else(|| format!("sqlite://{}", config.data.join("openledger.db").display()));
    let blobs = match &config.blobs {
        Some(url) => url.clone(),
        None => {
            let dir = absolute(&config.data.join("blobs"))?;
            create_folder(&dir)?;
            format!("file://{}", dir.display())
        }
    };
    Ok(Store::open(&database, BlobsConfig::new(blobs)).await?)
}

/// Opens or reaches the chain, deploys the contracts that are not there, and plans the handles to them.
async fn open_chain(config: &Config, keys: &NodeKeys, clock: &Clock, store: &Store) -> Result<ChainView> {
    let (embedded, rpc): (Option<EmbeddedChain>, Arc<dyn ChainRpc>) = match &config.chain {
        ChainChoice::Embedded { chain_id, genesis_accounts } => {
            let block_clock = match config.clock {
                NodeClock::Wall => BlockClock::Wall,
                NodeClock::Logical => BlockClock::Logical { start: LOGICAL_START_S },
            };
            let genesis_accounts =
                genesis_accounts.iter().map(|&(account, amount)| (account, U256::from(amount.0))).collect();
            let chain_config =
                ChainConfig { chain_id: *chain_id, genesis_accounts, clock: block_clock, ..ChainConfig::default() };
            let chain = EmbeddedChain::open(&config.data.join("chain"), &chain_config).await?;
            (Some(chain.clone()), Arc::new(chain))
        }
        ChainChoice::External { url, .. } => (None, Arc::new(HttpRpc::new(url)?)),
    };
    let outbox = Arc::new(StoreOutbox(store.clone()));
    let sender = Sender::new(Client::new(rpc), outbox, keys.main().clone(), FeePolicy::default()).await?;
    let sender = Arc::new(sender);
    let chain_id = sender.chain_id();
    let deployment = Deployment::plan(&deploy_params(config));
    same_contracts(config, &deployment.addresses)?;
    same_index(store, &deployment.addresses).await?;
    deployment.deploy(&sender).await?;
    let flow = Flow::new(sender, deployment.addresses);
    Ok(ChainView::new(flow, chain_id, embedded, clock.clone(), store.clone()))
}

fn genesis_accounts(config: &Config) -> BTreeSet<Address> {
    let mut accounts = BTreeSet::from([openledger_chain::embedded::TREASURY]);
    if let ChainChoice::Embedded { genesis_accounts, .. } = &config.chain {
        accounts.extend(genesis_accounts.iter().map(|(account, _)| *account));
    }
    accounts
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

/// Refuses to open a folder whose network has its contracts elsewhere: their addresses follow from their set-up, so
/// others would be deployed, and the history would be lost.
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
        "{} names other contracts than these settings lead to; start with the window, accounts and token that the folder \
         was made with, by a version with the same contracts, or in another folder",
        file.display()
    );
    Err(NodeError::refused(Blame::Operator, "other-contracts", detail))
}

/// Refuses a database in which another process keeps the index of other contracts: the two would
/// write different histories into the same tables.
async fn same_index(store: &Store, planned: &Addresses) -> Result<()> {
    let first = store.chain_events_since(0, 1).await?;
    match first.iter().find(|event| !planned.indexed().contains(&event.address)) {
        None => Ok(()),
        Some(event) => {
            let detail = format!(
                "the database holds events of contract {}, which these settings do not lead to; start with the window, \
                 accounts and token of the other processes on it, or with another database",
                event.address
            );
            Err(NodeError::refused(Blame::Operator, "other-contracts", detail))
        }
    }
}

/// A backend and its counters.
type BackendParts = (Arc<dyn Backend>, Box<dyn Fn() -> String + Send + Sync>);

async fn backend(config: &Config, base: &Base) -> Result<BackendParts> {
    let tokenizer = Arc::clone(&base.tokenizer);
    match &config.answers {
        AnswerSource::Embedded(mode) => {
            let model = if *mode == base.model.mode() {
                Arc::clone(&base.model)
            } else {
                Arc::new(Model::load(&base.dir)?.with_mode(*mode)?)
            };
            let embedded = Embedded::new(model, tokenizer, base.form.clone(), &base.name, ADAPTER_BYTES);
            Ok((Arc::new(embedded.clone()), Box::new(move || embedded.prometheus())))
        }
        AnswerSource::Remote(peer) => {
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
