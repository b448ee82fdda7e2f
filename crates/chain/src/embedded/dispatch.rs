//! Answers JSON-RPC: most methods by the ethrex handlers, a few here.
//!
//! # Invariants
//!
//! - What is served is an allow-list: no `engine_*`, `admin_*` or `testing_*`, and of `debug_*`
//!   only what reads. (`debug_setHead`, for one, would rewind the chain.)
//! - A notification (a request without an id) is done and gets no answer.
//! - A client that asks for a receipt while the transaction waits for its block is answered when
//!   the block is there: blocks come on demand, so one that asks once and then at the next block
//!   (ethers) would wait for ever.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Bytes, hex};
use ethrex_blockchain::Blockchain;
use ethrex_common::{H256, H512};
use ethrex_p2p::types::{Node, NodeRecord};
use ethrex_rpc::utils::{RpcErr, RpcErrorMetadata, RpcRequest};
use ethrex_rpc::{ClientVersion, GasTipEstimator, NodeData, RpcApiContext, RpcNamespace, map_http_requests};
use ethrex_storage::Store;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::admission::Admission;
use super::block_ref::BlockRef;
use super::error::EmbeddedError;
use super::filters::{Filters, Wanted};
use super::logs::LogFilter;
use super::wire::{INVALID_PARAMS, INVALID_REQUEST, NO_METHOD, REFUSED, Request, envelope, internal, refuse};
use super::{params, pool, state};
use crate::rpc::RpcError;

/// Most requests in one batch.
const BATCH_MAX: usize = 1_000;
/// How long one request or batch waits for blocks with the receipts it asks for: longer than
/// one-second blocks take.
const RECEIPT_PATIENCE: Duration = Duration::from_secs(2);
/// The `debug_*` methods that only read.
const DEBUG_READS: [&str; 6] = [
    "debug_traceTransaction",
    "debug_traceBlockByNumber",
    "debug_getRawHeader",
    "debug_getRawBlock",
    "debug_getRawTransaction",
    "debug_getRawReceipts",
];

/// The JSON-RPC methods over one chain.
pub(crate) struct Dispatch {
    context: RpcApiContext,
    admission: Arc<Admission>,
    filters: Filters,
    /// Number of the newest visible block.
    pub(crate) head: watch::Receiver<u64>,
}

impl Dispatch {
    pub(crate) fn new(
        store: &Store,
        chain: &Arc<Blockchain>,
        gas_limit: u64,
        admission: Arc<Admission>,
        head: watch::Receiver<u64>,
    ) -> Result<Self, EmbeddedError> {
        // The context wants the identity of a peer. There are no peers, so any fixed identity will
        // do.
        let context = |error: String| EmbeddedError::Context(error);
        let identity = secp256k1::SecretKey::from_slice(&[7; 32]).map_err(|error| context(error.to_string()))?;
        let node = Node::new(std::net::Ipv4Addr::LOCALHOST.into(), 0, 0, H512::zero());
        let record = NodeRecord::from_node(&node, 1, &identity).map_err(|error| context(format!("{error:?}")))?;
        let version = env!("CARGO_PKG_VERSION");
        let part = |text: &str| text.to_owned();
        // Blocks come from the producer only; the receiver of the engine API's blocks is dropped
        // here.
        let (blocks, _) = tokio::sync::mpsc::unbounded_channel();
        let served =
            [RpcNamespace::Eth, RpcNamespace::Net, RpcNamespace::Web3, RpcNamespace::Debug, RpcNamespace::Mempool];
        let context = RpcApiContext {
            storage: store.clone(),
            blockchain: Arc::clone(chain),
            active_filters: Default::default(),
            syncer: None,
            peer_handler: None,
            node_data: NodeData {
                jwt_secret: Default::default(),
                local_node_record: record,
                local_p2p_node: node,
                client_version: ClientVersion::new(
                    part("openledger"),
                    part(version),
                    part("ethrex"),
                    part("24.0.0"),
                    part(std::env::consts::ARCH),
                    part("1.95"),
                ),
                extra_data: Default::default(),
            },
            gas_tip_estimator: Arc::new(tokio::sync::Mutex::new(GasTipEstimator::new())),
            log_filter_handler: None,
            gas_ceil: gas_limit,
            block_worker_channel: blocks,
            ws: None,
            allowed_namespaces: Arc::new(served.into_iter().collect()),
        };
        Ok(Self { context, admission, filters: Filters::default(), head })
    }

    /// Answers one call.
    ///
    /// # Errors
    ///
    /// [`RpcError::Refused`] with the code, message and data that JSON-RPC carries.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let mut params = match params {
            Value::Array(params) => params,
            Value::Null => Vec::new(),
            _ => return Err(refuse(INVALID_PARAMS, "params must be an array")),
        };
        params::drop_nulls(&mut params);
        match method {
            "eth_accounts" => return Ok(json!([])),
            "eth_syncing" => return Ok(json!(false)),
            "eth_mining" | "net_listening" => return Ok(json!(true)),
            "net_peerCount" => return Ok(json!("0x0")),
            "eth_newBlockFilter" => return Ok(json!(self.filters.add(Wanted::Blocks, self.newest().await))),
            "eth_newFilter" => {
                return Ok(json!(self.filters.add(Wanted::Logs(filter(&params)?), self.newest().await)));
            }
            "eth_uninstallFilter" => return Ok(json!(self.filters.remove(&params))),
            "eth_getFilterChanges" => return self.filter_changes(&params).await,
            "eth_getFilterLogs" => match self.filters.wanted(&params) {
                Some(Wanted::Logs(wanted)) => return self.logs(wanted).await,
                _ => return Err(refuse(REFUSED, "filter not found")),
            },
            "eth_getLogs" => return self.logs(filter(&params)?).await,
            "eth_sendRawTransaction" => {
                return pool::send_raw(&self.context.blockchain, &self.admission, &params).await;
            }
            _ if method.starts_with("debug_") && !DEBUG_READS.contains(&method) => {
                return Err(refuse(NO_METHOD, &format!("method {method} is not served")));
            }
            _ => {}
        }
        params::check(method, &params)?;
        let store = &self.context.storage;
        let block = state::resolve(store, method, &mut params).await?;
        if method == "eth_getTransactionCount" && block == Some(BlockRef::Pending) && params.len() == 2 {
            return pool::pending_nonce(&self.context.blockchain, store, &self.admission, &params[0]).await;
        }
        self.handle(method, params).await
    }

    /// Number of the newest block. Any block that another method showed before is counted: while a
    /// block becomes the head, the handlers show it already and `head` does not name it yet.
    async fn newest(&self) -> u64 {
        let _steady = self.admission.steady.read().await;
        *self.head.borrow()
    }

    /// Answers by the ethrex handlers.
    async fn handle(&self, method: &str, params: Vec<Value>) -> Result<Value, RpcError> {
        let request = RpcRequest::new(method, Some(params));
        // On the heap: the handlers' future takes 28 kB, and every caller would hold it.
        match Box::pin(map_http_requests(&request, self.context.clone())).await {
            Ok(result) => Ok(result),
            Err(error) => {
                // The handlers give what is wrong with parameters the code of what the pool
                // refuses.
                let parameters = matches!(error, RpcErr::BadParams(_) | RpcErr::MissingParam(_));
                let words = if let RpcErr::Vm(said) = &error { pool::execution_words(said) } else { None };
                let RpcErrorMetadata { code, data, message } = error.into();
                let code = if parameters { INVALID_PARAMS } else { i64::from(code) };
                let data = data.and_then(|data| hex::decode(data).ok()).map(Bytes::from);
                match words {
                    Some(words) => Err(refuse(REFUSED, words)),
                    None => Err(RpcError::Refused { code, message, data }),
                }
            }
        }
    }

    /// Logs by a filter, as far as the blocks go.
    async fn logs(&self, wanted: LogFilter) -> Result<Value, RpcError> {
        if let Some(hash) = wanted.block_hash
            && state::by_hash(&self.context.storage, H256(hash.0)).await.map_err(internal)?.is_none()
        {
            return Err(state::not_found("block", &hash.to_string()));
        }
        match wanted.until(self.newest().await) {
            Some(wanted) => self.handle("eth_getLogs", vec![json!(wanted)]).await,
            None => Ok(json!([])),
        }
    }

    /// What came since the filter was last asked: hashes of blocks, or logs.
    async fn filter_changes(&self, params: &[Value]) -> Result<Value, RpcError> {
        let head = self.newest().await;
        let Some((wanted, after)) = self.filters.advance(params, head) else {
            return Err(refuse(REFUSED, "filter not found"));
        };
        if after >= head {
            return Ok(json!([]));
        }
        match wanted {
            Wanted::Blocks => self.block_hashes(after + 1, head).await,
            Wanted::Logs(wanted) => self.logs_within(&wanted, after + 1, head).await,
        }
    }

    /// Logs by a filter, of the blocks `from` to `to`.
    pub(crate) async fn logs_within(&self, wanted: &LogFilter, from: u64, to: u64) -> Result<Value, RpcError> {
        self.handle("eth_getLogs", vec![json!(wanted.within(from, to))]).await
    }

    async fn block_hashes(&self, first: u64, last: u64) -> Result<Value, RpcError> {
        let mut hashes = Vec::new();
        for number in first..=last {
            let hash = self.context.storage.get_canonical_block_hash(number).await;
            let hash = hash.map_err(internal)?;
            hashes.extend(hash.map(|hash| format!("{hash:#x}")));
        }
        Ok(json!(hashes))
    }

    /// The receipt of a transaction, waited for until `deadline` while the pool holds the
    /// transaction.
    async fn receipt(&self, params: Value, deadline: Instant) -> Result<Value, RpcError> {
        let hash = params.get(0).and_then(|hash| serde_json::from_value::<H256>(hash.clone()).ok());
        let mut head = self.head.clone();
        loop {
            // In this order: what is in the pool no more stands in a visible block, and a block
            // made meanwhile wakes us.
            head.mark_unchanged();
            let waits = hash.is_some_and(|hash| self.context.blockchain.mempool.contains_tx(hash).unwrap_or(false));
            let found = self.call("eth_getTransactionReceipt", params.clone()).await?;
            if !found.is_null() || !waits || !matches!(timeout_at(deadline, head.changed()).await, Ok(Ok(()))) {
                return Ok(found);
            }
        }
    }

    /// Answers one JSON-RPC request or a batch; nothing where all of it is notifications.
    pub(crate) async fn answer(&self, request: Value) -> Option<Value> {
        let deadline = Instant::now() + RECEIPT_PATIENCE;
        let invalid = |why: &str| Some(envelope(Value::Null, Err(refuse(INVALID_REQUEST, why))));
        match request {
            Value::Array(batch) if batch.is_empty() => invalid("the batch is empty"),
            Value::Array(batch) if batch.len() > BATCH_MAX => {
                invalid(&format!("a batch holds at most {BATCH_MAX} requests"))
            }
            Value::Array(batch) => {
                let mut answers = Vec::with_capacity(batch.len());
                for request in batch {
                    answers.extend(self.answer_one(request, deadline).await);
                }
                (!answers.is_empty()).then_some(Value::Array(answers))
            }
            request => self.answer_one(request, deadline).await,
        }
    }

    async fn answer_one(&self, request: Value, deadline: Instant) -> Option<Value> {
        match Request::read(request) {
            Ok(request) => self.answer_request(request, deadline).await,
            Err(answer) => Some(answer),
        }
    }

    async fn answer_request(&self, request: Request, deadline: Instant) -> Option<Value> {
        let Request { id, method, params } = request;
        let result = match method.as_str() {
            "eth_getTransactionReceipt" if id.is_some() => self.receipt(params, deadline).await,
            method => self.call(method, params).await,
        };
        id.map(|id| envelope(id, result))
    }
}

/// The filter object that a method wants.
fn filter(params: &[Value]) -> Result<LogFilter, RpcError> {
    LogFilter::read(Some(params.first().unwrap_or(&Value::Null)))
}
