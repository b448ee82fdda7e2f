//! Server-sent events: each function gives the bytes of whole events. The chunks are the types of
//! `openledger_api::openai`, whose members are in OpenAI's order.

use openledger_api::openai::{
    ChatChunk, ChatDelta, ChatLogprobs, ChatPiece, CompletionChunk, CompletionLogprobs, CompletionPiece, Usage,
};
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
    // The types that are written have names for members and no map keys that could fail.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("data: {data}\n\n")
}

/// An error after the headers: the last event of a broken stream.
fn error_event(error: &ApiError) -> String {
    event(&error.wire())
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
    /// The first chunk of the answer numbered `index`: its role.
    #[must_use]
    pub fn first_of(&self, index: u32) -> String {
        self.piece(index, ChatDelta { role: Some("assistant".into()), content: Some(String::new()) }, None, None)
    }

    /// A piece of the answer numbered `index`, with how likely its tokens were.
    #[must_use]
    pub fn delta_of(&self, index: u32, text: &str, logprobs: Option<ChatLogprobs>) -> String {
        self.piece(index, ChatDelta { role: None, content: Some(text.to_owned()) }, logprobs, None)
    }

    /// Why the answer numbered `index` ended.
    #[must_use]
    pub fn last_of(&self, index: u32, reason: FinishReason) -> String {
        self.piece(index, ChatDelta::default(), None, Some(reason))
    }

    /// The usage, where it was asked for; else nothing.
    #[must_use]
    pub fn usage(&self, usage: Usage) -> String {
        if self.include_usage { self.chunk(Vec::new(), Some(Some(usage))) } else { String::new() }
    }

    /// The end of a stream that failed.
    #[must_use]
    pub fn error(&self, error: &ApiError) -> String {
        error_event(error)
    }

    fn piece(
        &self,
        index: u32,
        delta: ChatDelta,
        logprobs: Option<ChatLogprobs>,
        reason: Option<FinishReason>,
    ) -> String {
        let finish_reason = reason.map(|reason| finish_reason(reason).to_owned());
        let piece = ChatPiece { index, delta, logprobs, finish_reason };
        self.chunk(vec![piece], self.include_usage.then_some(None))
    }

    fn chunk(&self, choices: Vec<ChatPiece>, usage: Option<Option<Usage>>) -> String {
        event(&ChatChunk {
            id: format!("chatcmpl-{}", self.id),
            object: "chat.completion.chunk".into(),
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: self.system_fingerprint.clone(),
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
    /// A piece of the answer numbered `index`, with how likely its tokens were and which ids they
    /// have.
    #[must_use]
    pub fn delta_of(
        &self,
        index: u32,
        text: &str,
        logprobs: Option<CompletionLogprobs>,
        token_ids: Option<Vec<u32>>,
    ) -> String {
        self.piece(CompletionPiece { text: text.to_owned(), index, logprobs, finish_reason: None, token_ids })
    }

    /// Why the answer numbered `index` ended.
    #[must_use]
    pub fn last_of(&self, index: u32, reason: FinishReason) -> String {
        let finish_reason = Some(finish_reason(reason).to_owned());
        self.piece(CompletionPiece { text: String::new(), index, logprobs: None, finish_reason, token_ids: None })
    }

    /// The usage, where it was asked for; else nothing.
    #[must_use]
    pub fn usage(&self, usage: Usage) -> String {
        if self.include_usage { self.chunk(Vec::new(), Some(Some(usage))) } else { String::new() }
    }

    /// The end of a stream that failed.
    #[must_use]
    pub fn error(&self, error: &ApiError) -> String {
        error_event(error)
    }

    fn piece(&self, piece: CompletionPiece) -> String {
        self.chunk(vec![piece], self.include_usage.then_some(None))
    }

    fn chunk(&self, choices: Vec<CompletionPiece>, usage: Option<Option<Usage>>) -> String {
        event(&CompletionChunk {
            id: format!("cmpl-{}", self.id),
            object: "text_completion".into(),
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: self.system_fingerprint.clone(),
            choices,
            usage,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_texts_are_written_byte_for_byte() {
        let stream = CompletionsStream {
            id: "7".into(),
            created: 5,
            model: "m".into(),
            system_fingerprint: "f".into(),
            include_usage: true,
        };
        let chunk = |choices: &str, usage: &str| {
            format!(
                "data: {{\"id\":\"cmpl-7\",\"object\":\"text_completion\",\"created\":5,\"model\":\"m\",\
                 \"system_fingerprint\":\"f\",\"choices\":[{choices}],\"usage\":{usage}}}\n\n"
            )
        };
        let piece = "{\"text\":\"a\\nb\",\"index\":1,\"logprobs\":null,\"finish_reason\":null,\"token_ids\":[3]}";
        assert_eq!(stream.delta_of(1, "a\nb", None, Some(vec![3])), chunk(piece, "null"));
        let last = "{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\"}";
        assert_eq!(stream.last_of(0, FinishReason::Length), chunk(last, "null"));
        let without = CompletionsStream { include_usage: false, ..stream };
        assert!(!without.last_of(0, FinishReason::Stop).contains("usage"));
    }
}
