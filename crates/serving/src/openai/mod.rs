//! The wire form of OpenAI's API: requests in, responses, stream chunks and errors out. Pure: ids and times come in.
//!
//! # Invariants
//!
//! - A member of a request that would change the answer and cannot be honoured is refused by name; a member that OpenAI
//!   does not define is ignored and named (`x-openledger-ignored-params`); nothing else is dropped.
//! - Answers are greedy unless a temperature is asked for, since that is what can be compared byte by byte.
//!
//! Not here: HTTP, keys, prices; the `openledger` members of requests and responses are handed through.

mod embeddings;
mod error;
mod fields;
mod messages;
mod request;
mod response;
mod stream;

pub use embeddings::{Embedding, EmbeddingsRequest, EmbeddingsResponse, EmbeddingsUsage, Encoding, Numbers};
pub use error::ApiError;
pub use request::{
    ChatRequest, CompletionsRequest, DEFAULT_MAX_TOKENS, Parsed, ResponseFormat, choice_seed, choices, truncated,
};
pub use response::{
    ChatChoice, ChatLogprobs, ChatMessage, ChatResponse, CompletionsChoice, CompletionsLogprobs, CompletionsResponse,
    EchoToken, ModelEntry, ModelList, PromptDetails, TokenChoice, TopToken, Usage, finish_reason,
};
pub use stream::{ChatStream, CompletionsStream, DONE, PING, named_event};
