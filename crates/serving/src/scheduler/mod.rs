//! Continuous batching: whose rows go through the model at each step.
//!
//! # Place in the flow
//!
//! [`Embedded`](crate::Embedded) checks a request and puts it into the [`Mailbox`]; the engine thread ([`thread`]) calls
//! [`Core::step`] as long as there is work. A step takes one row of every answer that is being written and a bounded number
//! of prompt rows, so that long prompts never hold up answers. Between two layers of it a tenant that had nothing here is let
//! in: a short prompt waits for a layer, not for a step. Cold adapters are read by a loader thread meanwhile; one that lies
//! packed, when nobody runs, while the prompt's first layers are computed, and no token is chosen before it was checked.
//!
//! # Invariants
//!
//! - **No deadlock.** What runs owns all the memory it can ever need (adapter, prompt and longest answer), taken when it is
//!   admitted, and therefore ends; what waits owns none but adapters it was loaded for, and those are given up when nothing
//!   runs. A request that would not fit alone is refused when it comes.
//! - **No starvation.** Tenants take turns by tokens ([`queue`]). A tenant without a running answer may use one of the guest
//!   slots, and no tenant takes more than three quarters of the memory while others could use it. A request that was overtaken
//!   too often for lack of memory lets nobody pass any more. A step is paused for newcomers once at most, for no more than a
//!   step's prompt rows, so that whoever writes goes on.
//! - **No trace in the bits.** Neither turns, chunks, shared prefixes nor neighbours change an answer; the engine sees to it.
//! - A reader that left frees slot and memory before the next step.
//!
//! Not here: how a token is chosen (`choose`), what an adapter is (`adapters`).

mod core;
pub(crate) mod queue;
mod running;
#[cfg(test)]
mod tests;
pub(crate) mod thread;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use openledger_engine::Lora;
use openledger_protocol::AdapterHash;

pub(crate) use self::core::{BASE, Core};
use self::queue::FairQueue;
pub(crate) use self::running::Job;
use crate::error::ServeError;

/// What one server takes on at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of adapters, keys and values together; never exceeded.
    pub memory_bytes: usize,
    /// Bytes of adapters that stay in memory while nobody uses them.
    pub idle_adapter_bytes: usize,
    /// Answers that are written at once.
    pub slots: usize,
    /// Further slots, each for a tenant that has none.
    pub guests: usize,
    /// Prompt tokens that go into one step.
    pub prefill_rows: usize,
    /// Requests of one tenant that may wait.
    pub queue_per_tenant: usize,
    /// Requests that may wait.
    pub queue: usize,
    /// Tokens that a tenant's turn grants.
    pub quantum: u64,
    /// Adapters that are read or wait to be read at once.
    pub loads: usize,
}

impl Default for Limits {
    /// 1 GiB, 16 answers at once, 64 prompt tokens a step.
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            idle_adapter_bytes: 512 << 20,
            slots: 16,
            guests: 8,
            prefill_rows: 64,
            queue_per_tenant: 256,
            queue: 4096,
            quantum: 256,
            loads: 8,
        }
    }
}

/// What others leave for the engine thread.
pub(crate) struct Desk {
    /// Requests that wait.
    pub(crate) queue: FairQueue<Job>,
    /// Adapters that were read, or why not.
    pub(crate) loaded: Vec<(AdapterHash, Result<Arc<Lora>, ServeError>)>,
    /// Somebody outside has let go of an adapter.
    pub(crate) released: bool,
    /// Something happened since the last look.
    news: bool,
    /// No request is taken any more.
    closed: bool,
}

impl Desk {
    /// Whether no request is taken any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
}

/// Where requests, loaded adapters and departures are left.
pub(crate) struct Mailbox {
    desk: Mutex<Desk>,
    arrived: Condvar,
}

impl Mailbox {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let queue = FairQueue::new(limits.quantum, limits.queue_per_tenant, limits.queue);
        let desk = Desk { queue, loaded: Vec::new(), released: false, news: false, closed: false };
        Arc::new(Self { desk: Mutex::new(desk), arrived: Condvar::new() })
    }

    /// The desk; every change to it is made in one piece, so that a panic elsewhere leaves it usable.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the desk and tells the engine thread.
    pub(crate) fn leave<R>(&self, change: impl FnOnce(&mut Desk) -> R) -> R {
        let mut desk = self.lock();
        let result = change(&mut desk);
        desk.news = true;
        drop(desk);
        self.arrived.notify_all();
        result
    }

    /// Ends the taking of requests.
    pub(crate) fn close(&self) {
        self.leave(|desk| desk.closed = true);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits until something happened since the last call.
    fn wait(&self) {
        let mut desk = self.lock();
        while !desk.news && !desk.closed {
            desk = self.arrived.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        desk.news = false;
    }
}
