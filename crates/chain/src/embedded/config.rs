//! What an embedded chain is opened with.
//!
//! The configuration decides the genesis block: opening a directory again with another one is
//! refused. Not here: the rule for the time of the next block (`clock`), producing blocks
//! (`producer`).

use std::time::Duration;

use alloy_primitives::{Address, U256, address};

use super::clock::{BlockClock, Now};

/// Chain id of a local OpenLedger network.
pub const DEFAULT_CHAIN_ID: u64 = 2626;

/// Holder of all OPEN that no seeded account holds at genesis. It has no key and no code on a local
/// network.
pub const TREASURY: Address = address!("0x4f50454e00000000000000000000000000000001");

/// All OPEN there will ever be on our own chain, in base units (10^27).
pub const TOTAL_SUPPLY: u128 = 1_000_000_000_000_000_000_000_000_000;

/// How an embedded chain is opened.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Accounts that hold OPEN from the start, in base units; their sum may not exceed
    /// [`TOTAL_SUPPLY`].
    pub genesis_accounts: Vec<(Address, U256)>,
    /// Holder of the rest of the supply.
    pub treasury: Address,
    /// Receiver of the tips. The base fee is burned.
    pub fee_recipient: Address,
    /// Where block times come from.
    pub clock: BlockClock,
    /// The clock that [`BlockClock::Wall`] and [`BlockClock::Interval`] look at.
    pub now: Now,
    /// Gas limit of every block.
    pub block_gas_limit: u64,
    /// How many transactions may wait to be included; the oldest make room. The pool takes some 210
    /// bytes of memory for each, whether they are there or not.
    pub max_pending: usize,
    /// Largest HTTP body and WebSocket message taken by the router, in bytes.
    pub max_request_bytes: usize,
    /// How long the reader of a subscription may take for one message before the connection is
    /// dropped.
    pub reader_patience: Duration,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            chain_id: DEFAULT_CHAIN_ID,
            genesis_accounts: Vec::new(),
            treasury: TREASURY,
            fee_recipient: TREASURY,
            clock: BlockClock::Wall,
            now: Now::default(),
            block_gas_limit: 60_000_000,
            max_pending: 32_768,
            max_request_bytes: 5 * 1024 * 1024,
            reader_patience: Duration::from_secs(10),
        }
    }
}
