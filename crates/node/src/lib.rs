//! Wires the stages into one running node: HTTP, jobs, the thread from a contribution to a claim.
//!
//! # Place in the flow
//!
//! The fourth floor. `pipeline` reads as the economy does, top to bottom; each step calls the stage that knows how and
//! keeps what it made. [`Node::open`] brings everything up, [`Node::serve`] answers until told to stop.
//!
//! # Invariants
//!
//! - **No arithmetic on amounts here.** Prices, splits and sums belong to `ledger`; a test of the tree holds this.
//! - **Every step may be repeated.** State changes are one transaction; chain transactions go through the outbox under
//!   a key that names what they do, so a crash anywhere loses nothing and pays nothing twice.
//! - **Rows are read under a live grant only.** The trainer checks the signature and the slot on chain first.
//!
//! # Not here
//!
//! Rules of any kind: parsing and rights (`datanet`), training (`factory`), answers (`serving`), who deserves credit
//! (`attribution`), who is paid what (`ledger`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod answer;
mod audit;
mod channels;
mod config;
mod contribute;
mod error;
pub mod evidence;
mod grants;
mod http;
mod jobs;
mod link;
mod metrics;
mod models;
mod node;
mod overview;
pub mod pipeline;
mod refuted;
mod settle;
mod train;
mod versions;
pub mod watch;
mod withdrawals;

pub use config::{Answering, ChainChoice, Config, NodeClock, PlatformAccounts};
pub use error::{Blame, NodeError, Result};
pub use node::Node;
