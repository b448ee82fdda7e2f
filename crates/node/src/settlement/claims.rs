//! Claims: earnings of finalized epochs, paid out by anyone for anyone.
//!
//! **Invariant:** a claim is noted as paid only by what the chain holds: the claim's event, or the
//! sum that the account has claimed.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use openledger_api::Claimed;
use openledger_chain::contracts::bindings::payouts::Payouts::PayoutsEvents;
use openledger_chain::indexer::ChainEvent;
use openledger_chain::rpc::Log;
use openledger_protocol::{Amount, Claim};
use openledger_store::epochs::EpochState;
use openledger_store::payouts::{ClaimRow, ClaimState, PayoutRow};
use openledger_store::transact;
use openledger_store::trees::Tree;

use super::{Settlement, Turn};
use crate::error::{Blame, NodeError, Result};

/// Claims in one transaction.
const CLAIM_CHUNK: usize = 64;
/// Payouts that are read at a time.
const PAGE: u32 = 256;

/// What there is to claim.
pub(crate) struct Due {
    epoch: u64,
    /// Claims that were not paid yet.
    claims: Vec<Claim>,
    /// Accounts that have everything already.
    paid: BTreeMap<Address, Paid>,
}

/// A claim that was paid.
#[derive(Clone, Copy)]
pub(crate) struct Paid {
    /// The transaction.
    tx: B256,
    /// The sum that the account has claimed since genesis, this claim included.
    cumulative: Amount,
}

impl Settlement {
    /// What accounts earned in the finalized epochs and have not claimed; none named: every
    /// account. Proofs are read from the epoch's tree, those of the named accounts only.
    ///
    /// # Errors
    ///
    /// `not-finalized` before the first epoch is.
    pub(crate) async fn claimable(&self, accounts: &[Address]) -> Result<Due> {
        let Some(latest) = self.store.latest_epoch(EpochState::Finalized).await? else {
            return Err(NodeError::refused(Blame::Conflict, "not-finalized", "no epoch is finalized yet"));
        };
        let mut due = Due { epoch: latest.number, claims: Vec::new(), paid: BTreeMap::new() };
        if accounts.is_empty() {
            let mut after = None;
            loop {
                let page = self.store.payouts_page(latest.number, after, PAGE).await?;
                let Some((last, _)) = page.last() else { return Ok(due) };
                after = Some(last.account);
                self.add(&mut due, &page).await?;
            }
        }
        let mut named = Vec::new();
        for account in accounts.iter().copied().collect::<BTreeSet<Address>>() {
            named.extend(self.store.payout(latest.number, account).await?);
        }
        for part in named.chunks(PAGE as usize) {
            self.add(&mut due, part).await?;
        }
        Ok(due)
    }

    /// Adds payouts, each with its place in the tree of the epoch that is due.
    async fn add(&self, due: &mut Due, payouts: &[(PayoutRow, u64)]) -> Result<()> {
        let accounts: Vec<Address> = payouts.iter().map(|(payout, _)| payout.account).collect();
        let claimed = self.store.claims_of_accounts(&accounts).await?;
        let mut unpaid = Vec::new();
        for (payout, place) in payouts {
            let covers = |claim: &&ClaimRow| claim.account == payout.account && claim.cumulative >= payout.cumulative;
            match claimed.iter().find(covers) {
                Some(&ClaimRow { tx_hash: tx, cumulative, .. }) => {
                    due.paid.insert(payout.account, Paid { tx, cumulative });
                }
                None => unpaid.push((payout, *place)),
            }
        }
        let places: Vec<u64> = unpaid.iter().map(|(_, place)| *place).collect();
        let proofs = self.store.tree_proofs(due.epoch, Tree::Payouts, &places).await?;
        let claim = |((payout, _), proof): ((&PayoutRow, u64), _)| Claim {
            account: payout.account,
            cumulative: payout.cumulative,
            proof,
        };
        due.claims.extend(unpaid.into_iter().zip(proofs).map(claim));
        Ok(())
    }

    /// Sends the claims and notes those that were paid; a repeat finds the transactions that were
    /// sent.
    ///
    /// # Errors
    ///
    /// `claim-passed-over` when the chain paid some of them nothing; the others are paid and noted.
    /// `step-reverted`.
    pub(crate) async fn pay(&self, turn: &Turn, mut due: Due) -> Result<BTreeMap<Address, Paid>> {
        for claims in due.claims.chunks(CLAIM_CHUNK) {
            // Accounts and totals name the transaction: a repeat after a crash finds it again, and a transaction for
            // some of them is never taken for one that paid all.
            let paying: Vec<u8> = claims
                .iter()
                .flat_map(|claim| claim.account.0.0.into_iter().chain(claim.cumulative.0.to_be_bytes()))
                .collect();
            let name = format!("claim/{}/{}", due.epoch, openledger_protocol::keccak(paying));
            let step = self.steps.next(name).await?;
            let sent = self.chain.flow().payouts().claim(step.key(), claims).await;
            let mined = self.steps.sent(&step, Some(turn.lease()), sent).await?.mined;
            let moved = self.moved(&mined.logs);
            let mut passed_over = Vec::new();
            let mut paid = Vec::with_capacity(claims.len());
            for claim in claims {
                if moved.contains_key(&claim.account) || self.has_had(claim.account, claim.cumulative).await? {
                    paid.push(claim);
                } else {
                    passed_over.push(claim.account.to_string());
                }
            }
            transact!(self.store, |tx| {
                for claim in &paid {
                    let (account, cumulative) = (claim.account, claim.cumulative);
                    let (tx_hash, state) = (mined.hash, ClaimState::Paid);
                    tx.put_claim(&ClaimRow { tx_hash, account, cumulative, state }).await?;
                }
                Ok::<_, openledger_store::Error>(())
            })?;
            if !passed_over.is_empty() {
                let detail = format!(
                    "transaction {} claimed for {} and the chain paid nothing: it has other payouts than epoch {} here. \
                     Settle what is pending, or audit the epoch; then claim again",
                    mined.hash,
                    passed_over.join(", "),
                    due.epoch
                );
                self.steps.failed(&step, Some(turn.lease()), &detail).await?;
                return Err(NodeError::refused(Blame::Conflict, "claim-passed-over", detail));
            }
            let noted = |claim: &&Claim| (claim.account, Paid { tx: mined.hash, cumulative: claim.cumulative });
            due.paid.extend(paid.iter().map(noted));
        }
        self.chain.catch_up().await?;
        Ok(due.paid)
    }

    /// What the claims in a transaction's logs moved, by account.
    fn moved(&self, logs: &[Log]) -> BTreeMap<Address, Amount> {
        let claimed = logs.iter().filter_map(|log| match ChainEvent::decode(self.chain.at(), log) {
            Some(ChainEvent::Payouts(PayoutsEvents::Claimed(paid))) => {
                Some((paid.account, openledger_ledger::base_units(paid.amount)))
            }
            _ => None,
        });
        claimed.collect()
    }

    /// Whether an account was paid so much since genesis, whoever sent the claims.
    async fn has_had(&self, account: Address, cumulative: Amount) -> Result<bool> {
        Ok(self.chain.flow().payouts().claimed(account).await? >= cumulative)
    }

    /// The amount that each account's claiming transaction moved, as the chain logged it: nothing
    /// where somebody else had claimed for the account before.
    ///
    /// # Errors
    ///
    /// `claim-lost` when a claim that was noted as paid is not on the chain.
    pub(crate) async fn claimed(&self, paid: BTreeMap<Address, Paid>) -> Result<Vec<Claimed>> {
        let names = self.handles.names(paid.keys().copied()).await?;
        let mut moved: BTreeMap<B256, BTreeMap<Address, Amount>> = BTreeMap::new();
        for tx in paid.values().map(|paid| paid.tx).collect::<BTreeSet<B256>>() {
            let receipt =
                self.chain.flow().client().receipt(tx).await?.ok_or_else(|| lost(tx, "has no receipt of it"))?;
            moved.insert(tx, self.moved(&receipt.logs));
        }
        let mut claims = Vec::with_capacity(paid.len());
        for (account, Paid { tx, cumulative }) in paid {
            let logged = moved.get(&tx).and_then(|moved| moved.get(&account)).copied();
            if logged.is_none() && !self.has_had(account, cumulative).await? {
                return Err(lost(tx, &format!("did not pay account {account} by it")));
            }
            let amount = logged.unwrap_or(Amount::ZERO);
            let balance = self.chain.flow().token().balance(account).await?;
            claims.push(Claimed { account, name: names.get(&account).cloned(), amount, balance, tx });
        }
        Ok(claims)
    }
}

fn lost(tx: B256, what: &str) -> NodeError {
    let detail = format!("transaction {tx} was noted as a paid claim, and the chain {what}: is it the same network?");
    NodeError::refused(Blame::Operator, "claim-lost", detail)
}
