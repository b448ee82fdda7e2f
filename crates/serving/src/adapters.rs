//! Adapters by content: where they lie, which are in memory, and the names that point to them.
//!
//! # Invariants
//!
//! - **Content is identity.** An adapter is known by its hash, checked at every load; a folder whose files changed is
//!   refused, never served under the old hash.
//! - **In use is never evicted.** Requests hold the adapter by `Arc`; only what nobody holds leaves memory, least
//!   recently used first. When all is in use, the budget is exceeded rather than a request refused.
//! - **One load at a time per adapter.** A cold adapter is read in the thread of the request that wants it, others that
//!   want it wait for that one, and requests for resident adapters pass by.
//! - **Aliases have generations.** Moving one makes a new generation; who resolved it before keeps what he has.
//!
//! Not here: who may register or move (`node`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use openledger_engine::{Lora, Model};
use openledger_protocol::{AdapterHash, B256};

use crate::error::ServeError;

/// A name at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: String,
    /// How often it was set: from 1.
    pub generation: u64,
    /// What it points to.
    pub adapter: AdapterHash,
}

/// What is known of one adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterStats {
    /// The adapter.
    pub adapter: AdapterHash,
    /// Whether it is in memory.
    pub resident: bool,
    /// Bytes it takes there; 0 before its first load.
    pub bytes: usize,
    /// Requests that found it in memory.
    pub hits: u64,
    /// Times it was read from disk.
    pub loads: u64,
    /// Times it left memory.
    pub evictions: u64,
}

/// What is known of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes of all adapters in memory, those in use included.
    pub resident_bytes: usize,
    /// The budget.
    pub budget_bytes: usize,
    /// Each adapter, by hash.
    pub adapters: Vec<AdapterStats>,
}

/// The adapters of one base.
pub struct AdapterStore {
    model: Arc<Model>,
    budget_bytes: usize,
    inner: Mutex<Inner>,
    loaded: Condvar,
}

/// Marks an adapter as being read, until it is dropped; so that a failed read never leaves others waiting.
struct Loading<'a> {
    store: &'a AdapterStore,
    hash: AdapterHash,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.store.lock().entries.get_mut(&self.hash) {
            entry.loading = false;
        }
        self.store.loaded.notify_all();
    }
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<AdapterHash, Entry>,
    aliases: BTreeMap<String, Alias>,
    /// Counts uses; the smallest `used` is the least recent.
    clock: u64,
}

struct Entry {
    path: PathBuf,
    lora: Option<Arc<Lora>>,
    loading: bool,
    used: u64,
    bytes: usize,
    hits: u64,
    loads: u64,
    evictions: u64,
}

impl AdapterStore {
    /// An empty store for adapters of `model`; keeps about `budget_bytes` of them in memory.
    #[must_use]
    pub fn new(model: Arc<Model>, budget_bytes: usize) -> Self {
        Self { model, budget_bytes, inner: Mutex::default(), loaded: Condvar::new() }
    }

    /// Takes in the PEFT folder `dir` and gives its hash; taking in the same content twice is the same adapter, read from
    /// the newer folder from then on.
    ///
    /// # Errors
    /// [`ServeError::Load`] when the folder is not a whole adapter for this base.
    pub fn register(&self, dir: &Path) -> Result<AdapterHash, ServeError> {
        let lora = Arc::new(Lora::load_peft(dir, &self.model)?);
        let hash = AdapterHash(B256::from(lora.hash()));
        let mut inner = self.lock();
        let used = inner.tick();
        let entry = inner.entries.entry(hash).or_insert_with(|| Entry::new(dir));
        entry.path = dir.to_owned();
        entry.loads += 1;
        if !entry.loading {
            entry.hold(lora, used);
        }
        inner.evict(self.budget_bytes);
        Ok(hash)
    }

    /// Forgets an adapter and the aliases that point to it; requests that hold it finish with it.
    ///
    /// # Errors
    /// [`ServeError::NotFound`].
    pub fn unregister(&self, hash: AdapterHash) -> Result<(), ServeError> {
        let mut inner = self.lock();
        inner.entries.remove(&hash).ok_or_else(|| not_found(hash))?;
        inner.aliases.retain(|_, alias| alias.adapter != hash);
        Ok(())
    }

    /// The adapter, from memory or from disk. It stays in memory while the `Arc` is held.
    ///
    /// # Errors
    /// [`ServeError::NotFound`] when it was never registered, [`ServeError::Load`] and [`ServeError::Changed`] when its
    /// folder no longer holds it.
    pub fn get(&self, hash: AdapterHash) -> Result<Arc<Lora>, ServeError> {
        let mut inner = self.lock();
        let path = loop {
            let used = inner.tick();
            let entry = inner.entries.get_mut(&hash).ok_or_else(|| not_found(hash))?;
            if let Some(lora) = entry.lora.clone() {
                entry.used = used;
                entry.hits += 1;
                return Ok(lora);
            }
            if !entry.loading {
                entry.loading = true;
                break entry.path.clone();
            }
            inner = self.loaded.wait(inner).unwrap_or_else(PoisonError::into_inner);
        };
        drop(inner);
        let loading = Loading { store: self, hash };
        let lora = self.read(&path, hash)?;
        let mut inner = self.lock();
        let used = inner.tick();
        // It may have been unregistered meanwhile; the caller who asked before still gets it.
        if let Some(entry) = inner.entries.get_mut(&hash) {
            entry.loads += 1;
            entry.hold(Arc::clone(&lora), used);
        }
        inner.evict(self.budget_bytes);
        drop(inner);
        drop(loading);
        Ok(lora)
    }

    /// Takes in every folder in `root` that holds an `adapter_config.json`, in order of names, each under its folder's
    /// name as alias; tells of each what became of it.
    ///
    /// # Errors
    /// [`std::io::Error`] when `root` cannot be listed. A folder that is refused does not keep the others out.
    pub fn register_folders(&self, root: &Path) -> std::io::Result<Vec<(String, Result<Alias, ServeError>)>> {
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(root)? {
            let path = entry?.path();
            if path.join("adapter_config.json").is_file() {
                folders.push(path);
            }
        }
        folders.sort();
        let registered = folders.into_iter().map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let alias = self.register(&path).and_then(|hash| self.set_alias(&name, hash, None));
            (name, alias)
        });
        Ok(registered.collect())
    }

    /// Points `name` to `adapter` as a new generation. With `expected`, only if the alias is at that generation now
    /// (0: does not exist yet).
    ///
    /// # Errors
    /// [`ServeError::NotFound`] when the adapter is not registered, [`ServeError::BadRequest`] when the name could be
    /// taken for a hash, [`ServeError::AliasMoved`] when it is not at `expected`.
    pub fn set_alias(&self, name: &str, adapter: AdapterHash, expected: Option<u64>) -> Result<Alias, ServeError> {
        if name.is_empty() || name.contains(':') || name.starts_with("0x") {
            let reason = "must not be empty, hold `:` or start with `0x`".to_owned();
            return Err(ServeError::BadRequest { param: "alias", reason });
        }
        let mut inner = self.lock();
        if !inner.entries.contains_key(&adapter) {
            return Err(not_found(adapter));
        }
        let found = inner.aliases.get(name).map_or(0, |alias| alias.generation);
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(ServeError::AliasMoved { alias: name.to_owned(), expected, found });
        }
        let alias = Alias { name: name.to_owned(), generation: found + 1, adapter };
        inner.aliases.insert(name.to_owned(), alias.clone());
        Ok(alias)
    }

    /// What `name` points to now.
    #[must_use]
    pub fn alias(&self, name: &str) -> Option<Alias> {
        self.lock().aliases.get(name).cloned()
    }

    /// All aliases by name.
    #[must_use]
    pub fn aliases(&self) -> Vec<Alias> {
        self.lock().aliases.values().cloned().collect()
    }

    /// Whether `hash` is registered.
    #[must_use]
    pub fn contains(&self, hash: AdapterHash) -> bool {
        self.lock().entries.contains_key(&hash)
    }

    /// What is in memory and how it is used.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let inner = self.lock();
        let adapters = inner.entries.iter().map(|(adapter, e)| AdapterStats {
            adapter: *adapter,
            resident: e.lora.is_some(),
            bytes: e.bytes,
            hits: e.hits,
            loads: e.loads,
            evictions: e.evictions,
        });
        StoreStats {
            resident_bytes: inner.resident_bytes(),
            budget_bytes: self.budget_bytes,
            adapters: adapters.collect(),
        }
    }

    fn read(&self, path: &Path, expected: AdapterHash) -> Result<Arc<Lora>, ServeError> {
        let lora = Lora::load_peft(path, &self.model)?;
        let found = AdapterHash(B256::from(lora.hash()));
        if found != expected {
            return Err(ServeError::Changed { path: path.to_owned(), expected, found });
        }
        Ok(Arc::new(lora))
    }

    /// The state; a panic elsewhere leaves it usable, since every change to it is made in one piece.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path, lora: None, loading: false, used: 0, bytes: 0, hits: 0, loads: 0, evictions: 0 }
    }

    fn hold(&mut self, lora: Arc<Lora>, used: u64) {
        self.bytes = lora.bytes();
        self.lora = Some(lora);
        self.used = used;
    }
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn resident_bytes(&self) -> usize {
        self.entries.values().filter(|e| e.lora.is_some()).map(|e| e.bytes).sum()
    }

    /// Drops what nobody holds, least recently used first, until the rest fits.
    fn evict(&mut self, budget: usize) {
        let mut resident = self.resident_bytes();
        while resident > budget {
            let idle = self.entries.values_mut().filter(|e| e.lora.as_ref().is_some_and(|l| Arc::strong_count(l) == 1));
            let Some(entry) = idle.min_by_key(|e| e.used) else { return };
            entry.lora = None;
            entry.evictions += 1;
            resident -= entry.bytes;
        }
    }
}

fn not_found(hash: AdapterHash) -> ServeError {
    ServeError::NotFound { model: hash.to_string() }
}
