//! Finished pages of keys and values, found again by what they were computed from.
//!
//! Place in the flow: `serving` looks here before it computes a prompt and leaves here what was
//! computed.
//!
//! # Invariants
//!
//! - **The key is the content.** A page is found by a chain of SHA-256 over a root (base hash,
//!   adapter hash and tenant) and all tokens up to its last; so a hit holds the very bits that
//!   computing it would give.
//! - **One tenant.** A page of one tenant is never found for another one, so no tenant learns from
//!   a hit what another one sent.
//! - **No orphans.** A page leaves before the pages it continues, since a look-up that touches it
//!   touches those as well.
//! - **In use is never dropped**, and only whole pages are kept, so nobody ever writes to one.
//!
//! Not here: how much memory there is ([`MemoryBudget`](crate::MemoryBudget)); the caller evicts
//! when it runs out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use crate::kv::{KvCache, KvPage};

type Key = [u8; 32];

/// The root of one tenant's sequences of one base and adapter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvRoot {
    /// Of base and adapter.
    model: Key,
    /// Of base, adapter and tenant.
    key: Key,
}

impl KvRoot {
    /// The root of `tenant`'s sequences.
    pub fn new(base: &[u8; 32], adapter: &[u8; 32], tenant: &str) -> Self {
        let model = model_key(base, adapter);
        Self { model, key: Sha256::new().chain_update(model).chain_update(tenant).finalize().into() }
    }
}

/// The part of a root that all tenants share.
fn model_key(base: &[u8; 32], adapter: &[u8; 32]) -> Key {
    Sha256::new().chain_update(b"openledger/kv/v2\0").chain_update(base).chain_update(adapter).finalize().into()
}

struct Entry {
    page: KvPage,
    /// Base and adapter that it was computed with.
    model: Key,
    /// When it was last touched; pages of one chain share a touch.
    used: u64,
    /// Place in its sequence, from 0.
    depth: usize,
}

/// Full pages by the hash of what they hold.
#[derive(Default)]
pub struct KvPrefixes {
    entries: HashMap<Key, Entry>,
    /// Least recent first; of one touch the deepest first.
    order: BTreeSet<(u64, Reverse<usize>, Key)>,
    clock: u64,
}

impl KvPrefixes {
    /// The pages that begin `ids` under `root`, as many as are here in one piece.
    pub fn find(&mut self, root: &KvRoot, ids: &[u32]) -> Vec<KvPage> {
        self.clock += 1;
        let (mut found, mut key) = (Vec::new(), root.key);
        for (depth, tokens) in ids.chunks_exact(KvCache::PAGE_TOKENS).enumerate() {
            key = next(&key, tokens);
            let Some(entry) = self.entries.get_mut(&key) else { break };
            self.order.remove(&(entry.used, Reverse(depth), key));
            entry.used = self.clock;
            self.order.insert((entry.used, Reverse(depth), key));
            found.push(entry.page.clone());
        }
        found
    }

    /// Keeps the full pages of `cache`, which holds `ids` under `root`; those from page `from` on
    /// are new.
    pub fn keep(&mut self, root: &KvRoot, ids: &[u32], cache: &KvCache, from: usize) {
        self.clock += 1;
        let mut key = root.key;
        for (depth, tokens) in ids.chunks_exact(KvCache::PAGE_TOKENS).enumerate() {
            key = next(&key, tokens);
            let Some(page) = cache.full_page(depth) else { break };
            let known = self.entries.get(&key).map(|entry| entry.used);
            match known {
                // The chain's older pages are touched too, so that they outlive the new ones.
                Some(used) => {
                    self.order.remove(&(used, Reverse(depth), key));
                    if let Some(entry) = self.entries.get_mut(&key) {
                        entry.used = self.clock;
                    }
                }
                None if depth < from => return,
                None => {
                    let entry = Entry { page, model: root.model, used: self.clock, depth };
                    self.entries.insert(key, entry);
                }
            }
            self.order.insert((self.clock, Reverse(depth), key));
        }
    }

    /// Drops the least recently used page that nobody else holds; `false` when there is none.
    pub fn evict_one(&mut self) -> bool {
        let idle = self.order.iter().find(|(_, _, key)| self.entries.get(key).is_some_and(|e| e.page.is_alone()));
        let Some(at) = idle.copied() else { return false };
        self.order.remove(&at);
        self.entries.remove(&at.2);
        true
    }

    /// Drops all pages of a base and adapter, of every tenant; those in use stay with their holders
    /// only.
    pub fn forget(&mut self, base: &[u8; 32], adapter: &[u8; 32]) {
        let model = model_key(base, adapter);
        let gone: BTreeMap<Key, (u64, usize)> =
            self.entries.iter().filter(|(_, e)| e.model == model).map(|(k, e)| (*k, (e.used, e.depth))).collect();
        for (key, (used, depth)) in gone {
            self.order.remove(&(used, Reverse(depth), key));
            self.entries.remove(&key);
        }
    }

    /// Number of pages kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl std::fmt::Debug for KvPrefixes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KvPrefixes").field("pages", &self.len()).finish_non_exhaustive()
    }
}

/// The key of the page that holds `tokens` after the page of `key`.
fn next(key: &Key, tokens: &[u32]) -> Key {
    let mut hash = Sha256::new().chain_update(key);
    for id in tokens {
        hash.update(id.to_le_bytes());
    }
    hash.finalize().into()
}
