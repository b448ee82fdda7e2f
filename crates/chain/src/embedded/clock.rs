//! Which time the next block gets, and when it may be made.
//!
//! # Invariants
//!
//! - Block times rise by whole seconds, at least one a block; the EVM knows no finer ones.
//! - **On demand** ([`BlockClock::Wall`]): at once, running at most [`MAX_AHEAD_S`] ahead of the
//!   clock, then one a second.
//! - **One-second blocks** ([`BlockClock::Interval`]): never ahead of the clock, so at most one
//!   block in each of its seconds.
//! - A clock that jumps back makes the chain wait, never repeat a time.
//!
//! The rules are pure; the machine's clock comes in through [`Now`]. Not here: producing blocks
//! (`producer`).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far block time may run ahead of the wall clock, in seconds.
///
/// Blocks come on demand and times must rise by at least one second, so a burst runs ahead; beyond
/// this the chain makes one block per second until the wall clock has caught up.
pub const MAX_AHEAD_S: u64 = 600;

/// Genesis time of networks on the wall clock: 2026-01-01T00:00:00Z. Fixed, so that reopening finds
/// the same genesis.
const WALL_GENESIS_S: u64 = 1_767_225_600;

/// Where block times come from, and how often there may be a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockClock {
    /// On demand, for local networks: `max(parent + 1, now)`, at most [`MAX_AHEAD_S`] ahead of the
    /// machine's clock.
    Wall,
    /// One-second blocks: the machine's second, at most one block in each, none without a
    /// transaction.
    ///
    /// A directory may change between this and [`BlockClock::Wall`]; what ran ahead is waited for.
    Interval,
    /// `parent + 1` always, so that the same transactions give the same blocks on every machine and
    /// day.
    Logical {
        /// Genesis time in seconds since 1970.
        start: u64,
    },
}

/// When the next block may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextBlock {
    /// Now, with this time in seconds since 1970.
    At(u64),
    /// Not before this has passed; then ask again.
    Wait(Duration),
}

impl BlockClock {
    /// Time of the genesis block, in seconds since 1970.
    #[must_use]
    pub fn genesis_time(self) -> u64 {
        match self {
            Self::Wall | Self::Interval => WALL_GENESIS_S,
            Self::Logical { start } => start,
        }
    }

    /// The time of the block after one made at `parent`, in seconds since 1970; `now` is the time
    /// since 1970.
    pub(crate) fn next(self, parent: u64, now: Duration) -> NextBlock {
        let earliest = parent.saturating_add(1);
        let ahead = match self {
            Self::Logical { .. } => return NextBlock::At(earliest),
            Self::Wall => MAX_AHEAD_S,
            Self::Interval => 0,
        };
        let time = earliest.max(now.as_secs());
        // The moment from which on `time` is not too far ahead.
        let from = Duration::from_secs(time.saturating_sub(ahead));
        match from.checked_sub(now) {
            Some(wait) if !wait.is_zero() => NextBlock::Wait(wait),
            _ => NextBlock::At(time),
        }
    }
}

/// Gives the time since 1970: the machine's, or a test's.
#[derive(Clone)]
pub struct Now(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Now {
    /// A clock of the caller's.
    #[must_use]
    pub fn of(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(clock))
    }

    /// What it shows.
    pub(crate) fn read(&self) -> Duration {
        (self.0)()
    }
}

impl Default for Now {
    /// The machine's clock.
    fn default() -> Self {
        Self::of(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(clock: BlockClock, parent: u64, now_ms: u64, expected: NextBlock) {
        assert_eq!(clock.next(parent, Duration::from_millis(now_ms)), expected);
    }

    fn wait(ms: u64) -> NextBlock {
        NextBlock::Wait(Duration::from_millis(ms))
    }

    #[test]
    fn logical_time_rises_by_one_whatever_the_clock_says() {
        let clock = BlockClock::Logical { start: 100 };
        check(clock, 100, 0, NextBlock::At(101));
        check(clock, 100, 9_999_000, NextBlock::At(101));
    }

    #[test]
    fn wall_time_follows_the_clock_and_never_repeats() {
        check(BlockClock::Wall, 100, 500_000, NextBlock::At(500));
        check(BlockClock::Wall, 500, 500_000, NextBlock::At(501));
        check(BlockClock::Wall, 500, 499_000, NextBlock::At(501));
    }

    #[test]
    fn wall_time_runs_ahead_by_600_seconds_and_then_makes_a_block_each_second() {
        check(BlockClock::Wall, 1_099, 500_000, NextBlock::At(1_100));
        check(BlockClock::Wall, 1_100, 500_000, wait(1_000));
        check(BlockClock::Wall, 1_100, 500_900, wait(100));
        check(BlockClock::Wall, 1_100, 501_000, NextBlock::At(1_101));
        check(BlockClock::Wall, 1_105, 500_000, wait(6_000));
    }

    #[test]
    fn an_interval_makes_at_most_one_block_in_a_second_and_gives_it_that_second() {
        check(BlockClock::Interval, 100, 500_000, NextBlock::At(500));
        check(BlockClock::Interval, 500, 500_250, wait(750));
        check(BlockClock::Interval, 500, 501_000, NextBlock::At(501));
    }

    #[test]
    fn an_interval_waits_for_a_clock_that_went_back() {
        check(BlockClock::Interval, 510, 500_500, wait(10_500));
    }
}
