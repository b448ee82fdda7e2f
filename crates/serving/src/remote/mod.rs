//! The backend that forwards requests to another server, which speaks vLLM's dialect of OpenAI's
//! API.
//!
//! # Place in the flow
//!
//! For servers with GPUs. Requests, names and hashes are ours; the peer gets token ids and an
//! adapter name made from the adapter's content hash, so that nothing it caches by name is ever
//! stale.
//!
//! # Invariants
//!
//! - **Declared.** [`crate::Capabilities::deterministic`] is false and the numeric mode is
//!   [`REMOTE_MODE`]: such answers are checked by tolerance, never by bytes.
//! - **Retries before the first token only.** Tokens that a reader has seen are never generated
//!   again.
//! - **No fallback.** An adapter that is not registered here is not found, even if the peer knows
//!   it.
//! - **Residency is the peer's.** An adapter is loaded there at its first use, and again when the
//!   peer says it has lost it.
//! - **Cancellation hangs up.** The connection of a cancelled request is cut at once, whatever the
//!   peer is doing.
//! - **Bounded.** The peer has at most [`PeerSetup::running`] requests at once; the next is refused
//!   with a time to retry.
//!
//! Not here: TLS, and what the peer's tokens cost.

mod incoming;
mod residency;
mod setup;
mod shared;
mod wire;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use openledger_engine::{Lora, Tokenizer};
use openledger_protocol::{AdapterHash, B256};
use serde_json::{Value, json};

use crate::answer::{Answer, TokenEvent, TokenLogprob};
use crate::backend::{Backend, Capabilities, LoadAdapter, Served};
use crate::error::ServeError;
use crate::events::{Event, Events, Started, events};
use crate::metrics::{Metrics, machine_clock};
use crate::names::check_adapter_name;
use crate::request::{CompletionRequest, Prompt, RequestOptions};
use incoming::{Incoming, peer_logprob};
use residency::{Residency, peer_name};
pub use setup::{PeerSetup, RemoteSetup, Secret};
pub use shared::REMOTE_MODE;
use shared::{Shared, count, failed, not_found};
use wire::{Line, Peer};

/// A server of vLLM's dialect as a backend. Clones share everything.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

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

    /// Asks the peer whether it serves the base that it is named for, with this tokenizer: what can
    /// be known before the first request.
    ///
    /// # Errors
    /// [`ServeError::Remote`] when it cannot be reached, serves no such model or cuts text into
    /// other tokens.
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
            let tokens = response.json().map_err(failed)?;
            let ids = tokens["tokens"].as_array().map(|ids| ids.iter().filter_map(Value::as_u64).collect::<Vec<u64>>());
            let own: Vec<u64> = shared.tokenizer.encode(text, false).into_iter().map(u64::from).collect();
            if ids.as_ref() != Some(&own) {
                return Err(failed(format!("`{wanted}` cuts text into other tokens there: it is another base")));
            }
        }
        Ok(())
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The counters as a Prometheus exposition.
    #[must_use]
    pub fn prometheus(&self) -> String {
        self.0.metrics.prometheus(&|_| None)
    }
}

impl Shared {
    /// Runs one request to its end.
    fn run(
        &self,
        request: &CompletionRequest,
        options: &RequestOptions,
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
        let mut wanted = incoming::body(request, options, &prompt_ids);
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
        // A reader that left has cut the connection, so the last read from the peer may be cut off.
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
        let mut events = self.generate(request.clone(), RequestOptions::default())?;
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

    fn generate(&self, request: CompletionRequest, options: RequestOptions) -> Result<Events, ServeError> {
        if options.constraint.is_some() {
            let reason = "cannot be enforced by the server that answers; leave it out".to_owned();
            return Err(ServeError::BadRequest { param: "response_format", reason });
        }
        options.decoding.check(self.0.setup.config.vocab)?;
        let adapter = self.0.resolve(&request.model)?;
        let hash = adapter.unwrap_or(AdapterHash(B256::ZERO));
        let (_, prompt_ids) = self.0.ids(&request.prompt)?;
        let place = self.0.place().inspect_err(|_| self.0.metrics.refused(&options.tenant, hash))?;
        let line = Arc::new(Line::default());
        let (sender, receiver) = events(Arc::new({
            let line = Arc::clone(&line);
            move || line.cut()
        }));
        std::thread::spawn(move || {
            let shared = &place.0;
            let arrived = Instant::now();
            let mut incoming = Incoming::new(&request, &options, &prompt_ids, shared, &sender, arrived);
            let answer = shared.run(&request, &options, adapter, &line, &mut incoming);
            incoming.note(&options.tenant, hash, answer.as_ref().ok());
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

    /// Registers a folder. The hash of a folder here is computed; a path that only the peer has
    /// needs the expected hash.
    fn load_adapter(&self, adapter: &LoadAdapter) -> Result<AdapterHash, ServeError> {
        adapter.name.iter().try_for_each(|name| check_adapter_name(name, &self.0.setup.base_name))?;
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
            let body = json!({ "lora_name": peer_name(hash) });
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
        let logprobs = self.prompt_logprobs(model, ids, 0)?;
        Ok(logprobs.into_iter().skip(1).flatten().map(|token| token.logprob).collect())
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
        let scored_at = |(at, id): (usize, &u32)| {
            columns["token_logprobs"][at].as_f64()?;
            Some(peer_logprob(&self.0.tokenizer, *id, columns, at))
        };
        let scored: Option<Vec<TokenLogprob>> = ids.iter().enumerate().skip(1).map(scored_at).collect();
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
