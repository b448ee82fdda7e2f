//! Says clearly when the state a request asks for is not there.
//!
//! The database keeps one version of the state; the last blocks' are at hand besides,
//! [`LAYERS_MAX`] of them. The handlers would answer for another block, or as if the state were
//! empty, so a block that does not exist, or whose state is gone, is refused here by name first.

use ethrex_common::H256;
use ethrex_common::types::BlockHeader;
use ethrex_storage::Store;
use ethrex_storage::error::StoreError;
use serde_json::{Value, json};

use super::block_ref::BlockRef;
use super::params::read;
use super::recovery::LAYERS_MAX;
use super::wire::{NOT_FOUND, internal, refuse};
use crate::rpc::RpcError;

/// Puts into the place of a method's block parameter one that all handlers read alike: a tag or a
/// number.
///
/// A block parameter that is absent means the newest block. The result is the block, for a method
/// that reads state.
///
/// # Errors
///
/// [`RpcError::Refused`] when the parameter names no block, the block does not exist, or its state
/// is gone.
pub(super) async fn resolve(
    store: &Store,
    method: &str,
    params: &mut Vec<Value>,
) -> Result<Option<BlockRef>, RpcError> {
    let at = match method {
        "eth_getBalance"
        | "eth_getCode"
        | "eth_getTransactionCount"
        | "eth_call"
        | "eth_estimateGas"
        | "eth_createAccessList" => 1,
        "eth_getStorageAt" | "eth_getProof" => 2,
        "debug_traceBlockByNumber" => return trace_of_block(store, params).map(|()| None),
        "debug_traceTransaction" => return trace_of_transaction(store, params).await.map(|()| None),
        _ => return Ok(None),
    };
    if params.len() < at {
        return Ok(None);
    }
    if params.len() == at {
        params.push(json!("latest"));
    }
    let mut block = BlockRef::read("block", &params[at])?;
    if let Some(header) = header(store, block).await? {
        if !store.has_state_root(header.state_root).map_err(internal)? {
            let number = header.number;
            return Err(refuse(
                NOT_FOUND,
                &format!("the state of block {number} is gone; that of the last {LAYERS_MAX} blocks is kept"),
            ));
        }
        block = BlockRef::Number(header.number);
    }
    params[at] = json!(block);
    Ok(Some(block))
}

/// The header of a block named by number or hash; none for a tag, which always means the head here.
async fn header(store: &Store, block: BlockRef) -> Result<Option<BlockHeader>, RpcError> {
    let found = match block {
        BlockRef::Latest | BlockRef::Pending => return Ok(None),
        BlockRef::Number(number) => store.get_block_header(number).map_err(internal)?,
        BlockRef::Hash(hash) => by_hash(store, H256(hash.0)).await.map_err(internal)?,
    };
    let name = match block {
        BlockRef::Number(number) => number.to_string(),
        other => json!(other).as_str().unwrap_or_default().to_owned(),
    };
    found.map(Some).ok_or_else(|| not_found("block", &name))
}

/// A block's header by hash, once the block is part of the chain.
pub(super) async fn by_hash(store: &Store, hash: H256) -> Result<Option<BlockHeader>, StoreError> {
    let Some(header) = store.get_block_header_by_hash(hash)? else { return Ok(None) };
    let canonical = store.get_canonical_block_hash(header.number).await?;
    Ok((canonical == Some(hash)).then_some(header))
}

/// A block is traced by number; one that does not exist has no traces.
fn trace_of_block(store: &Store, params: &mut [Value]) -> Result<(), RpcError> {
    let Some(first) = params.first_mut() else { return Ok(()) };
    let block = BlockRef::read_height("block", first)?;
    if let BlockRef::Number(number) = block
        && store.get_block_header(number).map_err(internal)?.is_none()
    {
        return Err(not_found("block", &number.to_string()));
    }
    *first = json!(block);
    Ok(())
}

async fn trace_of_transaction(store: &Store, params: &[Value]) -> Result<(), RpcError> {
    let Some(first) = params.first() else { return Ok(()) };
    let hash: H256 = read("transaction", first)?;
    match store.get_transaction_location(hash).await.map_err(internal)? {
        Some(_) => Ok(()),
        None => Err(not_found("transaction", &format!("{hash:#x}"))),
    }
}

/// The refusal of what does not exist.
pub(super) fn not_found(kind: &str, name: &str) -> RpcError {
    refuse(NOT_FOUND, &format!("{kind} {name} does not exist"))
}
