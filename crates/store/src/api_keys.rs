//! API keys, by the hash of each: who acts by it, what it may do, what it spends from.
//!
//! Not here: the keys themselves, which are not kept; what scopes allow (`gateway`).

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{B256, ChannelId};
use crate::sql::{Row, values, words};
use crate::store::Store;

/// How rarely the last use of a key is written, in milliseconds.
const TOUCH_EVERY_MS: u64 = 60_000;

words! {
    /// What kind of principal acts by a key.
    pub enum KeyKind {
        /// The node's operator.
        Operator = "operator",
        /// An account.
        Account = "account",
        /// The holder of a channel, who spends from it.
        Channel = "channel",
        /// An agent.
        Agent = "agent",
    }
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// SHA-256 of the key.
    pub hash: B256,
    /// What kind of principal acts by it.
    pub kind: KeyKind,
    /// The principal.
    pub principal: String,
    /// The channel it spends from.
    pub channel: Option<ChannelId>,
    /// What it may do: words separated by spaces.
    pub scopes: String,
    /// When it was made, Unix milliseconds.
    pub created: u64,
    /// Since when it is refused, Unix milliseconds.
    pub revoked: Option<u64>,
    /// About when it was last used, Unix milliseconds.
    pub last_used: Option<u64>,
}

const SELECT: &str = "SELECT hash, kind, principal, channel, scopes, created, revoked, last_used FROM api_keys";

fn read(row: &Row) -> Result<ApiKeyRow> {
    Ok(ApiKeyRow {
        hash: row.get(0)?,
        kind: row.get(1)?,
        principal: row.get(2)?,
        channel: row.get(3)?,
        scopes: row.get(4)?,
        created: row.get(5)?,
        revoked: row.get(6)?,
        last_used: row.get(7)?,
    })
}

impl Reads {
    /// The key with this hash, also a revoked one.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn api_key(&self, hash: B256) -> Result<Option<ApiKeyRow>> {
        self.one(format!("{SELECT} WHERE hash = ?"), values![hash], read).await
    }
}

impl Tx {
    /// Keeps a key.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when it is there.
    pub async fn put_api_key(&mut self, k: &ApiKeyRow) -> Result<()> {
        let row = values![
            k.hash,
            k.kind,
            k.principal.as_str(),
            k.channel,
            k.scopes.as_str(),
            k.created,
            k.revoked,
            k.last_used
        ];
        let head = "api_keys (hash, kind, principal, channel, scopes, created, revoked, last_used)";
        self.insert_all(head, vec![row]).await
    }

    /// Revokes a key at `now`; one that is revoked already keeps its time. The node refuses revoked
    /// keys; a route that revokes one will call this.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is no such key.
    pub async fn revoke_api_key(&mut self, hash: B256, now: u64) -> Result<()> {
        let sql = "UPDATE api_keys SET revoked = COALESCE(revoked, ?) WHERE hash = ?";
        match self.execute(sql, values![now, hash]).await? {
            0 => Err(Error::missing("API key", hash)),
            _ => Ok(()),
        }
    }
}

impl Store {
    /// Notes that a key is used at `now`; written at most once a minute.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn touch_api_key(&self, key: &ApiKeyRow, now: u64) -> Result<()> {
        if key.last_used.is_some_and(|last| now < last.saturating_add(TOUCH_EVERY_MS)) {
            return Ok(());
        }
        self.change("UPDATE api_keys SET last_used = ? WHERE hash = ?", values![now, key.hash]).await.map(drop)
    }
}
