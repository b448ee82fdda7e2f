//! Keeps the rows and files that the node must not forget: rows in a database, bytes in a blob store.
//!
//! # Place in the flow
//!
//! Every stage hands its records to `node`, and `node` keeps them here. This is the only crate with SQL and the
//! only one that reads or writes blobs. SQLite serves one machine, Postgres many; both run the same statements.
//!
//! Start at [`Store::open`]. Reads are methods of [`Reads`], which both [`Store`] and [`Tx`] deref to: on the store
//! they see what is committed, on a transaction also what it wrote. Writes are methods of [`Tx`], so money and the
//! job that moves it commit together or not at all; [`transact!`] runs one, again after a race.
//!
//! | module | nouns |
//! | --- | --- |
//! | [`handles`], [`datanets`], [`contributions`], [`records`], [`imports`], [`grants`] | data and the rights to it |
//! | [`models`], [`artifacts`] | what was trained on it |
//! | [`channels`], [`reservations`], [`receipts`], [`entries`] | money in, answers priced |
//! | [`epochs`], [`payouts`], [`trees`] | money out |
//! | [`outbox`], [`steps`], [`chain_events`], [`chain_sums`], [`titles`] | what was sent to the chain, and what it said |
//! | [`jobs`], [`job_events`], [`requests`], [`leases`] | work to do once |
//! | [`api_keys`] | API keys and their principals |
//! | [`counters`], [`audits`] | what would be slow to count again |
//! | [`blobs`] | bytes by their SHA-256 |
//!
//! # Invariants
//!
//! - **One transaction.** A [`Tx`] that is dropped without [`Tx::commit`] leaves nothing behind.
//! - **Exact amounts.** An [`Amount`](ids::Amount) is 16 big-endian bytes in the database; all arithmetic is in Rust,
//!   checked.
//! - **No clock, no chance.** Times are arguments; ids come from the caller or from counters.
//! - **Nothing guessed.** A stored value that its type cannot be is an error that names the column.
//! - **Ordered answers.** Every list has a stated order that is the same on both engines.
//! - **Forward only.** A migration that was released is never edited; another schema than ours is refused by name.
//!
//! # Not here
//!
//! What rows mean: prices, splits and rights are settled by the stages. Keys and encryption of record bodies.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api_keys;
pub mod artifacts;
pub mod audits;
pub mod blobs;
pub mod chain_events;
pub mod chain_sums;
pub mod channels;
pub mod contributions;
pub mod counters;
pub mod datanets;
mod db;
pub mod entries;
pub mod epochs;
mod error;
pub mod grants;
pub mod handles;
mod http;
pub mod ids;
pub mod imports;
pub mod job_events;
pub mod jobs;
pub mod leases;
mod migrate;
pub mod models;
pub mod outbox;
pub mod payouts;
pub mod receipts;
pub mod records;
pub mod requests;
pub mod reservations;
mod sequences;
mod sql;
pub mod steps;
mod store;
pub mod titles;
pub mod trees;

pub use artifacts::Artifacts;
pub use blobs::{Blobs, BlobsConfig};
pub use db::{Reads, Tx};
pub use error::{Error, Result};
pub use store::{Attempts, DatabaseEngine, Store};
