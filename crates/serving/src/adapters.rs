//! Adapters by content hash: their folders, which are in memory, and their aliases.
//!
//! # Invariants
//!
//! - **Content is identity.** An adapter is known by its hash, checked when it is taken in and
//!   whenever its files may have changed since; a folder that changed is refused, never served
//!   under the old hash.
//! - **Registered is not resident.** Taking an adapter in reads it once and keeps nothing of it in
//!   memory; with a folder for packed adapters ([`AdapterStore::keep_packed_in`]) it is not even
//!   read when it was hashed before and has not changed.
//! - **Ensembles are adapters.** An [`Ensemble`] answers under its own hash; while it is registered
//!   its members are, so that it can be made again. While it runs it has its members' numbers in
//!   memory of its own.
//! - **Aliases have generations.** Moving one makes a new generation; a request that resolved it
//!   before keeps its adapter.
//!
//! `residency` does memory, eviction and waiting, `sidecars` packed files. Not here: permission to
//! register or move (`node`).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use openledger_engine::{Lease, LoadError, Lora, Model};
use openledger_protocol::{AdapterHash, B256};

use crate::ensemble::Ensemble;
use crate::error::ServeError;
use crate::memory::Memory;
use crate::names::check_adapter_name;
use crate::residency::{Kept, Miss, Residency, Room, Unmoved, Weigh};
use crate::sidecars::{Sidecars, Stamp};

/// A name at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: String,
    /// How often it was set: from 1.
    pub generation: u64,
    /// What it points to.
    pub adapter: AdapterHash,
    /// Whether that is in memory.
    pub resident: bool,
}

/// What is known of one adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterStats {
    /// The adapter.
    pub adapter: AdapterHash,
    /// Whether it is in memory.
    pub resident: bool,
    /// Bytes it takes there.
    pub bytes: usize,
    /// Requests that found it in memory.
    pub hits: u64,
    /// Times it came into memory.
    pub loads: u64,
    /// Times it left memory.
    pub evictions: u64,
}

/// What is known of the store; kept as it changes, so that asking costs the same however many
/// adapters there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStats {
    /// Adapters and ensembles that are known.
    pub registered: usize,
    /// How many of them are in memory.
    pub resident: usize,
    /// Bytes of all adapters in memory, those in use included.
    pub resident_bytes: usize,
    /// The budget of idle ones.
    pub budget_bytes: usize,
    /// Requests that found their adapter in memory.
    pub hits: u64,
    /// Times an adapter came into memory.
    pub loads: u64,
    /// Times one left it.
    pub evictions: u64,
    /// Times an original was read and hashed.
    pub originals_read: u64,
}

/// The adapters of one base.
pub struct AdapterStore {
    model: Arc<Model>,
    memory: Arc<Memory>,
    budget_bytes: usize,
    residency: Residency<AdapterHash, Arc<Source>, Lora, Arc<Memory>>,
    sidecars: OnceLock<Sidecars>,
    originals_read: AtomicU64,
}

/// What an adapter is read from.
enum Source {
    Folder(Folder),
    Ensemble {
        ensemble: Ensemble,
        /// Hash of its numbers, which its packed file is known by.
        numbers: B256,
    },
}

/// A PEFT folder.
struct Folder {
    path: PathBuf,
    /// Under which it was hashed; `None` when it changed meanwhile.
    stamp: Mutex<Option<Stamp>>,
}

impl Folder {
    fn stamp(&self) -> Option<Stamp> {
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room for Arc<Memory> {
    type Lease = openledger_engine::Lease;

    fn take(&self, bytes: usize) -> Option<Self::Lease> {
        Memory::take(self, bytes)
    }
}

impl Weigh for Lora {
    fn bytes(&self) -> usize {
        Lora::bytes(self)
    }
}

impl AdapterStore {
    /// An empty store for adapters of `model`; keeps about `budget_bytes` of idle ones in memory,
    /// and takes the bytes of all from `memory`.
    pub(crate) fn new(model: Arc<Model>, memory: Arc<Memory>, budget_bytes: usize) -> Self {
        let residency = Residency::new(Arc::clone(&memory), budget_bytes);
        Self { model, memory, budget_bytes, residency, sidecars: OnceLock::new(), originals_read: AtomicU64::new(0) }
    }

    /// Keeps packed adapters in `folder` (made if need be) from now on: cold ones are mapped from
    /// there in a millisecond or two, and those that were hashed before and have not changed are
    /// taken in without reading them.
    ///
    /// An account with write access to this folder can forge the adapters' answers. The folder
    /// grows with every adapter registered and may be emptied at any time. A second call changes
    /// nothing.
    ///
    /// # Errors
    /// [`ServeError::Load`] when the folder cannot be used, or others own or may write it.
    pub fn keep_packed_in(&self, folder: &Path) -> Result<(), ServeError> {
        let sidecars = Sidecars::open(folder, B256::from(self.model.hash()))?;
        let _ = self.sidecars.set(sidecars);
        Ok(())
    }

    /// Takes in the PEFT folder `dir` and gives its hash; taking in the same content twice is the
    /// same adapter, read from the newer folder from then on. What is in memory stays as it is.
    ///
    /// # Errors
    /// [`ServeError::Load`] when the folder is not a whole adapter for this base.
    pub fn register(&self, dir: &Path) -> Result<AdapterHash, ServeError> {
        let path = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let known = self.sidecars.get().zip(Stamp::of(&path));
        let known = known.and_then(|(sidecars, stamp)| Some((stamp, sidecars.known(&path, &stamp)?)));
        let (stamp, hash, bytes) = match known {
            Some((stamp, (hash, bytes))) => (Some(stamp), hash, bytes),
            None => {
                let (lora, hash, stamp) = self.read(&path)?;
                (stamp, hash, lora.bytes())
            }
        };
        let folder = Folder { path, stamp: Mutex::new(stamp) };
        // It needs no others, so that none can be missing.
        let _ = self.residency.insert(hash, Arc::new(Source::Folder(folder)), bytes, &[]);
        Ok(hash)
    }

    /// Takes in an ensemble of registered adapters and gives its hash. Its members stay registered
    /// while it is.
    ///
    /// # Errors
    /// [`ServeError::NotFound`] when a member is not registered, [`ServeError::BadRequest`] about
    /// `members` when one is an ensemble itself or their ranks sum beyond the engine's limit,
    /// [`ServeError::Load`] and [`ServeError::Changed`] when one cannot be read.
    pub fn register_ensemble(&self, ensemble: Ensemble) -> Result<AdapterHash, ServeError> {
        let hash = ensemble.hash();
        if self.contains(hash) {
            return Ok(hash);
        }
        let lora = self.assemble(&ensemble)?;
        let (numbers, bytes) = (B256::from(lora.hash()), lora.bytes());
        let members: Vec<AdapterHash> = ensemble.members().iter().map(|member| member.adapter).collect();
        let source = Arc::new(Source::Ensemble { ensemble, numbers });
        self.residency.insert(hash, source, bytes, &members).map_err(not_found)?;
        Ok(hash)
    }

    /// Unregisters an adapter or ensemble and its aliases. Its memory is free after its last user
    /// has dropped it.
    ///
    /// # Errors
    /// [`ServeError::NotFound`], or [`ServeError::Needed`] when an ensemble is made of it.
    pub fn unregister(&self, hash: AdapterHash) -> Result<(), ServeError> {
        self.residency.remove(hash).map_err(|kept| match kept {
            Kept::Unknown => not_found(hash),
            Kept::Needed(ensembles) => ServeError::Needed { adapter: hash, ensembles },
        })
    }

    /// The adapter, from memory or from disk. It stays in memory while the `Arc` is held.
    ///
    /// # Errors
    /// [`ServeError::NotFound`] when it was never registered, [`ServeError::Load`] and
    /// [`ServeError::Changed`] when its folder no longer holds it, [`ServeError::NoRoom`] when what
    /// is in use leaves no memory for it.
    pub fn get(&self, hash: AdapterHash) -> Result<Arc<Lora>, ServeError> {
        self.residency.get(hash, |source| self.open(hash, source)).map_err(|miss| match miss {
            Miss::Unknown => not_found(hash),
            Miss::NoRoom(needed) => {
                let budget = self.memory.budget();
                ServeError::NoRoom { needed, used: budget.used(), budget: budget.limit() }
            }
            Miss::Load(error) => error,
        })
    }

    /// The adapter if it is in memory.
    pub(crate) fn get_resident(&self, hash: AdapterHash) -> Option<Arc<Lora>> {
        self.residency.get_resident(hash)
    }

    /// Whether the adapter is in memory.
    pub(crate) fn is_resident(&self, hash: AdapterHash) -> bool {
        self.residency.facts(hash).is_some_and(|facts| facts.resident)
    }

    /// Bytes that the adapter takes in memory.
    pub(crate) fn bytes(&self, hash: AdapterHash) -> Option<usize> {
        self.residency.facts(hash).map(|facts| facts.bytes)
    }

    /// Evicts the least recently used idle adapter; `false` when there is none.
    pub(crate) fn evict_one(&self) -> bool {
        self.residency.evict_one()
    }

    /// Evicts idle adapters beyond the budget, least recently used first. To be called after an
    /// adapter that [`AdapterStore::get`] gave was dropped; requests do so at their end.
    pub fn release(&self) {
        self.residency.release();
    }

    /// Takes in every folder in `root` that holds an `adapter_config.json`, in order of names, each
    /// under its folder's name as alias; gives the result of each.
    ///
    /// # Errors
    /// [`std::io::Error`] when `root` cannot be listed. A folder that is refused does not keep the
    /// others out.
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

    /// Points `name` to `adapter` as a new generation. With `expected`, only if the alias is at
    /// that generation now (0: does not exist yet).
    ///
    /// # Errors
    /// [`ServeError::NotFound`] when the adapter is not registered, [`ServeError::BadRequest`] when
    /// the name could be taken for a hash, [`ServeError::AliasMoved`] when it is not at `expected`.
    pub fn set_alias(&self, name: &str, adapter: AdapterHash, expected: Option<u64>) -> Result<Alias, ServeError> {
        // Which name the base has is checked where that is known.
        check_adapter_name(name, "")?;
        let generation = self.residency.point(name, adapter, expected).map_err(|unmoved| match unmoved {
            Unmoved::Unknown => not_found(adapter),
            Unmoved::At(found) => {
                ServeError::AliasMoved { alias: name.to_owned(), expected: expected.unwrap_or(found), found }
            }
        })?;
        Ok(Alias { name: name.to_owned(), generation, adapter, resident: self.is_resident(adapter) })
    }

    /// What `name` points to now.
    #[must_use]
    pub fn alias(&self, name: &str) -> Option<Alias> {
        let (generation, adapter, resident) = self.residency.named(name)?;
        Some(Alias { name: name.to_owned(), generation, adapter, resident })
    }

    /// All aliases by name.
    #[must_use]
    pub fn aliases(&self) -> Vec<Alias> {
        let alias = |(name, generation, adapter, resident)| Alias { name, generation, adapter, resident };
        self.residency.names().into_iter().map(alias).collect()
    }

    /// Whether `hash` is registered.
    #[must_use]
    pub fn contains(&self, hash: AdapterHash) -> bool {
        self.residency.facts(hash).is_some()
    }

    /// The ensemble of that hash, if it is one.
    #[must_use]
    pub fn ensemble(&self, hash: AdapterHash) -> Option<Ensemble> {
        match &*self.residency.source(hash)? {
            Source::Ensemble { ensemble, .. } => Some(ensemble.clone()),
            Source::Folder(_) => None,
        }
    }

    /// How many adapters there are and how they are used.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let totals = self.residency.totals();
        StoreStats {
            registered: totals.registered,
            resident: totals.resident,
            resident_bytes: totals.resident_bytes,
            budget_bytes: self.budget_bytes,
            hits: totals.hits,
            loads: totals.loads,
            evictions: totals.evictions,
            originals_read: self.originals_read.load(Ordering::Relaxed),
        }
    }

    /// What is known of one adapter.
    #[must_use]
    pub fn stats_of(&self, adapter: AdapterHash) -> Option<AdapterStats> {
        self.residency.facts(adapter).map(|facts| stats(adapter, facts))
    }

    /// What is known of each adapter in memory, least recently used first.
    #[must_use]
    pub fn resident(&self) -> Vec<AdapterStats> {
        self.residency.resident().into_iter().map(|(adapter, facts)| stats(adapter, facts)).collect()
    }

    /// The adapter as [`Lora::map_unread`] gives it, if there is a packed file. The caller checks
    /// [`Lora::is_whole`] before it shows a result, and then passes the adapter to
    /// [`AdapterStore::adopt`].
    pub(crate) fn map_unread(&self, hash: AdapterHash) -> Option<Lora> {
        let (sidecars, numbers) = self.sidecar(hash, &*self.residency.source(hash)?)?;
        sidecars.map_unread(numbers, &self.model)
    }

    /// Keeps a whole adapter that was mapped unread and is paid by `lease`; gives what to use, as
    /// [`AdapterStore::get`] does.
    pub(crate) fn adopt(&self, hash: AdapterHash, lora: Lora, lease: Lease) -> Arc<Lora> {
        self.residency.put(hash, lora, lease)
    }

    /// The folder of packed adapters, and the hash of the adapter's numbers; `None` when only the
    /// original has them.
    fn sidecar(&self, hash: AdapterHash, source: &Source) -> Option<(&Sidecars, B256)> {
        let numbers = match source {
            Source::Folder(folder) => (Stamp::of(&folder.path)? == folder.stamp()?).then_some(hash.0)?,
            Source::Ensemble { numbers, .. } => *numbers,
        };
        Some((self.sidecars.get()?, numbers))
    }

    /// Brings an adapter into memory: mapped if its files are as they were, else read or made
    /// again.
    fn open(&self, hash: AdapterHash, source: &Source) -> Result<Lora, ServeError> {
        let sidecar = self.sidecar(hash, source);
        if let Some(lora) = sidecar.and_then(|(sidecars, numbers)| sidecars.map(numbers, &self.model)) {
            return Ok(lora);
        }
        let folder = match source {
            Source::Folder(folder) => folder,
            Source::Ensemble { ensemble, .. } => return self.assemble(ensemble),
        };
        let (lora, found, stamp) = self.read(&folder.path)?;
        if found != hash {
            return Err(ServeError::Changed { path: folder.path.clone(), expected: hash, found });
        }
        *folder.stamp.lock().unwrap_or_else(PoisonError::into_inner) = stamp;
        Ok(lora)
    }

    /// Reads and hashes the adapter in `path`, and keeps it packed; with the stamp of its files if
    /// they stood still.
    fn read(&self, path: &Path) -> Result<(Lora, AdapterHash, Option<Stamp>), ServeError> {
        self.originals_read.fetch_add(1, Ordering::Relaxed);
        let before = Stamp::of(path);
        let lora = self.packed(Lora::load_peft(path, &self.model)?);
        let hash = AdapterHash(B256::from(lora.hash()));
        let stamp = before.filter(|before| Stamp::of(path) == Some(*before));
        if let (Some(sidecars), Some(stamp)) = (self.sidecars.get(), stamp) {
            sidecars.remember(path, stamp, hash, lora.bytes());
        }
        Ok((lora, hash, stamp))
    }

    /// The weighted sum of an ensemble's members. They are read for it one after the other, beside
    /// those in memory.
    fn assemble(&self, ensemble: &Ensemble) -> Result<Lora, ServeError> {
        let mut parts = Vec::with_capacity(ensemble.members().len());
        for member in ensemble.members() {
            let source = self.residency.source(member.adapter).ok_or_else(|| not_found(member.adapter))?;
            match &*source {
                Source::Folder(_) => parts.push((self.open(member.adapter, &source)?, member.weight.factor())),
                Source::Ensemble { .. } => {
                    let reason = format!("names {}, which is an ensemble itself; name its members", member.adapter);
                    return Err(ServeError::BadRequest { param: "members", reason });
                }
            }
        }
        let parts: Vec<(&Lora, f32)> = parts.iter().map(|(lora, weight)| (lora, *weight)).collect();
        let whole = Lora::ensemble(&self.model, &parts).map_err(|error| match error {
            // Members that do not go together are the caller's doing.
            LoadError::Unsupported { what } => {
                ServeError::BadRequest { param: "members", reason: format!("do not go together: {what}") }
            }
            error => error.into(),
        })?;
        Ok(self.packed(whole))
    }

    /// Keeps `lora` packed, where there is a folder for it.
    fn packed(&self, lora: Lora) -> Lora {
        match self.sidecars.get() {
            Some(sidecars) => sidecars.pack(lora, &self.model),
            None => lora,
        }
    }
}

fn stats(adapter: AdapterHash, facts: crate::residency::Facts) -> AdapterStats {
    let crate::residency::Facts { resident, bytes, hits, loads, evictions } = facts;
    AdapterStats { adapter, resident, bytes, hits, loads, evictions }
}

fn not_found(hash: AdapterHash) -> ServeError {
    ServeError::NotFound { model: hash.to_string() }
}
