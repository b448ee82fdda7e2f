//! Every case runs on SQLite and on Postgres from one body; see `engines`.
#![allow(clippy::unwrap_used, missing_docs)]

mod artifacts;
mod blobs;
mod chain;
mod channels;
mod data;
mod engines;
mod epochs;
mod imports;
mod queue;
#[path = "../support/mod.rs"]
mod support;
mod transactions;
mod trees;
