//! OpenLoRA: one base, many adapters, answers that can be made again.
//!
//! # Place in the flow
//!
//! `factory` makes adapters; this crate answers requests with them; `attribution` and `node` turn the resulting
//! [`openledger_protocol::Completion`] into credits and a receipt. Start at [`Backend`] and its implementation [`Embedded`];
//! [`openai`] is the wire form that the node and `openledger serve` share.
//!
//! # Invariants
//!
//! - **Bound.** An answer carries the hashes of base, adapter and tokenizer; names (aliases) never stand in for hashes.
//! - **No fallback.** An adapter that is not known is [`ServeError::NotFound`], never the base.
//! - **Repeatable.** The same request on the same hashes gives the same ids, text and offsets, whatever runs beside it;
//!   [`Embedded::reexecute`] checks a completion that way.
//! - **Moving an alias** never changes a request that is running: it holds the adapter it started with.
//!
//! # Not here
//!
//! HTTP and tenants (`node`), prices (`datanet`, `ledger`), who deserves credit (`attribution`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapters;
mod backend;
mod base;
mod chat;
mod choose;
mod constrain;
mod decode;
mod embedded;
mod ensemble;
mod error;
mod events;
pub mod http;
mod memory;
mod metrics;
pub mod openai;
mod reexecute;
mod remote;
mod residency;
mod scheduler;
mod sidecars;
mod sync;

pub use adapters::{AdapterStats, AdapterStore, Alias, StoreStats};
pub use backend::{
    Answer, Asked, Backend, Capabilities, CompletionRequest, Constraint, Decoding, LoadAdapter, Prompt, Served, Tenant,
    TokenEvent, TokenLogprob,
};
pub use chat::{CHAT_TEMPLATE, ChatForm, ChatTemplate, Conversation, Message, Role, SpecialTokens};
pub use constrain::Grammar;
pub use embedded::Embedded;
pub use ensemble::{Ensemble, Member, Weight};
pub use error::{Blame, ServeError};
pub use events::{Event, Events, Sender, Started, Token, events};
pub use metrics::{Clock, Counts, LABELS_MAX, Metrics, MetricsSnapshot, Times, machine_clock};
pub use reexecute::{Check, Mismatch, ReexecuteError};
pub use remote::{PeerSetup, REMOTE_MODE, Remote, RemoteSetup, Secret};
pub use scheduler::Limits;
