//! Requests with a key take effect once; the first answer is given again.
//!
//! A request begins in a short transaction of its own, then ends in the transaction that has its effect. So a crash
//! between leaves the key held, and after `held_until` another request with the same body may take it over; the one
//! that lost it then fails to end, and its effect is taken back with it.

use crate::db::Tx;
use crate::error::{Error, Result};
use crate::ids::B256;
use crate::sql::{Row, values};

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Do it, then end it.
    Fresh,
    /// It was done; answer this.
    Replay(Response),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The body, to the byte.
    pub body: Vec<u8>,
}

/// A request's key, and the claim on it that its request was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Account and route.
    pub scope: String,
    /// The client's key.
    pub key: String,
    /// Hash of the request's body.
    pub body: B256,
    /// Until when the request holds its key, Unix milliseconds; a later request's is later.
    pub held_until: u64,
}

struct Kept {
    body: B256,
    held_until: u64,
    response: Option<Response>,
}

fn kept(row: &Row) -> Result<Kept> {
    let (status, body): (Option<u16>, Option<Vec<u8>>) = (row.get(2)?, row.get(3)?);
    let response = status.zip(body).map(|(status, body)| Response { status, body });
    Ok(Kept { body: row.get(0)?, held_until: row.get(1)?, response })
}

impl Tx {
    /// Begins a request at `now` (Unix milliseconds).
    ///
    /// # Errors
    ///
    /// [`Error::KeyReused`] when the key came with another body, [`Error::KeyInFlight`] while a request holds it,
    /// [`Error::Exists`] or [`Error::Conflict`] when one began at the same moment.
    pub async fn idempotency_begin(&mut self, request: &RequestKey, now: u64) -> Result<Begun> {
        let RequestKey { scope, key, body, held_until } = request;
        let sql = "SELECT body_hash, held_until, status, response FROM idempotency WHERE scope = ? AND key = ?";
        let Some(kept) = self.one(sql, values![scope.as_str(), key.as_str()], kept).await? else {
            let row = values![scope.as_str(), key.as_str(), *body, now, *held_until];
            self.insert_all("idempotency (scope, key, body_hash, began, held_until)", vec![row]).await?;
            return Ok(Begun::Fresh);
        };
        if kept.body != *body {
            return Err(Error::KeyReused { key: key.clone() });
        }
        if let Some(response) = kept.response {
            return Ok(Begun::Replay(response));
        }
        if now < kept.held_until {
            return Err(Error::KeyInFlight { key: key.clone() });
        }
        let sql = "UPDATE idempotency SET began = ?, held_until = ? WHERE scope = ? AND key = ?";
        self.execute(sql, values![now, *held_until, scope.as_str(), key.as_str()]).await?;
        Ok(Begun::Fresh)
    }

    /// Ends a request with its answer, in the transaction that has its effect.
    ///
    /// # Errors
    ///
    /// [`Error::KeyInFlight`] when another request took the key over; take this transaction back.
    pub async fn idempotency_end(&mut self, request: &RequestKey, response: &Response) -> Result<()> {
        let sql = "UPDATE idempotency SET status = ?, response = ? \
                   WHERE scope = ? AND key = ? AND held_until = ? AND status IS NULL";
        let RequestKey { scope, key, held_until, .. } = request;
        let row = values![response.status, response.body.clone(), scope.as_str(), key.as_str(), *held_until];
        match self.execute(sql, row).await? {
            0 => Err(Error::KeyInFlight { key: key.clone() }),
            _ => Ok(()),
        }
    }

    /// Forgets a request that had no effect, such as one that was malformed; its key can be used again.
    pub async fn idempotency_forget(&mut self, request: &RequestKey) -> Result<()> {
        let sql = "DELETE FROM idempotency WHERE scope = ? AND key = ? AND held_until = ? AND status IS NULL";
        let RequestKey { scope, key, held_until, .. } = request;
        self.execute(sql, values![scope.as_str(), key.as_str(), *held_until]).await.map(drop)
    }

    /// Forgets all requests that began before `before` and whose hold is over, and says how many.
    pub async fn idempotency_prune(&mut self, before: u64) -> Result<u64> {
        self.execute("DELETE FROM idempotency WHERE began < ? AND held_until < ?", values![before, before]).await
    }
}
