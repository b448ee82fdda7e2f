//! Requests with an idempotency key: each takes effect once, and its answer is given again.
//!
//! A request begins in a short transaction of its own, works, and finishes in the transaction that has its effect. A
//! crash between leaves the key held; once the lease is over, another request with the same hash may take it over. The
//! one that lost it then fails to finish, and its effect is taken back with it.
//!
//! **Invariant:** of all requests that hold a key, only the one with the newest fence can finish or abandon it. Times
//! are Unix milliseconds and arguments.

use crate::db::Tx;
use crate::error::{Error, Result};
use crate::ids::B256;
use crate::sql::{FOR_UPDATE, Row, json, values};

/// A request's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKey {
    /// The principal that makes the request: keys of others are other keys.
    pub principal: String,
    /// The client's key.
    pub key: String,
}

/// The hold of a request on its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHold {
    key: RequestKey,
    fence: u64,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Do it, then finish or abandon it.
    Fresh(KeyHold),
    /// Another request with this key is being worked on.
    InProgress {
        /// When it loses the key unless it extends its lease.
        until: u64,
    },
    /// It was done; answer this.
    Done(Response),
    /// The key was used for a request with another hash.
    Mismatch,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers, name and value.
    pub headers: Vec<(String, String)>,
    /// The body, to the byte.
    pub body: Vec<u8>,
}

struct Kept {
    request: B256,
    lease_until: u64,
    fence: u64,
    response: Option<(Response, u64)>,
}

fn read(row: &Row) -> Result<Kept> {
    let status: Option<u16> = row.get(3)?;
    let done = |status| -> Result<(Response, u64)> {
        let headers = row.json(4, "a list of names and values")?;
        Ok((Response { status, headers, body: row.get(5)? }, row.get(6)?))
    };
    let response = status.map(done).transpose()?;
    Ok(Kept { request: row.get(0)?, lease_until: row.get(1)?, fence: row.get(2)?, response })
}

impl Tx {
    /// Begins the request whose hash is `request`; `holder` works on it until `lease_until`.
    ///
    /// An answer that has expired at `now` is forgotten: the request is fresh again.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn begin_request(
        &mut self,
        key: &RequestKey,
        request: B256,
        holder: &str,
        now: u64,
        lease_until: u64,
    ) -> Result<Begun> {
        let (principal, name) = (key.principal.as_str(), key.key.as_str());
        let head = "requests (principal, key, request, holder, lease_until, fence)";
        let row = values![principal, name, request, holder, lease_until, 1u64];
        if self.insert_all_or(head, "ON CONFLICT (principal, key) DO NOTHING", vec![row]).await? == 1 {
            return Ok(Begun::Fresh(KeyHold { key: key.clone(), fence: 1 }));
        }
        let sql = format!(
            "SELECT request, lease_until, fence, status, headers, body, expires FROM requests \
             WHERE principal = ? AND key = ? {FOR_UPDATE}"
        );
        let kept = self.one(sql, values![principal, name], read).await?;
        let kept = kept.ok_or_else(|| Error::missing("request", name))?;
        match kept.response {
            Some((_, expires)) if expires <= now => {}
            _ if kept.request != request => return Ok(Begun::Mismatch),
            Some((response, _)) => return Ok(Begun::Done(response)),
            None if now < kept.lease_until => return Ok(Begun::InProgress { until: kept.lease_until }),
            None => {}
        }
        let fence = kept.fence + 1;
        let sql = "UPDATE requests SET request = ?, holder = ?, lease_until = ?, fence = ?, status = NULL, \
                   headers = NULL, body = NULL, expires = NULL WHERE principal = ? AND key = ?";
        self.execute(sql, values![request, holder, lease_until, fence, principal, name]).await?;
        Ok(Begun::Fresh(KeyHold { key: key.clone(), fence }))
    }

    /// Finishes a request with its answer, which is kept until `expires`, in the transaction that has its effect.
    ///
    /// # Errors
    ///
    /// [`Error::KeyLost`] when another request took the key over; take this transaction back.
    pub async fn finish_request(&mut self, hold: &KeyHold, response: &Response, expires: u64) -> Result<()> {
        let sql = "UPDATE requests SET status = ?, headers = ?, body = ?, expires = ? \
                   WHERE principal = ? AND key = ? AND fence = ? AND status IS NULL";
        let mut row = values![response.status];
        row.push(json(&response.headers)?);
        row.extend(values![response.body.as_slice(), expires]);
        row.extend(hold.values());
        self.held(hold, sql, row).await
    }

    /// Forgets a request that had no effect, such as one that was malformed; its key can be used again.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn abandon_request(&mut self, hold: &KeyHold) -> Result<()> {
        let sql = "DELETE FROM requests WHERE principal = ? AND key = ? AND fence = ? AND status IS NULL";
        self.execute(sql, hold.values()).await.map(drop)
    }

    /// Holds on to a request's key until `lease_until`.
    ///
    /// # Errors
    ///
    /// [`Error::KeyLost`] when another request took the key over; stop working on this one.
    pub async fn extend_request(&mut self, hold: &KeyHold, lease_until: u64) -> Result<()> {
        let sql = "UPDATE requests SET lease_until = ? \
                   WHERE principal = ? AND key = ? AND fence = ? AND status IS NULL";
        let mut row = values![lease_until];
        row.extend(hold.values());
        self.held(hold, sql, row).await
    }

    /// Forgets the unfinished requests of a node instance, which started anew, and says how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn abandon_requests_of(&mut self, holder: &str) -> Result<u64> {
        self.execute("DELETE FROM requests WHERE holder = ? AND status IS NULL", values![holder]).await
    }

    /// Forgets all answers that have expired at `now`, and says how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn prune_requests(&mut self, now: u64) -> Result<u64> {
        self.execute("DELETE FROM requests WHERE expires <= ?", values![now]).await
    }

    async fn held(&mut self, hold: &KeyHold, sql: &'static str, row: Vec<crate::sql::Value>) -> Result<()> {
        match self.execute(sql, row).await? {
            0 => Err(Error::KeyLost { key: hold.key.key.clone() }),
            _ => Ok(()),
        }
    }
}

impl KeyHold {
    fn values(&self) -> Vec<crate::sql::Value> {
        values![self.key.principal.as_str(), self.key.key.as_str(), self.fence]
    }
}
