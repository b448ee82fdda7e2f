//! Tests of single services: each is built alone, with a clock that the test moves and a store in
//! memory, and without a chain.

mod answering;
mod auth;
mod datanets;
mod deposits;
mod grants;
mod handles;
mod instance;
mod intake;
mod jobs;
mod models;
mod requests;
mod training;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openledger_protocol::Amount;
use openledger_store::{BlobsConfig, Store};

use crate::clock::Clock;
use crate::config::NodeClock;
use crate::error::Result;
use crate::instance::Instance;

/// The time at which every test begins, Unix milliseconds.
const START_MS: u64 = 1_800_000_000_000;
/// How long a test waits for what another task does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time that stands still until the test lets it pass.
#[derive(Clone, Default)]
struct ManualTime {
    passed: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
}

impl ManualTime {
    /// A clock that shows this time.
    fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::with_source(NodeClock::Wall, move || {
            time.reads.fetch_add(1, Ordering::SeqCst);
            time.now()
        })
    }

    /// Unix milliseconds.
    fn now(&self) -> u64 {
        START_MS + self.passed.load(Ordering::SeqCst)
    }

    /// How often services have read the clock.
    fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// Lets milliseconds pass.
    fn pass(&self, milliseconds: u64) {
        self.passed.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Waits until services have read the clock `times` more times.
    async fn is_read(&self, times: u64) {
        let enough = self.reads.load(Ordering::SeqCst) + times;
        eventually("the clock is read", async || self.reads.load(Ordering::SeqCst) >= enough).await;
    }
}

/// An empty store in memory.
async fn store() -> Store {
    Store::open("sqlite::memory:", BlobsConfig::new("memory:")).await.unwrap()
}

/// The node instance of this name.
fn instance(name: &str) -> Instance {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("instance"), name).unwrap();
    Instance::of(folder.path()).unwrap()
}

/// An amount in base units.
fn amount(units: u64) -> Amount {
    format!("{units} base").parse().unwrap()
}

/// Waits until `holds` does.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The code of a refusal.
fn code<T>(outcome: Result<T>) -> &'static str {
    outcome.err().expect("a refusal").code()
}
