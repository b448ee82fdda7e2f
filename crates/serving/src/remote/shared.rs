//! What all requests to a peer share: its address, its adapters, the bound on requests, and
//! retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use openledger_engine::Tokenizer;
use openledger_protocol::AdapterHash;
use serde_json::{Value, json};

use super::residency::{Failure, Residency, peer_name};
use super::setup::RemoteSetup;
use super::wire::{self, Line, Peer};
use crate::error::ServeError;
use crate::metrics::Metrics;
use crate::request::Prompt;

/// The numeric mode of answers that another server made.
pub const REMOTE_MODE: &str = "remote";
/// Attempts at a request that has shown no token yet.
const TRIES: u32 = 4;
/// The longest wait between two attempts.
const PATIENCE: Duration = Duration::from_secs(2);

/// One peer, as all requests to it share it.
pub(super) struct Shared {
    pub(super) setup: RemoteSetup,
    pub(super) peer: Peer,
    pub(super) tokenizer: Arc<Tokenizer>,
    /// Waits between attempts; tests pass one that does not wait.
    pub(super) pause: fn(Duration),
    pub(super) adapters: Residency,
    pub(super) metrics: Arc<Metrics>,
    pub(super) running: AtomicUsize,
}

/// A slot among the requests that the peer may have at once; dropped, it is free.
pub(super) struct Place(pub(super) Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.set_load(before.saturating_sub(1), 0);
    }
}

pub(super) fn failed(reason: impl ToString) -> ServeError {
    ServeError::Remote { reason: reason.to_string() }
}

pub(super) fn not_found(model: &str) -> ServeError {
    ServeError::NotFound { model: model.to_owned() }
}

/// The first 200 characters of a peer's message.
pub(super) fn brief(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Their number.
pub(super) fn count(ids: &[u32]) -> u32 {
    u32::try_from(ids.len()).unwrap_or(u32::MAX)
}

impl Shared {
    /// The prompt's text and ids, fit to be run.
    pub(super) fn ids(&self, prompt: &Prompt) -> Result<(String, Vec<u32>), ServeError> {
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
    pub(super) fn ask(&self, path: &str, body: &Value, line: Option<&Line>) -> Result<wire::Response, Failure> {
        let response = self.peer.post(path, body, line).map_err(|error| Failure::Passing(error.to_string(), None))?;
        match response.status {
            200 => Ok(response),
            404 => Err(Failure::Lost),
            429 | 500.. => {
                Err(Failure::Passing(format!("the peer answered {}", response.status), response.retry_after))
            }
            status => {
                let message = brief(&response.text().unwrap_or_default());
                Err(Failure::Final(match status {
                    400 | 413 | 422 => {
                        let reason = format!("was refused by the server that answers: {message}");
                        ServeError::BadRequest { param: "request", reason }
                    }
                    _ => failed(format!("the peer refused the request: {status} {message}")),
                }))
            }
        }
    }

    /// Posts and gives the JSON body of a success.
    pub(super) fn json(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let response = self.ask(path, body, None)?;
        let text = response.text().map_err(|error| Failure::Passing(error.to_string(), None))?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::Final(failed(format!("the peer's answer is no JSON: {error}"))))
    }

    /// A slot for one more request.
    pub(super) fn place(self: &Arc<Self>) -> Result<Place, ServeError> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        if before >= self.setup.peer.running {
            return Err(ServeError::Overloaded { waiting: before, retry_after: 1 });
        }
        self.metrics.set_load(before + 1, 0);
        Ok(place)
    }

    /// The adapter that `model` names; `None` is the base.
    pub(super) fn resolve(&self, model: &str) -> Result<Option<AdapterHash>, ServeError> {
        let base = &self.setup.base_name;
        if model == base {
            return Ok(None);
        }
        let adapters = self.adapters.lock();
        if let Some(hex) = model.strip_prefix("sha256:").or_else(|| model.strip_prefix("0x")) {
            let hash: Option<AdapterHash> = hex.parse().ok();
            return hash.filter(|hash| adapters.paths.contains_key(hash)).map(Some).ok_or_else(|| not_found(model));
        }
        let name = model.strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix(':')).unwrap_or(model);
        adapters.names.get(name).map(|(hash, _)| Some(*hash)).ok_or_else(|| not_found(model))
    }

    /// The name that the peer knows `adapter` by, loaded there unless it was before.
    fn at_peer(&self, adapter: Option<AdapterHash>) -> Result<String, Failure> {
        let Some(hash) = adapter else { return Ok(self.setup.peer.model.clone()) };
        let path = {
            let adapters = self.adapters.lock();
            if adapters.resident.contains(&hash) {
                return Ok(peer_name(hash));
            }
            let gone = || Failure::Final(not_found(&hash.to_string()));
            adapters.paths.get(&hash).cloned().ok_or_else(gone)?
        };
        let body = json!({ "lora_name": peer_name(hash), "lora_path": path });
        let passing = |error: std::io::Error| Failure::Passing(error.to_string(), None);
        let response = self.peer.post("/v1/load_lora_adapter", &body, None).map_err(passing)?;
        let (status, retry_after) = (response.status, response.retry_after);
        let message = response.text().map_err(passing)?;
        // A peer that has it already, such as one that outlived us, says so with an error.
        if status == 200 || (status == 400 && message.contains("already been loaded")) {
            self.adapters.lock().resident.insert(hash);
            return Ok(peer_name(hash));
        }
        Err(match status {
            429 | 500.. => Failure::Passing(format!("loading an adapter gave {status}"), retry_after),
            _ => Failure::Final(failed(format!("the peer does not load the adapter: {status} {}", brief(&message)))),
        })
    }

    /// Repeats `attempt`, with the peer's name of `adapter`, until it succeeds, fails for good, or
    /// is not `wanted` any more.
    pub(super) fn with_retries<T>(
        &self,
        adapter: Option<AdapterHash>,
        wanted: impl Fn() -> bool,
        mut attempt: impl FnMut(&str) -> Result<T, Failure>,
    ) -> Result<T, ServeError> {
        let mut last = String::new();
        for number in 0..TRIES {
            let mut wait = Duration::from_millis(100 << number);
            match self.at_peer(adapter).and_then(|model| attempt(&model)) {
                Ok(done) => return Ok(done),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Lost) => match adapter {
                    // Loading it again is all that is needed, at once.
                    Some(hash) => {
                        last = "the peer has lost the adapter".to_owned();
                        self.adapters.lock().resident.remove(&hash);
                        wait = Duration::ZERO;
                    }
                    None => return Err(failed(format!("the peer serves no `{}`", self.setup.peer.model))),
                },
                Err(Failure::Passing(reason, after)) => {
                    last = reason;
                    wait = after.map_or(wait, Duration::from_secs).min(PATIENCE);
                }
            }
            if !wanted() {
                break;
            }
            if number + 1 < TRIES && !wait.is_zero() {
                (self.pause)(wait);
            }
        }
        Err(failed(format!("{last}, {TRIES} times")))
    }
}
