//! Why a transaction did not do what it was sent for.

use alloy_primitives::{B256, Bytes};

use super::outbox::OutboxError;
use crate::contracts::Revert;
use crate::rpc::RpcError;

/// Why sending failed, and with it whether sending again under the same key helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The contract refuses the call, found by estimating it: nothing was signed, no gas was spent.
    /// Send it again under the same key once its cause is gone.
    #[error("the contract refuses {key}: {revert}")]
    Refused {
        /// The caller's key.
        key: String,
        /// The contract's reason.
        revert: Box<Revert>,
    },
    /// The transaction stands in a block and reverted: gas was spent, and the key is used up.
    /// Choose a new key to try again.
    #[error("{key} reverted in block {block} (transaction {hash}): {revert}")]
    Reverted {
        /// The caller's key.
        key: String,
        /// The transaction.
        hash: B256,
        /// Its block.
        block: u64,
        /// The contract's reason, as far as it could be found.
        revert: Box<Revert>,
    },
    /// A program with another outbox used the sender's account, so the nonce of this transaction is
    /// gone and it can never be mined. Keep each account to one outbox; choose a new key to try
    /// again.
    #[error("nonce {nonce} of {key} was used by another transaction; keep the account to one outbox")]
    NonceTaken {
        /// The caller's key.
        key: String,
        /// The nonce.
        nonce: u64,
    },
    /// It was sent and is not in a block yet; call again with the same key to go on waiting.
    /// Nothing is sent twice.
    #[error("{key} (transaction {hash}) is not in a block after {waited_s} s; ask again with the same key")]
    NotMined {
        /// The caller's key.
        key: String,
        /// The transaction.
        hash: B256,
        /// How long this call waited, in seconds.
        waited_s: u64,
    },
    /// So many transactions of the account wait for a block already that this one was not even
    /// signed; call again.
    #[error("{key} was not sent: {waiting} transactions of the account wait for a block; ask again")]
    Crowded {
        /// The caller's key.
        key: String,
        /// How many wait.
        waiting: u64,
    },
    /// The network does not take the transaction, for lack of coins or because it costs more than
    /// the fee policy's ceiling. It stays in the outbox; call again with the same key once the
    /// cause is gone.
    #[error("the network does not take {key}: {source}")]
    NotTaken {
        /// The caller's key.
        key: String,
        /// What the network said.
        #[source]
        source: RpcError,
    },
    /// The bytes in the outbox under this key are not a transaction; the outbox is damaged.
    #[error("the outbox holds something else than a signed transaction under {key}: {raw}")]
    Damaged {
        /// The caller's key.
        key: String,
        /// What it holds.
        raw: Bytes,
    },
    /// The network failed to answer; call again with the same key.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The outbox failed; call again with the same key.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

impl SendError {
    /// The contract's reason, when the transaction reverted in a block, so that its key is used up.
    #[must_use]
    pub fn reverted(&self) -> Option<&Revert> {
        match self {
            Self::Reverted { revert, .. } => Some(revert),
            _ => None,
        }
    }

    /// Whether the same call with the same key may succeed later without anything being changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotMined { .. } | Self::Crowded { .. } | Self::Outbox(_) => true,
            Self::Rpc(error) => error.is_transient(),
            _ => false,
        }
    }
}
