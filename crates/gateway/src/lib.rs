//! All HTTP faces: a node's (native API, OpenAI dialect, chain RPC, Studio) and that of `openledger
//! serve`.
//!
//! # Place in the flow
//!
//! The floor below the binary. [`serve_node`] serves a [`openledger_node::Node`]; [`serve::router`]
//! serves one [`openledger_serving::Backend`] without node and chain. Both speak [`openai`], refuse
//! by one type, write one form of stream, and name every call (`call`).
//!
//! # Invariants
//!
//! - Handlers hold no rules: they read a request, call a step of `node` or `serving`, and write
//!   what came back.
//! - Headers are sent when an answer has begun, so everything known before its first token is told
//!   by the status.
//!
//! # Not here
//!
//! Steps and state (`node`), turns and memory (`serving`), exit codes (`openledger`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod call;
#[cfg(feature = "node")]
mod node_api;
pub mod openai;
mod origin;
mod refusal;
pub mod serve;
mod stream;

#[cfg(feature = "node")]
pub use node_api::serve_node;
pub use origin::Origins;
