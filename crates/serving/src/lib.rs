//! OpenLoRA: one base, many adapters, answers that can be made again.
//!
//! # Place in the flow
//!
//! `factory` makes adapters; this crate answers requests with them; `attribution` and `node` turn
//! the resulting [`openledger_protocol::Completion`] into credits and a receipt. Start at
//! [`Backend`] and its implementation [`Embedded`].
//!
//! # Invariants
//!
//! - **Bound.** An answer carries the hashes of base, adapter and tokenizer; names (aliases) never
//!   replace hashes.
//! - **No fallback.** An adapter that is not known is [`ServeError::NotFound`], never the base.
//! - **Repeatable.** The same request on the same hashes gives the same ids, text and offsets,
//!   whatever runs beside it; [`Embedded::reexecute`] checks a completion that way.
//! - **Moving an alias** never changes a request that is running: it holds the adapter it started
//!   with.
//!
//! # Not here
//!
//! HTTP and wire forms (`gateway`), prices (`datanet`, `ledger`), credit (`attribution`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapters;
mod answer;
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
mod memory;
mod metrics;
mod names;
mod reexecute;
mod remote;
mod request;
mod residency;
mod scheduler;
mod sidecars;
mod sync;

pub use adapters::{AdapterStats, AdapterStore, Alias, StoreStats};
pub use answer::{Answer, TokenEvent, TokenLogprob};
pub use backend::{Backend, Capabilities, LoadAdapter, Served};
pub use chat::{CHAT_TEMPLATE, ChatForm, ChatTemplate, Conversation, Message, Role, SpecialTokens};
pub use constrain::Grammar;
pub use embedded::Embedded;
pub use ensemble::{Ensemble, Member, Weight};
pub use error::{Blame, ServeError};
pub use events::{Event, Events, Sender, Started, Token, events};
pub use metrics::{Clock, Counts, LABELS_MAX, Metrics, MetricsSnapshot, Times, machine_clock};
pub use names::check_adapter_name;
pub use reexecute::{Check, Mismatch, ReexecuteError};
pub use remote::{PeerSetup, REMOTE_MODE, Remote, RemoteSetup, Secret};
pub use request::{AnswerFormat, CompletionRequest, Constraint, Decoding, Prompt, RequestOptions, Tenant};
pub use scheduler::Limits;
