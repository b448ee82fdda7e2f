//! The OpenAI dialect: requests as clients write them, responses member by member.
//!
//! A node ignores a member that OpenAI does not define and names it in the header
//! `x-openledger-ignored-params`, so requests here admit further members, unlike those of the
//! native API. The gateway reads requests with a parser of its own, which names the member that is
//! wrong; these types describe requests and are what [`crate::client`] sends.

mod adapters;
mod extension;
mod request;
mod response;
mod stream;
mod tokens;

pub use adapters::{
    EnsembleEntry, EnsembleMember, EnsembleShare, LoadLoraAdapter, LoraAdapter, NewEnsemble, ObjectList,
    UnloadLoraAdapter,
};
pub use extension::{AnswerAttribution, AnswerNote, AttributionLevel, Extension, SplitShare};
pub use request::{
    ChatCompletionRequest, CompletionRequest, Content, ContentPart, Message, MessageRole, Prompt, Stop, StreamOptions,
};
pub use response::{
    ChatChoice, ChatLogprobs, ChatMessage, ChatResponse, CompletionChoice, CompletionLogprobs, CompletionResponse,
    ErrorBody, ErrorDetail, ModelEntry, ModelList, PromptDetails, TokenChoice, TopToken, Usage,
};
pub use stream::{ChatChunk, ChatDelta, ChatPiece, CompletionChunk, CompletionPiece};
pub use tokens::{DetokenizeRequest, Detokenized, TokenizeRequest, Tokenized};
