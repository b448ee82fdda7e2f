//! Files and folders as blobs, with a local cache, so that any node on the same blob store can use them.
//!
//! An artifact is a folder: a list of its files by name, itself a blob, and a blob for each file. What is fetched lies
//! in a cache folder with a budget of bytes.
//!
//! # Invariants
//!
//! - **Verified.** A file is handed out only after its hash was found right; a damaged one is fetched again.
//! - **Whole.** Files and folders enter the cache by a rename, so a crash leaves nothing half done under its name.
//! - **Not taken away.** Nothing is evicted while a [`Fetched`] of it lives; so the cache may exceed its budget then.
//!
//! Not here: which rows name an artifact.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::blobs::{Blobs, blocking, file_error, hash_file};
use crate::error::{Error, Result};
use crate::ids::BlobHash;

/// The format of lists of files.
const FORMAT: &str = "openledger/artifact/v1";

/// The files of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactManifest {
    /// `openledger/artifact/v1`.
    pub format: String,
    /// Each file by its name: a relative path with `/` between folders.
    pub files: BTreeMap<String, ArtifactFile>,
}

/// A file of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactFile {
    /// The blob with its bytes.
    pub hash: BlobHash,
    /// How many bytes.
    pub length: u64,
}

/// Artifacts over a blob store, with a cache. Cheap to clone; clones share the cache.
#[derive(Debug, Clone)]
pub struct Artifacts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    blobs: Blobs,
    folder: PathBuf,
    budget: u64,
    cached: Mutex<Cached>,
}

/// What lies in the cache.
#[derive(Debug, Default)]
struct Cached {
    entries: BTreeMap<Name, Entry>,
    /// Grows with every use, to know the least recently used.
    uses: u64,
}

/// An entry's name: a file or a folder, by hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    File(BlobHash),
    Folder(BlobHash),
}

#[derive(Debug, Default)]
struct Entry {
    length: u64,
    used: u64,
    /// How many [`Fetched`] there are of it.
    holders: usize,
    /// Held while the entry is verified or fetched.
    busy: Arc<tokio::sync::Mutex<()>>,
}

/// A file or folder of the cache, which stays there while this lives.
#[derive(Debug)]
pub struct Fetched {
    inner: Arc<Inner>,
    name: Name,
    path: PathBuf,
}

impl Fetched {
    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for Fetched {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let mut cached = self.inner.cached();
        if let Some(entry) = cached.entries.get_mut(&self.name) {
            entry.holders = entry.holders.saturating_sub(1);
        }
        self.inner.evict(&mut cached);
    }
}

impl Artifacts {
    /// Artifacts over `blobs` with a cache in `folder` (made when missing) of about `budget` bytes. The folder belongs
    /// to one node instance: what a run before left half done is removed.
    ///
    /// # Errors
    ///
    /// [`Error::Folder`] when the folder cannot be made or read.
    pub fn open(blobs: Blobs, folder: &Path, budget: u64) -> Result<Self> {
        let failed = |source| Error::Folder { path: folder.display().to_string(), source };
        let inner = Inner { blobs, folder: folder.to_owned(), budget, cached: Mutex::default() };
        match fs::remove_dir_all(inner.temporary()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        for folder in [inner.temporary(), folder.join("files"), folder.join("folders")] {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        inner.scan().map_err(failed)?;
        inner.evict(&mut inner.cached());
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Stores bytes and names them.
    ///
    /// # Errors
    ///
    /// [`Error::Blob`].
    pub async fn put_bytes(&self, bytes: impl Into<Bytes>) -> Result<BlobHash> {
        self.inner.blobs.put(bytes).await
    }

    /// Stores a file and names its bytes.
    ///
    /// # Errors
    ///
    /// [`Error::File`], [`Error::Corrupt`] when it changed meanwhile, [`Error::Blob`].
    pub async fn put_file(&self, path: &Path) -> Result<BlobHash> {
        self.inner.blobs.put_file(path).await
    }

    /// Stores a folder with all its files and names their list. The same files give the same name.
    ///
    /// # Errors
    ///
    /// As [`Artifacts::put_file`]; [`Error::File`] also for a name that is not UTF-8 and for a link.
    pub async fn put_folder(&self, path: &Path) -> Result<BlobHash> {
        let root = path.to_owned();
        let names = blocking(path, move || {
            let mut names = Vec::new();
            list(&root, "", &mut names)?;
            Ok(names)
        })
        .await?;
        let mut files = BTreeMap::new();
        for name in names {
            let file = path.join(&name);
            let length = fs::metadata(&file).map_err(file_error(&file))?.len();
            files.insert(name, ArtifactFile { hash: self.put_file(&file).await?, length });
        }
        let manifest = ArtifactManifest { format: FORMAT.to_owned(), files };
        self.put_bytes(serde_json::to_vec(&manifest)?).await
    }

    /// The files of an artifact.
    ///
    /// # Errors
    ///
    /// [`Error::BlobMissing`], [`Error::Corrupt`], [`Error::Blob`]; [`Error::BadArtifact`] when the blob is no list of
    /// files, or names one outside the folder.
    pub async fn manifest(&self, hash: BlobHash) -> Result<ArtifactManifest> {
        let bytes = self.inner.blobs.get(hash).await?;
        let bad = |problem: String| Error::BadArtifact { hash, problem };
        let manifest: ArtifactManifest = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(bad(format!("format `{}` is not known", manifest.format)));
        }
        if let Some(name) = manifest.files.keys().find(|name| !is_inside(name)) {
            return Err(bad(format!("`{}` is not a file inside the artifact", name.escape_debug())));
        }
        Ok(manifest)
    }

    /// The file named `hash`, verified; from the blob store unless it is cached whole.
    ///
    /// # Errors
    ///
    /// [`Error::BlobMissing`], [`Error::Corrupt`] when the blob store's bytes are damaged, [`Error::Blob`],
    /// [`Error::File`] when the cache cannot be written.
    pub async fn fetch(&self, hash: BlobHash) -> Result<Fetched> {
        let (fetched, busy) = self.hold(Name::File(hash));
        let _one = busy.lock().await;
        if is_whole(fetched.path(), hash).await {
            return Ok(fetched);
        }
        let temporary = self.inner.new_temporary();
        let length = match self.inner.blobs.get_file(hash, &temporary).await {
            Ok(length) => length,
            Err(error) => {
                fs::remove_file(&temporary).ok();
                self.forget(&fetched);
                return Err(error);
            }
        };
        fs::rename(&temporary, fetched.path()).map_err(file_error(fetched.path()))?;
        self.fetched(fetched, length)
    }

    /// The folder of the artifact named `hash`, each file verified; from the blob store unless it is cached whole.
    ///
    /// # Errors
    ///
    /// As [`Artifacts::manifest`] and [`Artifacts::fetch`].
    pub async fn fetch_folder(&self, hash: BlobHash) -> Result<Fetched> {
        let (fetched, busy) = self.hold(Name::Folder(hash));
        let _one = busy.lock().await;
        let manifest = self.manifest(hash).await.inspect_err(|_| self.forget(&fetched))?;
        let mut whole = fetched.path().is_dir();
        for (name, file) in &manifest.files {
            whole = whole && is_whole(&fetched.path().join(name), file.hash).await;
        }
        if whole {
            return Ok(fetched);
        }
        let temporary = self.inner.new_temporary();
        let length = match self.fetch_files(&manifest, &temporary).await {
            Ok(length) => length,
            Err(error) => {
                fs::remove_dir_all(&temporary).ok();
                self.forget(&fetched);
                return Err(error);
            }
        };
        if fetched.path().exists() {
            // The damaged folder gives way whole.
            let old = self.inner.new_temporary();
            fs::rename(fetched.path(), &old).map_err(file_error(fetched.path()))?;
            fs::remove_dir_all(&old).map_err(file_error(&old))?;
        }
        fs::rename(&temporary, fetched.path()).map_err(file_error(fetched.path()))?;
        self.fetched(fetched, length)
    }

    /// Fetches the files of an artifact into a new folder; gives their length.
    async fn fetch_files(&self, manifest: &ArtifactManifest, folder: &Path) -> Result<u64> {
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        let mut length = 0;
        for (name, file) in &manifest.files {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(file_error(parent))?;
            }
            length += self.inner.blobs.get_file(file.hash, &path).await?;
        }
        Ok(length)
    }

    /// Marks an entry as used and held, whether it is there or not.
    fn hold(&self, name: Name) -> (Fetched, Arc<tokio::sync::Mutex<()>>) {
        let mut cached = self.inner.cached();
        cached.uses += 1;
        let uses = cached.uses;
        let entry = cached.entries.entry(name).or_default();
        (entry.used, entry.holders) = (uses, entry.holders + 1);
        let busy = Arc::clone(&entry.busy);
        (Fetched { inner: Arc::clone(&self.inner), name, path: self.inner.path(name) }, busy)
    }

    /// Takes a new entry into account, and makes room for it.
    fn fetched(&self, fetched: Fetched, length: u64) -> Result<Fetched> {
        let mut cached = self.inner.cached();
        if let Some(entry) = cached.entries.get_mut(&fetched.name) {
            entry.length = length;
        }
        self.inner.evict(&mut cached);
        drop(cached);
        Ok(fetched)
    }

    /// Takes back an entry that could not be fetched.
    fn forget(&self, fetched: &Fetched) {
        let mut cached = self.inner.cached();
        if let Some(entry) = cached.entries.get_mut(&fetched.name) {
            entry.length = 0;
        }
    }
}

impl Inner {
    fn cached(&self) -> MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: Name) -> PathBuf {
        let (kind, hash) = match name {
            Name::File(hash) => ("files", hash),
            Name::Folder(hash) => ("folders", hash),
        };
        self.folder.join(kind).join(alloy_primitives::hex::encode(hash.0))
    }

    fn temporary(&self) -> PathBuf {
        self.folder.join("temporary")
    }

    fn new_temporary(&self) -> PathBuf {
        let mut cached = self.cached();
        cached.uses += 1;
        self.temporary().join(cached.uses.to_string())
    }

    /// Takes up what a run before left in the cache; other names are left alone.
    fn scan(&self) -> std::io::Result<()> {
        let mut cached = self.cached();
        for kind in ["files", "folders"] {
            for found in fs::read_dir(self.folder.join(kind))? {
                let found = found?;
                let hash = found.file_name().to_str().and_then(|name| alloy_primitives::hex::decode(name).ok());
                let Some(hash) = hash.and_then(|hash| crate::ids::B256::try_from(hash.as_slice()).ok()) else {
                    continue;
                };
                let hash = BlobHash(hash);
                let name = if kind == "files" { Name::File(hash) } else { Name::Folder(hash) };
                cached.entries.insert(name, Entry { length: size(&found.path())?, ..Entry::default() });
            }
        }
        Ok(())
    }

    /// Removes entries that nobody holds, least recently used first, until the rest fits the budget.
    fn evict(&self, cached: &mut Cached) {
        let mut total: u64 = cached.entries.values().map(|entry| entry.length).sum();
        let mut free: Vec<(u64, Name)> = cached
            .entries
            .iter()
            .filter(|(_, entry)| entry.holders == 0)
            .map(|(name, entry)| (entry.used, *name))
            .collect();
        free.sort_unstable();
        for (_, name) in free {
            if total <= self.budget {
                return;
            }
            let path = self.path(name);
            let removed = match name {
                Name::File(_) => fs::remove_file(&path),
                Name::Folder(_) => fs::remove_dir_all(&path),
            };
            // A file that cannot be removed still takes its place.
            let gone = removed.map_or_else(|error| error.kind() == std::io::ErrorKind::NotFound, |()| true);
            if gone && let Some(entry) = cached.entries.remove(&name) {
                total = total.saturating_sub(entry.length);
            }
        }
    }
}

/// Whether a cached file is there and has the bytes that its name says.
async fn is_whole(path: &Path, hash: BlobHash) -> bool {
    let file = path.to_owned();
    blocking(path, move || hash_file(&file)).await.is_ok_and(|(found, _)| found == hash)
}

/// Whether a name is a relative path without steps upwards.
fn is_inside(name: &str) -> bool {
    let normal = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    normal && !name.is_empty() && !name.contains(['\\', '\0'])
}

/// Adds the names of all files below `folder`; `prefix` is the name of the folder.
fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) -> std::io::Result<()> {
    let refused = |name: &std::ffi::OsStr, why: &str| {
        std::io::Error::other(format!("`{}{}` {why}", prefix.escape_debug(), name.display()))
    };
    for found in fs::read_dir(folder)? {
        let found = found?;
        let name = found.file_name();
        let text = name.to_str().ok_or_else(|| refused(&name, "is not UTF-8"))?;
        let kind = found.file_type()?;
        if kind.is_dir() {
            list(&found.path(), &format!("{prefix}{text}/"), names)?;
        } else if kind.is_file() {
            names.push(format!("{prefix}{text}"));
        } else {
            return Err(refused(&name, "is neither a file nor a folder"));
        }
    }
    Ok(())
}

/// Bytes of a file, or of all files below a folder.
fn size(path: &Path) -> std::io::Result<u64> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Ok(found.len());
    }
    let mut total = 0;
    for inside in fs::read_dir(path)? {
        total += size(&inside?.path())?;
    }
    Ok(total)
}
