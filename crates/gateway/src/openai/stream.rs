//! Server-sent events: each function gives the bytes of whole events, members in OpenAI's order.

use openledger_api::openai::{ChatLogprobs, CompletionLogprobs, Usage};
use openledger_protocol::FinishReason;
use serde::Serialize;

use super::error::ApiError;
use super::response::finish_reason;

/// The last event of every stream.
pub const DONE: &str = "data: [DONE]\n\n";
/// A comment that keeps a connection open.
pub const PING: &str = ": ping\n\n";

/// An event with a name, such as `openledger.receipt`; clients that do not know it skip it.
#[must_use]
pub fn named_event(name: &str, data: &impl Serialize) -> String {
    format!("event: {name}\n{}", event(data))
}

/// An event of `data`; a line feed inside it is written `\n`, so that it stays one line.
fn event(data: &impl Serialize) -> String {
    // Types of this module have names for members and no map keys that could fail.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("data: {data}\n\n")
}

/// An error after the headers: the last event of a broken stream.
fn error_event(error: &ApiError) -> String {
    event(&error.body())
}

/// A chunk; the order of the members is that of OpenAI's.
#[derive(Serialize)]
struct Chunk<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: &'a [C],
    /// With `include_usage` every chunk has it, null but in the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct ChatPiece<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<&'a ChatLogprobs>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Serialize)]
struct TextPiece<'a> {
    text: &'a str,
    index: u32,
    logprobs: Option<&'a CompletionLogprobs>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<&'a [u32]>,
}

/// The chunks of one chat answer.
#[derive(Debug, Clone)]
pub struct ChatStream {
    /// What follows `chatcmpl-`.
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    /// The model as it was asked for.
    pub model: String,
    /// The numeric mode.
    pub system_fingerprint: String,
    /// Whether the stream ends with the usage.
    pub include_usage: bool,
}

impl ChatStream {
    /// The first chunk: who speaks.
    #[must_use]
    pub fn first(&self) -> String {
        self.first_of(0)
    }

    /// The first chunk of the answer numbered `index`.
    #[must_use]
    pub fn first_of(&self, index: u32) -> String {
        self.chunk(index, Delta { role: Some("assistant"), content: Some("") }, None, None)
    }

    /// A piece of the answer.
    #[must_use]
    pub fn delta(&self, text: &str) -> String {
        self.delta_of(0, text, None)
    }

    /// A piece of the answer numbered `index`, with how likely its tokens were.
    #[must_use]
    pub fn delta_of(&self, index: u32, text: &str, logprobs: Option<&ChatLogprobs>) -> String {
        self.chunk(index, Delta { role: None, content: Some(text) }, logprobs, None)
    }

    /// Why the answer ended.
    #[must_use]
    pub fn last(&self, reason: FinishReason) -> String {
        self.last_of(0, reason)
    }

    /// Why the answer numbered `index` ended.
    #[must_use]
    pub fn last_of(&self, index: u32, reason: FinishReason) -> String {
        self.chunk(index, Delta::default(), None, Some(reason))
    }

    /// The usage, where it was asked for; else nothing.
    #[must_use]
    pub fn usage(&self, usage: Usage) -> String {
        if self.include_usage { self.event::<ChatPiece<'_>>(&[], Some(Some(usage))) } else { String::new() }
    }

    /// The end of a stream that failed.
    #[must_use]
    pub fn error(&self, error: &ApiError) -> String {
        error_event(error)
    }

    fn chunk(
        &self,
        index: u32,
        delta: Delta<'_>,
        logprobs: Option<&ChatLogprobs>,
        reason: Option<FinishReason>,
    ) -> String {
        let piece = ChatPiece { index, delta, logprobs, finish_reason: reason.map(finish_reason) };
        self.event(&[piece], self.include_usage.then_some(None))
    }

    fn event<C: Serialize>(&self, choices: &[C], usage: Option<Option<Usage>>) -> String {
        event(&Chunk {
            id: &format!("chatcmpl-{}", self.id),
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            system_fingerprint: &self.system_fingerprint,
            choices,
            usage,
        })
    }
}

/// The chunks of one answer of `/v1/completions`.
#[derive(Debug, Clone)]
pub struct CompletionsStream {
    /// What follows `cmpl-`.
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    /// The model as it was asked for.
    pub model: String,
    /// The numeric mode.
    pub system_fingerprint: String,
    /// Whether the stream ends with the usage.
    pub include_usage: bool,
}

impl CompletionsStream {
    /// A piece of the answer.
    #[must_use]
    pub fn delta(&self, text: &str) -> String {
        self.delta_of(0, text, None, None)
    }

    /// A piece of the answer numbered `index`, with how likely its tokens were and which ids they
    /// have.
    #[must_use]
    pub fn delta_of(
        &self,
        index: u32,
        text: &str,
        logprobs: Option<&CompletionLogprobs>,
        ids: Option<&[u32]>,
    ) -> String {
        self.piece(TextPiece { text, index, logprobs, finish_reason: None, token_ids: ids })
    }

    /// Why the answer ended.
    #[must_use]
    pub fn last(&self, reason: FinishReason) -> String {
        self.last_of(0, reason)
    }

    /// Why the answer numbered `index` ended.
    #[must_use]
    pub fn last_of(&self, index: u32, reason: FinishReason) -> String {
        let finish_reason = Some(finish_reason(reason));
        self.piece(TextPiece { text: "", index, logprobs: None, finish_reason, token_ids: None })
    }

    /// The usage, where it was asked for; else nothing.
    #[must_use]
    pub fn usage(&self, usage: Usage) -> String {
        if self.include_usage { self.event::<TextPiece<'_>>(&[], Some(Some(usage))) } else { String::new() }
    }

    /// The end of a stream that failed.
    #[must_use]
    pub fn error(&self, error: &ApiError) -> String {
        error_event(error)
    }

    fn piece(&self, piece: TextPiece<'_>) -> String {
        self.event(&[piece], self.include_usage.then_some(None))
    }

    fn event<C: Serialize>(&self, choices: &[C], usage: Option<Option<Usage>>) -> String {
        event(&Chunk {
            id: &format!("cmpl-{}", self.id),
            object: "text_completion",
            created: self.created,
            model: &self.model,
            system_fingerprint: &self.system_fingerprint,
            choices,
            usage,
        })
    }
}
