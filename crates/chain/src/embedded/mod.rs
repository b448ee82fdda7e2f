//! An Ethereum chain inside the process: the ethrex crates over RocksDB, with one block producer.
//!
//! # Place in the flow
//!
//! `node` opens it when no external network is configured and hands it on as a [`ChainRpc`];
//! everything above sees JSON-RPC only. Wallets and explorers reach the same methods at `/rpc`
//! through [`EmbeddedChain::router`].
//!
//! # Invariants
//!
//! - What was acknowledged (a receipt, a head) survives `kill -9`: see `producer`. Against loss of
//!   power only what `flush` and [`EmbeddedChain::shutdown`] wrote is certain, because the database
//!   does not sync each write.
//! - No block without a transaction.
//! - **Bounded.** Requests, batches, filters, subscriptions and what waits for a slow reader have
//!   limits.
//! - No key lives here: `eth_accounts` is empty and nothing is ever signed.
//!
//! # Not here
//!
//! Peers, consensus, other nodes: one process makes the blocks. Historical state: `eth_call` and
//! `eth_getProof` answer for the last 64 blocks.

mod admission;
mod block_ref;
mod clock;
mod config;
mod database;
mod dispatch;
mod error;
mod filters;
mod flush;
mod genesis;
mod logs;
mod params;
mod pool;
mod producer;
mod recovery;
mod router;
mod state;
mod subscriptions;
mod wire;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use alloy_primitives::B256;
use axum::Router;
use ethrex_blockchain::{Blockchain, BlockchainOptions};
use ethrex_common::types::{GLOBAL_SIGNER_CACHE, Genesis};
use ethrex_storage::Store;
use ethrex_storage::error::StoreError;
use serde_json::Value;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use self::admission::Admission;
use self::dispatch::Dispatch;
use self::flush::Flusher;
use self::producer::Producer;
use self::router::Limits;
use crate::rpc::{ChainRpc, RpcFuture};

pub use self::clock::{BlockClock, MAX_AHEAD_S, Now};
pub use self::config::{ChainConfig, DEFAULT_CHAIN_ID, TOTAL_SUPPLY, TREASURY};
pub use self::error::EmbeddedError;
pub use self::genesis::genesis_json;
pub use self::recovery::Recovered;

/// Transactions whose recovered senders are remembered: enough for those that wait in a busy pool.
/// The client keeps 100,000.
const SENDERS_KEPT: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// A running embedded chain. Clones are handles to the same chain; it stops making blocks when the
/// last one is dropped.
#[derive(Clone)]
pub struct EmbeddedChain {
    inner: Arc<Inner>,
}

struct Inner {
    dispatch: Arc<Dispatch>,
    store: Store,
    recovered: Recovered,
    genesis_hash: B256,
    limits: Limits,
    stop: watch::Sender<bool>,
    producer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedChain {
    /// Opens the chain in `dir`, or creates it there, and starts making blocks on the current tokio
    /// runtime.
    ///
    /// Blocks whose state had not reached the disk are executed again first: at most about 64 of
    /// them.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::OtherGenesis`] when `dir` holds a chain made with another configuration,
    /// [`EmbeddedError::Open`] when another process holds it, [`EmbeddedError::NewerDatabase`] when
    /// a newer RocksDB wrote it, [`EmbeddedError::Damaged`] when blocks are missing.
    pub async fn open(dir: &Path, config: &ChainConfig) -> Result<Self, EmbeddedError> {
        let genesis: Genesis = serde_json::from_value(genesis_json(config)?)?;
        let genesis_hash = B256::new(genesis.get_block().hash().0);
        let open = |source| EmbeddedError::Open { dir: dir.to_path_buf(), source };
        // One for the whole process; a poisoned lock only means that some entry is missing.
        GLOBAL_SIGNER_CACHE.lock().unwrap_or_else(PoisonError::into_inner).resize(SENDERS_KEPT);
        let mut store = database::open(dir).await?;
        store.add_initial_state(genesis).await.map_err(|error| match error {
            StoreError::IncompatibleChainConfig => EmbeddedError::OtherGenesis { dir: dir.to_path_buf() },
            other => open(other),
        })?;
        let options = BlockchainOptions { max_mempool_size: config.max_pending, ..BlockchainOptions::default() };
        let chain = Arc::new(Blockchain::new(store.clone(), options));
        let recovered = recovery::regenerate_state(&store, &chain).await?;
        // Without this mark the pool refuses transactions, as a node does that is still syncing.
        chain.set_synced();

        let admission = Arc::new(Admission::default());
        let (head, head_seen) = watch::channel(recovered.head);
        let (stop, stop_seen) = watch::channel(false);
        let dispatch = Dispatch::new(&store, &chain, config.block_gas_limit, Arc::clone(&admission), head_seen)?;
        let dispatch = Arc::new(dispatch);
        let producer = Producer {
            store: store.clone(),
            chain,
            clock: config.clock,
            now: config.now.clone(),
            fee_recipient: ethrex_common::Address::from(config.fee_recipient.into_array()),
            gas_limit: config.block_gas_limit,
            admission,
            head,
            flusher: Flusher::new(store.clone(), dir),
        };
        let producer = tokio::spawn(producer.run(stop_seen));
        tracing::info!(head = recovered.head, state_on_disk = recovered.state_on_disk, "embedded chain open");
        Ok(Self {
            inner: Arc::new(Inner {
                dispatch,
                store,
                recovered,
                genesis_hash,
                limits: Limits { request_bytes: config.max_request_bytes, reader_patience: config.reader_patience },
                stop,
                producer: Mutex::new(Some(producer)),
            }),
        })
    }

    /// What opening found on disk.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.inner.recovered
    }

    /// Hash of the genesis block; tells one chain from another with the same chain id.
    #[must_use]
    pub fn genesis_hash(&self) -> B256 {
        self.inner.genesis_hash
    }

    /// Number of the newest block.
    #[must_use]
    pub fn head(&self) -> u64 {
        *self.inner.dispatch.head.borrow()
    }

    /// Answers one JSON-RPC request or a batch of them, as the HTTP endpoint would; nothing where
    /// all are notifications.
    pub async fn rpc(&self, request: Value) -> Option<Value> {
        self.inner.dispatch.answer(request).await
    }

    /// The routes to serve: `/rpc` by POST and as a WebSocket, open to pages of any origin (there
    /// is no key here).
    pub fn router(&self) -> Router {
        router::router(Arc::clone(&self.inner.dispatch), self.inner.limits)
    }

    /// Finishes the block in the making, flushes everything to disk and stops.
    ///
    /// Call it once; requests made afterwards through other handles fail. A chain that is dropped
    /// without it is opened again without loss, only its blocks may not have outlived a loss of
    /// power.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::Storage`] when the flush failed.
    pub async fn shutdown(self) -> Result<(), EmbeddedError> {
        let Some(producer) = self.inner.producer.lock().await.take() else { return Ok(()) };
        self.inner.stop.send_replace(true);
        producer.await?;
        Ok(self.inner.store.shutdown().await?)
    }
}

impl ChainRpc for EmbeddedChain {
    fn call<'a>(&'a self, method: &'a str, params: Value) -> RpcFuture<'a, Value> {
        Box::pin(self.inner.dispatch.call(method, params))
    }

    fn next_block(&self, after: u64) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut head = self.inner.dispatch.head.clone();
            let wait = head.wait_for(|&number| number > after);
            // The limit lets callers look for other reasons why nothing happens; a closed channel
            // means shutdown.
            let _ = tokio::time::timeout(crate::rpc::POLL, wait).await;
        })
    }
}
