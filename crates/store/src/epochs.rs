//! Epochs: which receipts are settled together, and how far their settlement has come.
//!
//! An epoch is open → closing → closed → proposed → finalized; a rejected proposal makes it closing again. Every step
//! after opening needs the lease of the node instance that settles, and checks it in its own transaction.
//!
//! # Invariants
//!
//! - There is at most one open epoch, and receipts enter no other.
//! - **No receipt falls between two epochs.** A receipt holds the open epoch's row while it is written, and closing
//!   waits for all that do. So the cutoff is the time of the epoch's last receipt, `after` of the next epoch is that
//!   cutoff, and every receipt of an epoch has `after < time ≤ cutoff`.
//! - The next epoch opens in the transaction that begins to close this one, so there is always one that takes receipts.
//! - Roots, payouts and trees are there if and only if the epoch is closed, proposed or finalized.
//!
//! Not here: what the roots are computed from (`ledger`), transactions to the chain (`outbox`).

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, Amount, B256};
use crate::leases::Lease;
use crate::payouts::PayoutRow;
use crate::sql::{FOR_SHARE, FOR_UPDATE, Row, values, words};
use crate::trees::BuiltTrees;

/// How often a charge looks for the open epoch, since another may close just then.
const LOOKS: u32 = 16;

words! {
    /// How far an epoch has come.
    pub enum EpochState {
        /// It takes receipts.
        Open = "open",
        /// Its receipts are complete, its roots are not fixed.
        Closing = "closing",
        /// Its roots are fixed.
        Closed = "closed",
        /// The chain has its proposal, which can be challenged.
        Proposed = "proposed",
        /// Its payouts can be claimed.
        Finalized = "finalized",
    }
}

/// An epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRow {
    /// Its number, from 1.
    pub number: u64,
    /// How far it has come.
    pub state: EpochState,
    /// The operator whose epoch it is.
    pub node: Address,
    /// The cutoff of the epoch before, Unix seconds; 0 for the first. Its receipts are later.
    pub after: u64,
    /// The time of its last receipt, Unix seconds, once it is closing.
    pub cutoff: Option<u64>,
    /// What it commits to, once it is closed.
    pub roots: Option<EpochRoots>,
    /// Proposals of it that were rejected: transactions of each have keys of their own.
    pub attempt: u32,
    /// When its window closes, Unix seconds, once it is proposed.
    pub closes_at: Option<u64>,
}

/// What a closed epoch commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochRoots {
    /// How many receipts.
    pub receipt_count: u32,
    /// Hash of the root over its receipts.
    pub receipts_root: B256,
    /// The prices of its receipts.
    pub receipts_total: Amount,
    /// Hash of the root over its entries.
    pub entries_root: B256,
    /// The sum of its entries.
    pub entries_total: Amount,
    /// Hash of the root over the payouts after it.
    pub payout_root: B256,
    /// All payouts up to it, since genesis.
    pub total: Amount,
    /// Hash of the governed parameters.
    pub params: B256,
}

impl EpochRow {
    /// The epoch's cutoff, Unix seconds.
    ///
    /// # Errors
    ///
    /// [`Error::State`] while it is open.
    pub fn cutoff(&self) -> Result<u64> {
        self.cutoff.ok_or_else(|| Error::state("epoch", self.number, self.state, EpochState::Closing))
    }

    /// What the epoch commits to.
    ///
    /// # Errors
    ///
    /// [`Error::State`] until it is closed.
    pub fn roots(&self) -> Result<&EpochRoots> {
        self.roots.as_ref().ok_or_else(|| Error::state("epoch", self.number, self.state, EpochState::Closed))
    }
}

const SELECT: &str = "SELECT number, state, node, after_time, cutoff, attempt, closes_at, receipt_count, receipts_root, \
                      receipts_total, entries_root, entries_total, payout_root, total, params FROM epochs";
/// The columns that are empty until the epoch is closed.
const ROOTS: [&str; 8] = [
    "receipt_count",
    "receipts_root",
    "receipts_total",
    "entries_root",
    "entries_total",
    "payout_root",
    "total",
    "params",
];

fn read(row: &Row) -> Result<EpochRow> {
    let (number, state, cutoff): (u64, EpochState, Option<u64>) = (row.get(0)?, row.get(1)?, row.get(4)?);
    if cutoff.is_some() == (state == EpochState::Open) {
        return Err(Error::damaged("epoch", number, format!("it is `{state}`, its cutoff is {cutoff:?}")));
    }
    let fixed = !matches!(state, EpochState::Open | EpochState::Closing);
    // A closed epoch without one of its roots is a malformed row.
    let roots = fixed.then(|| read_roots(row)).transpose()?;
    Ok(EpochRow {
        number,
        state,
        node: row.get(2)?,
        after: row.get(3)?,
        cutoff,
        roots,
        attempt: row.get(5)?,
        closes_at: row.get(6)?,
    })
}

fn read_roots(row: &Row) -> Result<EpochRoots> {
    Ok(EpochRoots {
        receipt_count: row.get(7)?,
        receipts_root: row.get(8)?,
        receipts_total: row.get(9)?,
        entries_root: row.get(10)?,
        entries_total: row.get(11)?,
        payout_root: row.get(12)?,
        total: row.get(13)?,
        params: row.get(14)?,
    })
}

impl Reads {
    /// The epoch with this number.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`] or [`Error::Damaged`] naming what is wrong with the row.
    pub async fn epoch(&self, number: u64) -> Result<Option<EpochRow>> {
        self.one(format!("{SELECT} WHERE number = ?"), values![number], read).await
    }

    /// The oldest epoch that takes no receipts any more and is not finalized: the one to be settled next.
    ///
    /// # Errors
    ///
    /// As [`Reads::epoch`].
    pub async fn settling_epoch(&self) -> Result<Option<EpochRow>> {
        let sql = format!("{SELECT} WHERE state IN ('closing', 'closed', 'proposed') ORDER BY number LIMIT 1");
        self.one(sql, values![], read).await
    }

    /// The newest epoch in a state.
    ///
    /// # Errors
    ///
    /// As [`Reads::epoch`].
    pub async fn latest_epoch(&self, state: EpochState) -> Result<Option<EpochRow>> {
        self.one(format!("{SELECT} WHERE state = ? ORDER BY number DESC LIMIT 1"), values![state], read).await
    }

    /// A page of epochs, newest first: at most `limit` of them, with numbers below `before`.
    ///
    /// # Errors
    ///
    /// As [`Reads::epoch`].
    pub async fn epochs(&self, before: Option<u64>, limit: u32) -> Result<Vec<EpochRow>> {
        let sql = format!("{SELECT} WHERE number < ? ORDER BY number DESC LIMIT ?");
        self.list(sql, values![before.unwrap_or(u64::MAX >> 1), limit], read).await
    }

    /// A page of epochs whose roots are fixed, newest first: at most `limit` of them, with numbers below `before`.
    ///
    /// # Errors
    ///
    /// As [`Reads::epoch`].
    pub async fn fixed_epochs(&self, before: Option<u64>, limit: u32) -> Result<Vec<EpochRow>> {
        let sql = format!("{SELECT} WHERE receipts_root IS NOT NULL AND number < ? ORDER BY number DESC LIMIT ?");
        self.list(sql, values![before.unwrap_or(u64::MAX >> 1), limit], read).await
    }
}

impl Tx {
    /// The open epoch; `node` is the operator of one that is made when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn open_epoch(&mut self, node: Address) -> Result<EpochRow> {
        if let Some(open) = self.latest_epoch(EpochState::Open).await? {
            return Ok(open);
        }
        let last = self.epochs(None, 1).await?.pop();
        let (number, after) = match &last {
            Some(last) => (last.number + 1, last.cutoff()?),
            None => (1, 0),
        };
        self.insert_open(number, node, after).await?;
        let open = self.latest_epoch(EpochState::Open).await?;
        open.ok_or_else(|| Error::missing("epoch", "open"))
    }

    async fn insert_open(&mut self, number: u64, node: Address, after: u64) -> Result<()> {
        let row = values![number, EpochState::Open, node, after, 0u64];
        let head = "epochs (number, state, node, after_time, attempt)";
        self.insert_all_or(head, "ON CONFLICT DO NOTHING", vec![row]).await.map(drop)
    }

    /// The open epoch, which stays open until this transaction ends.
    pub(crate) async fn current_epoch(&mut self) -> Result<EpochRow> {
        for _ in 0..LOOKS {
            // While another transaction closes the epoch this waits, and then finds none: the next look sees the new one.
            let sql = format!("{SELECT} WHERE state = 'open' {FOR_SHARE}");
            if let Some(open) = self.one(sql, values![], read).await? {
                return Ok(open);
            }
        }
        Err(Error::missing("epoch", "open"))
    }

    /// Ends the intake of an open epoch: fixes its cutoff and opens the next epoch.
    ///
    /// # Errors
    ///
    /// [`Error::StaleLease`], [`Error::Missing`], [`Error::State`] when it is not open, [`Error::NoReceipts`]. Nothing is
    /// changed then.
    pub async fn begin_closing(&mut self, lease: &Lease, number: u64) -> Result<EpochRow> {
        self.check_lease(lease).await?;
        let mut epoch = self.locked_epoch(number).await?;
        if epoch.state != EpochState::Open {
            return Err(Error::state("epoch", number, epoch.state, EpochState::Closing));
        }
        // All receipts of the epoch are committed: each held its row, which is locked now.
        let sql = "SELECT MAX(time) FROM receipts WHERE epoch = ?";
        let last: Option<u64> = self.one(sql, values![number], |row| row.get(0)).await?.flatten();
        let cutoff = last.ok_or(Error::NoReceipts { epoch: number })?;
        let sql = "UPDATE epochs SET state = 'closing', cutoff = ? WHERE number = ?";
        self.execute(sql, values![cutoff, number]).await?;
        self.insert_open(number + 1, epoch.node, cutoff).await?;
        (epoch.state, epoch.cutoff) = (EpochState::Closing, Some(cutoff));
        Ok(epoch)
    }

    /// Fixes what a closing epoch commits to: roots, payouts, trees, and the places of all leaves.
    ///
    /// `payouts` are ordered by account; the leaves under `trees` are in the order of receipts,
    /// entries and payouts.
    ///
    /// # Errors
    ///
    /// [`Error::StaleLease`], [`Error::Missing`], [`Error::State`] when it is not closing or the epoch before is not
    /// closed, [`Error::OtherRoots`] when count, totals or roots are not those of the rows and trees.
    pub async fn close_epoch(
        &mut self,
        lease: &Lease,
        number: u64,
        roots: &EpochRoots,
        payouts: &[PayoutRow],
        trees: &BuiltTrees,
    ) -> Result<()> {
        self.check_lease(lease).await?;
        let epoch = self.locked_epoch(number).await?;
        if epoch.state != EpochState::Closing {
            return Err(Error::state("epoch", number, epoch.state, EpochState::Closed));
        }
        if let Some(before) = self.epoch(number.saturating_sub(1)).await?
            && before.roots.is_none()
        {
            return Err(Error::state("epoch", before.number, before.state, EpochState::Closed));
        }
        self.check_rows(number, roots).await?;
        let given = [
            (roots.receipts_root, roots.receipts_total),
            (roots.entries_root, roots.entries_total),
            (roots.payout_root, roots.total),
        ];
        for (built, (root, sum)) in trees.each().iter().zip(given) {
            let top = built.root;
            same(number, built.tree.as_str(), format!("{root} with {sum}"), format!("{} with {}", top.hash, top.sum))?;
            self.put_tree(number, built).await?;
        }
        self.put_payouts(number, payouts).await?;
        self.put_places(number).await?;
        let columns = ROOTS.map(|column| format!("{column} = ?")).join(", ");
        let sql = format!("UPDATE epochs SET state = 'closed', {columns} WHERE number = ?");
        let r = roots;
        let row = values![
            r.receipt_count,
            r.receipts_root,
            r.receipts_total,
            r.entries_root,
            r.entries_total,
            r.payout_root,
            r.total,
            r.params,
            number
        ];
        self.execute(sql, row).await.map(drop)
    }

    /// Refuses roots whose counts and totals are not those of the rows.
    async fn check_rows(&mut self, number: u64, roots: &EpochRoots) -> Result<()> {
        let sql = "SELECT price FROM receipts WHERE epoch = ?";
        let prices: Vec<Amount> = self.list(sql, values![number], |row| row.get(0)).await?;
        same(number, "receipt count", roots.receipt_count.to_string(), prices.len().to_string())?;
        same(number, "receipts total", roots.receipts_total.to_string(), Amount::sum(prices)?.to_string())?;
        let sql = "SELECT amount FROM entries WHERE epoch = ?";
        let amounts: Vec<Amount> = self.list(sql, values![number], |row| row.get(0)).await?;
        same(number, "entries total", roots.entries_total.to_string(), Amount::sum(amounts)?.to_string())
    }

    /// Writes down where the leaves of an epoch's receipts and entries stand.
    async fn put_places(&mut self, number: u64) -> Result<()> {
        let receipts = "UPDATE receipts SET place = ranked.place FROM \
                        (SELECT id, ROW_NUMBER() OVER (ORDER BY id) - 1 AS place FROM receipts WHERE epoch = ?) ranked \
                        WHERE receipts.id = ranked.id";
        self.execute(receipts, values![number]).await?;
        let entries = "UPDATE entries SET place = ranked.place FROM \
                       (SELECT receipt, line, ROW_NUMBER() OVER (ORDER BY account, receipt, line) - 1 AS place \
                       FROM entries WHERE epoch = ?) ranked \
                       WHERE entries.receipt = ranked.receipt AND entries.line = ranked.line";
        self.execute(entries, values![number]).await.map(drop)
    }

    /// Notes that the chain has a closed epoch's proposal, whose window closes at `closes_at` (Unix seconds).
    ///
    /// # Errors
    ///
    /// [`Error::StaleLease`], [`Error::Missing`], [`Error::State`] when it is not closed. Nothing is changed then.
    pub async fn epoch_proposed(&mut self, lease: &Lease, number: u64, closes_at: Option<u64>) -> Result<()> {
        self.step(lease, number, EpochState::Closed, EpochState::Proposed).await?;
        self.execute("UPDATE epochs SET closes_at = ? WHERE number = ?", values![closes_at, number]).await.map(drop)
    }

    /// Notes that a proposed epoch was finalized.
    ///
    /// # Errors
    ///
    /// As [`Tx::epoch_proposed`], for one that is not proposed.
    pub async fn epoch_finalized(&mut self, lease: &Lease, number: u64) -> Result<()> {
        self.step(lease, number, EpochState::Proposed, EpochState::Finalized).await
    }

    /// Makes an epoch closing again whose proposal was rejected: roots, payouts and trees are forgotten, its attempt is
    /// counted, its receipts and cutoff stay.
    ///
    /// # Errors
    ///
    /// [`Error::StaleLease`], [`Error::Missing`], [`Error::State`] when it is neither closed nor proposed, or when a
    /// later epoch was closed on top of it. Nothing is changed then.
    pub async fn epoch_rejected(&mut self, lease: &Lease, number: u64) -> Result<()> {
        self.check_lease(lease).await?;
        let epoch = self.locked_epoch(number).await?;
        if !matches!(epoch.state, EpochState::Closed | EpochState::Proposed) {
            return Err(Error::state("epoch", number, epoch.state, EpochState::Closing));
        }
        if let Some(next) = self.epoch(number + 1).await?
            && next.roots.is_some()
        {
            return Err(Error::state("epoch", next.number, next.state, "closed on the epoch before it"));
        }
        let empty = ROOTS.map(|column| format!("{column} = NULL")).join(", ");
        let sql = format!(
            "UPDATE epochs SET state = 'closing', attempt = attempt + 1, closes_at = NULL, {empty} WHERE number = ?"
        );
        self.execute(sql, values![number]).await?;
        for table in ["payouts", "tree_chunks", "trees"] {
            self.execute(format!("DELETE FROM {table} WHERE epoch = ?"), values![number]).await?;
        }
        for table in ["receipts", "entries"] {
            self.execute(format!("UPDATE {table} SET place = NULL WHERE epoch = ?"), values![number]).await?;
        }
        Ok(())
    }

    async fn step(&mut self, lease: &Lease, number: u64, from: EpochState, to: EpochState) -> Result<()> {
        self.check_lease(lease).await?;
        let found = self.locked_epoch(number).await?.state;
        if found != from {
            return Err(Error::state("epoch", number, found, to));
        }
        self.execute("UPDATE epochs SET state = ? WHERE number = ?", values![to, number]).await.map(drop)
    }

    /// The epoch as it is, once all that write receipts or entries into it are done.
    async fn locked_epoch(&mut self, number: u64) -> Result<EpochRow> {
        self.must_see_committed().await?;
        let epoch = self.one(format!("{SELECT} WHERE number = ? {FOR_UPDATE}"), values![number], read).await?;
        epoch.ok_or_else(|| Error::missing("epoch", number))
    }
}

fn same(epoch: u64, what: &'static str, given: String, found: String) -> Result<()> {
    if given == found { Ok(()) } else { Err(Error::OtherRoots { epoch, what, given, found }) }
}
