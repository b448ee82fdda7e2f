//! The cache with shuttle's locks.

mod sync {
    pub(super) use std::sync::{Arc, PoisonError};

    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};
}
#[allow(dead_code, reason = "what only the store asks for is not asked for here")]
#[path = "../../../src/residency.rs"]
pub(super) mod residency;
