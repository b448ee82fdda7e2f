//! Which of many values are in memory: a registry, a cache under a budget, and names that point
//! into it.
//!
//! Place in the flow: under `adapters`, which knows what a value is and how it is read. Everything
//! that several threads change at once is here and nothing else is, so that a test can run this
//! file under every order of steps (`tests/main/schedules.rs` includes it with locks of its own in
//! place of [`sync`](super::sync)).
//!
//! # Invariants
//!
//! - **In use is never evicted.** Users hold a value by `Arc`; only idle values leave memory, least
//!   recently used first. So there are two copies of a value only while one that was forgotten, or
//!   put in beside one that was being read, is still in use.
//! - **Every byte is paid for** before it is read, and given back when it has left; a value that is
//!   forgotten while it is in use stays paid until its last holder ends.
//! - **One load at a time per key**, also of a key that is forgotten and taken in again meanwhile.
//!   Others that want it wait for that one; requests for what is in memory pass by.
//! - **Nothing is done for all keys** but in [`Residency::remove`] and where a list of all is asked
//!   for.
//!
//! Not here: files, hashes, the model.

use std::collections::{BTreeMap, BTreeSet};

use super::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where the memory of values is taken from.
pub(crate) trait Room {
    /// Bytes taken; they go back when it is dropped.
    type Lease;

    /// Takes `bytes`, or nothing when fewer are free.
    fn take(&self, bytes: usize) -> Option<Self::Lease>;
}

/// What is kept.
pub(crate) trait Weigh {
    /// Bytes that it takes in memory.
    fn bytes(&self) -> usize;
}

/// Why a value was not got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Miss<E> {
    /// It is not registered.
    Unknown,
    /// What is in use leaves no memory for its bytes.
    NoRoom(usize),
    /// It could not be read.
    Load(E),
}

/// Why a key was not forgotten.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is not registered.
    Unknown,
    /// That many others are made of it.
    Needed(usize),
}

/// Why a name was not moved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unmoved {
    /// The key is not registered.
    Unknown,
    /// The name is at that generation.
    At(u64),
}

/// What is known of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) resident: bool,
    pub(crate) bytes: usize,
    pub(crate) hits: u64,
    pub(crate) loads: u64,
    pub(crate) evictions: u64,
}

/// Sums over all keys, kept as they change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) registered: usize,
    pub(crate) resident: usize,
    /// Bytes in memory, those of forgotten values that are in use included.
    pub(crate) resident_bytes: usize,
    pub(crate) hits: u64,
    pub(crate) loads: u64,
    pub(crate) evictions: u64,
}

/// Values by key: where each is read from, and those in memory.
pub(crate) struct Residency<K, S, V, R: Room> {
    room: R,
    /// What idle values may take.
    idle_bytes: usize,
    inner: Mutex<Inner<K, S, V, R::Lease>>,
    loaded: Condvar,
}

struct Inner<K, S, V, L> {
    entries: BTreeMap<K, Entry<K, S, V, L>>,
    names: BTreeMap<String, (u64, K)>,
    /// Keys that are being read. Apart from the entries, which may be forgotten and taken in again
    /// meanwhile.
    loading: BTreeSet<K>,
    /// Keys in memory by their last use; the first is the least recent.
    recent: BTreeMap<u64, K>,
    /// Values that were forgotten while in use.
    leaving: Vec<Held<V, L>>,
    /// Counts uses.
    clock: u64,
    totals: Totals,
}

struct Entry<K, S, V, L> {
    source: S,
    /// What it takes in memory, as far as is known before it is read.
    bytes: usize,
    /// Keys that it is made of.
    needs: Vec<K>,
    /// How many others are made of it.
    needed: usize,
    held: Option<Held<V, L>>,
    used: u64,
    facts: Facts,
}

/// A value in memory and what pays for it; the value goes first.
struct Held<V, L> {
    value: Arc<V>,
    bytes: usize,
    _lease: L,
}

impl<V, L> Held<V, L> {
    fn is_idle(&self) -> bool {
        // Under the lock: others can only add to their own, so that one holder is the cache alone.
        Arc::strong_count(&self.value) == 1
    }
}

/// Marks a key as being read, until it is dropped; so that a failed read never leaves others
/// waiting.
struct Loading<'a, K: Ord + Copy, S, V, R: Room> {
    cache: &'a Residency<K, S, V, R>,
    key: K,
}

impl<K: Ord + Copy, S, V, R: Room> Drop for Loading<'_, K, S, V, R> {
    fn drop(&mut self) {
        self.cache.lock().loading.remove(&self.key);
        self.cache.loaded.notify_all();
    }
}

impl<K, S, V, R: Room> Residency<K, S, V, R> {
    /// The state; a panic elsewhere leaves it usable, since every change to it is made in one
    /// piece.
    fn lock(&self) -> MutexGuard<'_, Inner<K, S, V, R::Lease>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Copy, S: Clone, V: Weigh, R: Room> Residency<K, S, V, R> {
    /// Nothing registered yet; keeps about `idle_bytes` of idle values and takes the bytes of all
    /// from `room`.
    pub(crate) fn new(room: R, idle_bytes: usize) -> Self {
        let inner = Inner {
            entries: BTreeMap::new(),
            names: BTreeMap::new(),
            loading: BTreeSet::new(),
            recent: BTreeMap::new(),
            leaving: Vec::new(),
            clock: 0,
            totals: Totals::default(),
        };
        Self { room, idle_bytes, inner: Mutex::new(inner), loaded: Condvar::new() }
    }

    /// Takes in `key`, made of `needs`, read from `source` into about `bytes`; a known key is read
    /// from the newer source from then on. What is in memory stays as it is.
    ///
    /// # Errors
    /// The first of `needs` that is not registered; nothing is changed then.
    pub(crate) fn insert(&self, key: K, source: S, bytes: usize, needs: &[K]) -> Result<(), K> {
        let mut inner = self.lock();
        if let Some(missing) = needs.iter().find(|need| !inner.entries.contains_key(*need)) {
            return Err(*missing);
        }
        if let Some(entry) = inner.entries.get_mut(&key) {
            (entry.source, entry.bytes) = (source, bytes);
            return Ok(());
        }
        for need in needs {
            if let Some(entry) = inner.entries.get_mut(need) {
                entry.needed += 1;
            }
        }
        let needs = needs.to_vec();
        let entry = Entry { source, bytes, needs, needed: 0, held: None, used: 0, facts: Facts::default() };
        inner.entries.insert(key, entry);
        inner.totals.registered += 1;
        Ok(())
    }

    /// Unregisters `key` and its names. Its memory is free after its last user has dropped the
    /// value.
    ///
    /// # Errors
    /// [`Kept`], naming why; nothing is changed then.
    pub(crate) fn remove(&self, key: K) -> Result<(), Kept> {
        let mut inner = self.lock();
        match inner.entries.get(&key).map(|entry| entry.needed) {
            None => return Err(Kept::Unknown),
            Some(0) => {}
            Some(needed) => return Err(Kept::Needed(needed)),
        }
        let Some(entry) = inner.entries.remove(&key) else { return Err(Kept::Unknown) };
        for need in &entry.needs {
            if let Some(entry) = inner.entries.get_mut(need) {
                entry.needed -= 1;
            }
        }
        inner.totals.registered -= 1;
        inner.recent.remove(&entry.used);
        inner.leaving.extend(entry.held);
        inner.sweep();
        inner.names.retain(|_, (_, named)| *named != key);
        Ok(())
    }

    /// The value, from memory or by `load`. It stays in memory while the `Arc` is held.
    ///
    /// # Errors
    /// [`Miss`], naming why.
    pub(crate) fn get<E>(&self, key: K, load: impl FnOnce(&S) -> Result<V, E>) -> Result<Arc<V>, Miss<E>> {
        let mut inner = self.lock();
        let (source, bytes) = loop {
            if let Some(value) = inner.touch(key) {
                return Ok(value);
            }
            let entry = inner.entries.get(&key).ok_or(Miss::Unknown)?;
            let found = (entry.source.clone(), entry.bytes);
            if inner.loading.insert(key) {
                break found;
            }
            inner = self.loaded.wait(inner).unwrap_or_else(PoisonError::into_inner);
        };
        drop(inner);
        let loading = Loading { cache: self, key };
        let mut lease = self.lease(bytes).ok_or(Miss::NoRoom(bytes))?;
        let value = load(&source).map_err(Miss::Load)?;
        let bytes = if value.bytes() > bytes {
            drop(lease);
            lease = self.lease(value.bytes()).ok_or(Miss::NoRoom(value.bytes()))?;
            value.bytes()
        } else {
            bytes
        };
        let value = Arc::new(value);
        let mut inner = self.lock();
        inner.hold(key, Held { value: Arc::clone(&value), bytes, _lease: lease });
        inner.evict_to(self.idle_bytes);
        drop(inner);
        drop(loading);
        Ok(value)
    }

    /// The value if it is in memory.
    pub(crate) fn get_resident(&self, key: K) -> Option<Arc<V>> {
        self.lock().touch(key)
    }

    /// Takes in a value that was read elsewhere and is paid by `lease`, and gives what to use: the
    /// one in memory if there is one meanwhile.
    pub(crate) fn put(&self, key: K, value: V, lease: R::Lease) -> Arc<V> {
        let mut inner = self.lock();
        if let Some(known) = inner.touch(key) {
            drop(inner);
            drop(value);
            drop(lease);
            return known;
        }
        let value = Arc::new(value);
        let held = Held { value: Arc::clone(&value), bytes: value.bytes(), _lease: lease };
        if inner.loading.contains(&key) {
            // What is being read stays; this one goes with its holder.
            inner.totals.resident_bytes += held.bytes;
            inner.leaving.push(held);
        } else {
            inner.hold(key, held);
        }
        inner.evict_to(self.idle_bytes);
        value
    }

    /// Evicts the least recently used idle value; `false` when there is none.
    pub(crate) fn evict_one(&self) -> bool {
        let mut inner = self.lock();
        inner.sweep() || inner.evict_one()
    }

    /// Releases idle memory; to be called after a user has dropped its value.
    pub(crate) fn release(&self) {
        let mut inner = self.lock();
        inner.sweep();
        inner.evict_to(self.idle_bytes);
    }

    /// Memory for a value of `bytes`; idle values are evicted for it.
    fn lease(&self, bytes: usize) -> Option<R::Lease> {
        loop {
            if let Some(lease) = self.room.take(bytes) {
                return Some(lease);
            }
            if !self.evict_one() {
                // Another thread may have evicted the last one since: it did so under the lock that
                // was just taken.
                return self.room.take(bytes);
            }
        }
    }

    /// Points `name` to `key` as a new generation and gives its number. With `expected`, only if
    /// the name is at that generation now (0: does not exist yet).
    ///
    /// # Errors
    /// [`Unmoved`], naming why.
    pub(crate) fn point(&self, name: &str, key: K, expected: Option<u64>) -> Result<u64, Unmoved> {
        let mut inner = self.lock();
        if !inner.entries.contains_key(&key) {
            return Err(Unmoved::Unknown);
        }
        let found = inner.names.get(name).map_or(0, |(generation, _)| *generation);
        if expected.is_some_and(|expected| expected != found) {
            return Err(Unmoved::At(found));
        }
        inner.names.insert(name.to_owned(), (found + 1, key));
        Ok(found + 1)
    }

    /// Generation and key of `name`, and whether its value is in memory.
    pub(crate) fn named(&self, name: &str) -> Option<(u64, K, bool)> {
        let inner = self.lock();
        inner.names.get(name).map(|(generation, key)| (*generation, *key, inner.is_resident(*key)))
    }

    /// All names in order, each as [`Residency::named`] gives it.
    pub(crate) fn names(&self) -> Vec<(String, u64, K, bool)> {
        let inner = self.lock();
        let row = |(name, (generation, key)): (&String, &(u64, K))| {
            (name.clone(), *generation, *key, inner.is_resident(*key))
        };
        inner.names.iter().map(row).collect()
    }

    /// Where `key` is read from.
    pub(crate) fn source(&self, key: K) -> Option<S> {
        self.lock().entries.get(&key).map(|entry| entry.source.clone())
    }

    /// What is known of `key`.
    pub(crate) fn facts(&self, key: K) -> Option<Facts> {
        self.lock().entries.get(&key).map(Entry::facts)
    }

    /// What is known of each key in memory, least recently used first.
    pub(crate) fn resident(&self) -> Vec<(K, Facts)> {
        let inner = self.lock();
        let row = |key: &K| Some((*key, inner.entries.get(key)?.facts()));
        inner.recent.values().filter_map(row).collect()
    }

    /// Sums over all keys.
    pub(crate) fn totals(&self) -> Totals {
        let inner = self.lock();
        Totals { resident: inner.recent.len(), ..inner.totals }
    }
}

impl<K, S, V, L> Entry<K, S, V, L> {
    fn facts(&self) -> Facts {
        Facts { resident: self.held.is_some(), bytes: self.bytes, ..self.facts }
    }
}

impl<K: Ord + Copy, S, V, L> Inner<K, S, V, L> {
    fn is_resident(&self, key: K) -> bool {
        self.entries.get(&key).is_some_and(|entry| entry.held.is_some())
    }

    /// The value if it is in memory, now the most recent.
    fn touch(&mut self, key: K) -> Option<Arc<V>> {
        let entry = self.entries.get_mut(&key)?;
        let value = Arc::clone(&entry.held.as_ref()?.value);
        self.clock += 1;
        self.recent.remove(&entry.used);
        entry.used = self.clock;
        self.recent.insert(self.clock, key);
        entry.facts.hits += 1;
        self.totals.hits += 1;
        Some(value)
    }

    /// Keeps a value that was read in memory. A caller that already holds an unregistered value
    /// keeps it until it is dropped.
    fn hold(&mut self, key: K, held: Held<V, L>) {
        self.totals.resident_bytes += held.bytes;
        let Some(entry) = self.entries.get_mut(&key) else { return self.leaving.push(held) };
        self.clock += 1;
        self.recent.remove(&entry.used);
        entry.used = self.clock;
        self.recent.insert(self.clock, key);
        entry.bytes = held.bytes;
        entry.held = Some(held);
        entry.facts.loads += 1;
        self.totals.loads += 1;
    }

    /// Drops unregistered values whose last user has dropped them; whether there were any.
    fn sweep(&mut self) -> bool {
        let before = self.leaving.len();
        let bytes = &mut self.totals.resident_bytes;
        self.leaving.retain(|held| {
            // RequestOptions once: its last holder may end meanwhile.
            let idle = held.is_idle();
            *bytes -= if idle { held.bytes } else { 0 };
            !idle
        });
        self.leaving.len() < before
    }

    /// Evicts the least recently used idle value; `false` when there is none.
    fn evict_one(&mut self) -> bool {
        let idle = |key: &K| self.entries.get(key).and_then(|e| e.held.as_ref()).is_some_and(Held::is_idle);
        let Some((used, key)) = self.recent.iter().find(|(_, key)| idle(key)).map(|(used, key)| (*used, *key)) else {
            return false;
        };
        self.recent.remove(&used);
        let Some(entry) = self.entries.get_mut(&key) else { return false };
        self.totals.resident_bytes -= entry.held.take().map_or(0, |held| held.bytes);
        entry.facts.evictions += 1;
        self.totals.evictions += 1;
        true
    }

    /// Evicts idle values, least recently used first, until the rest fits.
    fn evict_to(&mut self, bytes: usize) {
        while self.totals.resident_bytes > bytes && self.evict_one() {}
    }
}
