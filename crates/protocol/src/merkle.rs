//! The positional Merkle tree: proofs are a leaf index and siblings, leaves are padded with zero
//! words.
//!
//! **Invariant:** a proof has exactly as many siblings as the tree has levels, and an index with
//! bits above them is refused, so one leaf has one proof. **Not here:** leaf hashing (each record
//! makes its own leaf).

use alloy_primitives::B256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{keccak_words, tags};

/// Where a leaf stands and the siblings from leaf to root.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The leaf's place, from 0.
    pub index: u64,
    /// One sibling a level, lowest first.
    pub siblings: Vec<B256>,
}

/// `H(TAG_NODE ‖ left ‖ right)`.
#[must_use]
pub fn node(left: B256, right: B256) -> B256 {
    keccak_words(&[tags::node(), left, right])
}

/// The levels of a tree, leaves first; each level but the last is padded to an even number by its
/// zero subtree.
fn levels(leaves: &[B256]) -> Vec<Vec<B256>> {
    let mut levels = vec![leaves.to_vec()];
    let mut empty = B256::ZERO;
    while let Some(level) = levels.last_mut().filter(|level| level.len() > 1) {
        if level.len() % 2 == 1 {
            level.push(empty);
        }
        let above = level.as_chunks::<2>().0.iter().map(|&[left, right]| node(left, right)).collect();
        empty = node(empty, empty);
        levels.push(above);
    }
    levels
}

/// The root over `leaves` in order. No leaves: the zero word; one leaf: the leaf. **Cost:** `O(n)`
/// hashes.
#[must_use]
pub fn root(leaves: &[B256]) -> B256 {
    levels(leaves).last().and_then(|top| top.first()).copied().unwrap_or_default()
}

/// The number of levels above the leaves of a tree of `count` leaves.
#[must_use]
pub fn depth(count: u64) -> u32 {
    count.max(1).next_power_of_two().trailing_zeros()
}

/// The proof of the leaf at `index`, or `None` when the padded tree has no such place.
#[must_use]
pub fn prove(leaves: &[B256], index: u64) -> Option<Proof> {
    if leaves.is_empty() || index >= 1 << depth(leaves.len() as u64) {
        return None;
    }
    let levels = levels(leaves);
    let mut empty = B256::ZERO;
    let mut siblings = Vec::with_capacity(levels.len() - 1);
    for (height, level) in levels[..levels.len() - 1].iter().enumerate() {
        let at = usize::try_from((index >> height) ^ 1).ok()?;
        siblings.push(level.get(at).copied().unwrap_or(empty));
        empty = node(empty, empty);
    }
    Some(Proof { index, siblings })
}

/// The root that `leaf` at the proof's place leads to, or `None` when the index has bits above the
/// siblings.
#[must_use]
pub fn root_of(leaf: B256, proof: &Proof) -> Option<B256> {
    let height = proof.siblings.len();
    if height < 64 && proof.index >> height != 0 || height > 64 {
        return None;
    }
    let climb = |below, (level, &sibling): (usize, &B256)| {
        if proof.index >> level & 1 == 0 { node(below, sibling) } else { node(sibling, below) }
    };
    Some(proof.siblings.iter().enumerate().fold(leaf, climb))
}

/// Whether `leaf` stands at the proof's place under `root`.
#[must_use]
pub fn verify(root: B256, leaf: B256, proof: &Proof) -> bool {
    root_of(leaf, proof) == Some(root)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(count: usize) -> Vec<B256> {
        (0..count).map(|i| crate::keccak([i as u8, (i >> 8) as u8])).collect()
    }

    /// The definition, spelt out: pad with zeros to a power of two, hash pairs.
    fn naive(mut level: Vec<B256>) -> B256 {
        level.resize(level.len().next_power_of_two(), B256::ZERO);
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| node(pair[0], pair[1])).collect();
        }
        level[0]
    }

    #[test]
    fn root_equals_the_definition_for_every_small_size() {
        assert_eq!(root(&[]), B256::ZERO);
        for count in 1..70 {
            assert_eq!(root(&leaves(count)), naive(leaves(count)), "{count} leaves");
        }
    }

    #[test]
    fn empty_places_are_provable() {
        let set = leaves(5);
        let proof = prove(&set, 7).unwrap();
        assert!(verify(root(&set), B256::ZERO, &proof));
        assert!(prove(&set, 8).is_none());
    }

    proptest! {
        #[test]
        fn every_leaf_is_proven_and_nothing_else(count in 1usize..200, at in 0usize..200, flip in 0usize..8) {
            let set = leaves(count);
            let at = at % count;
            let top = root(&set);
            let proof = prove(&set, at as u64).unwrap();
            prop_assert_eq!(proof.siblings.len() as u32, depth(count as u64));
            prop_assert!(verify(top, set[at], &proof));
            prop_assert!(!verify(top, crate::keccak("other"), &proof));
            let above = Proof { index: proof.index | 1 << (proof.siblings.len() + flip), ..proof.clone() };
            prop_assert!(!verify(top, set[at], &above));
        }
    }
}
