//! Payouts: operators, epochs, claims.

use alloy_primitives::{Address, B256, U256};
use openledger_protocol::sum_tree::SumNode;
use openledger_protocol::{Amount, Claim, EpochHeader};

use super::{Done, Flow, FlowError, event, events};
use crate::contracts::bindings::payouts::{self, IPayouts, Payouts};
use crate::sender::Mined;

/// The two nodes under each root of a proposal: with them the contract checks that the roots sum to what is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochTops {
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
    /// Its cutoff, seconds since 1970.
    pub cutoff: u64,
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

impl Flow {
    /// Puts `amount` of the account's token at stake for `operator`; approve `payouts` for it first.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn join(&self, key: &str, operator: Address, amount: Amount) -> Result<Mined, FlowError> {
        self.send(key, self.at.payouts, Payouts::joinCall { operator, amount: amount.0 }).await
    }

    /// Pays `amount` of the account's token into `Payouts`; approve it first.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn fund(&self, key: &str, amount: Amount) -> Result<Mined, FlowError> {
        self.send(key, self.at.payouts, Payouts::fundCall { amount: amount.0 }).await
    }

    /// Proposes an epoch with all receipts up to `cutoff` (seconds since 1970); the account is a bonded operator.
    /// The result is when the window closes.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with the contract's error: `SumMismatch`, `TotalMismatch`, `Underfunded`, `NotBonded` and others.
    pub async fn propose(
        &self,
        key: &str,
        header: &EpochHeader,
        cutoff: u64,
        tops: &EpochTops,
        uri: &str,
    ) -> Result<Done<u64>, FlowError> {
        let call = Payouts::proposeCall {
            p: IPayouts::Proposal {
                epoch: header.epoch,
                cutoff,
                receiptCount: header.receipt_count,
                receiptsRoot: header.receipts_root,
                entriesRoot: header.entries_root,
                entriesTotal: header.entries_total.0,
                payoutRoot: header.payout_root,
                total: header.total.0,
            },
            entriesTop: tops.entries.map(node),
            payoutTop: tops.payouts.map(node),
            uri: uri.to_owned(),
        };
        let mined = self.send(key, self.at.payouts, call).await?;
        let proposed: Payouts::EpochProposed = event(&mined, self.at.payouts)?;
        Ok(Done { value: proposed.closes, mined })
    }

    /// Makes the pending proposal stand; anyone may, once its window has closed.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `WindowOpen` before.
    pub async fn finalize(&self, key: &str) -> Result<Done<u64>, FlowError> {
        let mined = self.send(key, self.at.payouts, Payouts::finalizeCall {}).await?;
        let finalized: Payouts::EpochFinalized = event(&mined, self.at.payouts)?;
        Ok(Done { value: finalized.epoch, mined })
    }

    /// Pays the claim's account; anyone may. The result is what moved, zero when it had everything.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `NotInRoot` for a claim of another epoch's tree.
    pub async fn claim(&self, key: &str, claim: &Claim) -> Result<Done<Amount>, FlowError> {
        let call = Payouts::claimCall {
            account: claim.account,
            cumulative: claim.cumulative.0,
            index: U256::from(claim.proof.index),
            siblings: claim.proof.siblings.iter().copied().map(node).collect(),
        };
        self.claimed_now(self.send(key, self.at.payouts, call).await?)
    }

    /// Pays several claims in one transaction, passing over those of another tree. The result is what moved in all.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn claim_many(&self, key: &str, claims: &[Claim]) -> Result<Done<Amount>, FlowError> {
        let claims = claims.iter().map(|claim| IPayouts::Claim {
            account: claim.account,
            cumulative: claim.cumulative.0,
            index: U256::from(claim.proof.index),
            siblings: claim
                .proof
                .siblings
                .iter()
                .map(|node| payouts::SumNode { hash: node.hash, sum: node.sum.0 })
                .collect(),
        });
        self.claimed_now(self.send(key, self.at.payouts, Payouts::claimManyCall { claims: claims.collect() }).await?)
    }

    fn claimed_now(&self, mined: Mined) -> Result<Done<Amount>, FlowError> {
        let claimed: Vec<Payouts::Claimed> = events(&mined, self.at.payouts);
        let moved = Amount::sum(claimed.iter().map(|event| Amount(event.amount)));
        let too_large = |_| FlowError::TooLarge { what: "what was claimed", value: U256::MAX };
        Ok(Done { value: moved.map_err(too_large)?, mined })
    }

    /// Sends what the account earns to `payee` from now on; zero for itself.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn set_claimer(&self, key: &str, payee: Address) -> Result<Mined, FlowError> {
        self.send(key, self.at.payouts, Payouts::setClaimerCall { payee }).await
    }

    /// Pays claims of one tree in one transaction, by one proof for all of them: the cheapest way to pay many. The result is
    /// what moved in all; no claims move nothing and send nothing.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `NotInRoot` when one of them is of another tree; [`FlowError::TooLarge`] for a place beyond
    /// 2^32, which the packed form does not have.
    pub async fn claim_multi(&self, key: &str, claims: &[Claim]) -> Result<Done<Amount>, FlowError> {
        let (claims, depth, proof) = multiproof(claims);
        let mut leaves = Vec::with_capacity(claims.len() * 40);
        for claim in claims {
            let index = claim.proof.index;
            let index = u32::try_from(index)
                .map_err(|_| FlowError::TooLarge { what: "the index of a claim", value: U256::from(index) })?;
            leaves.extend(index.to_be_bytes());
            leaves.extend(claim.account);
            leaves.extend(claim.cumulative.0.to_be_bytes());
        }
        let nodes = proof.into_iter().flat_map(|node| node.hash.0.into_iter().chain(node.sum.0.to_be_bytes()));
        let (leaves, proof) = (leaves.into(), nodes.collect());
        let call = Payouts::claimMultiCall { leaves, depth: U256::from(depth), proof };
        self.claimed_now(self.send(key, self.at.payouts, call).await?)
    }

    /// Pays insurance and fire their parts of the bonds that challenges took and left in `Payouts`; anyone may, at any time.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn sweep(&self, key: &str) -> Result<Mined, FlowError> {
        self.send(key, self.at.payouts, Payouts::sweepCall {}).await
    }

    /// What waits in `Payouts` for [`Flow::sweep`].
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn unswept(&self) -> Result<Amount, FlowError> {
        let unswept = self.view(self.at.payouts, Payouts::unsweptCall {}).await?;
        Ok(Amount(unswept))
    }

    /// Asks to take the account's bond back, which rests for fourteen days from then.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `NotBonded` when nothing is at stake.
    pub async fn request_exit(&self, key: &str) -> Result<Mined, FlowError> {
        self.send(key, self.at.payouts, Payouts::requestExitCall {}).await
    }

    /// Takes the account's bond back; the result is what was paid.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `ExitNotDue` before, and while a proposal of the account's is pending.
    pub async fn exit(&self, key: &str) -> Result<Done<Amount>, FlowError> {
        let mined = self.send(key, self.at.payouts, Payouts::exitCall {}).await?;
        let left: Payouts::OperatorLeft = event(&mined, self.at.payouts)?;
        Ok(Done { value: Amount(left.amount), mined })
    }

    /// The accounts of the platform's lines, fixed at deployment: treasury, validation, insurance.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn platform_lines(&self) -> Result<[Address; 3], FlowError> {
        Ok([
            self.view(self.at.payouts, Payouts::TREASURYCall {}).await?,
            self.view(self.at.payouts, Payouts::VALIDATIONCall {}).await?,
            self.view(self.at.payouts, Payouts::INSURANCECall {}).await?,
        ])
    }

    /// The last finalized epoch.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn payouts_head(&self) -> Result<PayoutsHead, FlowError> {
        let head = self.view(self.at.payouts, Payouts::headCall {}).await?;
        Ok(PayoutsHead { epoch: head.epoch, cutoff: head.cutoff, total: Amount(head.total) })
    }

    /// The finalized payout root; zero before the first epoch.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn payout_root(&self) -> Result<B256, FlowError> {
        self.view(self.at.payouts, Payouts::payoutRootCall {}).await
    }

    /// The pending proposal, if there is one.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn pending_epoch(&self) -> Result<Option<PendingEpoch>, FlowError> {
        let pending = self.view(self.at.payouts, Payouts::pendingCall {}).await?;
        if pending.proposer.is_zero() {
            return Ok(None);
        }
        let header = EpochHeader {
            epoch: pending.p.epoch,
            receipts_root: pending.p.receiptsRoot,
            receipt_count: pending.p.receiptCount,
            entries_root: pending.p.entriesRoot,
            entries_total: Amount(pending.p.entriesTotal),
            payout_root: pending.p.payoutRoot,
            total: Amount(pending.p.total),
        };
        let (proposer, closes) = (pending.proposer, pending.closes);
        Ok(Some(PendingEpoch { header, cutoff: pending.p.cutoff, proposer, closes }))
    }

    /// A node's standing.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn operator(&self, operator: Address) -> Result<OperatorState, FlowError> {
        let state = self.view(self.at.payouts, Payouts::operatorsCall { operator }).await?;
        Ok(OperatorState { stake: Amount(state.stake), since: state.since, exit_at: state.exitAt })
    }

    /// What an account has been paid in its life.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn claimed(&self, account: Address) -> Result<Amount, FlowError> {
        Ok(Amount(self.view(self.at.payouts, Payouts::claimedCall { account }).await?))
    }

    /// Everything ever paid into `Payouts`.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn funded(&self) -> Result<Amount, FlowError> {
        Ok(Amount(self.view(self.at.payouts, Payouts::fundedCall {}).await?))
    }
}

/// Claims in order of index, the depth of their tree, and the siblings that they do not give each other: level by level, left
/// to right, as `MerkleLib.sumRootMany` reads them.
fn multiproof(claims: &[Claim]) -> (Vec<&Claim>, usize, Vec<SumNode>) {
    let mut claims: Vec<&Claim> = claims.iter().collect();
    claims.sort_by_key(|claim| claim.proof.index);
    claims.dedup_by_key(|claim| claim.proof.index);
    let depth = claims.first().map_or(0, |claim| claim.proof.siblings.len());
    let mut proof = Vec::new();
    // Each node is known by one of the claims below it.
    let mut nodes: Vec<(u64, &Claim)> = claims.iter().map(|&claim| (claim.proof.index, claim)).collect();
    for level in 0..depth {
        let mut above: Vec<(u64, &Claim)> = Vec::with_capacity(nodes.len());
        let mut below = nodes.into_iter().peekable();
        while let Some((index, claim)) = below.next() {
            let paired = index % 2 == 0 && below.next_if(|&(next, _)| next == index + 1).is_some();
            if !paired {
                proof.extend(claim.proof.siblings.get(level));
            }
            above.push((index / 2, claim));
        }
        nodes = above;
    }
    (claims, depth, proof)
}

fn node(node: SumNode) -> Payouts::SumNode {
    Payouts::SumNode { hash: node.hash, sum: node.sum.0 }
}
