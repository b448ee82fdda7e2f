//! Epochs, what each account may claim after them, and the claims made.

use serde_json::Value as Json;

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, Amount, B256};
use crate::sql::{Row, values, words};

words! {
    /// How far an epoch has come; it only goes forward, but for a proposal that the chain dropped.
    pub enum EpochState {
        /// Takes receipts.
        Open = "open",
        /// Its roots are fixed.
        Closed = "closed",
        /// The chain has its proposal; it can be challenged.
        Proposed = "proposed",
        /// Payouts can be claimed.
        Finalized = "finalized",
    }
}

words! {
    /// What became of a claim.
    pub enum ClaimState {
        /// Its transaction is on the way.
        Sent = "sent",
        /// The chain paid.
        Paid = "paid",
        /// The chain refused.
        Failed = "failed",
    }
}

/// An epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRow {
    /// Its number.
    pub number: u64,
    /// How far it has come.
    pub state: EpochState,
    /// Root over its receipts; zero while open.
    pub receipts_root: B256,
    /// Sum root over its entries; zero while open.
    pub entries_root: B256,
    /// Sum root over the payouts after it; zero while open.
    pub payout_root: B256,
    /// All payouts up to it, cumulative.
    pub total: Amount,
    /// Its header.
    pub header: Json,
}

/// What an account has earned since genesis, as of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayoutRow {
    /// The epoch.
    pub epoch: u64,
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
    /// Who was paid.
    pub account: Address,
    /// Claimed up to this cumulative amount.
    pub cumulative: Amount,
    /// What became of it.
    pub state: ClaimState,
}

const EPOCH: &str = "SELECT number, state, receipts_root, entries_root, payout_root, total, header_json FROM epochs";
const PAYOUT: &str = "SELECT epoch, account, cumulative FROM payouts";

fn epoch(row: &Row) -> Result<EpochRow> {
    Ok(EpochRow {
        number: row.get(0)?,
        state: row.get(1)?,
        receipts_root: row.get(2)?,
        entries_root: row.get(3)?,
        payout_root: row.get(4)?,
        total: row.get(5)?,
        header: row.json(6)?,
    })
}

fn payout(row: &Row) -> Result<PayoutRow> {
    Ok(PayoutRow { epoch: row.get(0)?, account: row.get(1)?, cumulative: row.get(2)? })
}

fn claim(row: &Row) -> Result<ClaimRow> {
    Ok(ClaimRow { tx_hash: row.get(0)?, account: row.get(1)?, cumulative: row.get(2)?, state: row.get(3)? })
}

impl Reads {
    /// The epoch with this number.
    pub async fn epoch(&self, number: u64) -> Result<Option<EpochRow>> {
        self.one(format!("{EPOCH} WHERE number = ?"), values![number], epoch).await
    }

    /// The epoch with the highest number.
    pub async fn latest_epoch(&self) -> Result<Option<EpochRow>> {
        self.one(format!("{EPOCH} ORDER BY number DESC LIMIT 1"), values![], epoch).await
    }

    /// All epochs, by number.
    pub async fn epochs(&self) -> Result<Vec<EpochRow>> {
        self.list(format!("{EPOCH} ORDER BY number"), values![], epoch).await
    }

    /// The payouts as of an epoch, by account.
    pub async fn payouts_of_epoch(&self, number: u64) -> Result<Vec<PayoutRow>> {
        self.list(format!("{PAYOUT} WHERE epoch = ? ORDER BY account"), values![number], payout).await
    }

    /// What an account has earned as of its newest epoch.
    pub async fn latest_payout(&self, account: Address) -> Result<Option<PayoutRow>> {
        self.one(format!("{PAYOUT} WHERE account = ? ORDER BY epoch DESC LIMIT 1"), values![account], payout).await
    }

    /// An account's claims, by amount, smallest first.
    pub async fn claims_of(&self, account: Address) -> Result<Vec<ClaimRow>> {
        let sql = "SELECT tx_hash, account, cumulative, state FROM claims WHERE account = ? \
                   ORDER BY cumulative, tx_hash";
        self.list(sql, values![account], claim).await
    }
}

impl Tx {
    /// Adds an epoch, or fixes the roots of one that is still open.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it is there and no longer open.
    pub async fn put_epoch(&mut self, e: &EpochRow) -> Result<()> {
        let sql = "INSERT INTO epochs (number, state, receipts_root, entries_root, payout_root, total, header_json) \
                   VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET state = excluded.state, \
                   receipts_root = excluded.receipts_root, entries_root = excluded.entries_root, \
                   payout_root = excluded.payout_root, total = excluded.total, header_json = excluded.header_json \
                   WHERE epochs.state = 'open'";
        let row =
            values![e.number, e.state, e.receipts_root, e.entries_root, e.payout_root, e.total, e.header.to_string()];
        match self.execute(sql, row).await? {
            0 => Err(self.epoch_state_error(e.number, e.state).await?),
            _ => Ok(()),
        }
    }

    /// Moves an epoch from one state to a later one.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or [`Error::State`] when it is not in state `from`.
    pub async fn advance_epoch(&mut self, number: u64, from: EpochState, to: EpochState) -> Result<()> {
        let sql = "UPDATE epochs SET state = ? WHERE number = ? AND state = ?";
        match self.execute(sql, values![to, number, from]).await? {
            0 => Err(self.epoch_state_error(number, to).await?),
            _ => Ok(()),
        }
    }

    /// Fixes the roots of an epoch anew whose proposal the chain dropped, and removes its payouts: it is closed again.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or [`Error::State`] when it is not proposed.
    pub async fn close_epoch_again(&mut self, e: &EpochRow) -> Result<()> {
        let sql = "UPDATE epochs SET state = 'closed', receipts_root = ?, entries_root = ?, payout_root = ?, total = ?, \
                   header_json = ? WHERE number = ? AND state = 'proposed'";
        let row = values![e.receipts_root, e.entries_root, e.payout_root, e.total, e.header.to_string(), e.number];
        if self.execute(sql, row).await? == 0 {
            return Err(self.epoch_state_error(e.number, EpochState::Closed).await?);
        }
        self.execute("DELETE FROM payouts WHERE epoch = ?", values![e.number]).await.map(drop)
    }

    async fn epoch_state_error(&self, number: u64, wanted: EpochState) -> Result<Error> {
        let found = self.epoch(number).await?.ok_or_else(|| Error::missing("epoch", number))?.state;
        Ok(Error::State { noun: "epoch", id: number.to_string(), found: found.to_string(), wanted: wanted.to_string() })
    }

    /// Adds the payouts as of an epoch.
    pub async fn put_payouts(&mut self, payouts: &[PayoutRow]) -> Result<()> {
        let rows = payouts.iter().map(|p| values![p.epoch, p.account, p.cumulative]);
        self.insert_all("payouts (epoch, account, cumulative)", rows.collect()).await
    }

    /// Adds a claim. [`Error::Exists`] when this transaction already claims for the account.
    pub async fn put_claim(&mut self, c: &ClaimRow) -> Result<()> {
        let row = values![c.tx_hash, c.account, c.cumulative, c.state];
        self.insert_all("claims (tx_hash, account, cumulative, state)", vec![row]).await
    }

    /// Says what became of all claims a transaction made. [`Error::Missing`] when it made none.
    pub async fn set_claim_state(&mut self, tx_hash: B256, state: ClaimState) -> Result<()> {
        match self.execute("UPDATE claims SET state = ? WHERE tx_hash = ?", values![state, tx_hash]).await? {
            0 => Err(Error::missing("claim", tx_hash)),
            _ => Ok(()),
        }
    }
}
