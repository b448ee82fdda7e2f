//! Answers as server-sent events: how the pieces of an answer become chunks, and how chunks become
//! a response.
//!
//! **Invariant:** what a chunk shows is never taken back: text comes when it is certain, tokens'
//! likelihoods with the text that they made certain. After headers an error is one event, and the
//! stream ends without `[DONE]`.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt};
use openledger_api::openai::Usage;
use openledger_protocol::{Completion, FinishReason};
use openledger_serving::TokenLogprob;

use crate::openai::{ApiError, ChatStream, CompletionsStream, PING, chat_logprobs, columns};

/// How long a stream is silent before it shows that it lives.
const SILENCE: Duration = Duration::from_secs(15);

/// How the chunks of one kind of answer are written.
pub(crate) trait Chunks: Send + Sync + 'static {
    /// Whether pieces tell of tokens, so that one without text is worth writing.
    fn tells_tokens(&self) -> bool;
    /// What the answer numbered `index` begins with.
    fn first(&self, index: u32) -> String;
    /// A piece; `at` is the place of the piece in the answer, in characters.
    fn piece(&self, index: u32, text: &str, tokens: &[TokenLogprob], at: usize) -> String;
    /// Why the answer numbered `index` ended.
    fn last(&self, index: u32, reason: FinishReason) -> String;
    /// What all answers used, where that was asked for.
    fn usage(&self, usage: Usage) -> String;
    /// The end of a stream that failed.
    fn error(&self, error: &ApiError) -> String;
}

/// A chat's chunks, with how likely tokens were if asked.
pub(crate) struct Chat(pub(crate) ChatStream, pub(crate) bool);

/// The chunks of `/v1/completions`, with how likely tokens were and with their ids if asked.
pub(crate) struct Text(pub(crate) CompletionsStream, pub(crate) bool, pub(crate) bool);

impl Chunks for Chat {
    fn tells_tokens(&self) -> bool {
        self.1
    }

    fn first(&self, index: u32) -> String {
        self.0.first_of(index)
    }

    fn piece(&self, index: u32, text: &str, tokens: &[TokenLogprob], _: usize) -> String {
        self.0.delta_of(index, text, self.1.then(|| chat_logprobs(tokens)))
    }

    fn last(&self, index: u32, reason: FinishReason) -> String {
        self.0.last_of(index, reason)
    }

    fn usage(&self, usage: Usage) -> String {
        self.0.usage(usage)
    }

    fn error(&self, error: &ApiError) -> String {
        self.0.error(error)
    }
}

impl Chunks for Text {
    fn tells_tokens(&self) -> bool {
        self.1 || self.2
    }

    fn first(&self, _: u32) -> String {
        String::new()
    }

    fn piece(&self, index: u32, text: &str, tokens: &[TokenLogprob], at: usize) -> String {
        let columns = self.1.then(|| columns(tokens, at));
        let ids: Option<Vec<u32>> = self.2.then(|| tokens.iter().map(|token| token.id).collect());
        self.0.delta_of(index, text, columns, ids)
    }

    fn last(&self, index: u32, reason: FinishReason) -> String {
        self.0.last_of(index, reason)
    }

    fn usage(&self, usage: Usage) -> String {
        self.0.usage(usage)
    }

    fn error(&self, error: &ApiError) -> String {
        self.0.error(error)
    }
}

/// One answer, as far as it was written.
#[derive(Default)]
pub(crate) struct Written {
    index: u32,
    bytes: usize,
    chars: usize,
    /// Tokens whose text is not written yet.
    held: Vec<TokenLogprob>,
}

impl Written {
    /// The answer numbered `index`, of which nothing is written yet.
    pub(crate) fn new(index: u32) -> Self {
        Self { index, ..Self::default() }
    }

    /// The chunk of a token, with the text that it made certain; nothing if it made none.
    pub(crate) fn token(&mut self, chunks: &dyn Chunks, text: &str, logprob: Option<TokenLogprob>) -> String {
        self.held.extend(logprob);
        if text.is_empty() { String::new() } else { self.piece(chunks, text) }
    }

    /// The text that was held back, because a stop text might have begun, and why the answer ended.
    pub(crate) fn end(&mut self, chunks: &dyn Chunks, completion: &Completion) -> String {
        let rest = completion.text.get(self.bytes..).unwrap_or_default();
        let more = !rest.is_empty() || (chunks.tells_tokens() && !self.held.is_empty());
        let piece = if more { self.piece(chunks, rest) } else { String::new() };
        piece + &chunks.last(self.index, completion.finish_reason)
    }

    fn piece(&mut self, chunks: &dyn Chunks, text: &str) -> String {
        let (held, at) = (std::mem::take(&mut self.held), self.chars);
        self.bytes += text.len();
        self.chars += text.chars().count();
        chunks.piece(self.index, text, &held, at)
    }
}

/// The response of `events`, which are whole server-sent events; a silent stream shows that it
/// lives.
pub(crate) fn respond(events: impl Stream<Item = String> + Send + 'static) -> Response {
    let body = stream::unfold(Box::pin(events), |mut events| async move {
        let bytes = match tokio::time::timeout(SILENCE, events.next()).await {
            Err(_) => PING.to_owned(),
            Ok(next) => next?,
        };
        Some((Ok::<_, Infallible>(Bytes::from(bytes)), events))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(body)).into_response()
}
