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
//!
//! Not here: TLS, and what the peer's tokens cost.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openledger_engine::Tokenizer;
use openledger_protocol::{AdapterHash, B256, BaseHash, Completion, FinishReason, Usage};
use serde_json::{Value, json};

use crate::backend::{
    Answer, Asked, Backend, Capabilities, CompletionRequest, Decoding, LoadAdapter, Prompt, Served, TokenEvent,
    TokenLogprob,
};
use crate::decode::{Writer, render};
use crate::error::ServeError;
use crate::events::{Event, Events, Sender, Started, Token, events};
use wire::Peer;

/// The numeric mode of answers that another server made.
pub const REMOTE_MODE: &str = "remote";
/// How often a request is sent that has shown no token yet.
const TRIES: u32 = 4;
/// The longest wait between two tries.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a [`Remote`] is made of.
#[derive(Debug, Clone)]
pub struct RemoteSetup {
    /// Where the peer listens: `http://host:port`.
    pub url: String,
    /// Its key, where it wants one.
    pub key: Option<String>,
    /// The base's name here.
    pub base_name: String,
    /// The base's name there.
    pub peer_base: String,
    /// The base's hash, which the operator vouches for.
    pub base: BaseHash,
    /// Largest number of tokens of prompt and answer together.
    pub max_tokens: usize,
    /// Number of token ids.
    pub vocab: usize,
    /// How long the peer may say nothing.
    pub silence: Duration,
}

/// A server of vLLM's dialect as a backend.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    setup: RemoteSetup,
    peer: Peer,
    tokenizer: Arc<Tokenizer>,
    /// Waits between tries; tests hand in one that does not wait.
    pause: fn(Duration),
    adapters: Mutex<Adapters>,
}

#[derive(Default)]
struct Adapters {
    names: BTreeMap<String, (AdapterHash, u64)>,
    paths: BTreeMap<AdapterHash, PathBuf>,
    /// Those that the peer was told to load.
    resident: BTreeSet<AdapterHash>,
}

/// Why a try failed.
enum Failure {
    /// Another try may succeed, after so many seconds if the peer said so.
    Passing(String, Option<u64>),
    /// The peer does not know the adapter.
    Lost,
    /// It will not.
    Final(ServeError),
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
        let peer = Peer::parse(&setup.url, setup.key.clone(), setup.silence).map_err(failed)?;
        Ok(Self(Arc::new(Shared { setup, peer, tokenizer, pause, adapters: Mutex::default() })))
    }
}

fn failed(reason: impl ToString) -> ServeError {
    ServeError::Remote { reason: reason.to_string() }
}

fn not_found(model: &str) -> ServeError {
    ServeError::NotFound { model: model.to_owned() }
}

/// The adapter's name at the peer.
fn peer_name(adapter: AdapterHash) -> String {
    format!("openledger-{}", &adapter.to_string()[2..])
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Adapters> {
        self.adapters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `model` names; `None` is the base.
    fn resolve(&self, model: &str) -> Result<Option<AdapterHash>, ServeError> {
        let base = &self.setup.base_name;
        if model == base {
            return Ok(None);
        }
        let adapters = self.lock();
        if let Some(hex) = model.strip_prefix("sha256:").or_else(|| model.strip_prefix("0x")) {
            let hash: Option<AdapterHash> = hex.parse().ok();
            return hash.filter(|hash| adapters.paths.contains_key(hash)).map(Some).ok_or_else(|| not_found(model));
        }
        let name = model.strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix(':')).unwrap_or(model);
        adapters.names.get(name).map(|(hash, _)| Some(*hash)).ok_or_else(|| not_found(model))
    }

    fn ids(&self, prompt: &Prompt) -> Result<(String, Vec<u32>), ServeError> {
        let (text, ids) = match prompt {
            Prompt::Text(text) => (text.clone(), self.tokenizer.encode(text, true)),
            Prompt::Ids(ids) => (self.tokenizer.decode(ids), ids.clone()),
        };
        if ids.is_empty() {
            return Err(ServeError::BadRequest { param: "prompt", reason: "is empty".into() });
        }
        if ids.len() >= self.setup.max_tokens {
            return Err(ServeError::PromptTooLong { tokens: ids.len(), limit: self.setup.max_tokens });
        }
        Ok((text, ids))
    }

    /// The name that the peer knows `adapter` by, loaded there unless it was before.
    fn at_peer(&self, adapter: Option<AdapterHash>) -> Result<String, Failure> {
        let Some(hash) = adapter else { return Ok(self.setup.peer_base.clone()) };
        let path = {
            let adapters = self.lock();
            if adapters.resident.contains(&hash) {
                return Ok(peer_name(hash));
            }
            let gone = || Failure::Final(not_found(&hash.to_string()));
            adapters.paths.get(&hash).cloned().ok_or_else(gone)?
        };
        let body = json!({ "lora_name": peer_name(hash), "lora_path": path });
        let response =
            self.peer.post("/v1/load_lora_adapter", &body).map_err(|e| Failure::Passing(e.to_string(), None))?;
        let (status, retry_after) = (response.status, response.retry_after);
        let told = response.text().map_err(|error| Failure::Passing(error.to_string(), None))?;
        // A peer that has it already, such as one that outlived us, says so with an error.
        if status == 200 || (status == 400 && told.contains("already been loaded")) {
            self.lock().resident.insert(hash);
            return Ok(peer_name(hash));
        }
        Err(match status {
            429 | 500.. => Failure::Passing(format!("loading an adapter gave {status}"), retry_after),
            _ => Failure::Final(failed(format!("the peer does not load the adapter: {status} {}", brief(&told)))),
        })
    }

    /// Tries `attempt` until it succeeds, fails for good, or has begun to show something.
    fn with_retries<T>(
        &self,
        adapter: Option<AdapterHash>,
        mut attempt: impl FnMut(&str) -> Result<T, Failure>,
    ) -> Result<T, ServeError> {
        let mut last = String::new();
        for number in 0..TRIES {
            let failure = match self.at_peer(adapter).and_then(|model| attempt(&model)) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            match failure {
                Failure::Final(error) => return Err(error),
                Failure::Lost => {
                    last = "the peer has lost the adapter".to_owned();
                    if let Some(hash) = adapter {
                        self.lock().resident.remove(&hash);
                    }
                }
                Failure::Passing(reason, after) => {
                    last = reason;
                    let asked = after.map(Duration::from_secs);
                    if number + 1 < TRIES {
                        (self.pause)(asked.unwrap_or(Duration::from_millis(100 << number)).min(PATIENCE));
                    }
                }
            }
        }
        Err(failed(format!("{last}, {TRIES} times")))
    }

    /// Posts and gives the body of a success.
    fn ask(&self, path: &str, body: &Value) -> Result<wire::Response, Failure> {
        let response = self.peer.post(path, body).map_err(|error| Failure::Passing(error.to_string(), None))?;
        match response.status {
            200 => Ok(response),
            404 => Err(Failure::Lost),
            429 | 500.. => {
                Err(Failure::Passing(format!("the peer answered {}", response.status), response.retry_after))
            }
            status => {
                let told = response.text().unwrap_or_default();
                Err(Failure::Final(failed(format!("the peer refused the request: {status} {}", brief(&told)))))
            }
        }
    }

    fn json(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let text = self.ask(path, body)?.text().map_err(|error| Failure::Passing(error.to_string(), None))?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::Final(failed(format!("the peer's answer is no JSON: {error}"))))
    }
}

/// The start of what a peer said.
fn brief(text: &str) -> String {
    text.chars().take(200).collect()
}

/// A request in the peer's words.
fn body(request: &CompletionRequest, decoding: &Decoding, ids: &[u32]) -> Value {
    let sampling = &request.sampling;
    let milli = |value: u32| f64::from(value) / 1000.0;
    let bias: serde_json::Map<String, Value> =
        decoding.logit_bias.iter().map(|(id, bias)| (id.to_string(), json!(bias))).collect();
    json!({
        "prompt": ids, "stream": true, "stream_options": { "include_usage": true }, "return_token_ids": true,
        "max_tokens": sampling.max_tokens, "temperature": milli(sampling.temperature_milli),
        "top_p": milli(sampling.top_p_milli), "stop": sampling.stop, "logprobs": request.top_logprobs,
        // Others read seeds as signed.
        "seed": sampling.seed >> 1,
        "top_k": if decoding.top_k == 0 { -1 } else { i64::from(decoding.top_k) }, "min_p": decoding.min_p,
        "repetition_penalty": decoding.repetition_penalty, "presence_penalty": decoding.presence_penalty,
        "frequency_penalty": decoding.frequency_penalty, "logit_bias": bias, "min_tokens": decoding.min_tokens,
        "ignore_eos": decoding.ignore_eos, "stop_token_ids": decoding.stop_ids,
    })
}

/// An answer as it comes from the peer.
struct Incoming<'a> {
    writer: Writer<'a>,
    logprobs: Vec<TokenLogprob>,
    finish: Option<FinishReason>,
    cached: u32,
    broken: Option<String>,
    stopped: bool,
}

impl Incoming<'_> {
    /// Takes a chunk; whether the run goes on.
    fn on_chunk(&mut self, shared: &Shared, sender: &Sender, data: &str) -> ControlFlow<()> {
        if data == "[DONE]" {
            return ControlFlow::Break(());
        }
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            self.broken = Some("a chunk is no JSON".to_owned());
            return ControlFlow::Break(());
        };
        if let Some(message) = chunk["error"]["message"].as_str() {
            self.broken = Some(brief(message));
            return ControlFlow::Break(());
        }
        if let Some(cached) = chunk["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64() {
            self.cached = u32::try_from(cached).unwrap_or(u32::MAX);
        }
        let choice = &chunk["choices"][0];
        let ids = choice["token_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (at, id) in ids.iter().enumerate() {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < shared.setup.vocab);
            let Some(id) = id else {
                self.broken = Some("a token id is none of this base".to_owned());
                return ControlFlow::Break(());
            };
            if self.stopped {
                break;
            }
            let logprob = told_logprob(shared, id, &choice["logprobs"], at);
            self.logprobs.push(logprob.clone());
            let (text, stopped) = self.writer.push(id);
            self.stopped = stopped;
            sender.send(Event::Token(Token { id, text: text.to_owned(), logprob }));
        }
        if ids.is_empty() && choice["text"].as_str().is_some_and(|text| !text.is_empty()) {
            self.broken = Some("the peer tells no token ids (it must know `return_token_ids`)".to_owned());
            return ControlFlow::Break(());
        }
        match choice["finish_reason"].as_str() {
            None => {}
            Some("length") => self.finish = Some(FinishReason::Length),
            Some(_) => self.finish = Some(FinishReason::Stop),
        }
        if sender.is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// What the peer told of the token at place `at` of a chunk.
fn told_logprob(shared: &Shared, id: u32, columns: &Value, at: usize) -> TokenLogprob {
    let logprob = columns["token_logprobs"][at].as_f64().unwrap_or_default() as f32;
    let bytes = shared.tokenizer.piece(id).to_vec();
    // Alternatives come by text; which ids they had is not told.
    let others = columns["top_logprobs"][at].as_object().into_iter().flatten();
    let mut top: Vec<(u32, Vec<u8>, f32)> = others
        .filter_map(|(text, logprob)| {
            let other = shared.tokenizer.token_to_id(text).unwrap_or(id);
            Some((other, text.clone().into_bytes(), logprob.as_f64()? as f32))
        })
        .collect();
    top.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
    TokenLogprob { id, bytes, logprob, top }
}

impl Shared {
    /// Runs one request to its end.
    fn run(
        &self,
        request: &CompletionRequest,
        decoding: &Decoding,
        adapter: Option<AdapterHash>,
        sender: &Sender,
    ) -> Result<Answer, ServeError> {
        let (prompt, prompt_ids) = self.ids(&request.prompt)?;
        let mut wanted = body(request, decoding, &prompt_ids);
        let response = self.with_retries(adapter, |model| {
            wanted["model"] = model.into();
            self.ask("/v1/completions", &wanted)
        })?;
        let hash = adapter.unwrap_or(AdapterHash(B256::ZERO));
        let count = |ids: &[u32]| u32::try_from(ids.len()).unwrap_or(u32::MAX);
        sender.send(Event::Started(Started { adapter: hash, prompt_tokens: count(&prompt_ids), cached_tokens: 0 }));
        let mut incoming = Incoming {
            writer: Writer::new(&self.tokenizer, &request.sampling.stop),
            logprobs: Vec::new(),
            finish: None,
            cached: 0,
            broken: None,
            stopped: false,
        };
        response
            .events(|data| incoming.on_chunk(self, sender, data))
            .map_err(|e| failed(format!("the stream broke off: {e}")))?;
        if let Some(reason) = incoming.broken {
            return Err(failed(reason));
        }
        let cancelled = incoming.finish.is_none() && !sender.is_wanted();
        let finish_reason = match incoming.finish {
            Some(finish) => finish,
            None if cancelled => FinishReason::Length,
            None => return Err(failed("the stream ended before the answer did")),
        };
        let output_ids = incoming.writer.into_ids();
        let (text, offsets, _) = render(&self.tokenizer, &output_ids, &request.sampling.stop);
        let usage = Usage { prompt_tokens: count(&prompt_ids), completion_tokens: count(&output_ids) };
        let mut sampling = request.sampling.clone();
        if cancelled {
            sampling.max_tokens = usage.completion_tokens;
        }
        let completion = Completion {
            model: request.model_id,
            base: self.setup.base,
            adapter: hash,
            tokenizer: B256::from(self.tokenizer.hash()),
            numeric_mode: REMOTE_MODE.to_owned(),
            sampling,
            prompt,
            prompt_ids,
            text,
            output_ids,
            offsets,
            finish_reason,
            usage,
        };
        Ok(Answer { completion, logprobs: incoming.logprobs, cancelled })
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
        if asked.decoding.include_stop {
            let reason = "cannot be honoured by the server that answers; leave it out".to_owned();
            return Err(ServeError::BadRequest { param: "include_stop_str_in_output", reason });
        }
        let adapter = self.0.resolve(&request.model)?;
        self.0.ids(&request.prompt)?;
        let (sender, receiver) = events(Arc::new(|| {}));
        let shared = Arc::clone(&self.0);
        std::thread::spawn(move || {
            let answer = shared.run(&request, &asked.decoding, adapter, &sender);
            sender.send(answer.map_or_else(Event::Failed, |answer| Event::Finished(Box::new(answer))));
        });
        Ok(receiver)
    }

    fn served(&self) -> Vec<Served> {
        let adapters = self.0.lock();
        let base = Served { name: self.0.setup.base_name.clone(), adapter: None, generation: 0, resident: true };
        let named = adapters.names.iter().map(|(name, (hash, generation))| Served {
            name: name.clone(),
            adapter: Some(*hash),
            generation: *generation,
            resident: adapters.resident.contains(hash),
        });
        std::iter::once(base).chain(named).collect()
    }

    /// Registers a folder at the peer under the hash that the caller gives, which cannot be computed from afar.
    fn load_adapter(&self, adapter: &LoadAdapter) -> Result<AdapterHash, ServeError> {
        let Some(hash) = adapter.expected else {
            let reason = "must be given: the files lie at the server that answers".to_owned();
            return Err(ServeError::BadRequest { param: "adapter_hash", reason });
        };
        let mut adapters = self.0.lock();
        adapters.paths.insert(hash, adapter.path.clone());
        if let Some(name) = &adapter.name {
            let generation = adapters.names.get(name).map_or(1, |(_, generation)| generation + 1);
            adapters.names.insert(name.clone(), (hash, generation));
        }
        Ok(hash)
    }

    fn unload_adapter(&self, model: &str) -> Result<AdapterHash, ServeError> {
        let hash = self.0.resolve(model)?.ok_or_else(|| not_found(model))?;
        let resident = {
            let mut adapters = self.0.lock();
            adapters.paths.remove(&hash);
            adapters.names.retain(|_, (named, _)| *named != hash);
            adapters.resident.remove(&hash)
        };
        if resident {
            // Here it is forgotten in any case; a peer that keeps it only keeps memory.
            let told = self.0.peer.post("/v1/unload_lora_adapter", &json!({ "lora_name": peer_name(hash) }));
            if let Err(error) = told {
                tracing::warn!(%error, adapter = %hash, "the peer was not told to unload");
            }
        }
        Ok(hash)
    }

    fn embed(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError> {
        let adapter = self.0.resolve(model)?;
        let answer = self.0.with_retries(adapter, |model| {
            self.0.json("/v1/embeddings", &json!({ "model": model, "input": ids, "encoding_format": "float" }))
        })?;
        let numbers = answer["data"][0]["embedding"].as_array();
        let numbers: Option<Vec<f32>> =
            numbers.and_then(|numbers| numbers.iter().map(|n| n.as_f64().map(|n| n as f32)).collect());
        numbers.ok_or_else(|| failed("the peer's answer holds no embedding"))
    }

    fn score(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError> {
        let adapter = self.0.resolve(model)?;
        self.0.ids(&Prompt::Ids(ids.to_vec()))?;
        let answer = self.0.with_retries(adapter, |model| {
            let asked = json!({ "model": model, "prompt": ids, "max_tokens": 1, "echo": true, "logprobs": 0 });
            self.0.json("/v1/completions", &asked)
        })?;
        let column = answer["choices"][0]["logprobs"]["token_logprobs"].as_array();
        let scores: Option<Vec<f32>> = column.and_then(|column| {
            column.get(1..ids.len())?.iter().map(|logprob| logprob.as_f64().map(|logprob| logprob as f32)).collect()
        });
        scores.ok_or_else(|| failed("the peer's answer does not score the prompt"))
    }

    fn capabilities(&self) -> Capabilities {
        let setup = &self.0.setup;
        Capabilities {
            deterministic: false,
            numeric_mode: REMOTE_MODE,
            base: setup.base,
            base_name: setup.base_name.clone(),
            max_tokens: setup.max_tokens,
            vocab: setup.vocab,
        }
    }
}
