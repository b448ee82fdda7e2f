//! Keeps what the node must not forget: rows in a database, bytes in a blob store.
//!
//! # Place in the flow
//!
//! Every stage hands its records to `node`, and `node` keeps them here. This is the only crate with SQL and the
//! only one that reads or writes blobs. SQLite serves one machine, Postgres many; both run the same statements.
//!
//! Start at [`Store::open`]. Reads are methods of [`Reads`], which both [`Store`] and [`Tx`] deref to: on the store
//! they see what is committed, on a transaction also what it wrote. Writes are methods of [`Tx`], so money and the
//! job that moves it commit together or not at all.
//!
//! | module | nouns |
//! | --- | --- |
//! | [`accounts`], [`datanets`], [`contributions`], [`records`], [`imports`], [`grants`] | data and the rights to it |
//! | [`models`] | what was trained on it |
//! | [`channels`], [`receipts`], [`epochs`] | money in, answers priced, money out |
//! | [`outbox`], [`chain_events`], [`titles`] | what was sent to the chain, and what it said |
//! | [`jobs`], [`idempotency`], [`meta`] | work to do once |
//! | [`blobs`] | bytes by their SHA-256 |
//!
//! # Invariants
//!
//! - **One transaction.** A [`Tx`] that is dropped without [`Tx::commit`] leaves nothing behind.
//! - **Exact amounts.** An [`Amount`] is 16 big-endian bytes in the database; all arithmetic is in Rust, checked.
//! - **No clock, no chance.** Times are arguments in Unix milliseconds; ids come from the caller or from counters.
//! - **Ordered answers.** Every list has a stated order that is the same on both engines.
//! - **Forward only.** A migration that was released is never edited; a newer schema than ours is refused.
//!
//! # Not here
//!
//! What rows mean: prices, splits and rights are settled by the stages. Keys and encryption of record bodies.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod accounts;
pub mod blobs;
pub mod chain_events;
pub mod channels;
pub mod contributions;
pub mod datanets;
mod db;
pub mod epochs;
mod error;
pub mod grants;
pub mod idempotency;
pub mod ids;
pub mod imports;
pub mod jobs;
pub mod meta;
mod migrate;
pub mod models;
pub mod outbox;
pub mod receipts;
pub mod records;
mod sql;
pub mod titles;

pub use blobs::{Blobs, BlobsConfig};
pub use db::{Engine, Reads, Store, Tx};
pub use error::{Error, Result};
