//! Chunks of streams: the `data` of server-sent events without a name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ChatLogprobs, CompletionLogprobs, Usage};

/// A piece of a chat answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatDelta {
    /// `assistant`, in the first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// A chunk's part of one chat answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChatPiece {
    /// The answer's number, from 0.
    pub index: u32,
    /// The piece.
    pub delta: ChatDelta,
    /// How likely its tokens were, where the request wants it.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop` or `length`, in the last chunk.
    pub finish_reason: Option<String>,
}

/// `chat.completion.chunk`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChatChunk {
    /// `chatcmpl-…`.
    pub id: String,
    /// `chat.completion.chunk`.
    pub object: String,
    /// When the stream began, in Unix seconds.
    pub created: u64,
    /// The model, as the request named it.
    pub model: String,
    /// The numeric mode.
    pub system_fingerprint: String,
    /// The pieces; none in the chunk of the usage.
    pub choices: Vec<ChatPiece>,
    /// The usage, in the last chunk of a request that wants it; the chunks before have null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Usage>")]
    pub usage: Option<Option<Usage>>,
}

/// A chunk's part of one answer of `/v1/completions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompletionPiece {
    /// Text.
    pub text: String,
    /// The answer's number, from 0.
    pub index: u32,
    /// How likely its tokens were, where the request wants it.
    pub logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`, in the last chunk.
    pub finish_reason: Option<String>,
    /// The ids of the piece's tokens, where the request wants them; never in a node's streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// A chunk of `text_completion`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompletionChunk {
    /// `cmpl-…`.
    pub id: String,
    /// `text_completion`.
    pub object: String,
    /// When the stream began, in Unix seconds.
    pub created: u64,
    /// The model, as the request named it.
    pub model: String,
    /// The numeric mode.
    pub system_fingerprint: String,
    /// The pieces; none in the chunk of the usage.
    pub choices: Vec<CompletionPiece>,
    /// The usage, in the last chunk of a request that wants it; the chunks before have null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Usage>")]
    pub usage: Option<Option<Usage>>,
}
