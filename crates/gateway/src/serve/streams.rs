//! The answers of one request as a stream, several at once where `n` or several prompts ask for it.

use axum::response::Response;
use futures::stream::{self, SelectAll, Stream, StreamExt};
use openledger_api::openai::Usage;
use openledger_serving::{Event, Events, ServeError, Started};

use crate::openai::{ApiError, DONE};
use crate::stream::{Chunks, Written, respond};

/// The stream of `runs`, `n` to each prompt; `first` is how the first of them began.
pub(super) fn answers(runs: Vec<Events>, first: &Started, chunks: impl Chunks, n: usize) -> Response {
    let streaming = Streaming::new(runs, first, chunks, n);
    respond(stream::unfold(streaming, |mut streaming| async move { Some((streaming.next().await?, streaming)) }))
}

/// One answer, as far as it came.
struct Part {
    written: Written,
    cached: u32,
    /// What it used, once it is whole.
    usage: Option<Usage>,
}

type Tagged = std::pin::Pin<Box<dyn Stream<Item = (usize, Event)> + Send>>;

struct Streaming<C> {
    runs: SelectAll<Tagged>,
    chunks: C,
    n: usize,
    parts: Vec<Part>,
    /// What the response begins with, before any event.
    opening: Option<String>,
    ended: bool,
}

impl<C: Chunks> Streaming<C> {
    fn new(runs: Vec<Events>, first: &Started, chunks: C, n: usize) -> Self {
        let part = |(index, _)| Part { written: Written::new(index), cached: 0, usage: None };
        let mut parts: Vec<Part> = (0u32..).zip(&runs).map(part).collect();
        if let Some(one) = parts.first_mut() {
            one.cached = first.cached_tokens;
        }
        let opening = (0u32..).take(runs.len()).map(|index| chunks.first(index)).collect();
        let tagged = runs.into_iter().enumerate().map(|(at, run)| -> Tagged {
            let events = stream::unfold(run, move |mut run| async move { Some(((at, run.recv().await?), run)) });
            Box::pin(events)
        });
        let runs = stream::select_all(tagged);
        Self { runs, chunks, n, parts, opening: Some(opening), ended: false }
    }

    /// The events that come next; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if let Some(opening) = self.opening.take().filter(|opening| !opening.is_empty()) {
            return Some(opening);
        }
        while !self.ended {
            let bytes = match self.runs.next().await {
                Some((at, event)) => self.on(at, event),
                None => {
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
        let Some(part) = self.parts.get_mut(at) else { return String::new() };
        match event {
            Event::Started(started) => {
                part.cached = started.cached_tokens;
                String::new()
            }
            Event::Token(token) => part.written.token(&self.chunks, &token.text, Some(token.logprob)),
            Event::Finished(answer) => {
                part.usage = Some(Usage::from(answer.completion.usage).cached(part.cached));
                part.written.end(&self.chunks, &answer.completion)
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
        for (at, part) in self.parts.iter().enumerate() {
            let usage = part.usage?;
            sum = Some(sum.map_or(usage, |sum| sum.and(usage, at % self.n != 0)));
        }
        sum
    }
}
