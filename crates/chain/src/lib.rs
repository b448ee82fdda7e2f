//! Speaks to the EVM: the only crate that knows a contract's ABI, JSON-RPC, or that there is a
//! chain inside.
//!
//! # Place in the flow
//!
//! `node` opens a network ([`embedded::EmbeddedChain`] or [`rpc::HttpRpc`]), puts the contracts on
//! it ([`contracts::Deployment`]), does things there ([`flow::Flow`] over [`sender::Sender`]) and
//! reads back what happened ([`indexer::Indexer`]). Everything above the first step is the same for
//! both networks.
//!
//! # Invariants
//!
//! - **Once.** A write named by a key happens at most once, whatever crashes ([`sender`]).
//! - **Rebuildable.** What is known of the chain can be read again from its first block
//!   ([`indexer`]).
//! - **Durable before acknowledged.** A receipt of the embedded chain survives `kill -9`
//!   ([`embedded`]).
//! - No arithmetic on money: amounts go in and out as they are.
//!
//! # Not here
//!
//! The database (`store`): outbox and event sink are traits that `node` implements over it. What is
//! owed to whom (`ledger`). The formats that contracts and Rust share (`protocol`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod contracts;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod flow;
pub mod indexer;
pub mod rpc;
pub mod sender;
