//! Adapters by content: where they lie, which are in memory, and the names that point to them.
//!
//! # Invariants
//!
//! - **Content is identity.** An adapter is known by its hash, checked at every load; a folder whose files changed is
//!   refused, never served under the old hash.
//! - **In use is never evicted.** Requests hold the adapter by `Arc`; only what nobody holds leaves memory, least
//!   recently used first.
//! - **Every byte is paid for.** What is in memory is taken from the budget shared with keys and values, before it is read,
//!   and given back when it has left; an adapter that is forgotten while it is in use stays paid until its last holder ends.
//! - **One load at a time per adapter.** A cold adapter is read in the thread of the request that wants it, others that
//!   want it wait for that one, and requests for resident adapters pass by.
//! - **Aliases have generations.** Moving one makes a new generation; who resolved it before keeps what he has.
//!
//! Not here: who may register or move (`node`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use openledger_engine::{Lease, Lora, Model};
use openledger_protocol::{AdapterHash, B256};

use crate::error::ServeError;
use crate::memory::Memory;

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
    memory: Arc<Memory>,
    /// What idle adapters may take.
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
    /// Adapters in memory by their last use; the first is the least recent.
    recent: BTreeMap<u64, AdapterHash>,
    /// Adapters that were forgotten or replaced while in use.
    leaving: Vec<Held>,
    /// Counts uses.
    clock: u64,
}

/// An adapter in memory and what pays for it.
struct Held {
    lora: Arc<Lora>,
    lease: Lease,
}

impl Held {
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.lora) == 1
    }
}

struct Entry {
    path: PathBuf,
    held: Option<Held>,
    loading: bool,
    used: u64,
    bytes: usize,
    hits: u64,
    loads: u64,
    evictions: u64,
}

impl AdapterStore {
    /// An empty store for adapters of `model`; keeps about `budget_bytes` of idle ones in memory, and takes the bytes of all
    /// from `memory`.
    pub(crate) fn new(model: Arc<Model>, memory: Arc<Memory>, budget_bytes: usize) -> Self {
        Self { model, memory, budget_bytes, inner: Mutex::default(), loaded: Condvar::new() }
    }

    /// Takes in the PEFT folder `dir` and gives its hash; taking in the same content twice is the same adapter, read from
    /// the newer folder from then on.
    ///
    /// # Errors
    /// [`ServeError::Load`] when the folder is not a whole adapter for this base.
    pub fn register(&self, dir: &Path) -> Result<AdapterHash, ServeError> {
        let lora = Arc::new(Lora::load_peft(dir, &self.model)?);
        let hash = AdapterHash(B256::from(lora.hash()));
        let bytes = lora.bytes();
        let known = self.lock().entries.get(&hash).is_some_and(|entry| entry.held.is_some());
        // Without room it is known all the same, and read again when it is asked for.
        let lease = if known { None } else { self.lease(bytes).ok() };
        let mut inner = self.lock();
        let entry = inner.entries.entry(hash).or_insert_with(|| Entry::new(dir));
        entry.path = dir.to_owned();
        entry.bytes = bytes;
        entry.loads += 1;
        if let (false, None, Some(lease)) = (entry.loading, &entry.held, lease) {
            inner.hold(hash, Held { lora, lease });
        }
        inner.evict_to(self.budget_bytes);
        Ok(hash)
    }

    /// Forgets an adapter and the aliases that point to it; its memory is free as soon as nobody uses it.
    ///
    /// # Errors
    /// [`ServeError::NotFound`].
    pub fn unregister(&self, hash: AdapterHash) -> Result<(), ServeError> {
        let mut inner = self.lock();
        let entry = inner.entries.remove(&hash).ok_or_else(|| not_found(hash))?;
        inner.recent.remove(&entry.used);
        inner.leaving.extend(entry.held);
        inner.sweep();
        inner.aliases.retain(|_, alias| alias.adapter != hash);
        Ok(())
    }

    /// The adapter, from memory or from disk. It stays in memory while the `Arc` is held.
    ///
    /// # Errors
    /// [`ServeError::NotFound`] when it was never registered, [`ServeError::Load`] and [`ServeError::Changed`] when its
    /// folder no longer holds it, [`ServeError::NoRoom`] when what is in use leaves no memory for it.
    pub fn get(&self, hash: AdapterHash) -> Result<Arc<Lora>, ServeError> {
        let mut inner = self.lock();
        let (path, bytes) = loop {
            if let Some(lora) = inner.touch(hash) {
                return Ok(lora);
            }
            let entry = inner.entries.get_mut(&hash).ok_or_else(|| not_found(hash))?;
            if !entry.loading {
                entry.loading = true;
                break (entry.path.clone(), entry.bytes);
            }
            inner = self.loaded.wait(inner).unwrap_or_else(PoisonError::into_inner);
        };
        drop(inner);
        let loading = Loading { store: self, hash };
        let lease = self.lease(bytes)?;
        let lora = self.read(&path, hash)?;
        let held = Held { lora: Arc::clone(&lora), lease };
        let mut inner = self.lock();
        match inner.entries.get_mut(&hash) {
            Some(entry) => {
                entry.loads += 1;
                inner.hold(hash, held);
            }
            // It was forgotten meanwhile; the caller who asked before still gets it.
            None => inner.leaving.push(held),
        }
        inner.evict_to(self.budget_bytes);
        drop(inner);
        drop(loading);
        Ok(lora)
    }

    /// The adapter if it is in memory.
    pub(crate) fn get_resident(&self, hash: AdapterHash) -> Option<Arc<Lora>> {
        self.lock().touch(hash)
    }

    /// Whether the adapter is in memory.
    pub(crate) fn is_resident(&self, hash: AdapterHash) -> bool {
        self.lock().entries.get(&hash).is_some_and(|entry| entry.held.is_some())
    }

    /// Bytes that the adapter takes in memory.
    pub(crate) fn bytes(&self, hash: AdapterHash) -> Option<usize> {
        self.lock().entries.get(&hash).map(|entry| entry.bytes)
    }

    /// Drops the least recently used adapter that nobody holds; `false` when there is none.
    pub(crate) fn evict_one(&self) -> bool {
        let mut inner = self.lock();
        inner.sweep() || inner.evict_one()
    }

    /// Gives back what is no longer used: to be called when a holder has ended.
    pub(crate) fn release(&self) {
        let mut inner = self.lock();
        inner.sweep();
        inner.evict_to(self.budget_bytes);
    }

    /// Memory for an adapter of `bytes`; others that nobody holds make room.
    fn lease(&self, bytes: usize) -> Result<Lease, ServeError> {
        loop {
            if let Some(lease) = self.memory.take(bytes) {
                return Ok(lease);
            }
            if !self.evict_one() {
                let budget = self.memory.budget();
                return Err(ServeError::NoRoom { needed: bytes, used: budget.used(), budget: budget.limit() });
            }
        }
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
            resident: e.held.is_some(),
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
        Self { path, held: None, loading: false, used: 0, bytes: 0, hits: 0, loads: 0, evictions: 0 }
    }
}

impl Inner {
    /// The adapter if it is in memory, now the most recent.
    fn touch(&mut self, hash: AdapterHash) -> Option<Arc<Lora>> {
        self.clock += 1;
        let entry = self.entries.get_mut(&hash)?;
        let lora = Arc::clone(&entry.held.as_ref()?.lora);
        entry.hits += 1;
        self.recent.remove(&entry.used);
        entry.used = self.clock;
        self.recent.insert(self.clock, hash);
        Some(lora)
    }

    /// Keeps a registered adapter in memory.
    fn hold(&mut self, hash: AdapterHash, held: Held) {
        self.clock += 1;
        let Some(entry) = self.entries.get_mut(&hash) else { return };
        self.recent.remove(&entry.used);
        self.leaving.extend(entry.held.replace(held));
        entry.used = self.clock;
        self.recent.insert(self.clock, hash);
        self.sweep();
    }

    fn resident_bytes(&self) -> usize {
        let held = self.recent.values().filter_map(|hash| self.entries.get(hash)).filter_map(|e| e.held.as_ref());
        held.chain(&self.leaving).map(|held| held.lease.bytes()).sum()
    }

    /// Lets go of forgotten adapters whose last holder has ended; whether there were any.
    fn sweep(&mut self) -> bool {
        let before = self.leaving.len();
        self.leaving.retain(|held| !held.is_idle());
        self.leaving.len() < before
    }

    /// Drops the least recently used adapter that nobody holds; `false` when there is none.
    fn evict_one(&mut self) -> bool {
        let idle = |hash: &AdapterHash| self.entries.get(hash).and_then(|e| e.held.as_ref()).is_some_and(Held::is_idle);
        let Some((used, hash)) = self.recent.iter().find(|(_, hash)| idle(hash)).map(|(u, h)| (*u, *h)) else {
            return false;
        };
        self.recent.remove(&used);
        if let Some(entry) = self.entries.get_mut(&hash) {
            entry.held = None;
            entry.evictions += 1;
        }
        true
    }

    /// Drops what nobody holds, least recently used first, until the rest fits.
    fn evict_to(&mut self, budget: usize) {
        while self.resident_bytes() > budget && self.evict_one() {}
    }
}

fn not_found(hash: AdapterHash) -> ServeError {
    ServeError::NotFound { model: hash.to_string() }
}
