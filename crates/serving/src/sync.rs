//! The locks of `residency`; apart so that a test can put others in their place.

pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
