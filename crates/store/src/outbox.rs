//! Transactions to the chain, each signed at most once.
//!
//! The node writes what it will send in the transaction that decides it, then sends. After a crash it sends the same
//! bytes again, so nothing goes out twice.
//!
//! **Invariant:** a sender's nonces are given out once and without gaps.

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, B256};
use crate::sql::{Row, values, words};

words! {
    /// How far a transaction has come.
    pub enum OutboxState {
        /// Signed and kept; it is on its way to a block.
        Signed = "signed",
        /// In a block, and it worked.
        Mined = "mined",
        /// In a block, and it reverted. One whose nonce another transaction used stays `signed`.
        Failed = "failed",
    }
}

/// A signed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// What it is for, such as `epoch/7/propose`.
    pub key: String,
    /// The account that sends it.
    pub sender: Address,
    /// The sender's nonce.
    pub nonce: u64,
    /// The signed bytes.
    pub raw: Vec<u8>,
    /// Its hash.
    pub tx_hash: B256,
    /// How far it has come.
    pub state: OutboxState,
    /// Its block, once mined.
    pub block: Option<u64>,
    /// The gas it used, once mined.
    pub gas: Option<u64>,
}

const SELECT: &str = "SELECT key, sender, nonce, raw, tx_hash, state, block, gas FROM outbox";

fn read(row: &Row) -> Result<OutboxRow> {
    Ok(OutboxRow {
        key: row.get(0)?,
        sender: row.get(1)?,
        nonce: row.get(2)?,
        raw: row.get(3)?,
        tx_hash: row.get(4)?,
        state: row.get(5)?,
        block: row.get(6)?,
        gas: row.get(7)?,
    })
}

impl Reads {
    /// The transaction that was signed for this purpose.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn outbox_get(&self, key: &str) -> Result<Option<OutboxRow>> {
        self.one(format!("{SELECT} WHERE key = ?"), values![key], read).await
    }

    /// The transactions that are not settled yet, by sender and nonce: what to send again after a start.
    ///
    /// # Errors
    ///
    /// As [`Reads::outbox_get`].
    pub async fn outbox_pending(&self) -> Result<Vec<OutboxRow>> {
        let sql = format!("{SELECT} WHERE state = 'signed' ORDER BY sender, nonce");
        self.list(sql, values![], read).await
    }

    /// The nonce for the sender's next transaction: after all that are kept here, and not before `on_chain`.
    ///
    /// # Errors
    ///
    /// As [`Reads::outbox_get`].
    pub async fn next_nonce(&self, sender: Address, on_chain: u64) -> Result<u64> {
        let sql = "SELECT COALESCE(MAX(nonce) + 1, 0) FROM outbox WHERE sender = ?";
        Ok(self.number(sql, values![sender]).await?.max(on_chain))
    }
}

impl Tx {
    /// Keeps a transaction that was just signed.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when one was signed for this key, or with this nonce.
    pub async fn outbox_put_signed(
        &mut self,
        key: &str,
        sender: Address,
        nonce: u64,
        raw: &[u8],
        tx_hash: B256,
    ) -> Result<()> {
        let row = values![key, sender, nonce, raw.to_vec(), tx_hash, OutboxState::Signed];
        self.insert_all("outbox (key, sender, nonce, raw, tx_hash, state)", vec![row]).await
    }

    /// Notes the block and the gas of a transaction that is in the chain, and whether it worked.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when none was signed for this key.
    pub async fn outbox_mined(&mut self, key: &str, block: u64, gas: u64, succeeded: bool) -> Result<()> {
        let state = if succeeded { OutboxState::Mined } else { OutboxState::Failed };
        let sql = "UPDATE outbox SET state = ?, block = ?, gas = ? WHERE key = ?";
        match self.execute(sql, values![state, block, gas, key]).await? {
            0 => Err(Error::missing("outbox transaction", key)),
            _ => Ok(()),
        }
    }
}
