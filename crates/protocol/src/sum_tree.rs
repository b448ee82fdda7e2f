//! The Merkle **sum** tree: every node commits to the sum of the amounts below it.
//!
//! The chain can therefore refuse a payout root whose leaves add up to more than was paid in,
//! without a challenge; and a proof shows the prefix sum of its leaf, so that a range of leaves has
//! a provable total. **Invariant:** all sums fit 128 bits. **Source:** `docs/formats.md`; the
//! summed tree closes the class of bugs of UMA audit H12 (an over-allocated tree drains a shared
//! pool).

use alloy_primitives::B256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{keccak_words, tags, word};
use crate::{Amount, AmountError};

/// A node: its hash and the sum below it. An empty leaf is the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SumNode {
    /// The hash.
    pub hash: B256,
    /// The sum of the amounts below, in base units.
    pub sum: Amount,
}

/// Where a leaf stands and the sibling nodes from leaf to root.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SumProof {
    /// The leaf's place, from 0.
    pub index: u64,
    /// One sibling a level, lowest first.
    pub siblings: Vec<SumNode>,
}

/// `(H(TAG_SUM_NODE ‖ left.hash ‖ left.sum ‖ right.hash ‖ right.sum), left.sum + right.sum)`.
///
/// # Errors
/// [`AmountError::Overflow`] when the sum does not fit 128 bits.
pub fn node(left: SumNode, right: SumNode) -> Result<SumNode, AmountError> {
    let words = [tags::sum_node(), left.hash, word(left.sum.0), right.hash, word(right.sum.0)];
    Ok(SumNode { hash: keccak_words(&words), sum: left.sum.plus(right.sum)? })
}

/// A built tree, kept for its proofs. **Size:** two nodes a leaf.
#[derive(Clone, Debug)]
pub struct SumTree {
    levels: Vec<Vec<SumNode>>,
    empties: Vec<SumNode>,
}

impl SumTree {
    /// Builds the tree over `leaves` in order. **Cost:** `O(n)` hashes.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] when the total does not fit 128 bits.
    pub fn new(leaves: Vec<SumNode>) -> Result<Self, AmountError> {
        let mut levels = vec![leaves];
        let mut empties = vec![SumNode::default()];
        while let Some(level) = levels.last_mut().filter(|level| level.len() > 1) {
            let empty = empties[empties.len() - 1];
            if level.len() % 2 == 1 {
                level.push(empty);
            }
            let above = level.as_chunks::<2>().0.iter().map(|&[l, r]| node(l, r)).collect::<Result<_, _>>()?;
            empties.push(node(empty, empty)?);
            levels.push(above);
        }
        Ok(Self { levels, empties })
    }

    /// The tree that an epoch's header commits to: as [`SumTree::new`], but a lone leaf has an
    /// empty place beside it, so that two nodes under the root always show its sum.
    ///
    /// # Errors
    /// As [`SumTree::new`].
    pub fn committed(mut leaves: Vec<SumNode>) -> Result<Self, AmountError> {
        if leaves.len() == 1 {
            leaves.push(SumNode::default());
        }
        Self::new(leaves)
    }

    /// The root; the default node when there are no leaves.
    #[must_use]
    pub fn root(&self) -> SumNode {
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or_default()
    }

    /// The two nodes under the root, by which a contract checks the root's sum. A tree of fewer
    /// than two leaves has none: it gives its root and the empty node, which no contract takes.
    #[must_use]
    pub fn top(&self) -> [SumNode; 2] {
        match self.levels.as_slice() {
            [.., below, _] => [below[0], below[1]],
            _ => [self.root(), SumNode::default()],
        }
    }

    /// The proof of the place `index`, or `None` beyond the padded tree.
    #[must_use]
    pub fn prove(&self, index: u64) -> Option<SumProof> {
        let height = self.levels.len() - 1;
        if self.levels[0].is_empty() || index >> height != 0 {
            return None;
        }
        let sibling = |level: usize| {
            let at = usize::try_from((index >> level) ^ 1).ok()?;
            Some(self.levels[level].get(at).copied().unwrap_or(self.empties[level]))
        };
        Some(SumProof { index, siblings: (0..height).map(sibling).collect::<Option<_>>()? })
    }
}

/// The result of a proof: the root, and the sum of all leaves left of its own.
///
/// `None` when the index has bits above the siblings or a sum overflows.
#[must_use]
pub fn climb(leaf: SumNode, proof: &SumProof) -> Option<(SumNode, Amount)> {
    let height = proof.siblings.len();
    if height >= 64 || proof.index >> height != 0 {
        return None;
    }
    let mut at = leaf;
    let mut before = Amount::ZERO;
    for (level, &sibling) in proof.siblings.iter().enumerate() {
        at = if proof.index >> level & 1 == 0 {
            node(at, sibling).ok()?
        } else {
            before = before.plus(sibling.sum).ok()?;
            node(sibling, at).ok()?
        };
    }
    Some((at, before))
}

/// Whether `leaf` stands at the proof's place under `root`.
#[must_use]
pub fn verify(root: SumNode, leaf: SumNode, proof: &SumProof) -> bool {
    climb(leaf, proof).is_some_and(|(top, _)| top == root)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(amounts: &[u64]) -> Vec<SumNode> {
        let hash = |i: usize| crate::keccak((i as u64).to_be_bytes());
        amounts.iter().enumerate().map(|(i, &a)| SumNode { hash: hash(i), sum: Amount(a.into()) }).collect()
    }

    proptest! {
        #[test]
        fn root_sum_is_the_total_and_proofs_tell_the_prefix(amounts in prop::collection::vec(any::<u64>(), 1..80), at: usize) {
            let at = at % amounts.len();
            let set = leaves(&amounts);
            let tree = SumTree::new(set.clone()).unwrap();
            let total: u128 = amounts.iter().map(|&a| u128::from(a)).sum();
            prop_assert_eq!(tree.root().sum, Amount(total));
            let proof = tree.prove(at as u64).unwrap();
            let (top, before) = climb(set[at], &proof).unwrap();
            prop_assert_eq!(top, tree.root());
            prop_assert_eq!(before.0, amounts[..at].iter().map(|&a| u128::from(a)).sum::<u128>());
            let richer = SumNode { sum: Amount(set[at].sum.0 + 1), ..set[at] };
            prop_assert!(!verify(tree.root(), richer, &proof));
        }
    }

    #[test]
    fn a_total_beyond_128_bits_is_refused() {
        let full = SumNode { hash: B256::ZERO, sum: Amount(u128::MAX) };
        assert!(SumTree::new(vec![full, full]).is_err());
    }

    #[test]
    fn the_two_nodes_under_the_root_lead_to_it() {
        for count in 2..20 {
            let tree = SumTree::new(leaves(&vec![7; count])).unwrap();
            let [left, right] = tree.top();
            assert_eq!(node(left, right).unwrap(), tree.root(), "{count} leaves");
        }
    }

    #[test]
    fn a_committed_tree_has_two_places_or_no_leaf() {
        assert_eq!(SumTree::committed(vec![]).unwrap().root(), SumNode::default());
        let one = SumTree::committed(leaves(&[7])).unwrap();
        assert_eq!(one.root(), node(leaves(&[7])[0], SumNode::default()).unwrap());
        assert_eq!(one.prove(0).unwrap().siblings, [SumNode::default()]);
        for count in 2..9 {
            let leaves = leaves(&vec![7; count]);
            assert_eq!(SumTree::committed(leaves.clone()).unwrap().root(), SumTree::new(leaves).unwrap().root());
        }
    }

    #[test]
    fn an_empty_tree_has_the_default_root_and_no_proofs() {
        let tree = SumTree::new(vec![]).unwrap();
        assert_eq!(tree.root(), SumNode::default());
        assert!(tree.prove(0).is_none());
    }
}
