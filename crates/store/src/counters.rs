//! Counters that the writes keep, so that an overview reads a few rows instead of all.
//!
//! A counter is the sum of some shards, so that concurrent writes rarely wait for each other.
//!
//! **Invariant:** a counter changes in the transaction of what it counts.

use std::collections::BTreeMap;

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::Amount;
use crate::sql::{FOR_UPDATE, Value, places, values, words};

/// Shards of a counter.
const SHARDS: u8 = 16;

words! {
    /// What is counted.
    pub(crate) enum Counter {
        /// Receipts.
        Receipts = "receipts",
        /// Tokens of the prompts of all receipts.
        TokensIn = "tokens_in",
        /// Tokens of the answers of all receipts.
        TokensOut = "tokens_out",
        /// Base units: the prices of all receipts.
        Priced = "priced",
        /// Registered contributions.
        Contributions = "contributions",
        /// Records of registered contributions.
        Records = "records",
        /// Accounts with a registered contribution.
        Contributors = "contributors",
    }
}

/// All counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Receipts.
    pub receipts: u64,
    /// Tokens of the prompts of all receipts.
    pub tokens_in: u64,
    /// Tokens of the answers of all receipts.
    pub tokens_out: u64,
    /// The prices of all receipts.
    pub priced: Amount,
    /// Registered contributions.
    pub contributions: u64,
    /// Records of registered contributions.
    pub records: u64,
    /// Accounts with a registered contribution.
    pub contributors: u64,
}

impl Reads {
    /// All counters as of now.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`], [`Error::TooLarge`] for a count beyond 64 bits.
    pub async fn counters(&self) -> Result<Counters> {
        let mut sums: BTreeMap<&'static str, Amount> = BTreeMap::new();
        let rows = self.list("SELECT name, value FROM counters", values![], |row| Ok((row.get(0)?, row.get(1)?)));
        for (name, value) in rows.await? {
            let (name, value): (Counter, Amount) = (name, value);
            let sum = sums.entry(name.as_str()).or_default();
            *sum = sum.plus(value)?;
        }
        // A counter has no row before its first count; a row that cannot be read is an error above.
        let sum = |counter: Counter| sums.get(counter.as_str()).copied().unwrap_or(Amount::ZERO);
        let count = |counter: Counter| {
            u64::try_from(sum(counter).0).map_err(|_| Error::damaged("counter", counter, "beyond 64 bits"))
        };
        Ok(Counters {
            receipts: count(Counter::Receipts)?,
            tokens_in: count(Counter::TokensIn)?,
            tokens_out: count(Counter::TokensOut)?,
            priced: sum(Counter::Priced),
            contributions: count(Counter::Contributions)?,
            records: count(Counter::Records)?,
            contributors: count(Counter::Contributors)?,
        })
    }
}

impl Tx {
    /// Adds to counters; `spread` picks the shard. Call it last in a transaction: the shard stays locked to its end.
    pub(crate) async fn count(&mut self, spread: u8, added: &[(Counter, u128)]) -> Result<()> {
        let shard = u64::from(spread % SHARDS);
        let head = "counters (name, shard, value)";
        let zeros = added.iter().map(|&(counter, _)| values![counter, shard, Amount::ZERO]).collect();
        self.insert_all_or(head, "ON CONFLICT (name, shard) DO NOTHING", zeros).await?;
        let names = places(added.len());
        let sql = format!(
            "SELECT name, value FROM counters WHERE shard = ? AND name IN ({names}) ORDER BY name {FOR_UPDATE}"
        );
        let mut wanted = values![shard];
        wanted.extend(added.iter().map(|&(counter, _)| Value::from(counter)));
        let known: Vec<(Counter, Amount)> = self.list(sql, wanted, |row| Ok((row.get(0)?, row.get(1)?))).await?;
        let mut sums = Vec::with_capacity(added.len());
        for &(counter, more) in added {
            let before = known.iter().find(|(name, _)| *name == counter).map(|(_, value)| *value).unwrap_or_default();
            sums.push(values![counter, shard, before.plus(Amount(more))?]);
        }
        let replace = "ON CONFLICT (name, shard) DO UPDATE SET value = excluded.value";
        self.insert_all_or(head, replace, sums).await.map(drop)
    }
}
