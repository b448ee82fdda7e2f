//! Opens the database's folder.
//!
//! **Invariant:** a folder that a newer RocksDB wrote is refused before it is touched. RocksDB
//! reads older folders only, and its own error ("unknown footer version") does not say so.

use std::path::Path;
use std::time::Duration;

use ethrex_storage::{EngineType, Store, StoreConfig};

use super::error::EmbeddedError;

/// Major and minor version of the RocksDB in this program, from the build script.
const ROCKSDB: &str = env!("OPENLEDGER_ROCKSDB");
/// What the database keeps in memory of its files, at most; the storage crate's own bound is made
/// for a server: 12 GiB.
const FILE_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// How long opening waits for a lock, each time.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// How often it waits; after that another process uses the directory.
const LOCK_PAUSES: u32 = 60;

/// Opens the database, waiting a little for one that is just being closed: its threads let go of
/// the lock last.
pub(super) async fn open(dir: &Path) -> Result<Store, EmbeddedError> {
    if let Some(written_by) = written_by(dir)
        && version(&written_by) > version(ROCKSDB)
    {
        return Err(EmbeddedError::NewerDatabase { dir: dir.to_path_buf(), written_by, ours: ROCKSDB });
    }
    let config = StoreConfig { rocksdb_block_cache_size: FILE_CACHE_BYTES, ..StoreConfig::default() };
    let mut pauses = 0;
    loop {
        match Store::new_with_config(dir, EngineType::RocksDB, config) {
            Ok(store) => return Ok(store),
            Err(source) if pauses < LOCK_PAUSES && format!("{source:?}").to_lowercase().contains("lock") => {
                pauses += 1;
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(source) => return Err(EmbeddedError::Open { dir: dir.to_path_buf(), source }),
        }
    }
}

/// Version of the RocksDB that opened the folder last, as its newest `OPTIONS` file names it;
/// `None` for a new folder.
fn written_by(dir: &Path) -> Option<String> {
    let files = std::fs::read_dir(dir).ok()?.flatten();
    let numbered = files.filter_map(|file| {
        let number: u64 = file.file_name().to_str()?.strip_prefix("OPTIONS-")?.parse().ok()?;
        Some((number, file.path()))
    });
    let (_, newest) = numbered.max()?;
    let options = std::fs::read_to_string(newest).ok()?;
    let version = options.lines().find_map(|line| line.trim().strip_prefix("rocksdb_version="))?;
    Some(version.trim().to_owned())
}

/// Major and minor part of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path, number: u32, version: &str) {
        let text = format!("# options\n[Version]\n  rocksdb_version={version}\n  options_file_version=1.1\n");
        std::fs::write(dir.join(format!("OPTIONS-{number:06}")), text).unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_a_newer_rocksdb_wrote_is_refused_by_name_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        options(dir.path(), 9, ROCKSDB);
        options(dir.path(), 12, "99.1.0");
        let refused = open(dir.path()).await.err().unwrap().to_string();
        assert!(refused.contains("RocksDB 99.1.0") && refused.contains(&format!("has {ROCKSDB}")), "{refused}");
        assert!(!dir.path().join("CURRENT").exists());
        // A number is compared, not a text: 99 is later than 100 only as a text.
        options(dir.path(), 100, &format!("{ROCKSDB}.99"));
        drop(open(dir.path()).await.unwrap());
        assert!(dir.path().join("CURRENT").exists());
    }

    #[tokio::test]
    async fn the_database_names_the_version_that_the_build_script_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(written_by(dir.path()), None);
        drop(open(dir.path()).await.unwrap());
        assert_eq!(version(&written_by(dir.path()).unwrap()), version(ROCKSDB));
        assert!(version("10.4.2") > version("7.8.3"));
    }
}
