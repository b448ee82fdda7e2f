//! Epochs: what a proposal commits to, payout leaves and claims.

use alloy_primitives::{Address, B256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{keccak_words, leaf, tags, word};
use crate::sum_tree::{SumNode, SumProof, SumTree};
use crate::words::{FormatVersion, word_record};
use crate::{Amount, AmountError, Domain};

word_record! {
    /// The commitments of an operator's proposal of an epoch. The field order is the order of the
    /// words.
    EpochHeader {
        /// The format's version.
        version: FormatVersion<2>,
        /// The operator: the node that proposes the epoch and signed its receipts.
        node: Address,
        /// The epoch's number, from 1.
        epoch: u64,
        /// The time up to which the node's receipts are in it, in Unix seconds.
        cutoff: u64,
        /// How many receipts.
        receipt_count: u32,
        /// The hash of the root of its receipts' sum tree, ordered by id.
        receipts_root: B256,
        /// The sum of that tree: the prices of the receipts.
        receipts_total: Amount,
        /// The hash of the root of its entries' sum tree.
        entries_root: B256,
        /// The sum of that tree, which is `receipts_total`.
        entries_total: Amount,
        /// The hash of the root of the payout sum tree, cumulative since genesis.
        payout_root: B256,
        /// The sum of that tree.
        total: Amount,
    }
}

impl EpochHeader {
    /// keccak-256 over the words.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak_words(&self.words())
    }
}

/// The earnings of an account since genesis.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Payout {
    /// The account.
    pub account: Address,
    /// All it earned, whether claimed or not.
    pub cumulative: Amount,
}

impl Payout {
    /// The leaf: `H(H(TAG_PAYOUT ‖ chainId ‖ payouts ‖ account ‖ cumulative))`, its sum the
    /// cumulative amount.
    #[must_use]
    pub fn leaf(&self, payouts: Domain) -> SumNode {
        let words = [word(payouts.chain_id), word(payouts.contract), word(self.account), word(self.cumulative.0)];
        SumNode { hash: leaf(tags::payout(), &words), sum: self.cumulative }
    }
}

/// The payout tree of an epoch, ordered by account.
#[derive(Clone, Debug)]
pub struct PayoutTree {
    payouts: Vec<Payout>,
    tree: SumTree,
}

impl PayoutTree {
    /// Builds the tree; `payouts` are put in order of account. `domain` is that of `Payouts`.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] when the total does not fit.
    pub fn new(mut payouts: Vec<Payout>, domain: Domain) -> Result<Self, AmountError> {
        payouts.sort_by_key(|payout| payout.account);
        let tree = SumTree::committed(payouts.iter().map(|payout| payout.leaf(domain)).collect())?;
        Ok(Self { payouts, tree })
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> SumNode {
        self.tree.root()
    }

    /// The two nodes under the root ([`SumTree::top`]).
    #[must_use]
    pub fn top(&self) -> [SumNode; 2] {
        self.tree.top()
    }

    /// The leaves, ordered by account.
    #[must_use]
    pub fn payouts(&self) -> &[Payout] {
        &self.payouts
    }

    /// The claim of `account`, with the proof; `None` when it earned nothing.
    #[must_use]
    pub fn claim(&self, account: Address) -> Option<Claim> {
        let at = self.payouts.binary_search_by_key(&account, |payout| payout.account).ok()?;
        let proof = self.tree.prove(at as u64)?;
        Some(Claim { account, cumulative: self.payouts[at].cumulative, proof })
    }
}

/// A demand on `Payouts`: anyone may make it, the money goes to the account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// The account that is paid.
    pub account: Address,
    /// All it earned since genesis.
    pub cumulative: Amount,
    /// The proof under the finalized payout root.
    pub proof: SumProof,
}
