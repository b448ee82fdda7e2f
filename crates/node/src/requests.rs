//! Requests with an idempotency key: a repeat gets the first response. The key is a row, so that it holds for every
//! process on the database.
//!
//! **Invariant:** a running request extends its hold, so that only the key of a process that is gone
//! is taken over. Responses are forgotten a week after they were kept.

use std::time::Duration;

use openledger_protocol::B256;
use openledger_store::Store;
use openledger_store::requests::{Begun, KeyHold, RequestKey, Response};
use openledger_store::transact_locked;

use crate::clock::Clock;
use crate::error::{Blame, NodeError, Result};
use crate::instance::Instance;
use crate::owned_task::OwnedTask;

/// How long a key is held without a sign of life of its process, in milliseconds.
pub(crate) const HOLD_MS: u64 = 60_000;
/// How often a running request extends its hold.
const EXTEND_EVERY: Duration = Duration::from_millis(HOLD_MS / 3);
/// How long responses are kept, in milliseconds.
pub(crate) const KEPT_MS: u64 = 7 * 24 * 3_600_000;
/// How often expired responses are removed.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// How long a request waits for another one under the same key, in milliseconds.
pub(crate) const WAIT_MAX_MS: u64 = 600_000;
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// The register of idempotency keys.
#[derive(Clone)]
pub struct Requests {
    store: Store,
    clock: Clock,
    instance: Instance,
}

/// A response that is kept under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptResponse {
    /// HTTP status.
    pub status: u16,
    /// The body, to the byte.
    pub body: Vec<u8>,
}

/// What taking a key came to.
pub enum Taken {
    /// The request is the first one: do it, then finish the hold.
    Fresh(RequestHold),
    /// It was done: this is its response.
    Done(KeptResponse),
}

/// A key that is held for a running request. Dropped, it is given back.
pub struct RequestHold {
    hold: Option<KeyHold>,
    requests: Requests,
    _extending: OwnedTask,
}

impl RequestHold {
    fn new(hold: KeyHold, requests: Requests) -> Self {
        let (extended, register) = (hold.clone(), requests.clone());
        let extending = OwnedTask::spawn(async move {
            loop {
                tokio::time::sleep(EXTEND_EVERY).await;
                if let Err(error) = register.extend(&extended).await {
                    tracing::warn!(%error, "the hold of an idempotency key could not be extended");
                    if matches!(error, NodeError::Store(openledger_store::Error::KeyLost { .. })) {
                        return;
                    }
                }
            }
        });
        Self { hold: Some(hold), requests, _extending: extending }
    }

    /// The hold, for a transaction that finishes it.
    pub(crate) fn key(&self) -> Option<&KeyHold> {
        self.hold.as_ref()
    }

    /// Notes that a transaction finished it.
    pub(crate) fn finished(mut self) {
        self.hold = None;
    }

    /// Keeps the response under the key.
    ///
    /// # Errors
    /// [`NodeError::Store`] when another request took the key over.
    pub async fn finish(mut self, response: KeptResponse) -> Result<()> {
        let Some(hold) = self.hold.take() else { return Ok(()) };
        let expires = self.requests.expires();
        let response = Response { status: response.status, headers: Vec::new(), body: response.body };
        let store = &self.requests.store;
        Ok(transact_locked!(store, |tx| tx.finish_request(&hold, &response, expires).await)?)
    }
}

impl Drop for RequestHold {
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        let store = self.requests.store.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // A key that cannot be given back now is free once its hold is over.
        runtime.spawn(async move {
            if let Err(error) = transact_locked!(store, |tx| tx.abandon_request(&hold).await) {
                tracing::warn!(%error, "an idempotency key could not be given back; its hold runs out");
            }
        });
    }
}

impl Requests {
    pub(crate) fn new(store: Store, clock: Clock, instance: Instance) -> Self {
        Self { store, clock, instance }
    }

    /// Extends the hold of a running request from now on.
    ///
    /// # Errors
    /// [`NodeError::Store`] when another request took the key over.
    pub(crate) async fn extend(&self, hold: &KeyHold) -> Result<()> {
        let until = self.clock.unix_ms() + HOLD_MS;
        Ok(transact_locked!(self.store, |tx| tx.extend_request(hold, until).await)?)
    }

    /// Removes the responses whose time is over, and returns how many there were.
    ///
    /// # Errors
    /// [`NodeError::Store`].
    pub(crate) async fn prune(&self) -> Result<u64> {
        let now = self.clock.unix_ms();
        Ok(transact_locked!(self.store, |tx| tx.prune_requests(now).await)?)
    }

    /// Removes expired responses, now and every ten minutes, until the task is dropped.
    pub(crate) async fn keep_pruned(self) {
        loop {
            if let Err(error) = self.prune().await {
                tracing::warn!(%error, "expired responses could not be removed; trying again");
            }
            tokio::time::sleep(PRUNE_EVERY).await;
        }
    }

    /// When a response that is kept now is forgotten, Unix milliseconds.
    pub(crate) fn expires(&self) -> u64 {
        self.clock.unix_ms() + KEPT_MS
    }

    /// Gives back the keys that this process held when it ended.
    pub(crate) async fn release_own(&self) -> Result<()> {
        let holder = self.instance.name();
        transact_locked!(self.store, |tx| tx.abandon_requests_of(holder).await)?;
        Ok(())
    }

    /// Takes a key of `principal` for a request with the hash `request`; waits while another request holds it.
    ///
    /// # Errors
    ///
    /// `key-reused` when the key was used for another request; `key-in-use` when the other request takes too long.
    pub async fn take(&self, principal: &str, key: &str, request: B256) -> Result<Taken> {
        let name = RequestKey { principal: principal.to_owned(), key: key.to_owned() };
        let began = self.clock.unix_ms();
        loop {
            let now = self.clock.unix_ms();
            let (holder, until) = (self.instance.name(), now + HOLD_MS);
            let begun = transact_locked!(self.store, |tx| tx.begin_request(&name, request, holder, now, until).await);
            match begun? {
                Begun::Fresh(hold) => {
                    return Ok(Taken::Fresh(RequestHold::new(hold, self.clone())));
                }
                Begun::Done(response) => {
                    return Ok(Taken::Done(KeptResponse { status: response.status, body: response.body }));
                }
                Begun::Mismatch => {
                    let detail = format!("idempotency key `{key}` was used for another request");
                    return Err(NodeError::refused(Blame::Conflict, "key-reused", detail));
                }
                Begun::InProgress { .. } if now.saturating_sub(began) < WAIT_MAX_MS => tokio::time::sleep(LOOK).await,
                Begun::InProgress { .. } => {
                    let detail = format!("another request with idempotency key `{key}` is still running");
                    return Err(NodeError::refused(Blame::Retry, "key-in-use", detail));
                }
            }
        }
    }
}
