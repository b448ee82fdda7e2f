//! The threads of the scheduler: one runs steps, one reads adapters; both sleep while there is
//! nothing to do.
//!
//! **Invariant:** when the engine thread ends, by order or by a panic, every request that waits or
//! runs ends with it, and no further one is taken.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use openledger_engine::Batch;
use openledger_protocol::AdapterHash;

use super::core::{Core, load};
use super::intake::Mailbox;
use super::limits::Limits;
use crate::adapters::AdapterStore;
use crate::base::Base;
use crate::memory::Memory;
use crate::metrics::Metrics;

/// Both threads of the scheduler; they end when this is dropped.
pub(crate) struct SchedulerThread {
    mailbox: Arc<Mailbox>,
    threads: Vec<JoinHandle<()>>,
}

/// Closes the mailbox and ends the requests that wait in it.
struct Closing {
    mailbox: Arc<Mailbox>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.mailbox.close();
        // Dropping a job closes its events, so its reader sees the end.
        let left = self.mailbox.lock().queue.remove(|_| true);
        drop(left);
    }
}

impl SchedulerThread {
    /// Starts them. When the system gives no threads, every request is refused as
    /// [`ServeError::Stopped`](crate::ServeError::Stopped).
    pub(crate) fn start(
        base: &Arc<Base>,
        store: &Arc<AdapterStore>,
        memory: &Arc<Memory>,
        metrics: &Arc<Metrics>,
        limits: &Limits,
    ) -> Self {
        let mailbox = Mailbox::new(limits);
        let (ask, asked) = mpsc::channel::<AdapterHash>();
        let (own_store, own_metrics, own_mailbox) = (Arc::clone(store), Arc::clone(metrics), Arc::clone(&mailbox));
        let loader = move || {
            for hash in asked {
                let lora = load(&own_store, &own_metrics, hash);
                own_mailbox.post(|intake| intake.loaded.push((hash, lora)));
            }
        };
        let (base, store, memory) = (Arc::clone(base), Arc::clone(store), Arc::clone(memory));
        let (metrics, limits, own_mailbox) = (Arc::clone(metrics), limits.clone(), Arc::clone(&mailbox));
        let steps = move || {
            let _closing = Closing { mailbox: Arc::clone(&own_mailbox) };
            let load = Box::new(move |hash| {
                // The loader ends after this thread, so the channel is open.
                let _ = ask.send(hash);
            });
            let mailbox = Arc::clone(&own_mailbox);
            let mut core = Core::new(Arc::clone(&base), store, memory, metrics, limits, mailbox, load);
            let mut batch = Batch::new(&base.model);
            while !own_mailbox.is_closed() {
                if !core.step(&mut batch) {
                    own_mailbox.wait();
                }
            }
        };
        let spawn =
            |name: &str, work: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.into()).spawn(work).ok();
        let started = [spawn("serving-loads", Box::new(loader)), spawn("serving-steps", Box::new(steps))];
        if started.iter().any(Option::is_none) {
            mailbox.close();
        }
        Self { mailbox, threads: started.into_iter().flatten().collect() }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

impl Drop for SchedulerThread {
    fn drop(&mut self) {
        self.mailbox.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has closed the mailbox, so every reader knows already.
            let _ = thread.join();
        }
    }
}
