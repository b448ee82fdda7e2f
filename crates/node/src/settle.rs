//! Settlement: an epoch is closed, redeemed, proposed, finalized; then anyone's earnings are claimed for them.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use openledger_chain::contracts::bindings::payouts::Payouts::PayoutsEvents;
use openledger_chain::flow::{EpochTops, FlowError};
use openledger_chain::indexer::ChainEvent;
use openledger_chain::sender::SendError;
use openledger_ledger::{ClosedEpoch, ClosedReceipt, ExportedEpoch};
use openledger_protocol::{Amount, Payout, PayoutTree, ReceiptBundle};
use openledger_store::epochs::{ClaimRow, ClaimState, EpochRow, EpochState, PayoutRow};
use openledger_store::receipts::ReceiptRow;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::NodeClock;
use crate::error::{Blame, NodeError, Result};
use crate::node::Node;
use crate::refuted::Standing;

/// Claims in one transaction.
const CLAIM_CHUNK: usize = 64;
/// How long the node makes blocks to end a window of its own network.
const WINDOW_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// One transaction of an epoch's settlement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What it does.
    pub what: String,
    /// The transaction.
    pub tx: B256,
    /// Its block.
    pub block: u64,
    /// Gas it paid for.
    pub gas: u64,
}

/// A settled epoch.
#[derive(Clone, Debug, Serialize)]
pub struct Settled {
    /// The header with its words.
    #[serde(flatten)]
    pub epoch: ExportedEpoch,
    /// The transactions.
    pub steps: Vec<Step>,
}

/// A claim that was paid.
#[derive(Clone, Debug, Serialize)]
pub struct Claimed {
    /// Who.
    pub account: Address,
    /// Its handle, if it has one.
    pub name: Option<String>,
    /// What this claim moved.
    pub amount: Amount,
    /// WOPEN it holds now.
    pub balance: Amount,
    /// The transaction.
    pub tx: B256,
}

impl Node {
    /// Closes the open epoch and takes it all the way: redeems the channels that paid, proposes, waits out the window,
    /// finalizes. Repeated after a crash it goes on where it stopped; what was refuted meanwhile is proposed anew.
    ///
    /// # Errors
    ///
    /// `no-receipts` when there is nothing to settle; `window-open` while the proposal may be refuted, but for a local
    /// network's window of a second: settling again afterwards goes on. `false-books` and `another-epoch`: see `refuted`.
    pub async fn settle(&self) -> Result<Settled> {
        let _one = self.inner.ledger.lock().await;
        let latest = self.inner.store.latest_epoch().await?;
        let row = match latest {
            Some(row) if row.state == EpochState::Proposed => self.proposed_anew(row).await?,
            Some(row) if row.state != EpochState::Finalized => row,
            latest => self.close(latest).await?,
        };
        let mut steps = Vec::new();
        let exported: ExportedEpoch = serde_json::from_value(row.header["export"].clone())?;
        let number = row.number;
        if row.state == EpochState::Closed {
            steps.extend(self.redeem(number).await?);
            let tops: [[openledger_protocol::sum_tree::SumNode; 2]; 2] =
                serde_json::from_value(row.header["tops"].clone())?;
            let tops = EpochTops { entries: tops[0], payouts: tops[1] };
            let cutoff = row.header["cutoff"].as_u64().unwrap_or_default();
            let key = step_key(&row, "propose");
            self.join(&step_key(&row, "bond")).await?;
            let done = self.inner.flow.propose(&key, &exported.header, cutoff, &tops, "").await?;
            steps.push(Step {
                what: "propose".into(),
                tx: done.mined.hash,
                block: done.mined.block,
                gas: done.mined.gas_used,
            });
            self.advance(number, EpochState::Closed, EpochState::Proposed).await?;
        }
        steps.extend(self.finalize(&row).await?);
        steps.extend(self.sweep(number).await?);
        self.advance(number, EpochState::Proposed, EpochState::Finalized).await?;
        self.sync().await?;
        Ok(Settled { epoch: exported, steps })
    }

    async fn advance(&self, number: u64, from: EpochState, to: EpochState) -> Result<()> {
        let mut tx = self.inner.store.begin().await?;
        tx.advance_epoch(number, from, to).await?;
        Ok(tx.commit().await?)
    }

    /// Fixes the roots of all open receipts, in one transaction.
    async fn close(&self, previous: Option<EpochRow>) -> Result<EpochRow> {
        let open = self.inner.store.open_receipts().await?;
        if open.is_empty() {
            let detail = "there is no receipt since the last epoch";
            return Err(NodeError::refused(Blame::Conflict, "no-receipts", detail));
        }
        let number = previous.as_ref().map_or(0, |row| row.number) + 1;
        let (row, closed) = self.roots(number, &open, 0).await?;
        let mut tx = self.inner.store.begin().await?;
        tx.put_epoch(&row).await?;
        tx.close_receipts_into(number).await?;
        tx.put_payouts(&payout_rows(number, &closed)).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// The roots of an epoch with these receipts, as the books have them now; `attempt` counts its proposals, from 0.
    pub(crate) async fn roots(
        &self,
        number: u64,
        rows: &[ReceiptRow],
        attempt: u64,
    ) -> Result<(EpochRow, ClosedEpoch)> {
        let mut receipts = Vec::with_capacity(rows.len());
        for row in rows {
            let bundle: ReceiptBundle = serde_json::from_str(&row.body)?;
            let entries = self.inner.store.entries_of_receipt(row.id).await?;
            receipts.push(ClosedReceipt { signed: bundle.signed, entries });
        }
        let before = if number > 1 { self.payouts(number - 1).await? } else { Vec::new() };
        let cutoff = receipts.iter().map(|r| r.signed.receipt.time).max().unwrap_or_default();
        let domain = self.domain(self.inner.flow.addresses().payouts);
        let closed = openledger_ledger::close_epoch(number, &receipts, &before, domain)?;
        let row = EpochRow {
            number,
            state: EpochState::Closed,
            receipts_root: closed.header.receipts_root,
            entries_root: closed.header.entries_root,
            payout_root: closed.header.payout_root,
            total: closed.header.total,
            header: json!({
                "export": ExportedEpoch::new(closed.header.clone(), domain),
                "tops": [closed.entries_tree.top(), closed.payouts.top()],
                "cutoff": cutoff,
                "attempt": attempt,
            }),
        };
        Ok((row, closed))
    }

    /// A closed epoch, rebuilt from its receipts: the roots must come out as they were fixed.
    pub(crate) async fn closed(&self, number: u64) -> Result<ClosedEpoch> {
        let mut receipts = Vec::new();
        for row in self.inner.store.receipts_of_epoch(number).await? {
            let bundle: ReceiptBundle = serde_json::from_str(&row.body)?;
            receipts.push(ClosedReceipt { signed: bundle.signed, entries: bundle.entries });
        }
        let before = if number > 1 { self.payouts(number - 1).await? } else { Vec::new() };
        let domain = self.domain(self.inner.flow.addresses().payouts);
        Ok(openledger_ledger::close_epoch(number, &receipts, &before, domain)?)
    }

    async fn payouts(&self, number: u64) -> Result<Vec<Payout>> {
        let rows = self.inner.store.payouts_of_epoch(number).await?;
        Ok(rows.into_iter().map(|row| Payout { account: row.account, cumulative: row.cumulative }).collect())
    }

    /// Redeems every channel with a receipt in the epoch, up to what it had spent then.
    async fn redeem(&self, number: u64) -> Result<Vec<Step>> {
        let mut spent: BTreeMap<openledger_protocol::ChannelId, ()> = BTreeMap::new();
        for row in self.inner.store.receipts_of_epoch(number).await? {
            spent.insert(row.channel, ());
        }
        let mut vouchers = Vec::new();
        for id in spent.into_keys() {
            let channel = self.inner.store.channel(id).await?.ok_or_else(|| NodeError::missing("channel", id))?;
            vouchers.push(self.voucher(&channel).await?);
        }
        let mut steps = Vec::new();
        for (chunk, vouchers) in vouchers.chunks(60).enumerate() {
            let done = self.inner.flow.redeem_many(&format!("epoch/{number}/redeem/{chunk}"), vouchers).await?;
            steps.push(Step {
                what: format!("redeem {} channels: {}", vouchers.len(), done.value),
                tx: done.mined.hash,
                block: done.mined.block,
                gas: done.mined.gas_used,
            });
        }
        Ok(steps)
    }

    /// Finalizes the pending proposal once its window is over; `None` when somebody else did.
    async fn finalize(&self, row: &EpochRow) -> Result<Option<Step>> {
        let flow = &self.inner.flow;
        let key = step_key(row, "finalize");
        let began = std::time::Instant::now();
        loop {
            let error = match flow.finalize(&key).await {
                Ok(done) => {
                    let (tx, block, gas) = (done.mined.hash, done.mined.block, done.mined.gas_used);
                    return Ok(Some(Step { what: "finalize".into(), tx, block, gas }));
                }
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

    /// Sends on what challenges left for insurance and fire, if anything waits.
    async fn sweep(&self, number: u64) -> Result<Option<Step>> {
        let flow = &self.inner.flow;
        let waiting = flow.unswept().await?;
        if waiting == Amount::ZERO {
            return Ok(None);
        }
        let mined = flow.sweep(&format!("epoch/{number}/sweep")).await?;
        let (tx, block, gas) = (mined.hash, mined.block, mined.gas_used);
        Ok(Some(Step { what: format!("sweep {waiting} of slashed bonds"), tx, block, gas }))
    }

    /// Whether blocks may be made to end a window: on a chain of our own whose time passes in no other way, whose window of
    /// a second is for show, or whose head only lags behind the clock.
    fn may_hurry(&self, closes: u64) -> bool {
        let config = &self.inner.config;
        let for_show = config.clock == NodeClock::Logical || config.window_s.is_none();
        self.inner.chain.is_some() && (for_show || self.now(0) >= closes)
    }

    /// Lets the local chain's clock pass a second: a transaction that changes nothing makes a block.
    async fn tick(&self) -> Result<()> {
        let head = self.inner.flow.client().block_number().await?;
        let sender = self.inner.flow.sender();
        sender
            .send(
                &format!("tick/{head}"),
                sender.address(),
                alloy_primitives::Bytes::new(),
                alloy_primitives::U256::ZERO,
            )
            .await?;
        Ok(())
    }

    /// Claims what accounts earned in the finalized epochs, for them; none named: everybody who has something.
    ///
    /// Repeated, it pays nothing again and tells the same claims.
    ///
    /// # Errors
    ///
    /// `not-finalized` before the first epoch is.
    pub async fn claim(&self, accounts: &[Address]) -> Result<Vec<Claimed>> {
        let _one = self.inner.ledger.lock().await;
        let latest = self.inner.store.latest_epoch().await?.filter(|row| row.state == EpochState::Finalized);
        let Some(latest) = latest else {
            return Err(NodeError::refused(Blame::Conflict, "not-finalized", "no epoch is finalized yet"));
        };
        let flow = &self.inner.flow;
        let domain = self.domain(flow.addresses().payouts);
        let tree = PayoutTree::new(self.payouts(latest.number).await?, domain)?;
        let wanted = |account: &Address| accounts.is_empty() || accounts.contains(account);
        let (mut due, mut paid) = (Vec::new(), BTreeMap::new());
        for payout in tree.payouts().iter().filter(|payout| wanted(&payout.account)) {
            let claims = self.inner.store.claims_of(payout.account).await?;
            match claims.iter().find(|claim| claim.cumulative >= payout.cumulative) {
                Some(claim) => {
                    paid.insert(payout.account, claim.tx_hash);
                }
                None => due.extend(tree.claim(payout.account)),
            }
        }
        for claims in due.chunks(CLAIM_CHUNK) {
            // Accounts and totals name the transaction: a repeat after a crash finds it again, and a transaction for
            // some of them is never taken for one that paid all.
            let paying: Vec<u8> = claims
                .iter()
                .flat_map(|claim| claim.account.0.0.into_iter().chain(claim.cumulative.0.to_be_bytes()))
                .collect();
            let key = format!("claim/{}/{}", latest.number, openledger_protocol::keccak(paying));
            let mined = flow.claim_many(&key, claims).await?.mined;
            let mut tx = self.inner.store.begin().await?;
            for claim in claims {
                let (account, cumulative) = (claim.account, claim.cumulative);
                tx.put_claim(&ClaimRow { tx_hash: mined.hash, account, cumulative, state: ClaimState::Paid }).await?;
                paid.insert(account, mined.hash);
            }
            tx.commit().await?;
        }
        self.sync().await?;
        self.claimed_amounts(paid).await
    }

    /// What each account's claiming transaction moved, as the chain logged it.
    async fn claimed_amounts(&self, paid: BTreeMap<Address, B256>) -> Result<Vec<Claimed>> {
        let names = self.names().await?;
        let mut moved: BTreeMap<(B256, Address), Amount> = BTreeMap::new();
        let transactions: std::collections::BTreeSet<B256> = paid.values().copied().collect();
        for tx in transactions {
            let logs = self.inner.flow.client().receipt(tx).await?.map(|receipt| receipt.logs).unwrap_or_default();
            for log in logs {
                if let Some(ChainEvent::Payouts(PayoutsEvents::Claimed(paid))) =
                    ChainEvent::decode(self.inner.flow.addresses(), &log)
                {
                    moved.insert((tx, paid.account), openledger_ledger::base_units(paid.amount));
                }
            }
        }
        let mut claims = Vec::with_capacity(paid.len());
        for (account, tx) in paid {
            let amount = moved.get(&(tx, account)).copied().unwrap_or_default();
            let balance = self.inner.flow.token_balance(account).await?;
            claims.push(Claimed { account, name: names.get(&account).cloned(), amount, balance, tx });
        }
        Ok(claims)
    }
}

/// What a step of an epoch's settlement is sent under: each proposal of the epoch has keys of its own.
fn step_key(row: &EpochRow, what: &str) -> String {
    match row.header["attempt"].as_u64() {
        None | Some(0) => format!("epoch/{}/{what}", row.number),
        Some(attempt) => format!("epoch/{}/{what}/{attempt}", row.number),
    }
}

/// Whether finalizing was refused because the proposal may still be refuted.
fn is_open(error: &FlowError) -> bool {
    matches!(error, FlowError::Send(SendError::Refused { revert, .. }) if revert.is("WindowOpen"))
}

pub(crate) fn payout_rows(epoch: u64, closed: &ClosedEpoch) -> Vec<PayoutRow> {
    let row = |payout: &Payout| PayoutRow { epoch, account: payout.account, cumulative: payout.cumulative };
    closed.payouts.payouts().iter().map(row).collect()
}
