//! Commitments to content: the hash of a text, and the tree over its chunks of 256 bytes.
//!
//! **Not here:** what a record's canonical text is (`record`), trees in general (`merkle`).

use alloy_primitives::{B256, keccak256};

use crate::hash::{leaf, sha256, tags, word};
use crate::merkle;

/// SHA-256 of a canonical text's UTF-8 bytes.
#[must_use]
pub fn content_hash(canonical: &str) -> B256 {
    sha256(canonical.as_bytes())
}

/// Bytes of content in one chunk leaf.
pub const CHUNK_BYTES: usize = 256;

/// The leaf of one chunk: `H(H(TAG_CHUNK ‖ salt ‖ index ‖ H(bytes)))`.
#[must_use]
pub fn chunk_leaf(salt: B256, index: u32, bytes: &[u8]) -> B256 {
    leaf(tags::chunk(), &[salt, word(index), keccak256(bytes)])
}

/// The Merkle root over a content's 256-byte chunks; `salt` is zero for public content. No content:
/// the zero word.
#[must_use]
pub fn chunk_root(salt: B256, content: &[u8]) -> B256 {
    let leaves: Vec<B256> =
        (0u32..).zip(content.chunks(CHUNK_BYTES)).map(|(index, bytes)| chunk_leaf(salt, index, bytes)).collect();
    merkle::root(&leaves)
}
