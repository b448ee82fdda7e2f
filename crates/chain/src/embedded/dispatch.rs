//! Answers JSON-RPC: most methods by the ethrex handlers, a few here.
//!
//! # Invariants
//!
//! - What is served is an allow-list: no `engine_*`, `admin_*` or `testing_*`, and of `debug_*` only what reads.
//!   (`debug_setHead`, for one, would rewind the chain.)
//! - Every transaction the pool takes wakes the producer; nothing else puts transactions into the pool.
//! - A client that asks for a receipt while the transaction waits for its block is answered when the block is there:
//!   blocks come on demand, so one that asks once and then at the next block (ethers) would wait for ever.

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
use super::error::EmbeddedError;
use super::filters::{Filters, Wanted};
use crate::rpc::RpcError;

/// Most requests in one batch.
const BATCH_MAX: usize = 1_000;
/// How long one request or batch waits for blocks with the receipts it asks for: longer than one-second blocks take.
const RECEIPT_PATIENCE: Duration = Duration::from_secs(2);
/// JSON-RPC code of a filter that does not exist, as other nodes give it.
const NO_FILTER: i64 = -32000;
/// JSON-RPC code of parameters that do not fit the method.
const INVALID_PARAMS: i32 = -32602;
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
        // The context wants the identity of a peer. There are no peers, so any fixed identity will do.
        let context = |error: String| EmbeddedError::Context(error);
        let identity = secp256k1::SecretKey::from_slice(&[7; 32]).map_err(|error| context(error.to_string()))?;
        let node = Node::new(std::net::Ipv4Addr::LOCALHOST.into(), 0, 0, H512::zero());
        let record = NodeRecord::from_node(&node, 1, &identity).map_err(|error| context(format!("{error:?}")))?;
        let version = env!("CARGO_PKG_VERSION");
        let part = |text: &str| text.to_owned();
        // Blocks come from the producer only; the receiver of the engine API's blocks is dropped here.
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
        let params = match params {
            Value::Array(params) => params,
            Value::Null => Vec::new(),
            _ => return Err(refuse(INVALID_PARAMS.into(), "params must be an array")),
        };
        let head = *self.head.borrow();
        match method {
            "eth_accounts" => return Ok(json!([])),
            "eth_syncing" => return Ok(json!(false)),
            "eth_mining" | "net_listening" => return Ok(json!(true)),
            "net_peerCount" => return Ok(json!("0x0")),
            "eth_newBlockFilter" => return Ok(json!(self.filters.add(Wanted::Blocks, head))),
            "eth_newFilter" => match params.first() {
                Some(wanted @ Value::Object(_)) => {
                    return Ok(json!(self.filters.add(Wanted::Logs(wanted.clone()), head)));
                }
                _ => return Err(refuse(INVALID_PARAMS.into(), "a filter is an object")),
            },
            "eth_uninstallFilter" => return Ok(json!(self.filters.remove(&params))),
            "eth_getFilterChanges" => return self.filter_changes(&params, head).await,
            "eth_getFilterLogs" => match self.filters.wanted(&params) {
                Some(Wanted::Logs(wanted)) => return self.handle("eth_getLogs", vec![wanted]).await,
                _ => return Err(refuse(NO_FILTER, "filter not found")),
            },
            _ if method.starts_with("debug_") && !DEBUG_READS.contains(&method) => {
                return Err(refuse(-32601, &format!("method {method} is not served")));
            }
            _ => {}
        }
        super::state::require(&self.context.storage, method, &params).await?;
        self.handle(method, params).await
    }

    /// Answers by the ethrex handlers.
    async fn handle(&self, method: &str, params: Vec<Value>) -> Result<Value, RpcError> {
        let request = RpcRequest::new(method, Some(params));
        let handed_in = method == "eth_sendRawTransaction";
        let _steady = if handed_in { Some(self.admission.steady.read().await) } else { None };
        match map_http_requests(&request, self.context.clone()).await {
            Ok(result) => {
                if handed_in {
                    self.admission.wake.notify_one();
                }
                Ok(result)
            }
            Err(error) => {
                // The handlers give what is wrong with parameters the code of what the pool refuses.
                let parameters = matches!(error, RpcErr::BadParams(_) | RpcErr::MissingParam(_));
                let RpcErrorMetadata { mut code, data, message } = error.into();
                if parameters && !handed_in {
                    code = INVALID_PARAMS;
                }
                let data = data.and_then(|data| hex::decode(data).ok()).map(Bytes::from);
                Err(RpcError::Refused { code: i64::from(code), message, data })
            }
        }
    }

    /// What came since the filter was last asked: hashes of blocks, or logs.
    async fn filter_changes(&self, params: &[Value], head: u64) -> Result<Value, RpcError> {
        let Some((wanted, after)) = self.filters.advance(params, head) else {
            return Err(refuse(NO_FILTER, "filter not found"));
        };
        if after >= head {
            return Ok(json!([]));
        }
        match wanted {
            Wanted::Blocks => self.block_hashes(after + 1, head).await,
            Wanted::Logs(wanted) => {
                let range = json!({
                    "fromBlock": format!("{:#x}", after + 1), "toBlock": format!("{head:#x}"),
                    "address": wanted.get("address"), "topics": wanted.get("topics"),
                });
                self.handle("eth_getLogs", vec![range]).await
            }
        }
    }

    async fn block_hashes(&self, first: u64, last: u64) -> Result<Value, RpcError> {
        let mut hashes = Vec::new();
        for number in first..=last {
            let hash = self.context.storage.get_canonical_block_hash(number).await;
            let hash = hash.map_err(|error| refuse(-32603, &error.to_string()))?;
            hashes.extend(hash.map(|hash| format!("{hash:#x}")));
        }
        Ok(json!(hashes))
    }

    /// The receipt of a transaction, waited for until `deadline` while the pool holds the transaction.
    async fn receipt(&self, params: Value, deadline: Instant) -> Result<Value, RpcError> {
        let hash = params.get(0).and_then(|hash| serde_json::from_value::<H256>(hash.clone()).ok());
        let mut head = self.head.clone();
        loop {
            // In this order: what is in the pool no more stands in a visible block, and a block made meanwhile wakes us.
            head.mark_unchanged();
            let waits = hash.is_some_and(|hash| self.context.blockchain.mempool.contains_tx(hash).unwrap_or(false));
            let found = self.call("eth_getTransactionReceipt", params.clone()).await?;
            if !found.is_null() || !waits || !matches!(timeout_at(deadline, head.changed()).await, Ok(Ok(()))) {
                return Ok(found);
            }
        }
    }

    /// Answers one JSON-RPC request or a batch.
    pub(crate) async fn answer(&self, request: Value) -> Value {
        let deadline = Instant::now() + RECEIPT_PATIENCE;
        match request {
            Value::Array(batch) if batch.is_empty() => envelope(Value::Null, Err(refuse(-32600, "the batch is empty"))),
            Value::Array(batch) if batch.len() > BATCH_MAX => {
                envelope(Value::Null, Err(refuse(-32600, &format!("a batch holds at most {BATCH_MAX} requests"))))
            }
            Value::Array(batch) => {
                let mut answers = Vec::with_capacity(batch.len());
                for request in batch {
                    answers.push(self.answer_one(request, deadline).await);
                }
                Value::Array(answers)
            }
            request => self.answer_one(request, deadline).await,
        }
    }

    async fn answer_one(&self, mut request: Value, deadline: Instant) -> Value {
        let id = request.get_mut("id").map(Value::take).unwrap_or_default();
        let params = request.get_mut("params").map(Value::take).unwrap_or_default();
        let Some(method) = request.get("method").and_then(Value::as_str) else {
            return envelope(id, Err(refuse(-32600, "the request names no method")));
        };
        let result = match method {
            "eth_getTransactionReceipt" => self.receipt(params, deadline).await,
            _ => self.call(method, params).await,
        };
        envelope(id, result)
    }
}

/// A refusal with a JSON-RPC code.
pub(super) fn refuse(code: i64, message: &str) -> RpcError {
    RpcError::Refused { code, message: message.to_owned(), data: None }
}

/// Wraps a result into the JSON-RPC 2.0 envelope.
pub(super) fn envelope(id: Value, result: Result<Value, RpcError>) -> Value {
    let error = match result {
        Ok(result) => return json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(RpcError::Refused { code, message, data: Some(data) }) => {
            json!({ "code": code, "message": message, "data": data })
        }
        Err(RpcError::Refused { code, message, data: None }) => json!({ "code": code, "message": message }),
        Err(other) => json!({ "code": -32603, "message": other.to_string() }),
    };
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}
