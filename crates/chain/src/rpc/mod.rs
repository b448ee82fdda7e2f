//! JSON-RPC as everything in this crate sees it: one trait, implemented by the embedded chain and
//! by [`HttpRpc`].
//!
//! [`Client`] puts types on the methods we use. Not here: signing (`sender`), ABI (`contracts`).

mod client;
mod http;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Bytes;
use serde_json::Value;

pub use self::client::{BlockRef, CallRequest, Client, Head, Log, LogFilter, TransactionReceipt};
pub use self::http::HttpRpc;

/// How long [`ChainRpc::next_block`] waits at most.
pub const POLL: Duration = Duration::from_millis(500);

/// The answer to a call, still on its way.
pub type RpcFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, RpcError>> + Send + 'a>>;

/// An Ethereum network that can be asked.
pub trait ChainRpc: Send + Sync {
    /// Calls `method` with `params`, a JSON array.
    fn call<'a>(&'a self, method: &'a str, params: Value) -> RpcFuture<'a, Value>;

    /// Returns when a block above `after` may exist, or after [`POLL`] at the latest.
    ///
    /// A hint, not a promise: ask for the head afterwards. Where nothing announces blocks it is a
    /// pause.
    fn next_block(&self, after: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let _ = after;
        Box::pin(tokio::time::sleep(POLL))
    }
}

impl<T: ChainRpc + ?Sized> ChainRpc for Arc<T> {
    fn call<'a>(&'a self, method: &'a str, params: Value) -> RpcFuture<'a, Value> {
        (**self).call(method, params)
    }

    fn next_block(&self, after: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        (**self).next_block(after)
    }
}

/// Why a JSON-RPC call gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// The network did not answer; try again, or check the address and the connection.
    #[error("the chain's RPC did not answer {method}: {source}")]
    Transport {
        /// The method called.
        method: String,
        /// What the connection said; without the address, which may hold an access key.
        #[source]
        source: reqwest::Error,
    },
    /// The network answered with an error; asking again unchanged gives it again.
    #[error("the chain refused with code {code}: {message}")]
    Refused {
        /// JSON-RPC code; 3 means that execution reverted.
        code: i64,
        /// What the network said.
        message: String,
        /// Revert data, where there is any.
        data: Option<Bytes>,
    },
    /// The answer was not what the method gives; the address is probably not an Ethereum RPC.
    #[error("the chain's RPC answered {method} with something else than expected: {what}")]
    Malformed {
        /// The method called.
        method: String,
        /// What was wrong with the answer.
        what: String,
    },
}

impl RpcError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transport { .. })
    }
}
