//! Proofs under an epoch's roots: that a receipt is in it or missing, and what an account earned.
//!
//! Trees are ordered, so the two neighbours of a place prove what stands between them: nothing. The
//! verifying functions need the header alone and follow the same rules as `Verifier.sol`.
//! **Invariant:** a proof that is made verifies.

use openledger_protocol::merkle;
use openledger_protocol::sum_tree::{self, SumNode, SumProof};
use openledger_protocol::{Address, Amount, Domain, Entry, EpochHeader, ReceiptBundle, ReceiptId, ReceiptLeaf};
use serde::{Deserialize, Serialize};

use crate::epoch::ClosedEpoch;

/// The reason why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// A place does not lead to the header's root; the proof is of another epoch, or changed.
    #[error("a place does not stand under the root of the epoch")]
    NotInTree,
    /// The places do not enclose the requested one; give two neighbours, or the first or
    /// last place.
    #[error("the places do not enclose the requested one")]
    NotEnclosing,
    /// The receipt is there.
    #[error("the receipt is in the epoch")]
    Present,
}

/// A place in the receipts tree; `None` is an empty one, right of all receipts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReceiptPlace {
    /// The leaf at this place.
    pub receipt: Option<ReceiptLeaf>,
    /// Where.
    pub proof: SumProof,
}

/// A place in the entries tree; `None` is an empty one, right of all entries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EntryPlace {
    /// The leaf at this place.
    pub entry: Option<Entry>,
    /// Where.
    pub proof: SumProof,
}

/// The earnings of an account in an epoch, as a difference of two prefix sums. Empty lists: the
/// epoch has no entries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Earned {
    /// The account.
    pub account: Address,
    /// The places between which its entries begin.
    pub from: Vec<EntryPlace>,
    /// The places between which those of higher accounts begin.
    pub to: Vec<EntryPlace>,
}

/// The places of a committed tree of `count` leaves: a power of two, and two at least.
pub(crate) fn places(count: usize) -> u64 {
    1 << merkle::depth(count as u64).max(1)
}

/// The one or two places around the boundary after the first `below` of `count` leaves of a
/// committed tree.
pub(crate) fn around(below: usize, count: usize) -> std::ops::RangeInclusive<u64> {
    let (below, places) = (below as u64, places(count));
    below.saturating_sub(1)..=below.min(places - 1)
}

impl ClosedEpoch {
    /// Where a receipt stands under the receipts root; `None` when it is not in the epoch.
    #[must_use]
    pub fn prove_receipt(&self, id: ReceiptId) -> Option<SumProof> {
        let at = self.receipt_leaves.binary_search_by_key(&id, |leaf| leaf.id).ok()?;
        self.receipts_tree.prove(at as u64)
    }

    /// The places between which `id` is missing; `None` when it is in the epoch. No places: there
    /// are no receipts.
    #[must_use]
    pub fn prove_no_receipt(&self, id: ReceiptId) -> Option<Vec<ReceiptPlace>> {
        let below = self.receipt_leaves.binary_search_by_key(&id, |leaf| leaf.id).err()?;
        if self.receipts.is_empty() {
            return Some(Vec::new());
        }
        around(below, self.receipts.len())
            .map(|index| {
                let receipt = self.receipt_leaves.get(usize::try_from(index).ok()?).cloned();
                Some(ReceiptPlace { receipt, proof: self.receipts_tree.prove(index)? })
            })
            .collect()
    }

    /// Where one line stands under the entries root; `None` when it is not in the epoch.
    #[must_use]
    pub fn prove_entry(&self, entry: &Entry) -> Option<SumProof> {
        let at = self.entries.binary_search_by_key(&entry.sort_key(), Entry::sort_key).ok()?;
        self.entries_tree.prove(at as u64)
    }

    /// Puts the proofs of this epoch into a bundle; `false`, and nothing changed, when its receipt
    /// or a line is not here.
    #[must_use]
    pub fn include(&self, bundle: &mut ReceiptBundle) -> bool {
        let receipt = self.prove_receipt(bundle.signed.receipt.id());
        let entries: Option<Vec<SumProof>> = bundle.entries.iter().map(|entry| self.prove_entry(entry)).collect();
        let (Some(receipt), Some(entries)) = (receipt, entries) else { return false };
        bundle.inclusion = Some(receipt);
        bundle.entry_proofs = entries;
        true
    }

    /// The earnings of `account` in the epoch, with the proof; works for accounts that earned
    /// nothing too.
    #[must_use]
    pub fn prove_earned(&self, account: Address) -> Option<Earned> {
        let places = |below: usize| -> Option<Vec<EntryPlace>> {
            if self.entries.is_empty() {
                return Some(Vec::new());
            }
            around(below, self.entries.len())
                .map(|index| {
                    let entry = self.entries.get(usize::try_from(index).ok()?).cloned();
                    Some(EntryPlace { entry, proof: self.entries_tree.prove(index)? })
                })
                .collect()
        };
        let from = places(self.entries.partition_point(|entry| entry.account < account))?;
        let to = places(self.entries.partition_point(|entry| entry.account <= account))?;
        Some(Earned { account, from, to })
    }
}

/// A place that was checked: whether it stands below the key, and the sums left of it and of all.
struct Seen {
    index: u64,
    depth: usize,
    below: bool,
    prefix: Amount,
}

/// The sum of all leaves below a key that `seen` encloses; `total` is the sum of all leaves.
fn boundary(seen: &[Seen], total: Amount) -> Result<Amount, ProofError> {
    match seen {
        [left, right] if left.index + 1 == right.index && left.below && !right.below => Ok(right.prefix),
        [only] if only.index == 0 && !only.below => Ok(Amount::ZERO),
        [only] if only.below && only.depth < 64 && only.index + 1 == 1 << only.depth => Ok(total),
        _ => Err(ProofError::NotEnclosing),
    }
}

/// Checks that no receipt under the header's root has `id`.
///
/// # Errors
/// [`ProofError`] when the places do not prove it.
pub fn verify_no_receipt(
    header: &EpochHeader,
    domain: Domain,
    id: ReceiptId,
    places: &[ReceiptPlace],
) -> Result<(), ProofError> {
    let root = SumNode { hash: header.receipts_root, sum: header.receipts_total };
    if root == SumNode::default() && places.is_empty() {
        return Ok(());
    }
    let mut seen = Vec::with_capacity(places.len());
    for ReceiptPlace { receipt, proof } in places {
        let leaf = receipt.as_ref().map(|receipt| receipt.node(domain)).unwrap_or_default();
        if !sum_tree::verify(root, leaf, proof) {
            return Err(ProofError::NotInTree);
        }
        if receipt.as_ref().is_some_and(|receipt| receipt.id == id) {
            return Err(ProofError::Present);
        }
        let below = receipt.as_ref().is_some_and(|receipt| receipt.id < id);
        seen.push(Seen { index: proof.index, depth: proof.siblings.len(), below, prefix: Amount::ZERO });
    }
    boundary(&seen, Amount::ZERO).map(|_| ())
}

/// The earnings of `earned.account` in the epoch of `header`.
///
/// # Errors
/// [`ProofError`] when the places do not prove it.
pub fn verify_earned(header: &EpochHeader, earned: &Earned) -> Result<Amount, ProofError> {
    let root = SumNode { hash: header.entries_root, sum: header.entries_total };
    let sum_below = |places: &[EntryPlace], below: &dyn Fn(Address) -> bool| {
        if root == SumNode::default() && places.is_empty() {
            return Ok(Amount::ZERO);
        }
        let mut seen = Vec::with_capacity(places.len());
        for EntryPlace { entry, proof } in places {
            let leaf = entry.as_ref().map(Entry::leaf).unwrap_or_default();
            let (top, prefix) = sum_tree::climb(leaf, proof).ok_or(ProofError::NotInTree)?;
            if top != root {
                return Err(ProofError::NotInTree);
            }
            let below = entry.as_ref().is_some_and(|entry| below(entry.account));
            seen.push(Seen { index: proof.index, depth: proof.siblings.len(), below, prefix });
        }
        boundary(&seen, root.sum)
    };
    let from = sum_below(&earned.from, &|account| account < earned.account)?;
    let to = sum_below(&earned.to, &|account| account <= earned.account)?;
    to.minus(from).map_err(|_| ProofError::NotEnclosing)
}
