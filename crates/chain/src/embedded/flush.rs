//! Moves what the database holds in memory to files, now and then.
//!
//! The database keeps its newest writes in memory tables (and in its log, which is what survives a
//! killed process) until they fill tens of megabytes each, so a chain under load would grow by half
//! a kilobyte a transfer for hours. Making a checkpoint, a folder of links to the database's files,
//! is the one way to have the tables written that the storage crate offers while it runs; the
//! folder itself is of no use and goes at once.
//!
//! # Invariants
//!
//! - Blocks do not wait for it, and a flush that fails costs memory, nothing else: it is tried
//!   again.
//! - What was flushed survives a loss of power too.
//! - The step grows with the database, from [`STEP_MIN`] to [`STEP_MAX`], because each flush has
//!   some of it merged.

use std::path::{Path, PathBuf};

use ethrex_storage::Store;
use tokio::task::JoinHandle;

/// Gas for which a byte comes to lie in memory: a transfer of 21,000 leaves some 450, its receipt,
/// place and state included (measured).
const GAS_PER_BYTE: u64 = 48;
/// Bytes in memory between two flushes at least.
const STEP_MIN: u64 = 2 * 1024 * 1024;
/// And at most.
const STEP_MAX: u64 = 64 * 1024 * 1024;
/// The step's part of the database.
const STEP_PART: u64 = 64;
/// The checkpoint's folder, below the database's own.
const FOLDER: &str = "flushed";

/// Flushes one database.
pub(super) struct Flusher {
    store: Store,
    dir: PathBuf,
    /// Bytes written since the last flush began, about.
    unflushed: u64,
    step: u64,
    running: Option<JoinHandle<()>>,
}

impl Flusher {
    /// A flusher of the database in `dir`; clears away what a killed process left.
    pub(super) fn new(store: Store, dir: &Path) -> Self {
        clear(dir);
        Self { store, dir: dir.to_path_buf(), unflushed: 0, step: step(dir), running: None }
    }

    /// Notes that a block of this much gas was written, and begins a flush when enough was.
    pub(super) fn wrote(&mut self, gas_used: u64) {
        self.unflushed = self.unflushed.saturating_add(gas_used / GAS_PER_BYTE);
        if self.unflushed < self.step || self.running.as_ref().is_some_and(|flush| !flush.is_finished()) {
            return;
        }
        self.unflushed = 0;
        self.step = step(&self.dir);
        let (store, dir) = (self.store.clone(), self.dir.clone());
        self.running = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = store.create_checkpoint(dir.join(FOLDER)) {
                tracing::warn!(%error, "the chain's database was not flushed");
            }
            clear(&dir);
        }));
    }

    /// Waits for the flush that is running.
    pub(super) async fn finish(self) {
        if let Some(flush) = self.running {
            // A flush that broke off left everything in the log, as if there had been none.
            let _ = flush.await;
        }
    }
}

/// The step for a database as large as the one in `dir`.
fn step(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "sst"));
    let bytes: u64 = sizes.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    (bytes / STEP_PART).clamp(STEP_MIN, STEP_MAX)
}

fn clear(dir: &Path) {
    let folder = dir.join(FOLDER);
    if folder.exists()
        && let Err(error) = std::fs::remove_dir_all(&folder)
    {
        tracing::warn!(%error, folder = %folder.display(), "links to the chain's files could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use ethrex_storage::EngineType;

    use super::super::config::ChainConfig;
    use super::super::genesis::genesis_json;
    use super::*;

    fn tables(dir: &Path) -> usize {
        let files = std::fs::read_dir(dir).unwrap().flatten();
        files.filter(|file| file.path().extension().is_some_and(|extension| extension == "sst")).count()
    }

    #[tokio::test]
    async fn what_lies_in_memory_is_written_to_files_once_there_is_enough_and_leaves_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::new(dir.path(), EngineType::RocksDB).unwrap();
        let genesis = genesis_json(&ChainConfig::default()).unwrap();
        store.add_initial_state(serde_json::from_value(genesis).unwrap()).await.unwrap();
        let mut flusher = Flusher::new(store, dir.path());
        flusher.wrote(STEP_MIN * GAS_PER_BYTE - GAS_PER_BYTE);
        assert!(flusher.running.is_none() && tables(dir.path()) == 0);
        flusher.wrote(GAS_PER_BYTE);
        assert!(flusher.running.is_some());
        flusher.finish().await;
        assert!(tables(dir.path()) > 0);
        assert!(!dir.path().join(FOLDER).exists());
    }

    #[tokio::test]
    async fn the_folder_that_a_killed_process_left_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), EngineType::RocksDB).unwrap();
        let left = dir.path().join(FOLDER);
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("000001.sst"), b"link").unwrap();
        Flusher::new(store.clone(), dir.path());
        assert!(!left.exists());
        // Where the folder cannot be made the flush fails, and the chain goes on.
        std::fs::write(&left, b"in the way").unwrap();
        let mut flusher = Flusher { store, dir: dir.path().to_path_buf(), unflushed: 0, step: 1, running: None };
        flusher.wrote(GAS_PER_BYTE);
        flusher.finish().await;
        assert!(left.is_file());
    }

    #[test]
    fn the_step_is_a_sixty_fourth_of_the_database_within_its_bounds() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(step(dir.path()), STEP_MIN);
        let grow = |bytes: u64| std::fs::File::create(dir.path().join("1.sst")).unwrap().set_len(bytes).unwrap();
        grow(640 * 1024 * 1024);
        assert_eq!(step(dir.path()), 10 * 1024 * 1024);
        grow(64 * 1024 * 1024 * 1024);
        assert_eq!(step(dir.path()), STEP_MAX);
    }
}
