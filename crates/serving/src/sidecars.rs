//! A folder of packed adapters beside the originals, so that a cold adapter is mapped instead of
//! read and packed again, and an index that knows unchanged originals without hashing them.
//!
//! ```text
//! <folder>/<start of the base's hash>/<adapter's hash>.packed    mapped by content
//! <folder>/<start of the base's hash>/index.jsonl                path and stamp of an original → its hash; last line wins
//! ```
//!
//! # Invariants
//!
//! - **The original decides.** A packed file is used only while the original carries the stamp it
//!   was packed under.
//! - **Private to its owner.** An account with write access could forge the adapters' answers:
//!   checksums find accidents, not forgeries. The folder is made with mode 0700, and one that
//!   others own or may write is refused.
//! - **It may vanish.** A missing, cut or damaged file counts as absent and is packed again; the
//!   folder can be emptied at any time. Nothing else removes files from it.
//!
//! Not here: what an adapter is (`adapters`), the form of packed files (`engine`).

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use openledger_engine::{LoadError, Lora, Model};
use openledger_protocol::{AdapterHash, B256};
use serde::{Deserialize, Serialize};

/// Files that changed less than this ago may change again without a new stamp: clocks of file
/// systems are coarse.
const FRESH_NANOS: i64 = 2_000_000_000;
/// Number of index lines from which the index is rewritten when more than half are obsolete.
const COMPACT_FROM: usize = 1024;

/// The stamp that shows that a PEFT folder is unchanged: of each file its length, times of last
/// change (contents, then anything) and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp([[i64; 4]; 2]);

impl Stamp {
    /// The stamp of the adapter in `dir`; `None` when it is not whole.
    pub(crate) fn of(dir: &Path) -> Option<Self> {
        let file = |name: &str| -> Option<[i64; 4]> {
            let metadata = std::fs::metadata(dir.join(name)).ok()?;
            let nanos = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
            let times =
                [nanos(metadata.mtime(), metadata.mtime_nsec()), nanos(metadata.ctime(), metadata.ctime_nsec())];
            Some([i64::try_from(metadata.len()).ok()?, times[0], times[1], metadata.ino().cast_signed()])
        };
        Some(Self([file("adapter_config.json")?, file("adapter_model.safetensors")?]))
    }

    /// Whether a further change would certainly give another stamp, at `now` (Unix nanoseconds).
    fn is_settled(&self, now: i64) -> bool {
        self.0.iter().all(|[_, written, changed, _]| now.saturating_sub(*written.max(changed)) > FRESH_NANOS)
    }
}

/// A line of the index.
#[derive(Serialize, Deserialize)]
struct Line {
    path: String,
    stamp: Stamp,
    adapter: AdapterHash,
    bytes: usize,
}

/// The packed adapters of one base.
pub(crate) struct Sidecars {
    dir: PathBuf,
    index: Mutex<Index>,
}

struct Index {
    file: File,
    by_path: BTreeMap<String, (Stamp, AdapterHash, usize)>,
}

impl Sidecars {
    /// Those of the base of hash `base` in `folder`, which is made if need be.
    ///
    /// # Errors
    /// [`LoadError::Io`] when the folder cannot be made or written; [`LoadError::Unsupported`] when
    /// others own it or may write it.
    pub(crate) fn open(folder: &Path, base: B256) -> Result<Self, LoadError> {
        let dir = folder.join(&base.to_string()[2..18]);
        let io = |source| LoadError::Io { path: dir.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(io)?;
        let path = dir.join("index.jsonl");
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&path).map_err(io)?;
        let own = own_id(&dir).map_err(io)?;
        for place in [folder, &dir, &path] {
            let metadata = std::fs::metadata(place).map_err(io)?;
            if let Some(why) = not_ours(&metadata, own) {
                let what = format!("`{}` as a cache of adapters: {why}", place.display());
                return Err(LoadError::Unsupported { what });
            }
        }
        let mut index = Index { file, by_path: BTreeMap::new() };
        let lines = index.read().map_err(io)?;
        if lines >= COMPACT_FROM && lines > 2 * index.by_path.len() {
            index.rewrite(&path).map_err(io)?;
        }
        Ok(Self { dir, index: Mutex::new(index) })
    }

    /// Hash and bytes in memory of the adapter in folder `path`, if it was hashed under that stamp.
    pub(crate) fn known(&self, path: &Path, stamp: &Stamp) -> Option<(AdapterHash, usize)> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, adapter, bytes) = index.by_path.get(path.to_str()?)?;
        (found == stamp).then_some((*adapter, *bytes))
    }

    /// Records the adapter in folder `path`, unless its files are so fresh that a change could go
    /// unseen.
    ///
    /// An index that cannot be written costs time at the next start and nothing else.
    pub(crate) fn remember(&self, path: &Path, stamp: Stamp, adapter: AdapterHash, bytes: usize) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        if !stamp.is_settled(i64::try_from(now).unwrap_or(0)) {
            return;
        }
        let Some(path) = path.to_str() else { return };
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.by_path.get(path) == Some(&(stamp, adapter, bytes)) {
            return;
        }
        index.by_path.insert(path.to_owned(), (stamp, adapter, bytes));
        if let Err(error) = index.append(&Line { path: path.to_owned(), stamp, adapter, bytes }) {
            tracing::warn!(%error, dir = %self.dir.display(), "the index of adapters could not be written");
        }
    }

    /// The adapter whose numbers have that hash, if its packed file is whole and fits `model`.
    pub(crate) fn map(&self, numbers: B256, model: &Model) -> Option<Lora> {
        Lora::map_packed(&self.path(numbers), model, numbers.0)
    }

    /// As [`Sidecars::map`], at once and unchecked ([`Lora::map_unread`]).
    pub(crate) fn map_unread(&self, numbers: B256, model: &Model) -> Option<Lora> {
        Lora::map_unread(&self.path(numbers), model, numbers.0)
    }

    /// Packs `lora` into its file, if that is not there, and gives it mapped from there; as it is
    /// when that does not work.
    pub(crate) fn pack(&self, lora: Lora, model: &Model) -> Lora {
        let numbers = B256::from(lora.hash());
        if let Some(mapped) = self.map(numbers, model) {
            return mapped;
        }
        if let Err(error) = lora.write_packed(&self.path(numbers)) {
            tracing::warn!(%error, "an adapter could not be kept packed; it is read in full each time");
            return lora;
        }
        self.map(numbers, model).unwrap_or(lora)
    }

    fn path(&self, numbers: B256) -> PathBuf {
        self.dir.join(format!("{}.packed", &numbers.to_string()[2..]))
    }
}

impl Index {
    /// Reads all lines; cut or damaged ones are skipped. Gives their number.
    fn read(&mut self) -> std::io::Result<usize> {
        let mut lines = 0;
        for line in BufReader::new(&self.file).split(b'\n') {
            lines += 1;
            if let Ok(Line { path, stamp, adapter, bytes }) = serde_json::from_slice(&line?) {
                self.by_path.insert(path, (stamp, adapter, bytes));
            }
        }
        Ok(lines)
    }

    /// Writes one line at once, so that another process that appends does not mix with it.
    fn append(&mut self, line: &Line) -> std::io::Result<()> {
        // In front, so that a line which was cut by a crash spoils no other.
        let mut text = b"\n".to_vec();
        serde_json::to_writer(&mut text, line)?;
        self.file.write_all(&text)
    }

    /// Rewrites the index, whole or not at all. Folders that another process appends meanwhile are
    /// hashed again later.
    fn rewrite(&mut self, path: &Path) -> std::io::Result<()> {
        let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut options = OpenOptions::new();
        self.file = options.append(true).create_new(true).mode(0o600).open(&unfinished)?;
        let mut text = Vec::new();
        for (path, (stamp, adapter, bytes)) in &self.by_path {
            text.push(b'\n');
            let line = Line { path: path.clone(), stamp: *stamp, adapter: *adapter, bytes: *bytes };
            serde_json::to_writer(&mut text, &line)?;
        }
        self.file.write_all(&text)?;
        std::fs::rename(&unfinished, path)
    }
}

/// The account that owns files this process makes in `dir`.
fn own_id(dir: &Path) -> std::io::Result<u32> {
    let probe = dir.join(format!("owner-{}.tmp", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe);
    let id = match &made {
        // Another store of this process is looking, or one that was killed left it.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => std::fs::metadata(&probe)?.uid(),
        Err(_) => made?.metadata()?.uid(),
        Ok(file) => file.metadata()?.uid(),
    };
    // It may be gone already, which is what is wanted.
    let _ = std::fs::remove_file(&probe);
    Ok(id)
}

/// Why a file or folder must not be trusted.
fn not_ours(metadata: &Metadata, own: u32) -> Option<String> {
    let mode = metadata.mode() & 0o777;
    if metadata.uid() != own {
        return Some(format!("it belongs to user {}, this process runs as {own}", metadata.uid()));
    }
    (mode & 0o022 != 0).then(|| format!("others may write it (mode {mode:o}); take that away with `chmod go-w`"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn stamp(at: i64) -> Stamp {
        Stamp([[10, at, at, 7], [20, at, at, 8]])
    }

    fn open(dir: &Path) -> Result<Sidecars, LoadError> {
        Sidecars::open(dir, B256::repeat_byte(1))
    }

    #[test]
    fn what_was_hashed_is_known_again_until_its_stamp_changes() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("cache");
        let (one, two) = (AdapterHash(B256::repeat_byte(2)), AdapterHash(B256::repeat_byte(3)));
        let path = Path::new("/adapters/owls");
        let own = open(&dir).unwrap();
        assert_eq!(std::fs::metadata(&own.dir).unwrap().mode() & 0o777, 0o700);
        own.remember(path, stamp(5), one, 100);
        assert_eq!(own.known(path, &stamp(5)), Some((one, 100)));
        assert_eq!(own.known(path, &stamp(6)), None);
        own.remember(path, stamp(6), two, 101);
        let again = open(&dir).unwrap();
        assert_eq!((again.known(path, &stamp(5)), again.known(path, &stamp(6))), (None, Some((two, 101))));
        assert_eq!(Sidecars::open(&dir, B256::repeat_byte(9)).unwrap().known(path, &stamp(6)), None, "another base");
    }

    #[test]
    fn a_fresh_file_is_not_remembered() {
        let tmp = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        let own = open(tmp.path()).unwrap();
        own.remember(Path::new("/a"), stamp(now), AdapterHash(B256::ZERO), 1);
        own.remember(Path::new("/b"), stamp(now + 1_000_000_000_000), AdapterHash(B256::ZERO), 1);
        assert!(
            own.known(Path::new("/a"), &stamp(now)).is_none()
                && open(tmp.path()).unwrap().index.lock().unwrap().by_path.is_empty()
        );
    }

    #[test]
    fn damaged_lines_say_nothing_and_a_long_history_is_cut() {
        let tmp = tempfile::tempdir().unwrap();
        let own = open(tmp.path()).unwrap();
        for at in 0..3000 {
            own.remember(Path::new("/a"), stamp(at), AdapterHash(B256::ZERO), 1);
        }
        let index = own.dir.join("index.jsonl");
        own.index.lock().unwrap().file.write_all(b"\n{\"path\":\"/b\",\"st").unwrap();
        own.remember(Path::new("/c"), stamp(1), AdapterHash(B256::ZERO), 1);
        let before = std::fs::metadata(&index).unwrap().len();
        let again = open(tmp.path()).unwrap();
        assert!(std::fs::metadata(&index).unwrap().len() < before / 100);
        again.remember(Path::new("/d"), stamp(1), AdapterHash(B256::ZERO), 1);
        let last = open(tmp.path()).unwrap();
        for (path, at) in [("/a", 2999), ("/c", 1), ("/d", 1)] {
            assert!(last.known(Path::new(path), &stamp(at)).is_some(), "{path}");
        }
        assert!(last.known(Path::new("/b"), &stamp(1)).is_none());
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused_by_name() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::set_permissions(tmp.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = open(tmp.path()).err().unwrap().to_string();
        assert!(error.contains("others may write it (mode 777)"), "{error}");
    }
}
