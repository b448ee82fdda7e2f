//! The crate against its own embedded chain: real blocks, real contracts, real files, loopback
//! only.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod anvil;
mod blocks;
mod contracts;
mod crash;
mod database;
mod durable;
mod figures;
mod indexing;
mod requests;
mod sending;
mod serving;
mod support;
