//! Settlement: an epoch is closed, its channels redeemed, its roots proposed and finalized; then earnings are claimed.
//!
//! # Place in the flow
//!
//! `pipeline::settle` and `pipeline::claim` compose these steps. An epoch's row says how far it has come, so that a
//! repeat goes on where the call before stopped.
//!
//! # Invariants
//!
//! - One process at a time settles, under a lease whose fence every state change checks. Answers do not wait for it: a
//!   receipt goes into the open epoch, and closing opens the next one in the same transaction.
//! - Each proposal of an epoch has chain transactions of its own; the same step sends the same transaction.

mod claims;
mod standing;

use std::time::{Duration, Instant};

use openledger_api::{EpochSettled, SettlementStep};
use openledger_chain::contracts::Token;
use openledger_chain::flow::{EpochTops, FlowError};
use openledger_chain::sender::{Mined, SendError};
use openledger_ledger::{ClosedEpoch, ClosedReceipt};
use openledger_protocol::{Amount, Entry, EpochHeader, Payout, ReceiptBundle};
use openledger_store::Store;
use openledger_store::epochs::{EpochRoots, EpochRow, EpochState};
use openledger_store::leases::Lease;
use openledger_store::payouts::PayoutRow;
use openledger_store::transact_locked;
use openledger_store::trees::EpochTrees;

use crate::chain_view::ChainView;
use crate::clock::Clock;
use crate::deposits::Deposits;
use crate::epochs::Epochs;
use crate::error::{Blame, NodeError, Result};
use crate::handles::Handles;
use crate::instance::Instance;
use crate::watching::Watching;

pub(crate) use self::standing::Standing;

/// How long the node makes blocks to end a window of its own network.
const WINDOW_MAX: Duration = Duration::from_secs(60);
/// Vouchers in one redeeming transaction.
const REDEEM_CHUNK: usize = 60;
/// How long the lease lasts without a sign of life, in milliseconds; after a crash another process
/// waits this long.
const LEASE_MS: u64 = 15_000;
/// How long a call waits for another one that settles.
const LEASE_WAIT: Duration = Duration::from_secs(120);

/// Settles this node's epochs.
#[derive(Clone)]
pub struct Settlement {
    store: Store,
    chain: ChainView,
    epochs: Epochs,
    deposits: Deposits,
    watching: Watching,
    handles: Handles,
    clock: Clock,
    instance: Instance,
    terms: Terms,
}

/// What the operator has set for settlement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// What the node puts at stake to propose epochs.
    pub(crate) bond: Amount,
    /// The token that the bond is paid in.
    pub(crate) token: Token,
    /// Whether the network's window is only for show: nobody can refute within it.
    pub(crate) window_is_for_show: bool,
}

/// The parts of [`Settlement`].
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) chain: ChainView,
    pub(crate) epochs: Epochs,
    pub(crate) deposits: Deposits,
    pub(crate) watching: Watching,
    pub(crate) handles: Handles,
    pub(crate) clock: Clock,
    pub(crate) instance: Instance,
    pub(crate) terms: Terms,
}

/// The lease of whoever settles; kept alive until it is dropped.
pub(crate) struct Turn {
    lease: Lease,
    store: Store,
    beat: tokio::task::JoinHandle<()>,
}

impl Turn {
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.beat.abort();
        let (lease, store) = (self.lease.clone(), self.store.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // A lease that cannot be given back now runs out by itself.
            runtime.spawn(async move { transact_locked!(store, |tx| tx.release_lease(&lease).await).ok() });
        }
    }
}

impl Settlement {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, chain, epochs, deposits, watching, handles, clock, instance, terms } = parts;
        Self { store, chain, epochs, deposits, watching, handles, clock, instance, terms }
    }

    /// Takes the lease of `work` (settling, or claiming); waits while another call has it.
    ///
    /// # Errors
    ///
    /// `settling` when the other call takes longer than two minutes.
    pub(crate) async fn take_turn(&self, work: &str) -> Result<Turn> {
        let began = Instant::now();
        // Two calls of one process are two holders.
        let holder = format!("{}/{:016x}", self.instance.name(), next_call());
        loop {
            let now = self.clock.unix_ms();
            let taken = transact_locked!(self.store, |tx| tx.acquire_lease(work, &holder, now, now + LEASE_MS).await);
            match taken {
                Ok(lease) => return Ok(self.keep(lease)),
                Err(openledger_store::Error::Leased { .. }) if began.elapsed() < LEASE_WAIT => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(openledger_store::Error::Leased { until, .. }) => {
                    let detail = format!("another call holds `{work}` until {until} (Unix milliseconds) at least");
                    return Err(NodeError::refused(Blame::Retry, "settling", detail));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn keep(&self, lease: Lease) -> Turn {
        let (store, clock, kept) = (self.store.clone(), self.clock.clone(), lease.clone());
        let beat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(LEASE_MS / 3)).await;
                let until = clock.unix_ms() + LEASE_MS;
                if let Err(error) = transact_locked!(store, |tx| tx.extend_lease(&kept, until).await) {
                    tracing::warn!(%error, "the lease of settlement could not be extended");
                }
            }
        });
        Turn { lease, store: self.store.clone(), beat }
    }

    /// The epoch to settle now: one that was begun, else the open one, closed to further receipts.
    ///
    /// # Errors
    ///
    /// `no-receipts` when there is nothing to settle.
    pub(crate) async fn due(&self, turn: &Turn) -> Result<EpochRow> {
        if let Some(begun) = self.store.settling_epoch().await? {
            return Ok(begun);
        }
        let nothing = || {
            let detail = "there is no receipt since the last epoch";
            NodeError::refused(Blame::Conflict, "no-receipts", detail)
        };
        let open = self.store.latest_epoch(EpochState::Open).await?.ok_or_else(nothing)?;
        let lease = turn.lease();
        match transact_locked!(self.store, |tx| tx.begin_closing(lease, open.number).await) {
            Ok(row) => Ok(row),
            Err(openledger_store::Error::NoReceipts { .. }) => Err(nothing()),
            Err(error) => Err(error.into()),
        }
    }

    /// The receipts and entries of an epoch that is being closed, and the payouts before it.
    pub(crate) async fn books(&self, row: &EpochRow) -> Result<(Vec<ClosedReceipt>, Vec<Payout>)> {
        let mut receipts = Vec::new();
        for row in self.epochs.receipts(row.number).await? {
            let bundle: ReceiptBundle = serde_json::from_str(&row.body)?;
            let entries = self.store.entries_of_receipt(row.id).await?;
            let note = bundle.note.map(|signed| signed.note);
            receipts.push(ClosedReceipt { signed: bundle.signed, entries, note });
        }
        Ok((receipts, self.epochs.payouts_before(row.number).await?))
    }

    /// Fixes the roots of an epoch, with its payouts and its trees.
    pub(crate) async fn fix(&self, turn: &Turn, row: &EpochRow, closed: &ClosedEpoch) -> Result<EpochRow> {
        let header = &closed.header;
        let roots = EpochRoots {
            receipt_count: header.receipt_count,
            receipts_root: header.receipts_root,
            receipts_total: header.receipts_total,
            entries_root: header.entries_root,
            entries_total: header.entries_total,
            payout_root: header.payout_root,
            total: header.total,
            params: openledger_protocol::B256::ZERO,
        };
        let payouts: Vec<PayoutRow> = closed
            .payouts
            .payouts()
            .iter()
            .map(|payout| PayoutRow { account: payout.account, cumulative: payout.cumulative })
            .collect();
        let domain = self.epochs.domain();
        let receipts: Vec<_> = closed.receipt_leaves.iter().map(|leaf| leaf.node(domain)).collect();
        let entries: Vec<_> = closed.entries.iter().map(Entry::leaf).collect();
        let totals: Vec<_> = closed.payouts.payouts().iter().map(|payout| payout.leaf(domain)).collect();
        let lease = turn.lease();
        transact_locked!(self.store, |tx| {
            let trees = EpochTrees { receipts: &receipts, entries: &entries, payouts: &totals };
            tx.close_epoch(lease, row.number, &roots, &payouts, &trees).await
        })?;
        self.epochs.row(row.number).await
    }

    /// Redeems every channel with a receipt in the epoch, up to what it had spent then.
    pub(crate) async fn redeem(&self, row: &EpochRow) -> Result<Vec<SettlementStep>> {
        let mut vouchers = Vec::new();
        for channel in self.store.channels_of_epoch(row.number).await? {
            vouchers.push(self.deposits.voucher(&channel).await?);
        }
        let mut steps = Vec::new();
        for (chunk, vouchers) in vouchers.chunks(REDEEM_CHUNK).enumerate() {
            let key = step_key(row, &format!("redeem/{chunk}"));
            let done = self.chain.flow().channels().redeem(&key, vouchers).await?;
            steps.push(step(format!("redeem {} channels: {}", vouchers.len(), done.value), &done.mined));
        }
        Ok(steps)
    }

    /// Proposes an epoch whose roots are fixed, with the bond at stake.
    pub(crate) async fn propose(&self, turn: &Turn, row: &EpochRow, header: &EpochHeader) -> Result<SettlementStep> {
        self.stake_bond(&step_key(row, "bond")).await?;
        let tops = EpochTops {
            receipts: self.store.tree_top(row.number, openledger_store::trees::Tree::Receipts).await?,
            entries: self.store.tree_top(row.number, openledger_store::trees::Tree::Entries).await?,
            payouts: self.store.tree_top(row.number, openledger_store::trees::Tree::Payouts).await?,
        };
        let key = step_key(row, "propose");
        let done = self.chain.flow().payouts().propose(&key, header, &tops, "").await?;
        let lease = turn.lease();
        let closes = self.chain.flow().payouts().pending().await?.map(|pending| pending.closes);
        transact_locked!(self.store, |tx| tx.epoch_proposed(lease, row.number, closes).await)?;
        Ok(step("propose".into(), &done.mined))
    }

    /// Finalizes the pending proposal once its window is over; `None` when somebody else did.
    ///
    /// # Errors
    ///
    /// `window-open` while the proposal may be refuted, but for a local network's window of a second.
    pub(crate) async fn finalize(&self, row: &EpochRow) -> Result<Option<SettlementStep>> {
        let key = step_key(row, "finalize");
        let began = Instant::now();
        loop {
            let error = match self.chain.flow().payouts().finalize(&key).await {
                Ok(done) => return Ok(Some(step("finalize".into(), &done.mined))),
                Err(error) => error,
            };
            match self.standing(row).await? {
                Standing::Finalized => return Ok(None),
                Standing::Pending { closes } if is_open(&error) && began.elapsed() <= WINDOW_MAX => {
                    if !self.may_hurry(closes) {
                        let detail = format!(
                            "epoch {} may be refuted until {closes}; settle again then to finalize it",
                            row.number
                        );
                        return Err(NodeError::refused(Blame::Conflict, "window-open", detail));
                    }
                    // The estimate is made at the chain's head, whose time only a block moves.
                    self.tick().await?;
                }
                _ => return Err(error.into()),
            }
        }
    }

    /// Sends on the parts of slashed bonds that wait for insurance and for burning, if any wait.
    pub(crate) async fn sweep(&self, row: &EpochRow) -> Result<Option<SettlementStep>> {
        let payouts = self.chain.flow().payouts();
        let waiting = payouts.unswept().await?;
        if waiting == Amount::ZERO {
            return Ok(None);
        }
        let mined = payouts.sweep(&step_key(row, "sweep")).await?;
        Ok(Some(step(format!("sweep {waiting} of slashed bonds"), &mined)))
    }

    /// Notes that an epoch is final.
    pub(crate) async fn conclude(
        &self,
        turn: &Turn,
        row: &EpochRow,
        steps: Vec<SettlementStep>,
    ) -> Result<EpochSettled> {
        let lease = turn.lease();
        transact_locked!(self.store, |tx| tx.epoch_finalized(lease, row.number).await)?;
        self.chain.catch_up().await?;
        Ok(EpochSettled { epoch: self.epochs.export(row.number).await?, steps })
    }

    /// Puts the operator's bond at stake, unless it is; `label` names the occasion, for which it is done once.
    pub(crate) async fn stake_bond(&self, label: &str) -> Result<()> {
        let (flow, bond) = (self.chain.flow(), self.terms.bond);
        let me = flow.account();
        if flow.payouts().operator(me).await?.stake >= bond {
            return Ok(());
        }
        if matches!(self.terms.token, Token::Native) {
            flow.token().wrap(&format!("{label}/wrap"), bond).await?;
        }
        flow.token().approve(&format!("{label}/approve"), flow.addresses().payouts, bond).await?;
        flow.payouts().join(&format!("{label}/join"), me, bond).await?;
        Ok(())
    }

    /// Whether blocks may be made to end a window: on a chain of this process whose time passes in no other way, whose
    /// window is for show, or whose head only lags behind the clock.
    fn may_hurry(&self, closes: u64) -> bool {
        let for_show = self.clock.is_logical() || self.terms.window_is_for_show;
        self.chain.embedded().is_some() && (for_show || self.clock.signing_time(0) >= closes)
    }

    /// Lets the local chain's clock pass a second: a transaction that changes nothing makes a block.
    async fn tick(&self) -> Result<()> {
        let head = self.chain.flow().client().block_number().await?;
        let sender = self.chain.flow().sender();
        let nothing = (alloy_primitives::Bytes::new(), alloy_primitives::U256::ZERO);
        sender.send(&format!("tick/{head}"), sender.address(), nothing.0, nothing.1).await?;
        Ok(())
    }
}

/// The key of a transaction of an epoch's settlement: each proposal of the epoch has keys of its own.
fn step_key(row: &EpochRow, what: &str) -> String {
    match row.attempt {
        0 => format!("epoch/{}/{what}", row.number),
        attempt => format!("epoch/{}/{what}/{attempt}", row.number),
    }
}

fn step(what: String, mined: &Mined) -> SettlementStep {
    SettlementStep { what, tx: mined.hash, block: mined.block, gas: mined.gas_used }
}

/// Whether finalizing was refused because the proposal may still be refuted.
fn is_open(error: &FlowError) -> bool {
    matches!(error, FlowError::Send(SendError::Refused { revert, .. }) if revert.is("WindowOpen"))
}

/// Distinguishes calls of one process.
fn next_call() -> u64 {
    static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
