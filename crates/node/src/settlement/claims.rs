//! Claims: earnings of finalized epochs, paid out by anyone for anyone.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use openledger_api::Claimed;
use openledger_chain::contracts::bindings::payouts::Payouts::PayoutsEvents;
use openledger_chain::indexer::ChainEvent;
use openledger_protocol::{Amount, Claim, PayoutTree};
use openledger_store::epochs::EpochState;
use openledger_store::payouts::{ClaimRow, ClaimState};
use openledger_store::transact;

use super::Settlement;
use crate::error::{Blame, NodeError, Result};

/// Claims in one transaction.
const CLAIM_CHUNK: usize = 64;

/// What there is to claim.
pub(crate) struct Due {
    epoch: u64,
    /// Claims that were not paid yet.
    claims: Vec<Claim>,
    /// The transaction of each account that has everything already.
    paid: BTreeMap<Address, B256>,
}

impl Settlement {
    /// What accounts earned in the finalized epochs and have not claimed; none named: every account.
    ///
    /// # Errors
    ///
    /// `not-finalized` before the first epoch is.
    pub(crate) async fn claimable(&self, accounts: &[Address]) -> Result<Due> {
        let Some(latest) = self.store.latest_epoch(EpochState::Finalized).await? else {
            return Err(NodeError::refused(Blame::Conflict, "not-finalized", "no epoch is finalized yet"));
        };
        let domain = self.chain.domain(self.chain.at().payouts);
        let tree = PayoutTree::new(self.epochs.payouts(latest.number).await?, domain)?;
        let wanted: BTreeSet<Address> = accounts.iter().copied().collect();
        let mut due = Due { epoch: latest.number, claims: Vec::new(), paid: BTreeMap::new() };
        for payout in tree.payouts().iter().filter(|payout| wanted.is_empty() || wanted.contains(&payout.account)) {
            let claims = self.store.claims_of(payout.account).await?;
            match claims.iter().find(|claim| claim.cumulative >= payout.cumulative) {
                Some(claim) => drop(due.paid.insert(payout.account, claim.tx_hash)),
                None => due.claims.extend(tree.claim(payout.account)),
            }
        }
        Ok(due)
    }

    /// Sends the claims and notes them; a repeat finds the transactions that were sent.
    pub(crate) async fn pay(&self, mut due: Due) -> Result<BTreeMap<Address, B256>> {
        for claims in due.claims.chunks(CLAIM_CHUNK) {
            // Accounts and totals name the transaction: a repeat after a crash finds it again, and a transaction for
            // some of them is never taken for one that paid all.
            let paying: Vec<u8> = claims
                .iter()
                .flat_map(|claim| claim.account.0.0.into_iter().chain(claim.cumulative.0.to_be_bytes()))
                .collect();
            let key = format!("claim/{}/{}", due.epoch, openledger_protocol::keccak(paying));
            let mined = self.chain.flow().payouts().claim(&key, claims).await?.mined;
            transact!(self.store, |tx| {
                for claim in claims {
                    let (account, cumulative) = (claim.account, claim.cumulative);
                    let (tx_hash, state) = (mined.hash, ClaimState::Paid);
                    tx.put_claim(&ClaimRow { tx_hash, account, cumulative, state }).await?;
                }
                Ok::<_, openledger_store::Error>(())
            })?;
            due.paid.extend(claims.iter().map(|claim| (claim.account, mined.hash)));
        }
        self.chain.catch_up().await?;
        Ok(due.paid)
    }

    /// The amount that each account's claiming transaction moved, as the chain logged it.
    pub(crate) async fn claimed(&self, paid: BTreeMap<Address, B256>) -> Result<Vec<Claimed>> {
        let names = self.handles.names(paid.keys().copied()).await?;
        let mut moved: BTreeMap<(B256, Address), Amount> = BTreeMap::new();
        for tx in paid.values().copied().collect::<BTreeSet<B256>>() {
            let receipt = self.chain.flow().client().receipt(tx).await?;
            for log in receipt.map(|receipt| receipt.logs).unwrap_or_default() {
                if let Some(ChainEvent::Payouts(PayoutsEvents::Claimed(paid))) =
                    ChainEvent::decode(self.chain.at(), &log)
                {
                    moved.insert((tx, paid.account), openledger_ledger::base_units(paid.amount));
                }
            }
        }
        let mut claims = Vec::with_capacity(paid.len());
        for (account, tx) in paid {
            let amount = moved.get(&(tx, account)).copied().unwrap_or_default();
            let balance = self.chain.flow().token().balance(account).await?;
            claims.push(Claimed { account, name: names.get(&account).cloned(), amount, balance, tx });
        }
        Ok(claims)
    }
}
