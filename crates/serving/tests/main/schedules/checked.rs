//! The cache with shuttle's locks.

use std::cell::Cell;

thread_local! {
    /// Plants a fault in what is made from now on: whoever waits is never told.
    pub(super) static DEAF: Cell<bool> = const { Cell::new(false) };
}

mod sync {
    pub(super) use std::sync::{Arc, PoisonError};

    pub(super) use shuttle::sync::{Mutex, MutexGuard};

    /// Shuttle's, unless a fault is planted.
    pub(super) struct Condvar {
        inner: shuttle::sync::Condvar,
        deaf: bool,
    }

    impl Condvar {
        pub(super) fn new() -> Self {
            Self { inner: shuttle::sync::Condvar::new(), deaf: super::DEAF.get() }
        }

        pub(super) fn wait<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
        ) -> Result<MutexGuard<'a, T>, PoisonError<MutexGuard<'a, T>>> {
            self.inner.wait(guard)
        }

        pub(super) fn notify_all(&self) {
            if !self.deaf {
                self.inner.notify_all();
            }
        }
    }
}
#[allow(dead_code, reason = "what only the store asks for is not asked for here")]
#[path = "../../../src/residency.rs"]
pub(super) mod residency;
