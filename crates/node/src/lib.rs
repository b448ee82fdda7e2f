//! Wires the stages into one running node: HTTP, jobs, the thread from a contribution to a claim.
//!
//! # Place in the flow
//!
//! Services, each a struct of the parts it needs; [`Node`] composes them and holds no logic. `pipeline` composes the
//! stages of the economy out of the services' steps. The HTTP faces (`gateway`) call services and `pipeline`.
//!
//! # Invariants
//!
//! - **No arithmetic on amounts here.** Prices, splits and sums belong to `ledger`; a test of the tree holds this.
//! - **Every step may be repeated.** State changes are one transaction; chain transactions go through the outbox under
//!   a key that names what they do, so a crash anywhere loses nothing and pays nothing twice.
//! - **Many processes, one operator.** Processes with one key may share a database and a blob
//!   store. What only one may do at a time is a lease there: a job, the settlement, a reservation,
//!   an idempotency key. Each lease ends by itself when its process is killed, and another process
//!   goes on.
//! - **Rows are read under a live grant only.** The trainer checks the signature and the slot on chain first.
//!
//! # Not here
//!
//! Rules of any kind: parsing and rights (`datanet`), training (`factory`), answers (`serving`), who deserves credit
//! (`attribution`), who is paid what (`ledger`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answering;
mod auditing;
mod auth;
mod base;
mod chain_view;
mod clock;
mod config;
mod crediting;
mod cursor;
mod datanets;
mod deposits;
mod epochs;
mod error;
mod events;
#[cfg(test)]
mod fake_chain;
mod files;
mod governed;
mod grants;
mod handles;
mod holds;
mod instance;
mod intake;
mod jobs;
mod keys;
mod metrics;
mod models;
mod node;
mod on_chain;
mod outbox;
mod owned_task;
pub mod pipeline;
mod reading;
mod records;
mod requests;
mod settlement;
mod steps;
#[cfg(test)]
mod tests;
mod training;
mod watching;

pub use answering::{Answering, Ask, Begin, Generation, Held, Step};
pub use auditing::Auditing;
pub use auth::{Auth, Viewer};
pub use base::Base;
pub use chain_view::ChainView;
pub use clock::Clock;
pub use config::{AnswerSource, ChainChoice, Config, NodeClock, PlatformAccounts};
pub use crediting::{Crediting, LocalCrediting};
pub use datanets::Datanets;
pub use deposits::Deposits;
pub use epochs::Epochs;
pub use error::{Blame, NodeError, Result};
pub use grants::Grants;
pub use handles::{Handles, Names};
pub use holds::Hold;
pub use intake::Intake;
pub use jobs::Jobs;
pub use models::{Models, Offered};
pub use node::{Background, Node};
pub use reading::Reading;
pub use requests::{KeptResponse, RequestHold, Requests, Taken};
pub use settlement::Settlement;
pub use training::Training;
pub use watching::Watching;
