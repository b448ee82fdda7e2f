//! What the engine promises, checked through its public surface.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod files;
mod gradients;
mod hostile;
mod invariance;
mod packed;
mod parity;
mod reference;
mod training;
