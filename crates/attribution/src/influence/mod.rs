//! Influence: how much likelier training on a record made an answer, estimated from exact LoRA
//! gradients.
//!
//! # Place in the flow
//!
//! Model, adapter and the records it was trained on -> [`Gradients`] -> [`Cache`] (once per model);
//! a completion's gradient -> [`Cache::score`] -> [`Scores`] -> [`to_weights`], the integers that
//! credits carry.
//!
//! # Invariants
//!
//! - **Sign.** Positive: the record made the answer likelier. **Unit:** nats per unit of learning
//!   rate, up to a constant.
//! - **One result.** Sums run in f64 in one fixed order; threads and instruction sets change no
//!   bit.
//! - **Copies are neutral.** Records with equal tokens are one row of the method and get equal
//!   scores, so that adding a copy changes no score at all.
//!
//! # Not here
//!
//! Gradients themselves (`engine`), clusters and pay (`credit`, `ledger`).

mod cache;
mod gradients;
mod linalg;
mod method;
mod scores;
mod solver;

pub use cache::{Cache, CacheInfo, Provenance};
pub use gradients::{Gradients, Item};
pub use method::{DAMPING, Method};
pub use scores::{Scores, to_weights};

use std::path::PathBuf;

use openledger_engine::RunError;

/// Why influence could not be cached or scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InfluenceError {
    /// An item could not be run through the model; shorten or correct it.
    #[error("item {index}")]
    Item {
        /// Its place, from 0.
        index: usize,
        /// What the engine said.
        source: RunError,
    },
    /// A gradient or score is not finite; the adapter has diverged.
    #[error("row {index} holds a value that is not finite")]
    NotFinite {
        /// Its place, from 0.
        index: usize,
    },
    /// Nothing to attribute to; a cache needs at least one record.
    #[error("no records were given")]
    Empty,
    /// The damping factor is out of range.
    #[error("damping must be a number above 0 and at most 1000")]
    Damping,
    /// More than fits; take fewer records or a smaller adapter.
    #[error("{rows} records of {parameters} parameters exceed the limit of {limit} values")]
    TooLarge {
        /// Distinct records.
        rows: usize,
        /// LoRA parameters.
        parameters: usize,
        /// The most values a cache holds.
        limit: usize,
    },
    /// Queries come from an adapter of another shape than the cache's.
    #[error("the queries have {found} parameters, the cache {expected}")]
    Shape {
        /// Parameters of the queries' adapter.
        found: usize,
        /// Parameters of the cache's adapter.
        expected: usize,
    },
    /// A file could not be read or written.
    #[error("could not access `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The cache on disk is damaged or was made by another version; build it again.
    #[error("`{path}` is not a cache this version reads: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
