//! Which adapters there are, what they are called, which of them the peer holds; and the tries that follow from its answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openledger_protocol::AdapterHash;
use serde_json::json;

use super::{Shared, brief, failed, not_found};
use crate::backend::Served;
use crate::error::ServeError;

/// How often a request is sent that has shown no token yet.
const TRIES: u32 = 4;
/// The longest wait between two tries.
const PATIENCE: Duration = Duration::from_secs(2);

/// The adapters behind a peer.
#[derive(Default)]
pub(super) struct Residency(Mutex<Adapters>);

#[derive(Default)]
struct Adapters {
    names: BTreeMap<String, (AdapterHash, u64)>,
    /// Where each lies, as the peer sees it.
    paths: BTreeMap<AdapterHash, PathBuf>,
    /// Those that the peer was told to load.
    resident: BTreeSet<AdapterHash>,
}

/// Why a try failed.
pub(super) enum Failure {
    /// Another try may succeed, after so many seconds if the peer said so.
    Passing(String, Option<u64>),
    /// The peer does not know the adapter.
    Lost,
    /// It will not.
    Final(ServeError),
}

/// The adapter's name at the peer.
pub(super) fn peer_name(adapter: AdapterHash) -> String {
    format!("openledger-{}", &adapter.to_string()[2..])
}

impl Residency {
    fn lock(&self) -> MutexGuard<'_, Adapters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Knows `hash`, which lies at `path`, from now on, also as `name`.
    pub(super) fn register(&self, hash: AdapterHash, path: PathBuf, name: Option<&str>) {
        let mut adapters = self.lock();
        adapters.paths.insert(hash, path);
        if let Some(name) = name {
            let generation = match adapters.names.get(name) {
                Some((same, generation)) if *same == hash => *generation,
                known => known.map_or(1, |(_, generation)| generation + 1),
            };
            adapters.names.insert(name.to_owned(), (hash, generation));
        }
    }

    /// Forgets `hash` and its names; whether the peer holds it.
    pub(super) fn forget(&self, hash: AdapterHash) -> bool {
        let mut adapters = self.lock();
        adapters.paths.remove(&hash);
        adapters.names.retain(|_, (named, _)| *named != hash);
        adapters.resident.remove(&hash)
    }

    /// Each name, in order.
    pub(super) fn served(&self) -> Vec<Served> {
        let adapters = self.lock();
        let served = |(name, (hash, generation)): (&String, &(AdapterHash, u64))| Served {
            name: name.clone(),
            adapter: Some(*hash),
            generation: *generation,
            resident: adapters.resident.contains(hash),
        };
        adapters.names.iter().map(served).collect()
    }
}

impl Shared {
    /// What `model` names; `None` is the base.
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
        let told = response.text().map_err(passing)?;
        // A peer that has it already, such as one that outlived us, says so with an error.
        if status == 200 || (status == 400 && told.contains("already been loaded")) {
            self.adapters.lock().resident.insert(hash);
            return Ok(peer_name(hash));
        }
        Err(match status {
            429 | 500.. => Failure::Passing(format!("loading an adapter gave {status}"), retry_after),
            _ => Failure::Final(failed(format!("the peer does not load the adapter: {status} {}", brief(&told)))),
        })
    }

    /// Tries `attempt` with the peer's name of `adapter` until it succeeds, fails for good, or is not `wanted` any more.
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
