//! Epochs: what a proposal commits to, payout leaves and claims.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::hash::{keccak_words, leaf, tags, word};
use crate::sum_tree::{SumNode, SumProof, SumTree};
use crate::{Amount, AmountError, Domain};

/// What an epoch's proposal commits to; `Payouts` keeps its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EpochHeader {
    /// The epoch's number, from 1.
    pub epoch: u64,
    /// The Merkle root over its receipt leaves, ordered by id.
    pub receipts_root: B256,
    /// How many receipts.
    pub receipt_count: u32,
    /// The hash of the root of its entries' sum tree.
    pub entries_root: B256,
    /// The sum of that tree: the prices of the epoch's receipts.
    pub entries_total: Amount,
    /// The hash of the root of the payout sum tree, cumulative since genesis.
    pub payout_root: B256,
    /// The sum of that tree.
    pub total: Amount,
}

impl EpochHeader {
    /// The names of the fields, in the order of [`EpochHeader::words`].
    pub const FIELDS: [&'static str; 7] =
        ["epoch", "receipts_root", "receipt_count", "entries_root", "entries_total", "payout_root", "total"];

    /// The fields as words.
    #[must_use]
    pub fn words(&self) -> [B256; 7] {
        [
            word(self.epoch),
            self.receipts_root,
            word(self.receipt_count),
            self.entries_root,
            word(self.entries_total.0),
            self.payout_root,
            word(self.total.0),
        ]
    }

    /// keccak-256 over the words.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak_words(&self.words())
    }
}

/// What an account has earned since genesis.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Payout {
    /// The account.
    pub account: Address,
    /// All it earned, whether claimed or not.
    pub cumulative: Amount,
}

impl Payout {
    /// The leaf: `H(H(TAG_PAYOUT ‖ chainId ‖ payouts ‖ account ‖ cumulative))`, its sum the cumulative amount.
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
        let tree = SumTree::new(payouts.iter().map(|payout| payout.leaf(domain)).collect())?;
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

    /// What `account` may claim, with the proof; `None` when it earned nothing.
    #[must_use]
    pub fn claim(&self, account: Address) -> Option<Claim> {
        let at = self.payouts.binary_search_by_key(&account, |payout| payout.account).ok()?;
        let proof = self.tree.prove(at as u64)?;
        Some(Claim { account, cumulative: self.payouts[at].cumulative, proof })
    }
}

/// A demand on `Payouts`: anyone may make it, the money goes to the account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// Who is paid.
    pub account: Address,
    /// All it earned since genesis.
    pub cumulative: Amount,
    /// The proof under the finalized payout root.
    pub proof: SumProof,
}
