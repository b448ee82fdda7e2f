//! What an embedded chain is opened with, and the rule for the time of its next block.
//!
//! The configuration decides the genesis block: opening a directory again with another one is refused.
//! Pure: the wall clock comes in as an argument. Not here: producing blocks (`producer`).

use alloy_primitives::{Address, U256, address};

/// Chain id of a local OpenLedger network.
pub const DEFAULT_CHAIN_ID: u64 = 2626;

/// Holder of all OPEN that no seeded account holds at genesis. It has no key and no code on a local network.
pub const TREASURY: Address = address!("0x4f50454e00000000000000000000000000000001");

/// All OPEN there will ever be on our own chain, in base units (10^27).
pub const TOTAL_SUPPLY: u128 = 1_000_000_000_000_000_000_000_000_000;

/// How far block time may run ahead of the wall clock, in seconds.
///
/// Blocks come on demand and times must rise by at least one second, so a burst runs ahead; beyond this the chain
/// makes one block per second until the wall clock has caught up.
pub const MAX_AHEAD_S: u64 = 600;

/// Genesis time of networks on the wall clock: 2026-01-01T00:00:00Z. Fixed, so that reopening finds the same genesis.
const WALL_GENESIS_S: u64 = 1_767_225_600;

/// Where block times come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockClock {
    /// The machine's clock: `max(parent + 1, now)`, at most [`MAX_AHEAD_S`] ahead.
    Wall,
    /// `parent + 1` always, so that the same transactions give the same blocks on every machine and day.
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
    /// Not before this many seconds have passed; then ask again.
    WaitS(u64),
}

impl BlockClock {
    /// Time of the genesis block, in seconds since 1970.
    #[must_use]
    pub fn genesis_time(self) -> u64 {
        match self {
            Self::Wall => WALL_GENESIS_S,
            Self::Logical { start } => start,
        }
    }

    /// The time of the block after one made at `parent`, both in seconds since 1970.
    pub(crate) fn next(self, parent: u64, now: u64) -> NextBlock {
        let earliest = parent.saturating_add(1);
        match self {
            Self::Logical { .. } => NextBlock::At(earliest),
            Self::Wall => {
                let time = earliest.max(now);
                let limit = now.saturating_add(MAX_AHEAD_S);
                if time > limit { NextBlock::WaitS(time - limit) } else { NextBlock::At(time) }
            }
        }
    }
}

/// How an embedded chain is opened.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Accounts that hold OPEN from the start, in base units; their sum may not exceed [`TOTAL_SUPPLY`].
    pub genesis_accounts: Vec<(Address, U256)>,
    /// Holder of the rest of the supply.
    pub treasury: Address,
    /// Receiver of the tips. The base fee is burned.
    pub fee_recipient: Address,
    /// Where block times come from.
    pub clock: BlockClock,
    /// Gas limit of every block.
    pub block_gas_limit: u64,
    /// How many transactions may wait to be included.
    pub max_pending: usize,
    /// Largest HTTP body and WebSocket message taken by the router, in bytes.
    pub max_request_bytes: usize,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            chain_id: DEFAULT_CHAIN_ID,
            genesis_accounts: Vec::new(),
            treasury: TREASURY,
            fee_recipient: TREASURY,
            clock: BlockClock::Wall,
            block_gas_limit: 60_000_000,
            max_pending: 100_000,
            max_request_bytes: 5 * 1024 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logical_time_rises_by_one_whatever_the_clock_says() {
        let clock = BlockClock::Logical { start: 100 };
        assert_eq!(clock.next(100, 0), NextBlock::At(101));
        assert_eq!(clock.next(100, 9_999), NextBlock::At(101));
    }

    #[test]
    fn wall_time_follows_the_clock_and_never_repeats() {
        assert_eq!(BlockClock::Wall.next(100, 500), NextBlock::At(500));
        assert_eq!(BlockClock::Wall.next(500, 500), NextBlock::At(501));
        assert_eq!(BlockClock::Wall.next(500, 499), NextBlock::At(501));
    }

    #[test]
    fn wall_time_runs_ahead_by_600_seconds_and_then_waits() {
        assert_eq!(BlockClock::Wall.next(1_099, 500), NextBlock::At(1_100));
        assert_eq!(BlockClock::Wall.next(1_100, 500), NextBlock::WaitS(1));
        assert_eq!(BlockClock::Wall.next(1_105, 500), NextBlock::WaitS(6));
    }
}
