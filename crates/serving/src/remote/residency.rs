//! The adapters behind a peer: their names, their paths, and which of them the peer has loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use openledger_protocol::AdapterHash;

use crate::backend::Served;
use crate::error::ServeError;

/// The adapters behind a peer.
#[derive(Default)]
pub(super) struct Residency(Mutex<Adapters>);

#[derive(Default)]
pub(super) struct Adapters {
    pub(super) names: BTreeMap<String, (AdapterHash, u64)>,
    /// Path of each, as the peer sees it.
    pub(super) paths: BTreeMap<AdapterHash, PathBuf>,
    /// Those that the peer has loaded.
    pub(super) resident: BTreeSet<AdapterHash>,
}

/// Why an attempt at a request failed.
pub(super) enum Failure {
    /// Another attempt may succeed, after that many seconds if the peer said so.
    Passing(String, Option<u64>),
    /// The peer does not know the adapter.
    Lost,
    /// No attempt will succeed.
    Final(ServeError),
}

/// The adapter's name at the peer.
pub(super) fn peer_name(adapter: AdapterHash) -> String {
    format!("openledger-{}", &adapter.to_string()[2..])
}

impl Residency {
    pub(super) fn lock(&self) -> MutexGuard<'_, Adapters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers `hash` with its path, and `name` for it.
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
