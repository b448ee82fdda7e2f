//! Payouts: operators, epochs, claims.

use alloy_primitives::{Address, B256, U256};
use openledger_protocol::sum_tree::SumNode;
use openledger_protocol::{Amount, Claim, EpochHeader, FormatVersion};

use super::{Contract, Done, FlowError};
use crate::contracts::bindings::payouts::{self, IPayouts, Payouts};
use crate::sender::Mined;

/// The two nodes under each root of a proposal: with them the contract checks that the roots sum to
/// what is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochTops {
    /// Under `receipts_root`; their sum is the entries'.
    pub receipts: [SumNode; 2],
    /// Under `entries_root`.
    pub entries: [SumNode; 2],
    /// Under `payout_root`.
    pub payouts: [SumNode; 2],
}

/// The last finalized epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayoutsHead {
    /// Its number; 0 before the first.
    pub epoch: u64,
    /// Time up to which receipts are in, seconds since 1970.
    pub cutoff: u64,
    /// Sum of everything earned since genesis.
    pub total: Amount,
}

/// A proposal whose window is open, or that waits to be finalized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingEpoch {
    /// What was proposed.
    pub header: EpochHeader,
    /// Who answers for it.
    pub proposer: Address,
    /// When its window closes, seconds since 1970.
    pub closes: u64,
}

/// A node's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorState {
    /// At stake, in base units.
    pub stake: Amount,
    /// When it first joined, seconds since 1970; 0 when it never did.
    pub since: u64,
    /// When it may leave; 0 while it has not asked to.
    pub exit_at: u64,
}

/// The contract of operators, epochs and claims.
#[derive(Clone, Copy)]
pub struct PayoutsContract<'a>(pub(super) Contract<'a>);

impl PayoutsContract<'_> {
    /// Puts `amount` of the account's token at stake for `operator`; approve `payouts` for it
    /// first.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn join(self, key: &str, operator: Address, amount: Amount) -> Result<Mined, FlowError> {
        self.0.send(key, Payouts::joinCall { operator, amount: amount.0 }).await
    }

    /// Proposes an epoch with all receipts up to the header's cutoff; the account is a bonded
    /// operator. The result is when the window closes.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with the contract's error: `SumMismatch`, `TotalMismatch`,
    /// `Underfunded`, `NotBonded` and others.
    pub async fn propose(
        self,
        key: &str,
        header: &EpochHeader,
        tops: &EpochTops,
        uri: &str,
    ) -> Result<Done<u64>, FlowError> {
        let call = Payouts::proposeCall {
            p: IPayouts::Proposal {
                epoch: header.epoch,
                cutoff: header.cutoff,
                receiptCount: header.receipt_count,
                receiptsRoot: header.receipts_root,
                entriesRoot: header.entries_root,
                entriesTotal: header.entries_total.0,
                payoutRoot: header.payout_root,
                total: header.total.0,
            },
            receiptsTop: tops.receipts.map(node),
            entriesTop: tops.entries.map(node),
            payoutTop: tops.payouts.map(node),
            uri: uri.to_owned(),
        };
        let mined = self.0.send(key, call).await?;
        let proposed: Payouts::EpochProposed = self.0.event(&mined)?;
        Ok(Done { value: proposed.closes, mined })
    }

    /// Makes the pending proposal stand; anyone may, once its window has closed.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `WindowOpen` before.
    pub async fn finalize(self, key: &str) -> Result<Done<u64>, FlowError> {
        let mined = self.0.send(key, Payouts::finalizeCall {}).await?;
        let finalized: Payouts::EpochFinalized = self.0.event(&mined)?;
        Ok(Done { value: finalized.epoch, mined })
    }

    /// Pays several claims in one transaction, passing over those of another tree. The result is
    /// what moved in all.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn claim(self, key: &str, claims: &[Claim]) -> Result<Done<Amount>, FlowError> {
        let claims = claims.iter().map(|claim| IPayouts::Claim {
            account: claim.account,
            cumulative: claim.cumulative.0,
            index: U256::from(claim.proof.index),
            siblings: claim.proof.siblings.iter().map(sibling).collect(),
        });
        let mined = self.0.send(key, Payouts::claimManyCall { claims: claims.collect() }).await?;
        let claimed: Vec<Payouts::Claimed> = self.0.events(&mined);
        let moved = Amount::sum(claimed.iter().map(|event| Amount(event.amount)));
        let too_large = |_| FlowError::TooLarge { what: "what was claimed", value: U256::MAX };
        Ok(Done { value: moved.map_err(too_large)?, mined })
    }

    /// Pays insurance its part, and burns the rest, of the bonds that challenges took and left in
    /// `Payouts`; anyone may, at any time.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn sweep(self, key: &str) -> Result<Mined, FlowError> {
        self.0.send(key, Payouts::sweepCall {}).await
    }

    /// What waits in `Payouts` for [`PayoutsContract::sweep`].
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn unswept(self) -> Result<Amount, FlowError> {
        let unswept = self.0.view(Payouts::unsweptCall {}).await?;
        Ok(Amount(unswept))
    }

    /// The accounts of the platform's lines, fixed at deployment: treasury, validation, insurance.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn platform_lines(self) -> Result<[Address; 3], FlowError> {
        Ok([
            self.0.view(Payouts::TREASURYCall {}).await?,
            self.0.view(Payouts::VALIDATIONCall {}).await?,
            self.0.view(Payouts::INSURANCECall {}).await?,
        ])
    }

    /// The last finalized epoch.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn head(self) -> Result<PayoutsHead, FlowError> {
        let head = self.0.view(Payouts::headCall {}).await?;
        Ok(PayoutsHead { epoch: head.epoch, cutoff: head.cutoff, total: Amount(head.total) })
    }

    /// The finalized payout root; zero before the first epoch.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn root(self) -> Result<B256, FlowError> {
        self.0.view(Payouts::payoutRootCall {}).await
    }

    /// The pending proposal, if there is one.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn pending(self) -> Result<Option<PendingEpoch>, FlowError> {
        let pending = self.0.view(Payouts::pendingCall {}).await?;
        if pending.proposer.is_zero() {
            return Ok(None);
        }
        // The contract takes a proposal only from its node, and only with receipts that sum to the
        // entries.
        let header = EpochHeader {
            version: FormatVersion,
            node: pending.proposer,
            epoch: pending.p.epoch,
            cutoff: pending.p.cutoff,
            receipt_count: pending.p.receiptCount,
            receipts_root: pending.p.receiptsRoot,
            receipts_total: Amount(pending.p.entriesTotal),
            entries_root: pending.p.entriesRoot,
            entries_total: Amount(pending.p.entriesTotal),
            payout_root: pending.p.payoutRoot,
            total: Amount(pending.p.total),
        };
        let (proposer, closes) = (pending.proposer, pending.closes);
        Ok(Some(PendingEpoch { header, proposer, closes }))
    }

    /// A node's standing.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn operator(self, operator: Address) -> Result<OperatorState, FlowError> {
        let state = self.0.view(Payouts::operatorsCall { operator }).await?;
        Ok(OperatorState { stake: Amount(state.stake), since: state.since, exit_at: state.exitAt })
    }

    /// What an account has had since the first epoch, whoever claimed it.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn claimed(self, account: Address) -> Result<Amount, FlowError> {
        Ok(Amount(self.0.view(Payouts::claimedCall { account }).await?))
    }

    /// Everything ever paid into `Payouts`.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn funded(self) -> Result<Amount, FlowError> {
        Ok(Amount(self.0.view(Payouts::fundedCall {}).await?))
    }
}

fn node(node: SumNode) -> Payouts::SumNode {
    Payouts::SumNode { hash: node.hash, sum: node.sum.0 }
}

/// The same in a claim: the generator gives that struct a type of its own.
fn sibling(node: &SumNode) -> payouts::SumNode {
    payouts::SumNode { hash: node.hash, sum: node.sum.0 }
}
