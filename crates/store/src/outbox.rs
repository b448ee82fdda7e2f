//! Transactions to the chain, each signed at most once.
//!
//! The node writes what it will send in the transaction that decides it, then sends. After a crash it sends the same
//! bytes again, so nothing goes out twice.
//!
//! **Invariant:** a sender's nonces are given out once and without gaps.

use serde_json::Value as Json;

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, B256};
use crate::sql::{Row, values, words};

words! {
    /// How far a transaction has come.
    pub enum OutboxState {
        /// Signed and kept, not known to be sent.
        Signed = "signed",
        /// Handed to the chain.
        Sent = "sent",
        /// In a block, and it worked.
        Mined = "mined",
        /// In a block, and it reverted; or it can never be in one.
        Failed = "failed",
    }
}

/// A signed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// What it is for, such as `epoch/7/propose`.
    pub key: String,
    /// Whose transaction it is.
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
    /// What came of it.
    pub result: Option<Json>,
}

const SELECT: &str = "SELECT key, sender, nonce, raw, tx_hash, state, block, result_json FROM outbox";

fn read(row: &Row) -> Result<OutboxRow> {
    let result: Option<String> = row.get(7)?;
    Ok(OutboxRow {
        key: row.get(0)?,
        sender: row.get(1)?,
        nonce: row.get(2)?,
        raw: row.get(3)?,
        tx_hash: row.get(4)?,
        state: row.get(5)?,
        block: row.get(6)?,
        result: result.map(|text| serde_json::from_str(&text)).transpose()?,
    })
}

impl Reads {
    /// The transaction that was signed for this purpose.
    pub async fn outbox_get(&self, key: &str) -> Result<Option<OutboxRow>> {
        self.one(format!("{SELECT} WHERE key = ?"), values![key], read).await
    }

    /// The transactions that are not settled yet, by sender and nonce: what to send again after a start.
    pub async fn outbox_pending(&self) -> Result<Vec<OutboxRow>> {
        let sql = format!("{SELECT} WHERE state = 'signed' OR state = 'sent' ORDER BY sender, nonce");
        self.list(sql, values![], read).await
    }

    /// The nonce for the sender's next transaction: after all that are kept here, and not before `on_chain`.
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

    /// Says how far a transaction has come; block and result stay when none is given.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when none was signed for this key.
    pub async fn outbox_mark(
        &mut self,
        key: &str,
        state: OutboxState,
        block: Option<u64>,
        result: Option<&Json>,
    ) -> Result<()> {
        let sql = "UPDATE outbox SET state = ?, block = COALESCE(?, block), result_json = COALESCE(?, result_json) \
                   WHERE key = ?";
        match self.execute(sql, values![state, block, result.map(Json::to_string), key]).await? {
            0 => Err(Error::missing("outbox transaction", key)),
            _ => Ok(()),
        }
    }
}
