//! The pool as clients reach it: transactions handed in, and the next nonce of an account.
//!
//! # Invariants
//!
//! - Every transaction that the pool takes wakes the producer; nothing else puts transactions into
//!   the pool.
//! - A refusal has the words of geth, because ethers and viem tell by them what went wrong
//!   (`insufficient funds`, `nonce too low`, `replacement transaction underpriced` and others).
//! - The pending nonce is the next one that can be mined: a transaction behind a gap does not
//!   count.
//!
//! A transaction that the pool holds already is taken again and its hash given, so a client whose
//! connection broke can hand it in once more.

use alloy_primitives::hex;
use ethrex_blockchain::Blockchain;
use ethrex_blockchain::error::MempoolError;
use ethrex_common::{Address, H256};
use ethrex_rpc::types::transaction::SendRawTransactionRequest as Raw;
use ethrex_storage::Store;
use serde_json::{Value, json};

use super::admission::Admission;
use super::params::read;
use super::wire::{REFUSED, internal, refuse, unfit};
use crate::rpc::RpcError;

/// The types of transactions of this chain's fork (Cancun), besides the legacy one without a type
/// byte.
const TYPES: std::ops::RangeInclusive<u8> = 1..=3;

/// Hands in a signed transaction (`eth_sendRawTransaction`); the result is its hash.
pub(super) async fn send_raw(chain: &Blockchain, admission: &Admission, params: &[Value]) -> Result<Value, RpcError> {
    let [Value::String(text)] = params else { return Err(unfit("transaction", "one text of hex digits is wanted")) };
    let bytes = hex::decode(text).map_err(|error| unfit("transaction", error))?;
    if bytes.first().is_some_and(|first| *first <= 0x7f && !TYPES.contains(first)) {
        return Err(refuse(REFUSED, "transaction type not supported"));
    }
    let raw = Raw::decode_canonical(&bytes).map_err(|error| refuse(REFUSED, &format!("rlp: {error}")))?;
    let (nonce, gas) = (raw.to_transaction().nonce(), raw.to_transaction().gas_limit());
    let steady = admission.steady.read().await;
    let handed_in = match raw {
        Raw::EIP4844(blob) => chain.add_blob_transaction_to_pool(blob.tx, blob.blobs_bundle).await,
        raw => chain.add_transaction_to_pool(raw.to_transaction()).await,
    };
    drop(steady);
    match handed_in {
        Ok(hash) => {
            admission.wake.notify_one();
            Ok(json!(format!("{hash:#x}")))
        }
        Err(MempoolError::StoreError(error)) => Err(internal(error)),
        Err(error) => Err(refuse(REFUSED, &words(&error, nonce, gas))),
    }
}

/// A refusal of the pool in geth's words.
fn words(error: &MempoolError, nonce: u64, gas: u64) -> String {
    match error {
        MempoolError::NotEnoughBalance => "insufficient funds for gas * price + value".to_owned(),
        MempoolError::InsufficientCumulativeBalance { required, available } => format!(
            "insufficient funds for gas * price + value: what waits of the account costs {required} with this, balance \
             {available}"
        ),
        MempoolError::NonceTooLow if nonce == u64::MAX => "nonce has max value".to_owned(),
        MempoolError::NonceTooLow | MempoolError::InvalidNonce => format!("nonce too low: tx nonce {nonce}"),
        MempoolError::UnderpricedReplacement => "replacement transaction underpriced".to_owned(),
        MempoolError::TxIntrinsicGasCostAboveLimitError => format!("intrinsic gas too low: gas {gas}"),
        MempoolError::TxGasLimitExceededError => format!("exceeds block gas limit: gas {gas}"),
        MempoolError::TxMaxGasLimitExceededError(_, gas) => format!("transaction gas limit too high: gas {gas}"),
        MempoolError::TxGasOverflowError => "gas uint64 overflow".to_owned(),
        MempoolError::TxTipAboveFeeCapError => "max priority fee per gas higher than max fee per gas".to_owned(),
        MempoolError::TxBlobBaseFeeTooLowError => "max fee per blob gas less than block blob gas fee".to_owned(),
        MempoolError::TxMaxInitCodeSizeError => "max initcode size exceeded".to_owned(),
        MempoolError::TxSizeExceeded { actual, limit } => {
            format!("oversized data: transaction size {actual}, limit {limit}")
        }
        MempoolError::InvalidChainId(id) => format!("invalid chain id for signer: the chain is {id}"),
        MempoolError::InvalidTxSender(_) => "invalid sender".to_owned(),
        MempoolError::SenderIsContract => "sender not an eoa".to_owned(),
        MempoolError::MaxQueuedTxsPerAccountExceeded { count, .. } => {
            format!("account limit exceeded: {count} transactions of the sender wait for an earlier nonce")
        }
        MempoolError::GapAdmissionDeniedUnderPressure { nonce_gap, .. } => {
            format!("txpool is full: no room for a nonce that is {nonce_gap} ahead")
        }
        other => other.to_string(),
    }
}

/// The next nonce of an account that can be mined, behind what waits without a gap.
pub(super) async fn pending_nonce(
    chain: &Blockchain,
    store: &Store,
    admission: &Admission,
    address: &Value,
) -> Result<Value, RpcError> {
    let address: Address = read("address", address)?;
    // While a block becomes the head, its transactions are neither in the pool nor in the state.
    let _steady = admission.steady.read().await;
    let head = store.get_latest_block_number().await.map_err(internal)?;
    let mut next = store.get_nonce_by_account_address(head, address).await.map_err(internal)?.unwrap_or_default();
    while chain.mempool.contains_sender_nonce(address, next, H256::zero()).map_err(internal)?.is_some() {
        next += 1;
    }
    Ok(json!(format!("{next:#x}")))
}

/// What execution refuses, in geth's words where clients know it by them.
pub(super) fn execution_words(message: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 6] = [
        ("Insufficient account funds", "insufficient funds for gas * price + value"),
        ("is greater than max fee per gas", "max priority fee per gas higher than max fee per gas"),
        ("Insufficient max fee per gas", "max fee per gas less than block base fee"),
        ("lower than the minimum gas cost", "intrinsic gas too low"),
        ("Gas allowance exceeded", "exceeds block gas limit"),
        ("Initcode size exceeded", "max initcode size exceeded"),
    ];
    WORDS.iter().find(|(said, _)| message.contains(said)).map(|(_, words)| *words)
}
