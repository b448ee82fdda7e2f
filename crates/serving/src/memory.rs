//! The one budget of bytes that adapters and keys and values share.
//!
//! **Invariant:** the bytes taken never exceed the limit. Idle prefixes are evicted to make room;
//! when there are none left, the request for memory fails. Not here: eviction of idle adapters
//! (`adapters`), waiting requests (`scheduler`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openledger_engine::{KvPrefixes, Lease, MemoryBudget};

/// The budget and what can be dropped to make room in it.
#[derive(Debug)]
pub(crate) struct Memory {
    budget: Arc<MemoryBudget>,
    prefixes: Mutex<KvPrefixes>,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { budget: MemoryBudget::new(limit), prefixes: Mutex::default() })
    }

    pub(crate) fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// Finished pages; every change to them is made in one piece, so that a panic elsewhere leaves
    /// them usable.
    pub(crate) fn prefixes(&self) -> MutexGuard<'_, KvPrefixes> {
        self.prefixes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `bytes`; prefixes are evicted as far as that helps.
    pub(crate) fn take(&self, bytes: usize) -> Option<Lease> {
        loop {
            if let Some(lease) = self.budget.take(bytes) {
                return Some(lease);
            }
            if bytes > self.budget.limit() || !self.prefixes().evict_one() {
                return None;
            }
        }
    }
}
