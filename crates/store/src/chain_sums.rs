//! Sums of amounts that the chain's events moved, in all and by account, kept as the events are indexed.
//!
//! **Invariant:** a sum is that of the amounts of the blocks that are indexed; a rollback takes those of its blocks back.

use std::collections::BTreeMap;

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, Amount};
use crate::sql::{FOR_UPDATE, ROWS_PER_INSERT, Row, Value, places, values, words};

words! {
    /// What is summed.
    pub enum ChainSum {
        /// Payouts that were claimed, by payee.
        Claimed = "claimed",
        /// Payments that were redeemed from channels, by node.
        Redeemed = "redeemed",
        /// Deposits into channels, by payer.
        Deposited = "deposited",
    }
}

/// An amount that one event moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainAmount {
    /// The block of the event.
    pub block: u64,
    /// Its place among the block's logs.
    pub log_index: u32,
    /// The sum it belongs to.
    pub sum: ChainSum,
    /// The account it is counted for.
    pub account: Address,
    /// The amount.
    pub amount: Amount,
}

fn read(row: &Row) -> Result<ChainAmount> {
    Ok(ChainAmount {
        block: row.get(0)?,
        log_index: row.get(1)?,
        sum: row.get(2)?,
        account: row.get(3)?,
        amount: row.get(4)?,
    })
}

/// How a sum changes.
#[derive(Clone, Copy)]
enum Change {
    Add,
    TakeBack,
}

impl Reads {
    /// A sum over all accounts.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn chain_sum(&self, sum: ChainSum) -> Result<Amount> {
        let sql = "SELECT amount FROM chain_totals WHERE sum = ?";
        Ok(self.one(sql, values![sum], |row| row.get(0)).await?.unwrap_or_default())
    }

    /// A sum for each of some accounts; those that have none are left out.
    ///
    /// # Errors
    ///
    /// As [`Reads::chain_sum`].
    pub async fn chain_sums_of(&self, sum: ChainSum, accounts: &[Address]) -> Result<BTreeMap<Address, Amount>> {
        let mut sums = BTreeMap::new();
        for part in accounts.chunks(ROWS_PER_INSERT) {
            let places = places(part.len());
            let sql = format!("SELECT account, amount FROM chain_sums WHERE sum = ? AND account IN ({places})");
            let mut values = values![sum];
            values.extend(part.iter().map(|&account| Value::from(account)));
            let found: Vec<(Address, Amount)> = self.list(sql, values, |row| Ok((row.get(0)?, row.get(1)?))).await?;
            sums.extend(found);
        }
        Ok(sums)
    }
}

impl Tx {
    /// Adds the amounts of blocks that are being appended.
    pub(crate) async fn add_amounts(&mut self, amounts: &[ChainAmount]) -> Result<()> {
        let rows = amounts.iter().map(|a| values![a.block, a.log_index, a.sum, a.account, a.amount]);
        self.insert_all("chain_amounts (block, log_index, sum, account, amount)", rows.collect()).await?;
        self.change_sums(amounts, Change::Add).await
    }

    /// Takes back the amounts of all blocks after `number`; `None`: of all.
    pub(crate) async fn take_back_amounts(&mut self, number: Option<u64>) -> Result<()> {
        let (which, values) = match number {
            Some(number) => ("WHERE block > ?", values![number]),
            None => ("", values![]),
        };
        let sql = format!("SELECT block, log_index, sum, account, amount FROM chain_amounts {which}");
        let amounts = self.list(sql, values.clone(), read).await?;
        self.execute(format!("DELETE FROM chain_amounts {which}"), values).await?;
        self.change_sums(&amounts, Change::TakeBack).await
    }

    async fn change_sums(&mut self, amounts: &[ChainAmount], change: Change) -> Result<()> {
        let mut totals: BTreeMap<&'static str, Amount> = BTreeMap::new();
        let mut sums: BTreeMap<(&'static str, Address), Amount> = BTreeMap::new();
        for amount in amounts {
            for sum in [
                totals.entry(amount.sum.as_str()).or_default(),
                sums.entry((amount.sum.as_str(), amount.account)).or_default(),
            ] {
                *sum = sum.plus(amount.amount)?;
            }
        }
        for ((sum, account), moved) in sums {
            let which = values![sum, account];
            let sql = format!("SELECT amount FROM chain_sums WHERE sum = ? AND account = ? {FOR_UPDATE}");
            let before = self.one(sql, which.clone(), |row| row.get(0)).await?.unwrap_or_default();
            let mut row = which;
            row.push(changed(sum, before, moved, change)?.into());
            let replace = "ON CONFLICT (sum, account) DO UPDATE SET amount = excluded.amount";
            self.insert_all_or("chain_sums (sum, account, amount)", replace, vec![row]).await?;
        }
        for (sum, moved) in totals {
            let sql = format!("SELECT amount FROM chain_totals WHERE sum = ? {FOR_UPDATE}");
            let before = self.one(sql, values![sum], |row| row.get(0)).await?.unwrap_or_default();
            let row = values![sum, changed(sum, before, moved, change)?];
            let replace = "ON CONFLICT (sum) DO UPDATE SET amount = excluded.amount";
            self.insert_all_or("chain_totals (sum, amount)", replace, vec![row]).await?;
        }
        Ok(())
    }
}

fn changed(sum: &str, before: Amount, moved: Amount, change: Change) -> Result<Amount> {
    match change {
        Change::Add => Ok(before.plus(moved)?),
        Change::TakeBack => before.minus(moved).map_err(|error| Error::damaged("chain sum", sum, error)),
    }
}
