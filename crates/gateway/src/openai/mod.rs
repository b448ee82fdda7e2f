//! The wire form of OpenAI's API: requests in, responses, stream chunks and errors out. Pure: ids
//! and times come in.
//!
//! # Invariants
//!
//! - A member of a request that would change the answer and cannot be honoured is refused by name;
//!   a member that OpenAI does not define is ignored and named (`x-openledger-ignored-params`);
//!   nothing else is dropped.
//! - A member that is left out means what it means at OpenAI, such as a temperature of 1;
//!   `docs/api.md` names the two that differ (`seed`, a chat's `max_tokens`).
//!
//! Not here: HTTP, keys, prices; the `openledger` members of requests and responses are handed
//! through.

mod adapters;
mod embeddings;
mod error;
mod fields;
mod messages;
mod request;
mod response;
mod stream;
mod tokens;

pub(crate) use adapters::{ensemble_request, load_request, unload_request};
pub use embeddings::{Embedding, EmbeddingsRequest, EmbeddingsResponse, EmbeddingsUsage, Encoding, Numbers};
pub use error::ApiError;
#[cfg(feature = "node")]
pub(crate) use request::beyond_receipt;
pub(crate) use request::check_copies;
pub use request::{ChatRequest, CompletionsRequest, DEFAULT_MAX_TOKENS, Parsed, choice_seed, choices, truncated};
pub use response::{EchoToken, chat_logprobs, columns, finish_reason, push_chat, push_completion};
pub use stream::{ChatStream, CompletionsStream, DONE, PING, named_event};
pub(crate) use tokens::{detokenize_request, tokenize_request};
