//! The backend that lets another server compute: one that speaks vLLM's dialect of OpenAI's API.
//!
//! # Place in the flow
//!
//! Where there are GPUs. Requests, names and hashes are ours; the peer gets token ids and an adapter name made from the
//! adapter's content hash, so that nothing it caches by name is ever stale.
//!
//! # Invariants
//!
//! - **Declared.** [`crate::Capabilities::deterministic`] is false and the numeric mode is [`REMOTE_MODE`]: such answers are
//!   checked by tolerance, never by bytes.
//! - **Retries before the first token only.** What a reader has seen is never made anew.
//! - **No fallback.** An adapter that is not registered here is not found, whatever the peer would answer.
//! - **Residency is the peer's.** An adapter is loaded there at its first use, and again when the peer says it has lost it.
//! - **A reader that leaves hangs up.** The connection of its request is cut at once, whatever the peer is doing.
//! - **Bounded.** At most [`PeerSetup::running`] requests are with the peer; the next is refused with a time to come back.
//!
//! Not here: TLS, and what the peer's tokens cost.

mod incoming;
mod residency;
mod setup;
mod wire;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use openledger_engine::{Lora, Tokenizer};
use openledger_protocol::{AdapterHash, B256};
use serde_json::{Value, json};

use crate::backend::{
    Answer, Asked, Backend, Capabilities, CompletionRequest, LoadAdapter, Prompt, Served, TokenEvent, TokenLogprob,
};
use crate::error::ServeError;
use crate::events::{Event, Events, Started, events};
use crate::metrics::{Metrics, machine_clock};
use incoming::{Incoming, told_logprob};
use residency::{Failure, Residency};
pub use setup::{PeerSetup, RemoteSetup, Secret};
use wire::{Line, Peer};

/// The numeric mode of answers that another server made.
pub const REMOTE_MODE: &str = "remote";

/// A server of vLLM's dialect as a backend. Clones share everything.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    setup: RemoteSetup,
    peer: Peer,
    tokenizer: Arc<Tokenizer>,
    /// Waits between tries; tests hand in one that does not wait.
    pause: fn(Duration),
    adapters: Residency,
    metrics: Arc<Metrics>,
    running: AtomicUsize,
}

/// A place among the requests that are with the peer.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.set_load(before.saturating_sub(1), 0);
    }
}

impl Remote {
    /// The backend behind `setup`, whose base has this tokenizer.
    ///
    /// # Errors
    /// [`ServeError::Remote`] when the address is none.
    pub fn new(setup: RemoteSetup, tokenizer: Arc<Tokenizer>) -> Result<Self, ServeError> {
        Self::with_pause(setup, tokenizer, std::thread::sleep)
    }

    /// As [`Remote::new`], waiting between tries by `pause`.
    ///
    /// # Errors
    /// As [`Remote::new`].
    pub fn with_pause(setup: RemoteSetup, tokenizer: Arc<Tokenizer>, pause: fn(Duration)) -> Result<Self, ServeError> {
        let peer = Peer::parse(&setup.peer).map_err(failed)?;
        let metrics = Metrics::new(machine_clock());
        let adapters = Residency::default();
        let running = AtomicUsize::new(0);
        Ok(Self(Arc::new(Shared { setup, peer, tokenizer, pause, adapters, metrics, running })))
    }

    /// Asks the peer whether it serves the base that it is named for, with this tokenizer: what can be known before the
    /// first request.
    ///
    /// # Errors
    /// [`ServeError::Remote`] when it cannot be reached, serves no such model or cuts text into other tokens.
    pub fn check(&self) -> Result<(), ServeError> {
        let shared = &self.0;
        let wanted = &shared.setup.peer.model;
        let list = shared.peer.get("/v1/models").and_then(wire::Response::json).map_err(failed)?;
        let entries = list["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names: Vec<&str> = entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
        if !names.contains(&wanted.as_str()) {
            return Err(failed(format!("it serves {names:?} and no `{wanted}`")));
        }
        let text = "two feet \u{6c34} \u{1f30a} 3.14";
        let asked = json!({ "model": wanted, "prompt": text, "add_special_tokens": false });
        let response = shared.peer.post("/tokenize", &asked, None).map_err(failed)?;
        // Servers without that endpoint are taken at their word.
        if response.status == 200 {
            let told = response.json().map_err(failed)?;
            let ids = told["tokens"].as_array().map(|ids| ids.iter().filter_map(Value::as_u64).collect::<Vec<u64>>());
            let own: Vec<u64> = shared.tokenizer.encode(text, false).into_iter().map(u64::from).collect();
            if ids.as_ref() != Some(&own) {
                return Err(failed(format!("`{wanted}` cuts text into other tokens there: it is another base")));
            }
        }
        Ok(())
    }

    /// What was counted so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The counts in the text form that Prometheus reads.
    #[must_use]
    pub fn prometheus(&self) -> String {
        self.0.metrics.prometheus(&|_| None)
    }
}

fn failed(reason: impl ToString) -> ServeError {
    ServeError::Remote { reason: reason.to_string() }
}

fn not_found(model: &str) -> ServeError {
    ServeError::NotFound { model: model.to_owned() }
}

/// The start of what a peer said.
fn brief(text: &str) -> String {
    text.chars().take(200).collect()
}

fn count(ids: &[u32]) -> u32 {
    u32::try_from(ids.len()).unwrap_or(u32::MAX)
}

impl Shared {
    /// The prompt's text and ids, fit to be run.
    fn ids(&self, prompt: &Prompt) -> Result<(String, Vec<u32>), ServeError> {
        let (text, ids) = match prompt {
            Prompt::Text(text) => (text.clone(), self.tokenizer.encode(text, true)),
            Prompt::Ids(ids) => (self.tokenizer.decode(ids), ids.clone()),
        };
        if ids.is_empty() {
            return Err(ServeError::BadRequest { param: "prompt", reason: "is empty".into() });
        }
        let limit = self.setup.config.max_positions;
        if ids.len() >= limit {
            return Err(ServeError::PromptTooLong { tokens: ids.len(), limit });
        }
        Ok((text, ids))
    }

    /// Posts and gives the body of a success.
    fn ask(&self, path: &str, body: &Value, line: Option<&Line>) -> Result<wire::Response, Failure> {
        let response = self.peer.post(path, body, line).map_err(|error| Failure::Passing(error.to_string(), None))?;
        match response.status {
            200 => Ok(response),
            404 => Err(Failure::Lost),
            429 | 500.. => {
                Err(Failure::Passing(format!("the peer answered {}", response.status), response.retry_after))
            }
            status => {
                let told = brief(&response.text().unwrap_or_default());
                Err(Failure::Final(match status {
                    400 | 413 | 422 => {
                        let reason = format!("was refused by the server that answers: {told}");
                        ServeError::BadRequest { param: "request", reason }
                    }
                    _ => failed(format!("the peer refused the request: {status} {told}")),
                }))
            }
        }
    }

    fn json(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let told = self.ask(path, body, None)?;
        let text = told.text().map_err(|error| Failure::Passing(error.to_string(), None))?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::Final(failed(format!("the peer's answer is no JSON: {error}"))))
    }

    /// A place with the peer for one more request.
    fn place(self: &Arc<Self>) -> Result<Place, ServeError> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        if before >= self.setup.peer.running {
            return Err(ServeError::Overloaded { waiting: before, retry_after: 1 });
        }
        self.metrics.set_load(before + 1, 0);
        Ok(place)
    }

    /// Runs one request to its end.
    fn run(
        &self,
        request: &CompletionRequest,
        asked: &Asked,
        adapter: Option<AdapterHash>,
        line: &Line,
        incoming: &mut Incoming<'_>,
    ) -> Result<Answer, ServeError> {
        let (prompt, prompt_ids) = self.ids(&request.prompt)?;
        let hash = adapter.unwrap_or(AdapterHash(B256::ZERO));
        if request.sampling.max_tokens == 0 {
            // Other servers have no answer of no tokens; it needs none of theirs.
            incoming.send(Event::Started(Started {
                adapter: hash,
                prompt_tokens: count(&prompt_ids),
                cached_tokens: 0,
            }));
            incoming.end_empty();
            return incoming.answer(request, &self.setup, hash, prompt, prompt_ids);
        }
        let mut wanted = incoming::body(request, asked, &prompt_ids);
        let answered = self.with_retries(
            adapter,
            || incoming.is_wanted(),
            |model| {
                wanted["model"] = model.into();
                self.ask("/v1/completions", &wanted, Some(line))
            },
        );
        let read = match answered {
            Ok(response) => {
                let started = Started { adapter: hash, prompt_tokens: count(&prompt_ids), cached_tokens: 0 };
                incoming.send(Event::Started(started));
                response
                    .events(|data| incoming.on_chunk(data))
                    .map_err(|e| failed(format!("the stream broke off: {e}")))
            }
            Err(error) => Err(error),
        };
        // Who leaves cuts the connection, so that what the peer said last means nothing.
        if !incoming.is_cancelled() {
            read?;
        }
        incoming.answer(request, &self.setup, hash, prompt, prompt_ids)
    }
}

impl Backend for Remote {
    fn complete(
        &self,
        request: &CompletionRequest,
        on_token: &mut dyn FnMut(TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Answer, ServeError> {
        let mut events = self.generate(request.clone(), Asked::default())?;
        while let Some(event) = events.next() {
            match event {
                Event::Started(_) => {}
                Event::Token(token) => {
                    if on_token(TokenEvent { id: token.id, text: &token.text }).is_break() {
                        events.cancel();
                    }
                }
                Event::Finished(answer) => return Ok(*answer),
                Event::Failed(error) => return Err(error),
            }
        }
        Err(ServeError::Stopped)
    }

    fn generate(&self, request: CompletionRequest, asked: Asked) -> Result<Events, ServeError> {
        if asked.constraint.is_some() {
            let reason = "cannot be enforced by the server that answers; leave it out".to_owned();
            return Err(ServeError::BadRequest { param: "response_format", reason });
        }
        let adapter = self.0.resolve(&request.model)?;
        let hash = adapter.unwrap_or(AdapterHash(B256::ZERO));
        self.0.ids(&request.prompt)?;
        let place = self.0.place().inspect_err(|_| self.0.metrics.refused(&asked.tenant, hash))?;
        let line = Arc::new(Line::default());
        let (sender, receiver) = events(Arc::new({
            let line = Arc::clone(&line);
            move || line.cut()
        }));
        std::thread::spawn(move || {
            let shared = &place.0;
            let arrived = Instant::now();
            let mut incoming = Incoming::new(&request, &asked, shared, &sender, arrived);
            let answer = shared.run(&request, &asked, adapter, &line, &mut incoming);
            incoming.note(&asked.tenant, hash, answer.as_ref().ok());
            drop(incoming);
            sender.send(answer.map_or_else(Event::Failed, |answer| Event::Finished(Box::new(answer))));
        });
        Ok(receiver)
    }

    fn served(&self) -> Vec<Served> {
        let name = self.0.setup.base_name.clone();
        let base = Served { name, adapter: None, generation: 0, resident: true };
        std::iter::once(base).chain(self.0.adapters.served()).collect()
    }

    /// Registers a folder. Where it lies here its hash is computed; a path that only the peer knows needs the hash that
    /// the caller expects.
    fn load_adapter(&self, adapter: &LoadAdapter) -> Result<AdapterHash, ServeError> {
        let (path, expected) = (&adapter.path, adapter.expected);
        let hash = if path.is_dir() {
            let found = AdapterHash(B256::from(Lora::read_peft(path, &self.0.setup.config)?.hash()));
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                return Err(ServeError::Changed { path: path.clone(), expected, found });
            }
            found
        } else {
            expected.ok_or_else(|| {
                let reason = "must be given: the files lie at the server that answers".to_owned();
                ServeError::BadRequest { param: "adapter_hash", reason }
            })?
        };
        self.0.adapters.register(hash, self.0.setup.peer.path_there(path), adapter.name.as_deref());
        Ok(hash)
    }

    fn unload_adapter(&self, model: &str) -> Result<AdapterHash, ServeError> {
        let hash = self.0.resolve(model)?.ok_or_else(|| not_found(model))?;
        if self.0.adapters.forget(hash) {
            // Here it is forgotten in any case; a peer that keeps it only keeps memory.
            let body = json!({ "lora_name": residency::peer_name(hash) });
            if let Err(error) = self.0.peer.post("/v1/unload_lora_adapter", &body, None) {
                tracing::warn!(%error, adapter = %hash, "the peer was not told to unload");
            }
        }
        Ok(hash)
    }

    fn embed(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError> {
        let adapter = self.0.resolve(model)?;
        let answer = self.0.with_retries(
            adapter,
            || true,
            |model| self.0.json("/v1/embeddings", &json!({ "model": model, "input": ids, "encoding_format": "float" })),
        )?;
        let numbers = answer["data"][0]["embedding"].as_array();
        let numbers: Option<Vec<f32>> =
            numbers.and_then(|numbers| numbers.iter().map(|n| n.as_f64().map(|n| n as f32)).collect());
        numbers.ok_or_else(|| failed("the peer's answer holds no embedding"))
    }

    fn score(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError> {
        let told = self.prompt_logprobs(model, ids, 0)?;
        Ok(told.into_iter().skip(1).flatten().map(|token| token.logprob).collect())
    }

    fn prompt_logprobs(&self, model: &str, ids: &[u32], top: usize) -> Result<Vec<Option<TokenLogprob>>, ServeError> {
        let adapter = self.0.resolve(model)?;
        self.0.ids(&Prompt::Ids(ids.to_vec()))?;
        let answer = self.0.with_retries(
            adapter,
            || true,
            |model| {
                let asked = json!({ "model": model, "prompt": ids, "max_tokens": 1, "echo": true, "logprobs": top });
                self.0.json("/v1/completions", &asked)
            },
        )?;
        let columns = &answer["choices"][0]["logprobs"];
        let told = |(at, id): (usize, &u32)| {
            columns["token_logprobs"][at].as_f64()?;
            Some(told_logprob(&self.0.tokenizer, *id, columns, at))
        };
        let scored: Option<Vec<TokenLogprob>> = ids.iter().enumerate().skip(1).map(told).collect();
        let scored = scored.ok_or_else(|| failed("the peer's answer does not score the prompt"))?;
        Ok(std::iter::once(None).chain(scored.into_iter().map(Some)).collect())
    }

    fn takes_formats(&self) -> bool {
        true
    }

    fn capabilities(&self) -> Capabilities {
        let setup = &self.0.setup;
        Capabilities {
            deterministic: false,
            numeric_mode: REMOTE_MODE,
            base: setup.base,
            base_name: setup.base_name.clone(),
            max_tokens: setup.config.max_positions,
            vocab: setup.config.vocab,
        }
    }
}
