//! Says clearly when the state a request asks for is gone.
//!
//! The database keeps one version of the state; the last blocks' are at hand besides, [`LAYERS_MAX`] of them. A request for an older
//! one would fail deep inside the handlers, or read another block's, so it is refused here by name first.

use ethrex_common::H256;
use ethrex_common::types::BlockHeader;
use ethrex_storage::Store;
use ethrex_storage::error::StoreError;
use serde_json::Value;

use super::dispatch::refuse;
use super::recovery::LAYERS_MAX;
use crate::rpc::RpcError;

/// JSON-RPC code of a resource that is not there (EIP-1474).
const NOT_FOUND: i64 = -32001;

/// Refuses a request that reads the state of a block whose state is gone.
///
/// Tags (`latest`, `pending`, `safe`, `finalized`) always mean blocks at the head here. What is no block at all is left
/// to the handlers.
pub(super) async fn require(store: &Store, method: &str, params: &[Value]) -> Result<(), RpcError> {
    let at = match method {
        "eth_getBalance"
        | "eth_getCode"
        | "eth_getTransactionCount"
        | "eth_call"
        | "eth_estimateGas"
        | "eth_createAccessList" => 1,
        "eth_getStorageAt" | "eth_getProof" => 2,
        _ => return Ok(()),
    };
    let failed = |error: StoreError| refuse(-32603, &error.to_string());
    let Some(header) = header(store, params.get(at)).await.map_err(failed)? else { return Ok(()) };
    if store.has_state_root(header.state_root).map_err(failed)? {
        return Ok(());
    }
    let number = header.number;
    Err(refuse(
        NOT_FOUND,
        &format!("the state of block {number} is gone; that of the last {LAYERS_MAX} blocks is kept"),
    ))
}

/// The header that a block parameter names by number or hash.
async fn header(store: &Store, block: Option<&Value>) -> Result<Option<BlockHeader>, StoreError> {
    let text = match block {
        Some(Value::String(text)) => text,
        Some(Value::Object(fields)) => match fields.get("blockHash").or_else(|| fields.get("blockNumber")) {
            Some(Value::String(text)) => text,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    if text == "earliest" {
        return store.get_block_header(0);
    }
    let Some(digits) = text.strip_prefix("0x") else { return Ok(None) };
    if digits.len() == 64 {
        let Ok(hash) = text.parse::<H256>() else { return Ok(None) };
        return store.get_block_header_by_hash(hash);
    }
    match u64::from_str_radix(digits, 16) {
        Ok(number) => store.get_block_header(number),
        Err(_) => Ok(None),
    }
}
