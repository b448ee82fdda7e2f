//! The threads under the scheduler: one steps, one reads adapters; both sleep until there is something to do.
//!
//! **Invariant:** when the engine thread ends, by order or by a panic, every request that waits or runs ends with it, and no
//! further one is taken.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use openledger_engine::Batch;
use openledger_protocol::AdapterHash;

use super::{Core, Limits, Mailbox};
use crate::adapters::AdapterStore;
use crate::base::Base;
use crate::error::ServeError;
use crate::memory::Memory;
use crate::metrics::Metrics;

/// Both threads; they end when this is dropped.
pub(crate) struct Engine {
    mailbox: Arc<Mailbox>,
    threads: Vec<JoinHandle<()>>,
}

/// Closes the mailbox and turns away who waits in it.
struct Closing {
    mailbox: Arc<Mailbox>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.mailbox.close();
        // Dropping a job closes its events, which tells its reader.
        let left = self.mailbox.lock().queue.remove(|_| true);
        drop(left);
    }
}

impl Engine {
    /// Starts them. When the system gives no threads, every request is refused as [`ServeError::Stopped`].
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
                own_mailbox.leave(|desk| desk.loaded.push((hash, lora)));
            }
        };
        let (base, store, memory) = (Arc::clone(base), Arc::clone(store), Arc::clone(memory));
        let (metrics, limits, own_mailbox) = (Arc::clone(metrics), limits.clone(), Arc::clone(&mailbox));
        let steps = move || {
            let _closing = Closing { mailbox: Arc::clone(&own_mailbox) };
            let load = Box::new(move |hash| {
                // The loader ends after this thread only, so that somebody listens.
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

/// Reads an adapter and tells how long it took.
pub(crate) fn load(
    store: &AdapterStore,
    metrics: &Metrics,
    hash: AdapterHash,
) -> Result<Arc<openledger_engine::Lora>, ServeError> {
    let from = metrics.now();
    let lora = store.get(hash);
    if lora.is_ok() {
        metrics.loaded(hash, metrics.now().saturating_sub(from));
    }
    lora
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.mailbox.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has told everyone by closing; there is nothing to add.
            let _ = thread.join();
        }
    }
}
