//! Every case runs on SQLite and on Postgres from one body; see `engines`.
#![allow(clippy::unwrap_used, missing_docs)]

mod blobs;
mod chain;
mod data;
mod engines;
mod money;
mod queue;
mod transactions;
