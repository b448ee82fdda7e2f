//! What each account has earned as of an epoch, and the claims made on it.

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, Amount, B256};
use crate::sql::{ROWS_PER_INSERT, Row, Value, places, values, words};

words! {
    /// What became of a claim.
    pub enum ClaimState {
        /// The chain paid.
        Paid = "paid",
    }
}

/// What an account has earned since genesis, as of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayoutRow {
    /// The account.
    pub account: Address,
    /// Earned since genesis.
    pub cumulative: Amount,
}

/// A claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRow {
    /// The transaction that made it.
    pub tx_hash: B256,
    /// The account that is paid.
    pub account: Address,
    /// Claimed up to this cumulative amount.
    pub cumulative: Amount,
    /// What became of it.
    pub state: ClaimState,
}

const PAYOUT: &str = "SELECT account, cumulative FROM payouts";
const PLACED: &str = "SELECT account, cumulative, place FROM payouts";

fn payout(row: &Row) -> Result<PayoutRow> {
    Ok(PayoutRow { account: row.get(0)?, cumulative: row.get(1)? })
}

fn placed(row: &Row) -> Result<(PayoutRow, u64)> {
    Ok((payout(row)?, row.get(2)?))
}

fn claim(row: &Row) -> Result<ClaimRow> {
    Ok(ClaimRow { tx_hash: row.get(0)?, account: row.get(1)?, cumulative: row.get(2)?, state: row.get(3)? })
}

impl Reads {
    /// The payouts as of an epoch, by account: the order of its tree.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn payouts_of_epoch(&self, number: u64) -> Result<Vec<PayoutRow>> {
        self.list(format!("{PAYOUT} WHERE epoch = ? ORDER BY account"), values![number], payout).await
    }

    /// A page of the payouts as of an epoch, by account, each with the place of its leaf in the
    /// epoch's tree: at most `limit` of them after `after`.
    ///
    /// # Errors
    ///
    /// As [`Reads::payouts_of_epoch`].
    pub async fn payouts_page(&self, number: u64, after: Option<Address>, limit: u32) -> Result<Vec<(PayoutRow, u64)>> {
        let (beyond, mut values) = match after {
            Some(after) => ("AND account > ?", values![number, after]),
            None => ("", values![number]),
        };
        values.push(limit.into());
        let sql = format!("{PLACED} WHERE epoch = ? {beyond} ORDER BY account LIMIT ?");
        self.list(sql, values, placed).await
    }

    /// A page of the payouts as of an epoch, by amount, largest first, and then by account: at most
    /// `limit` of them after `after`.
    ///
    /// # Errors
    ///
    /// As [`Reads::payouts_of_epoch`].
    pub async fn top_payouts(&self, number: u64, after: Option<PayoutRow>, limit: u32) -> Result<Vec<PayoutRow>> {
        let order = "ORDER BY cumulative DESC, account LIMIT ?";
        match after {
            Some(PayoutRow { account, cumulative }) => {
                // The first bound goes by the index; the second leaves out its equals that were listed.
                let after = "cumulative <= ? AND (cumulative < ? OR account > ?)";
                let sql = format!("{PAYOUT} WHERE epoch = ? AND {after} {order}");
                self.list(sql, values![number, cumulative, cumulative, account, limit], payout).await
            }
            None => self.list(format!("{PAYOUT} WHERE epoch = ? {order}"), values![number, limit], payout).await,
        }
    }

    /// What an account has earned as of an epoch, with the place of its leaf in the epoch's tree.
    ///
    /// # Errors
    ///
    /// As [`Reads::payouts_of_epoch`].
    pub async fn payout(&self, number: u64, account: Address) -> Result<Option<(PayoutRow, u64)>> {
        self.one(format!("{PLACED} WHERE epoch = ? AND account = ?"), values![number, account], placed).await
    }

    /// The claims of some accounts, by account and amount, smallest first.
    ///
    /// # Errors
    ///
    /// As [`Reads::payouts_of_epoch`].
    pub async fn claims_of_accounts(&self, accounts: &[Address]) -> Result<Vec<ClaimRow>> {
        let mut claims = Vec::new();
        for part in accounts.chunks(ROWS_PER_INSERT) {
            let sql = format!(
                "SELECT tx_hash, account, cumulative, state FROM claims WHERE account IN ({}) \
                 ORDER BY account, cumulative, tx_hash",
                places(part.len())
            );
            claims.extend(self.list(sql, part.iter().map(|&account| Value::from(account)).collect(), claim).await?);
        }
        claims.sort_by_key(|claim: &ClaimRow| (claim.account, claim.cumulative, claim.tx_hash));
        Ok(claims)
    }
}

impl Tx {
    /// Adds the payouts as of an epoch, which are ordered by account.
    pub(crate) async fn put_payouts(&mut self, epoch: u64, payouts: &[PayoutRow]) -> Result<()> {
        if let Some(pair) = payouts.windows(2).find(|pair| pair[0].account >= pair[1].account) {
            let problem = format!("account {} does not come after {}", pair[1].account, pair[0].account);
            return Err(Error::damaged("payouts of epoch", epoch, problem));
        }
        let rows = (0u64..).zip(payouts).map(|(place, p)| values![epoch, p.account, p.cumulative, place]);
        self.insert_all("payouts (epoch, account, cumulative, place)", rows.collect()).await
    }

    /// Adds a claim.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when this transaction already claims for the account.
    pub async fn put_claim(&mut self, c: &ClaimRow) -> Result<()> {
        let row = values![c.tx_hash, c.account, c.cumulative, c.state];
        self.insert_all("claims (tx_hash, account, cumulative, state)", vec![row]).await
    }
}
