//! What an agent may do, and the record of what it did.
//!
//! # Place in the flow
//!
//! An agent is a model with tools that spends its owner's money. Before each charge `node` puts the
//! request to the [`Budget`]; what was decided, and each step after it, goes into the [`ActionLog`]
//! with the receipts of its model calls.
//!
//! # Invariants
//!
//! - **Before the charge.** [`Budget::authorise`] says yes or no from what was spent so far; an
//!   agent cannot spend first.
//! - **Nothing is rewritten.** Each action names the hash of the one before and is signed, so a
//!   changed, missing or reordered action is found by its number.
//! - **Pure.** No clock, disk, network, float or randomness: the day and the time come in as
//!   arguments.
//!
//! # Not here
//!
//! Models and tools themselves, session keys on chain (`contracts/`), storing the log (`store`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod budget;
mod log;

pub use budget::{Allowed, Budget, Decision, DenyReason, SpendRequest, Spent};
pub use log::{Action, ActionKind, ActionLog, LogError, SignedAction};
