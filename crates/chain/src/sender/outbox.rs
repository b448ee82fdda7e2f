//! Where signed transactions are written down before anyone sees them.
//!
//! A trait, because the table belongs to the database: `node` implements it over the store.
//! [`MemoryOutbox`] is for tests and for programs whose sending may be forgotten.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use alloy_primitives::{Address, B256, Bytes};

/// A transaction that was signed for a key of the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// The caller's name for what the transaction does; one transaction for each, ever.
    pub key: String,
    /// Who signed.
    pub sender: Address,
    /// The sender's nonce in it.
    pub nonce: u64,
    /// The bytes to broadcast.
    pub raw: Bytes,
    /// Their hash.
    pub hash: B256,
}

/// What the outbox knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// What was signed.
    pub transaction: SignedTransaction,
    /// The number of the block it was seen in, once it was.
    pub mined: Option<u64>,
}

/// The outbox could not be read or written; nothing is wrong with the transaction, so try again.
#[derive(Debug, thiserror::Error)]
#[error("the outbox failed: {0}")]
pub struct OutboxError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// The result of an outbox method, still on its way.
pub type OutboxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, OutboxError>> + Send + 'a>>;

/// Durable memory of what was signed.
///
/// Each method must be durable when it returns. All [`crate::sender::Sender`]s of an account, of
/// whatever process, share one outbox; the outbox of a chain must not outlive that chain.
pub trait Outbox: Send + Sync {
    /// What is known of `key`.
    fn get<'a>(&'a self, key: &'a str) -> OutboxFuture<'a, Option<OutboxEntry>>;

    /// One more than the highest nonce written down for `sender`; 0 before the first.
    fn next_nonce(&self, sender: Address) -> OutboxFuture<'_, u64>;

    /// Writes a signed transaction down and returns `true`; returns `false`, and writes nothing,
    /// when its key, or its sender and nonce, are taken.
    fn put_signed(&self, transaction: SignedTransaction) -> OutboxFuture<'_, bool>;

    /// Notes that the transaction of `key` stands in block `block`, having used `gas`, and whether
    /// it `succeeded`.
    fn mark_mined<'a>(&'a self, key: &'a str, block: u64, gas: u64, succeeded: bool) -> OutboxFuture<'a, ()>;

    /// All transactions of `sender` that were not seen in a block, by nonce.
    fn unmined(&self, sender: Address) -> OutboxFuture<'_, Vec<SignedTransaction>>;
}

/// An outbox that is forgotten with the process.
#[derive(Default)]
pub struct MemoryOutbox {
    entries: Mutex<BTreeMap<String, OutboxEntry>>,
}

impl MemoryOutbox {
    fn with<T>(&self, read: impl FnOnce(&mut BTreeMap<String, OutboxEntry>) -> T) -> T {
        read(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Outbox for MemoryOutbox {
    fn get<'a>(&'a self, key: &'a str) -> OutboxFuture<'a, Option<OutboxEntry>> {
        Box::pin(async move { Ok(self.with(|entries| entries.get(key).cloned())) })
    }

    fn next_nonce(&self, sender: Address) -> OutboxFuture<'_, u64> {
        Box::pin(async move {
            Ok(self.with(|entries| {
                let of_sender = entries.values().filter(|entry| entry.transaction.sender == sender);
                of_sender.map(|entry| entry.transaction.nonce + 1).max().unwrap_or(0)
            }))
        })
    }

    fn put_signed(&self, transaction: SignedTransaction) -> OutboxFuture<'_, bool> {
        Box::pin(async move {
            Ok(self.with(|entries| {
                let taken = entries.values().any(|entry| {
                    let known = &entry.transaction;
                    known.key == transaction.key
                        || (known.sender == transaction.sender && known.nonce == transaction.nonce)
                });
                if !taken {
                    entries.insert(transaction.key.clone(), OutboxEntry { transaction, mined: None });
                }
                !taken
            }))
        })
    }

    fn mark_mined<'a>(&'a self, key: &'a str, block: u64, _gas: u64, _succeeded: bool) -> OutboxFuture<'a, ()> {
        Box::pin(async move {
            self.with(|entries| match entries.get_mut(key) {
                Some(entry) => {
                    entry.mined = Some(block);
                    Ok(())
                }
                None => Err(OutboxError(format!("nothing was signed for key `{key}`").into())),
            })
        })
    }

    fn unmined(&self, sender: Address) -> OutboxFuture<'_, Vec<SignedTransaction>> {
        Box::pin(async move {
            let mut waiting: Vec<SignedTransaction> = self.with(|entries| {
                let waiting = entries.values().filter(|entry| entry.mined.is_none());
                waiting.map(|entry| entry.transaction.clone()).filter(|known| known.sender == sender).collect()
            });
            waiting.sort_by_key(|transaction| transaction.nonce);
            Ok(waiting)
        })
    }
}
