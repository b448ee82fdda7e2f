//! The time by which the node signs and leases: the machine's, the embedded chain's, or a test's.
//!
//! **Invariant:** services take time from here and from nowhere else, so that a run can be repeated.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::NodeClock;

/// Genesis time of a chain on the logical clock: 2026-01-01T00:00:00Z.
pub(crate) const LOGICAL_START_S: u64 = 1_767_225_600;

/// A clock. Clones read the same source.
#[derive(Clone)]
pub struct Clock {
    kind: NodeClock,
    unix_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Clock {
    /// The machine's clock, of which receipts use `kind`.
    #[must_use]
    pub fn of_machine(kind: NodeClock) -> Self {
        Self::with_source(kind, || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// A clock that reads Unix milliseconds from `source`.
    pub fn with_source(kind: NodeClock, source: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { kind, unix_ms: Arc::new(source) }
    }

    /// Whether receipts are timed by the embedded chain.
    #[must_use]
    pub fn is_logical(&self) -> bool {
        self.kind == NodeClock::Logical
    }

    /// Unix milliseconds by the machine: for leases, which are about processes and not about records.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        (self.unix_ms)()
    }

    /// Unix seconds for records that are signed; `head_time` is the time of the newest indexed block.
    #[must_use]
    pub fn signing_time(&self, head_time: u64) -> u64 {
        match self.kind {
            NodeClock::Logical => head_time,
            NodeClock::Wall => self.unix_ms() / 1000,
        }
    }

    /// The time that chat templates may write into prompts; on the logical clock the same on any day.
    #[must_use]
    pub fn prompt_time(&self) -> u64 {
        self.signing_time(LOGICAL_START_S)
    }
}
