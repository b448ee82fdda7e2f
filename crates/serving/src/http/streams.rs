//! Answers as server-sent events, several at once where `n` or several prompts ask for it.
//!
//! **Invariant:** what a chunk shows is never taken back: text comes when it is certain, tokens' likelihoods with the text
//! that they made certain. After headers an error is one event, and the stream ends without `[DONE]`.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, SelectAll, Stream, StreamExt};
use openledger_protocol::FinishReason;

use crate::backend::TokenLogprob;
use crate::error::ServeError;
use crate::events::{Event, Events, Started};
use crate::openai::{ApiError, ChatLogprobs, ChatStream, CompletionsLogprobs, CompletionsStream, DONE, PING, Usage};

/// How long a stream is silent before it shows that it lives.
const SILENCE: Duration = Duration::from_secs(15);

/// How the chunks of one kind of answer are written.
trait Chunks: Send + 'static {
    /// Whether pieces tell of tokens, so that one without text is worth writing.
    fn tells_tokens(&self) -> bool;
    fn first(&self, index: u32) -> String;
    /// `at` is the place of the piece in the answer, in characters.
    fn piece(&self, index: u32, text: &str, tokens: &[TokenLogprob], at: usize) -> String;
    fn last(&self, index: u32, reason: FinishReason) -> String;
    fn usage(&self, usage: Usage) -> String;
    fn error(&self, error: &ApiError) -> String;
}

/// A chat's chunks, with how likely tokens were if asked.
struct Chat(ChatStream, bool);

/// The chunks of `/v1/completions`, with how likely tokens were and with their ids if asked.
struct Text(CompletionsStream, bool, bool);

impl Chunks for Chat {
    fn tells_tokens(&self) -> bool {
        self.1
    }

    fn first(&self, index: u32) -> String {
        self.0.first_of(index)
    }

    fn piece(&self, index: u32, text: &str, tokens: &[TokenLogprob], _: usize) -> String {
        self.0.delta_of(index, text, self.1.then(|| ChatLogprobs::new(tokens)).as_ref())
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
        let columns = self.1.then(|| CompletionsLogprobs::of_tokens(tokens, at));
        let ids: Option<Vec<u32>> = self.2.then(|| tokens.iter().map(|token| token.id).collect());
        self.0.delta_of(index, text, columns.as_ref(), ids.as_deref())
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

/// A chat's answers, which all have one prompt.
pub(super) fn chat(runs: Vec<Events>, first: Started, chunks: ChatStream, logprobs: bool) -> Response {
    let n = runs.len();
    respond(Streaming::new(runs, first, Chat(chunks, logprobs), n))
}

/// Answers of `/v1/completions`, `n` to each prompt.
pub(super) fn completions(
    runs: Vec<Events>,
    first: Started,
    chunks: CompletionsStream,
    (logprobs, ids): (bool, bool),
    n: usize,
) -> Response {
    respond(Streaming::new(runs, first, Text(chunks, logprobs, ids), n))
}

/// One answer, as far as it was shown.
#[derive(Default)]
struct Shown {
    bytes: usize,
    chars: usize,
    /// Tokens whose text is not shown yet.
    held: Vec<TokenLogprob>,
    cached: u32,
    /// What it used, once it is whole.
    usage: Option<Usage>,
}

type Tagged = std::pin::Pin<Box<dyn Stream<Item = (usize, Event)> + Send>>;

struct Streaming<C> {
    runs: SelectAll<Tagged>,
    chunks: C,
    n: usize,
    shown: Vec<Shown>,
    /// What the response begins with, before any event.
    opening: Option<String>,
    ended: bool,
}

impl<C: Chunks> Streaming<C> {
    fn new(runs: Vec<Events>, first: Started, chunks: C, n: usize) -> Self {
        let mut shown: Vec<Shown> = runs.iter().map(|_| Shown::default()).collect();
        if let Some(one) = shown.first_mut() {
            one.cached = first.cached_tokens;
        }
        let opening = (0u32..).take(runs.len()).map(|index| chunks.first(index)).collect();
        let tagged = runs.into_iter().enumerate().map(|(at, run)| -> Tagged {
            let events = stream::unfold(run, move |mut run| async move { Some(((at, run.recv().await?), run)) });
            Box::pin(events)
        });
        let runs = stream::select_all(tagged);
        Self { runs, chunks, n, shown, opening: Some(opening), ended: false }
    }

    /// The bytes that come next; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if let Some(opening) = self.opening.take().filter(|opening| !opening.is_empty()) {
            return Some(opening);
        }
        while !self.ended {
            let bytes = match tokio::time::timeout(SILENCE, self.runs.next()).await {
                Err(_) => return Some(PING.to_owned()),
                Ok(Some((at, event))) => self.on(at, event),
                Ok(None) => {
                    self.ended = true;
                    match self.usage() {
                        Some(usage) => self.chunks.usage(usage) + DONE,
                        None => self.chunks.error(&ApiError::from(&ServeError::Stopped)),
                    }
                }
            };
            if !bytes.is_empty() {
                return Some(bytes);
            }
        }
        None
    }

    /// What an event of the answer numbered `at` shows.
    fn on(&mut self, at: usize, event: Event) -> String {
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        let Some(shown) = self.shown.get_mut(at) else { return String::new() };
        match event {
            Event::Started(started) => {
                shown.cached = started.cached_tokens;
                String::new()
            }
            Event::Token(token) => {
                shown.held.push(token.logprob);
                if token.text.is_empty() { String::new() } else { self.piece(index, at, &token.text) }
            }
            Event::Finished(answer) => {
                let completion = &answer.completion;
                let rest = completion.text.get(shown.bytes..).unwrap_or_default().to_owned();
                let more = !rest.is_empty() || (self.chunks.tells_tokens() && !shown.held.is_empty());
                let usage = Usage::from(completion.usage).cached(shown.cached);
                shown.usage = Some(usage);
                let piece = if more { self.piece(index, at, &rest) } else { String::new() };
                piece + &self.chunks.last(index, completion.finish_reason)
            }
            Event::Failed(error) => {
                self.ended = true;
                self.chunks.error(&ApiError::from(&error))
            }
        }
    }

    /// What all answers used together, once all are whole.
    fn usage(&self) -> Option<Usage> {
        let mut sum: Option<Usage> = None;
        for (at, shown) in self.shown.iter().enumerate() {
            let usage = shown.usage?;
            sum = Some(sum.map_or(usage, |sum| sum.and(usage, at % self.n != 0)));
        }
        sum
    }

    fn piece(&mut self, index: u32, at: usize, text: &str) -> String {
        let Some(shown) = self.shown.get_mut(at) else { return String::new() };
        let held = std::mem::take(&mut shown.held);
        let place = shown.chars;
        shown.bytes += text.len();
        shown.chars += text.chars().count();
        self.chunks.piece(index, text, &held, place)
    }
}

fn respond<C: Chunks>(streaming: Streaming<C>) -> Response {
    let body = stream::unfold(streaming, |mut streaming| async move {
        let bytes = streaming.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(bytes)), streaming))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(body)).into_response()
}
