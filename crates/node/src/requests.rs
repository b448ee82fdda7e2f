//! Requests with an idempotency key: a repeat gets the first response. The key is a row, so that it
//! holds for every process on the database.
//!
//! **Invariant:** a running request extends its hold, so that only the key of a process that is
//! gone is taken over. Responses are forgotten a week after they were kept.
//!
//! A repeat waits without a look at the database while the first request runs in this process.
//! Where it runs in another one, the repeat looks again after pauses that double. Few requests of a
//! caller may wait at a time, whatever their keys belong to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openledger_protocol::B256;
use openledger_store::Store;
use openledger_store::requests::{Begun, KeyHold, RequestKey, Response};
use openledger_store::transact_locked;
use tokio::sync::watch;

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
/// How long a request waits for another one under the same key, in milliseconds. The gateway ends
/// requests after ten minutes, so that this comes first.
pub(crate) const WAIT_MAX_MS: u64 = 540_000;
/// Requests of one caller that may wait for others at a time.
pub(crate) const WAITERS_MAX: usize = 16;
/// How long the first pause between two looks is; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// How long a pause is at most.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The register of idempotency keys.
#[derive(Clone)]
pub struct Requests {
    store: Store,
    clock: Clock,
    instance: Instance,
    local: Local,
}

/// The requests of this process with a key. Clones share them.
#[derive(Clone, Default)]
struct Local(Arc<Mutex<LocalState>>);

#[derive(Default)]
struct LocalState {
    /// Keys that are held here; the channel closes when the hold ends.
    held: BTreeMap<RequestKey, watch::Receiver<()>>,
    /// Requests that wait, by caller.
    waiting: BTreeMap<String, usize>,
}

/// A key that is held in this process. Dropped, it wakes the requests that wait for it.
struct HeldHere {
    key: RequestKey,
    local: Local,
    running: Option<watch::Sender<()>>,
}

/// A request that waits for another one.
struct Waiter {
    caller: String,
    local: Local,
}

impl Local {
    fn state(&self) -> MutexGuard<'_, LocalState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, key: &RequestKey) -> HeldHere {
        let (running, ended) = watch::channel(());
        self.state().held.insert(key.clone(), ended);
        HeldHere { key: key.clone(), local: self.clone(), running: Some(running) }
    }

    /// Closes when the hold of this process on a key ends; `None` when it has none.
    fn held(&self, key: &RequestKey) -> Option<watch::Receiver<()>> {
        self.state().held.get(key).cloned()
    }

    /// A place among the waiting requests of a caller; `None` when all are taken.
    fn wait(&self, caller: &str) -> Option<Waiter> {
        let mut state = self.state();
        let waiting = state.waiting.entry(caller.to_owned()).or_default();
        if *waiting >= WAITERS_MAX {
            return None;
        }
        *waiting += 1;
        Some(Waiter { caller: caller.to_owned(), local: self.clone() })
    }
}

impl Drop for HeldHere {
    fn drop(&mut self) {
        self.running = None;
        let mut state = self.local.state();
        // Another hold of this process may have taken the key over meanwhile; its channel is open.
        if state.held.get(&self.key).is_some_and(|ended| ended.has_changed().is_err()) {
            state.held.remove(&self.key);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.local.state();
        let Some(waiting) = state.waiting.get_mut(&self.caller) else { return };
        *waiting -= 1;
        if *waiting == 0 {
            state.waiting.remove(&self.caller);
        }
    }
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
#[expect(clippy::large_enum_variant, reason = "one a request, taken apart at once")]
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
    _here: HeldHere,
    _extending: OwnedTask,
}

impl RequestHold {
    fn new(name: &RequestKey, hold: KeyHold, requests: Requests) -> Self {
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
        let here = requests.local.hold(name);
        Self { hold: Some(hold), requests, _here: here, _extending: extending }
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
        Self { store, clock, instance, local: Local::default() }
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

    /// Takes a key of `principal` for a request with the hash `request`; waits while another
    /// request holds it. `caller` is who waits: one caller may have keys under several names of
    /// principals, such as one for each path.
    ///
    /// # Errors
    ///
    /// `key-reused` when the key was used for another request; `key-in-use` when the other request
    /// takes too long, or too many requests of the caller wait already.
    pub async fn take(&self, caller: &str, principal: &str, key: &str, request: B256) -> Result<Taken> {
        let name = RequestKey { principal: principal.to_owned(), key: key.to_owned() };
        let began = self.clock.unix_ms();
        let (mut place, mut pause) = (None, PAUSE_MIN);
        loop {
            let now = self.clock.unix_ms();
            let (holder, until) = (self.instance.name(), now + HOLD_MS);
            let begun = transact_locked!(self.store, |tx| tx.begin_request(&name, request, holder, now, until).await);
            match begun? {
                Begun::Fresh(hold) => {
                    return Ok(Taken::Fresh(RequestHold::new(&name, hold, self.clone())));
                }
                Begun::Done(response) => {
                    return Ok(Taken::Done(KeptResponse { status: response.status, body: response.body }));
                }
                Begun::Mismatch => {
                    let detail = format!("idempotency key `{key}` was used for another request");
                    return Err(NodeError::refused(Blame::Conflict, "key-reused", detail));
                }
                Begun::InProgress { .. } if now.saturating_sub(began) < WAIT_MAX_MS => {
                    if place.is_none() {
                        place = Some(self.local.wait(caller).ok_or_else(too_many_wait)?);
                    }
                    self.pause(&name, began, pause).await;
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                }
                Begun::InProgress { .. } => {
                    let detail = format!("another request with idempotency key `{key}` is still running");
                    return Err(NodeError::refused(Blame::Retry, "key-in-use", detail));
                }
            }
        }
    }

    /// Waits until a look at a held key may show something new: until the hold ends where it is one
    /// of this process, and for `pause` otherwise. The wait is over in time.
    async fn pause(&self, name: &RequestKey, began: u64, pause: Duration) {
        let Some(mut ended) = self.local.held(name) else { return tokio::time::sleep(pause).await };
        while self.clock.unix_ms().saturating_sub(began) < WAIT_MAX_MS {
            // Nothing is ever sent: the channel closes.
            if let Ok(closed) = tokio::time::timeout(PAUSE_MAX, ended.changed()).await
                && closed.is_err()
            {
                return;
            }
        }
    }
}

fn too_many_wait() -> NodeError {
    let detail = format!("{WAITERS_MAX} requests wait for running ones with the same keys; repeat this one later");
    NodeError::refused(Blame::Retry, "key-in-use", detail)
}
