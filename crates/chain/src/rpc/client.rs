//! Types on the JSON-RPC methods this crate uses.
//!
//! Unknown fields are ignored, missing ones refused by name, so that a wrong endpoint is told from
//! a strange one.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U64, U128, U256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ChainRpc, RpcError};

/// Names one block of one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
}

/// What we read of a block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// Hash of the block before.
    pub parent: B256,
    /// Seconds since 1970.
    pub timestamp: u64,
}

impl Head {
    /// The name of the block.
    #[must_use]
    pub fn block(&self) -> BlockRef {
        BlockRef { number: self.number, hash: self.hash }
    }
}

/// An event emitted by a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// The contract.
    pub address: Address,
    /// Event signature hash and indexed members.
    pub topics: Vec<B256>,
    /// The other members, ABI-encoded.
    pub data: Bytes,
    /// The block's number.
    #[serde(with = "quantity")]
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// The transaction.
    pub transaction_hash: B256,
    /// Place in the block, over all transactions.
    #[serde(with = "quantity")]
    pub log_index: u64,
}

/// What became of a transaction that stands in a block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionReceipt {
    /// The transaction.
    pub transaction_hash: B256,
    /// The block's number.
    #[serde(with = "quantity")]
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// Gas paid for.
    #[serde(with = "quantity")]
    pub gas_used: u64,
    /// 1 when it succeeded, 0 when it reverted.
    #[serde(with = "quantity")]
    pub status: u64,
    /// Events, in order. None when it reverted.
    #[serde(default)]
    pub logs: Vec<Log>,
}

/// A call to execute without a transaction, or to estimate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallRequest {
    /// Who calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// The contract called.
    pub to: Address,
    /// Base units of the native coin sent along.
    pub value: U256,
    /// ABI-encoded call.
    #[serde(rename = "data")]
    pub data: Bytes,
}

/// Which logs to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    /// First block.
    pub from: u64,
    /// Last block, included.
    pub to: u64,
    /// Emitting contracts; none means any.
    pub addresses: Vec<Address>,
}

/// Typed access to one network.
#[derive(Clone)]
pub struct Client {
    rpc: Arc<dyn ChainRpc>,
}

impl Client {
    /// Puts types on `rpc`.
    #[must_use]
    pub fn new(rpc: Arc<dyn ChainRpc>) -> Self {
        Self { rpc }
    }

    /// The untyped access below.
    #[must_use]
    pub fn rpc(&self) -> &dyn ChainRpc {
        &*self.rpc
    }

    /// EIP-155 chain id.
    ///
    /// # Errors
    ///
    /// As all methods here: [`RpcError`] of the call.
    pub async fn chain_id(&self) -> Result<u64, RpcError> {
        self.quantity("eth_chainId", json!([])).await
    }

    /// Number of the newest block.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call.
    pub async fn block_number(&self) -> Result<u64, RpcError> {
        self.quantity("eth_blockNumber", json!([])).await
    }

    /// Header of block `number`, if there is one.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call.
    pub async fn block(&self, number: u64) -> Result<Option<Head>, RpcError> {
        self.header(&format!("{number:#x}")).await
    }

    /// Header of the newest block that will not be replaced; none before the network knows one.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call.
    pub async fn finalized(&self) -> Result<Option<Head>, RpcError> {
        self.header("finalized").await
    }

    /// Header of the newest block.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call.
    pub async fn latest(&self) -> Result<Option<Head>, RpcError> {
        self.header("latest").await
    }

    /// Base units per gas that the newest block burned; 0 on networks without a base fee.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call.
    pub async fn base_fee(&self) -> Result<u128, RpcError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields {
            base_fee_per_gas: Option<U128>,
        }
        let fields: Option<Fields> = self.get("eth_getBlockByNumber", json!(["latest", false])).await?;
        Ok(fields.and_then(|fields| fields.base_fee_per_gas).unwrap_or_default().to())
    }

    async fn header(&self, tag: &str) -> Result<Option<Head>, RpcError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields {
            number: U64,
            hash: B256,
            parent_hash: B256,
            timestamp: U64,
        }
        let fields: Option<Fields> = self.get("eth_getBlockByNumber", json!([tag, false])).await?;
        Ok(fields.map(|fields| Head {
            number: fields.number.to(),
            hash: fields.hash,
            parent: fields.parent_hash,
            timestamp: fields.timestamp.to(),
        }))
    }

    /// Native coin of `account`, in base units, at the newest block.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call.
    pub async fn balance(&self, account: Address) -> Result<U256, RpcError> {
        self.get("eth_getBalance", json!([account, "latest"])).await
    }

    /// The nonce of the next transaction of `account`, counting what stands in blocks only.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call.
    pub async fn nonce(&self, account: Address) -> Result<u64, RpcError> {
        self.quantity("eth_getTransactionCount", json!([account, "latest"])).await
    }

    /// Code of `account` at the newest block; empty where there is none.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call.
    pub async fn code(&self, account: Address) -> Result<Bytes, RpcError> {
        self.get("eth_getCode", json!([account, "latest"])).await
    }

    /// The receipt of a transaction, once it stands in a block.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call.
    pub async fn receipt(&self, transaction: B256) -> Result<Option<TransactionReceipt>, RpcError> {
        self.get("eth_getTransactionReceipt", json!([transaction])).await
    }

    /// Whether the network knows the transaction, waiting or in a block.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call.
    pub async fn knows(&self, transaction: B256) -> Result<bool, RpcError> {
        let found: Value = self.get("eth_getTransactionByHash", json!([transaction])).await?;
        Ok(!found.is_null())
    }

    /// Executes a call on the state of the newest block and gives what it returns.
    ///
    /// # Errors
    ///
    /// [`RpcError::Refused`] with the revert data when it reverts.
    pub async fn call(&self, call: &CallRequest) -> Result<Bytes, RpcError> {
        self.get("eth_call", json!([call, "latest"])).await
    }

    /// As [`Client::call`], on the state after block `number`. Old states are gone on many
    /// networks.
    ///
    /// # Errors
    ///
    /// [`RpcError::Refused`] with the revert data when it reverts, and where the state is gone.
    pub async fn call_at(&self, call: &CallRequest, number: u64) -> Result<Bytes, RpcError> {
        self.get("eth_call", json!([call, format!("{number:#x}")])).await
    }

    /// Gas the call would need as a transaction.
    ///
    /// # Errors
    ///
    /// [`RpcError::Refused`] with the revert data when it reverts.
    pub async fn estimate_gas(&self, call: &CallRequest) -> Result<u64, RpcError> {
        self.quantity("eth_estimateGas", json!([call])).await
    }

    /// Logs of the blocks `filter.from..=filter.to`, in order.
    ///
    /// # Errors
    ///
    /// [`RpcError`] of the call; many networks refuse long ranges.
    pub async fn logs(&self, filter: &LogFilter) -> Result<Vec<Log>, RpcError> {
        let mut object = json!({
            "fromBlock": format!("{:#x}", filter.from),
            "toBlock": format!("{:#x}", filter.to),
        });
        if !filter.addresses.is_empty() {
            object["address"] = json!(filter.addresses);
        }
        self.get("eth_getLogs", json!([object])).await
    }

    /// Hands a signed transaction to the network; the result is its hash.
    ///
    /// # Errors
    ///
    /// [`RpcError::Refused`] when the pool does not take it.
    pub async fn send_raw(&self, raw: &Bytes) -> Result<B256, RpcError> {
        self.get("eth_sendRawTransaction", json!([raw])).await
    }

    async fn quantity(&self, method: &str, params: Value) -> Result<u64, RpcError> {
        let number: U64 = self.get(method, params).await?;
        Ok(number.to())
    }

    async fn get<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, RpcError> {
        let answer = self.rpc.call(method, params).await?;
        serde_json::from_value(answer)
            .map_err(|error| RpcError::Malformed { method: method.to_owned(), what: error.to_string() })
    }
}

/// JSON-RPC quantities (`0x` and hexadecimal digits) as `u64`.
mod quantity {
    use alloy_primitives::U64;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        U64::from(*value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        Ok(U64::deserialize(deserializer)?.to())
    }
}
