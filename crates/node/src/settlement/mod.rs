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
//! - Each proposal of an epoch has chain transactions of its own; the same step sends the same
//!   transaction, and another one only once that reverted (`steps`).
//! - A proposal that the redeemed money does not cover is not sent. Its channels are redeemed again
//!   as far as their deposits reach, and the error names those that owe more than they hold.

mod claims;
mod closing;
mod shortfall;
mod standing;

use std::time::{Duration, Instant};

use openledger_api::{EpochSettled, SettlementStep};
use openledger_chain::contracts::Token;
use openledger_chain::flow::{EpochTops, FlowError};
use openledger_chain::sender::{Mined, SendError};
use openledger_protocol::{Amount, EpochHeader};
use openledger_store::Store;
use openledger_store::epochs::{EpochRow, EpochState};
use openledger_store::leases::Lease;
use openledger_store::transact_locked;

use crate::chain_view::ChainView;
use crate::clock::Clock;
use crate::deposits::{Deposits, REDEEM_CHUNK};
use crate::epochs::Epochs;
use crate::error::{Blame, NodeError, Result};
use crate::handles::Handles;
use crate::instance::Instance;
use crate::owned_task::OwnedTask;
use crate::steps::{Step, Steps};
use crate::watching::Watching;

pub(crate) use self::standing::Standing;

/// How long the node makes blocks to end a window of its own network.
const WINDOW_MAX: Duration = Duration::from_secs(60);
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
    steps: Steps,
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

/// The lease of the call that settles; extended until this is dropped.
pub(crate) struct Turn {
    lease: Lease,
    store: Store,
    _beat: OwnedTask,
}

impl Turn {
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (lease, store) = (self.lease.clone(), self.store.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // A lease that cannot be given back now expires.
            runtime.spawn(async move { transact_locked!(store, |tx| tx.release_lease(&lease).await).ok() });
        }
    }
}

impl Settlement {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, chain, epochs, deposits, watching, handles, clock, instance, terms } = parts;
        let steps = Steps::new(store.clone(), clock.clone());
        Self { store, chain, epochs, deposits, watching, handles, clock, instance, steps, terms }
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
        let beat = OwnedTask::spawn(extend(self.store.clone(), self.clock.clone(), lease.clone()));
        Turn { lease, store: self.store.clone(), _beat: beat }
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

    /// Redeems every channel with a receipt in the epoch, up to what it had spent then.
    pub(crate) async fn redeem(&self, turn: &Turn, row: &EpochRow) -> Result<Vec<SettlementStep>> {
        let mut vouchers = Vec::new();
        for channel in self.store.channels_of_epoch(row.number).await? {
            vouchers.push(self.deposits.voucher(&channel).await?);
        }
        let mut steps = Vec::new();
        for (chunk, vouchers) in vouchers.chunks(REDEEM_CHUNK).enumerate() {
            let step = self.step(row, &format!("redeem/{chunk}")).await?;
            let sent = self.chain.flow().channels().redeem(step.key(), vouchers).await;
            let done = self.steps.sent(&step, Some(turn.lease()), sent).await?;
            steps.push(done_step(format!("redeem {} channels: {}", vouchers.len(), done.value), &done.mined));
        }
        Ok(steps)
    }

    /// Proposes an epoch whose roots are fixed, with the bond at stake.
    ///
    /// # Errors
    ///
    /// `underfunded` while the redeemed money does not cover the epoch, naming the channels that owe.
    pub(crate) async fn propose(&self, turn: &Turn, row: &EpochRow, header: &EpochHeader) -> Result<SettlementStep> {
        self.stake_bond(&step_name(row, "bond"), Some(turn.lease())).await?;
        let tops = EpochTops {
            receipts: self.store.tree_top(row.number, openledger_store::trees::Tree::Receipts).await?,
            entries: self.store.tree_top(row.number, openledger_store::trees::Tree::Entries).await?,
            payouts: self.store.tree_top(row.number, openledger_store::trees::Tree::Payouts).await?,
        };
        let lease = turn.lease();
        let done = loop {
            let step = self.step(row, "propose").await?;
            let sent = self.chain.flow().payouts().propose(step.key(), header, &tops, "").await;
            let underfunded = sent.as_ref().is_err_and(|error| is_revert(error, "Underfunded"));
            let error = match self.steps.sent(&step, Some(lease), sent).await {
                Ok(done) => break done,
                Err(error) => error,
            };
            if !underfunded {
                return Err(error);
            }
            // Where more could be redeemed, the proposal is sent once more.
            if !self.redeem_rest(turn, row).await? {
                return Err(self.underfunded(row).await?);
            }
        };
        let closes = self.chain.flow().payouts().pending().await?.map(|pending| pending.closes);
        transact_locked!(self.store, |tx| tx.epoch_proposed(lease, row.number, closes).await)?;
        Ok(done_step("propose".into(), &done.mined))
    }

    /// Finalizes the pending proposal once its window is over; `None` when somebody else did.
    ///
    /// # Errors
    ///
    /// `window-open` while the proposal may be refuted, but for a local network's window of a second.
    pub(crate) async fn finalize(&self, turn: &Turn, row: &EpochRow) -> Result<Option<SettlementStep>> {
        let began = Instant::now();
        loop {
            let step = self.step(row, "finalize").await?;
            let sent = self.chain.flow().payouts().finalize(step.key()).await;
            let open = sent.as_ref().is_err_and(is_open);
            let error = match self.steps.sent(&step, Some(turn.lease()), sent).await {
                Ok(done) => return Ok(Some(done_step("finalize".into(), &done.mined))),
                Err(error) => error,
            };
            match self.standing(row).await? {
                Standing::Finalized => return Ok(None),
                Standing::Pending { closes } if open && began.elapsed() <= WINDOW_MAX => {
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
                _ => return Err(error),
            }
        }
    }

    /// Sends on the parts of slashed bonds that wait for insurance and for burning, if any wait.
    pub(crate) async fn sweep(&self, turn: &Turn, row: &EpochRow) -> Result<Option<SettlementStep>> {
        let payouts = self.chain.flow().payouts();
        let waiting = payouts.unswept().await?;
        if waiting == Amount::ZERO {
            return Ok(None);
        }
        let step = self.step(row, "sweep").await?;
        let sent = payouts.sweep(step.key()).await;
        let mined = self.steps.sent(&step, Some(turn.lease()), sent).await?;
        Ok(Some(done_step(format!("sweep {waiting} of slashed bonds"), &mined)))
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

    /// Puts the operator's bond at stake, unless it is; `label` names the occasion, for which it is
    /// done once. `lease` is that of the epoch's settlement, where it is done for one.
    pub(crate) async fn stake_bond(&self, label: &str, lease: Option<&Lease>) -> Result<()> {
        let (flow, bond) = (self.chain.flow(), self.terms.bond);
        let me = flow.account();
        if flow.payouts().operator(me).await?.stake >= bond {
            return Ok(());
        }
        if matches!(self.terms.token, Token::Native) {
            let step = self.steps.next(format!("{label}/wrap")).await?;
            let sent = flow.token().wrap(step.key(), bond).await;
            self.steps.sent(&step, lease, sent).await?;
        }
        let step = self.steps.next(format!("{label}/approve")).await?;
        let sent = flow.token().approve(step.key(), flow.addresses().payouts, bond).await;
        self.steps.sent(&step, lease, sent).await?;
        let step = self.steps.next(format!("{label}/join")).await?;
        let sent = flow.payouts().join(step.key(), me, bond).await;
        self.steps.sent(&step, lease, sent).await?;
        Ok(())
    }

    /// A step of an epoch's settlement.
    async fn step(&self, row: &EpochRow, what: &str) -> Result<Step> {
        self.steps.next(step_name(row, what)).await
    }

    /// Whether blocks may be made to end a window on a chain of this process.
    ///
    /// They may where its time passes in no other way, where the window is for show, and where its
    /// head lags behind the clock.
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

/// Extends a lease until the task is dropped.
async fn extend(store: Store, clock: Clock, lease: Lease) {
    loop {
        tokio::time::sleep(Duration::from_millis(LEASE_MS / 3)).await;
        let until = clock.unix_ms() + LEASE_MS;
        if let Err(error) = transact_locked!(store, |tx| tx.extend_lease(&lease, until).await) {
            tracing::warn!(%error, "the lease of settlement could not be extended");
        }
    }
}

/// The name of a step of an epoch's settlement: each proposal of the epoch has steps of its own.
fn step_name(row: &EpochRow, what: &str) -> String {
    match row.attempt {
        0 => format!("epoch/{}/{what}", row.number),
        attempt => format!("epoch/{}/{what}/{attempt}", row.number),
    }
}

fn done_step(what: String, mined: &Mined) -> SettlementStep {
    SettlementStep { what, tx: mined.hash, block: mined.block, gas: mined.gas_used }
}

/// Whether finalizing was refused, or reverted, because the proposal may still be refuted.
fn is_open(error: &FlowError) -> bool {
    is_revert(error, "WindowOpen")
}

/// Whether the contract refused a transaction, or reverted it, with the error of this name.
fn is_revert(error: &FlowError, name: &str) -> bool {
    let FlowError::Send(SendError::Refused { revert, .. } | SendError::Reverted { revert, .. }) = error else {
        return false;
    };
    revert.is(name)
}

/// Distinguishes calls of one process.
fn next_call() -> u64 {
    static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
