//! The cache with a fault planted in its locks: whoever waits is never told.

mod sync {
    pub(super) use std::sync::{Arc, PoisonError};

    pub(super) use shuttle::sync::{Mutex, MutexGuard};

    pub(super) struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        pub(super) fn new() -> Self {
            Self(shuttle::sync::Condvar::new())
        }

        pub(super) fn wait<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
        ) -> Result<MutexGuard<'a, T>, PoisonError<MutexGuard<'a, T>>> {
            self.0.wait(guard)
        }

        pub(super) fn notify_all(&self) {}
    }
}
#[allow(dead_code, reason = "what only the store asks for is not asked for here")]
#[path = "../../../src/residency.rs"]
pub(super) mod residency;
