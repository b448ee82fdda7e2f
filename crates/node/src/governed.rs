//! The governed numbers that are in force, as the chain's index saw them last.

use std::sync::{Arc, PoisonError, RwLock};

use openledger_protocol::Params;

/// The governed numbers. Clones share them.
#[derive(Clone)]
pub(crate) struct Governed(Arc<RwLock<Arc<Params>>>);

impl Governed {
    /// Numbers that hold until they are replaced.
    pub(crate) fn new(params: Params) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(params))))
    }

    /// The numbers by which answers are credited and split now.
    pub(crate) fn now(&self) -> Arc<Params> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the numbers.
    pub(crate) fn set(&self, params: Params) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(params);
    }
}
