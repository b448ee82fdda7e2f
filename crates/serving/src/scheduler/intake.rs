//! Input of the engine thread: requests, loaded adapters and cancellations, posted by other
//! threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use openledger_engine::Lora;
use openledger_protocol::AdapterHash;

use super::limits::Limits;
use super::queue::FairQueue;
use super::running::Job;
use crate::error::ServeError;

/// Input of the engine thread, posted by other threads.
pub(crate) struct Intake {
    /// Requests that wait.
    pub(crate) queue: FairQueue<Job>,
    /// Adapters that were read, or the error of reading them.
    pub(crate) loaded: Vec<(AdapterHash, Result<Arc<Lora>, ServeError>)>,
    /// Whether another thread has released an adapter.
    pub(crate) released: bool,
    /// Whether something was posted since the engine thread last looked.
    news: bool,
    /// Whether requests are refused.
    closed: bool,
}

impl Intake {
    /// Whether requests are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
}

/// The mailbox of the engine thread.
pub(crate) struct Mailbox {
    intake: Mutex<Intake>,
    arrived: Condvar,
}

impl Mailbox {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let queue = FairQueue::new(limits.quantum, limits.queue_per_tenant, limits.queue);
        let intake = Intake { queue, loaded: Vec::new(), released: false, news: false, closed: false };
        Arc::new(Self { intake: Mutex::new(intake), arrived: Condvar::new() })
    }

    /// The intake. Every change to it is made in one piece, so a panic in another thread leaves it
    /// usable.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the intake and wakes the engine thread.
    pub(crate) fn post<R>(&self, change: impl FnOnce(&mut Intake) -> R) -> R {
        let mut intake = self.lock();
        let result = change(&mut intake);
        intake.news = true;
        drop(intake);
        self.arrived.notify_all();
        result
    }

    /// Refuses requests from now on.
    pub(crate) fn close(&self) {
        self.post(|intake| intake.closed = true);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits until something was posted since the last call.
    pub(super) fn wait(&self) {
        let mut intake = self.lock();
        while !intake.news && !intake.closed {
            intake = self.arrived.wait(intake).unwrap_or_else(PoisonError::into_inner);
        }
        intake.news = false;
    }
}
