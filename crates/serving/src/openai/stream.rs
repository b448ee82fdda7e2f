//! Server-sent events: each function gives the bytes of whole events.

use openledger_protocol::FinishReason;
use serde_json::{Value, json};

use super::error::ApiError;
use super::response::{Usage, finish_reason};

/// The last event of every stream.
pub const DONE: &str = "data: [DONE]\n\n";
/// A comment that keeps a connection open.
pub const PING: &str = ": ping\n\n";

/// An event with a name, such as `openledger.receipt`; clients that do not know it skip it.
#[must_use]
pub fn named_event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// An error after the headers: the last event of a broken stream.
fn error_event(error: &ApiError) -> String {
    event(&error.body())
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
        self.chunk(json!({ "role": "assistant", "content": "" }), None)
    }

    /// A piece of the answer.
    #[must_use]
    pub fn delta(&self, text: &str) -> String {
        self.chunk(json!({ "content": text }), None)
    }

    /// Why the answer ended.
    #[must_use]
    pub fn last(&self, reason: FinishReason) -> String {
        self.chunk(json!({}), Some(reason))
    }

    /// The usage, where it was asked for; else nothing.
    #[must_use]
    pub fn usage(&self, usage: Usage) -> String {
        if !self.include_usage {
            return String::new();
        }
        let mut chunk = self.frame(json!([]));
        chunk["usage"] = json!(usage);
        event(&chunk)
    }

    /// The end of a stream that failed.
    #[must_use]
    pub fn error(&self, error: &ApiError) -> String {
        error_event(error)
    }

    fn chunk(&self, delta: Value, reason: Option<FinishReason>) -> String {
        let reason = reason.map(finish_reason);
        event(&self.frame(json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": reason }])))
    }

    fn frame(&self, choices: Value) -> Value {
        let mut frame = json!({
            "id": format!("chatcmpl-{}", self.id),
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.system_fingerprint,
            "choices": choices,
        });
        if self.include_usage {
            frame["usage"] = Value::Null;
        }
        frame
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
        self.chunk(text, None)
    }

    /// Why the answer ended.
    #[must_use]
    pub fn last(&self, reason: FinishReason) -> String {
        self.chunk("", Some(reason))
    }

    /// The usage, where it was asked for; else nothing.
    #[must_use]
    pub fn usage(&self, usage: Usage) -> String {
        if !self.include_usage {
            return String::new();
        }
        let mut chunk = self.frame(json!([]));
        chunk["usage"] = json!(usage);
        event(&chunk)
    }

    /// The end of a stream that failed.
    #[must_use]
    pub fn error(&self, error: &ApiError) -> String {
        error_event(error)
    }

    fn chunk(&self, text: &str, reason: Option<FinishReason>) -> String {
        let reason = reason.map(finish_reason);
        event(&self.frame(json!([{ "index": 0, "text": text, "logprobs": null, "finish_reason": reason }])))
    }

    fn frame(&self, choices: Value) -> Value {
        let mut frame = json!({
            "id": format!("cmpl-{}", self.id),
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.system_fingerprint,
            "choices": choices,
        });
        if self.include_usage {
            frame["usage"] = Value::Null;
        }
        frame
    }
}
