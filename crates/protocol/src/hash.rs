//! Hashes: keccak-256 for what the chain checks, SHA-256 for content, tags that keep leaf kinds
//! apart.

use alloy_primitives::{Address, B256, U256, keccak256};
use sha2::{Digest, Sha256};

/// The tags of `docs/formats.md`: keccak-256 of `openledger/<name>/v1`.
pub mod tags {
    use super::{B256, keccak256};

    macro_rules! tag {
        ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name() -> B256 {
                keccak256(concat!("openledger/", $text, "/v1"))
            }
        )*};
    }
    tag! {
        /// A 256-byte piece of content.
        chunk = "chunk";
        /// A record in a contribution.
        record = "record";
        /// A contribution in a datanet version.
        contribution = "contribution";
        /// A receipt in an epoch.
        receipt = "receipt";
        /// An entry in an epoch.
        entry = "entry";
        /// A payout in an epoch.
        payout = "payout";
        /// A span in a receipt.
        span = "span";
        /// A score in a receipt.
        score = "score";
        /// A parent of a receipt.
        parent = "parent";
        /// A passage that was retrieved for a receipt.
        context = "context";
        /// A principal in a receipt.
        principal = "principal";
        /// An inner node of a Merkle tree.
        node = "node";
        /// An inner node of a Merkle sum tree.
        sum_node = "sum-node";
    }
}

/// keccak-256.
#[must_use]
pub fn keccak(bytes: impl AsRef<[u8]>) -> B256 {
    keccak256(bytes)
}

/// keccak-256 over 32-byte words.
#[must_use]
pub fn keccak_words(words: &[B256]) -> B256 {
    let mut bytes = Vec::with_capacity(words.len() * 32);
    for word in words {
        bytes.extend_from_slice(word.as_slice());
    }
    keccak256(bytes)
}

/// A tagged leaf, hashed twice so that no leaf can be taken for a node: `H(H(tag ‖ words))`.
#[must_use]
pub fn leaf(tag: B256, words: &[B256]) -> B256 {
    let mut all = Vec::with_capacity(words.len() + 1);
    all.push(tag);
    all.extend_from_slice(words);
    keccak256(keccak_words(&all))
}

/// A value as a 32-byte big-endian word, as `abi.encode` writes it.
pub trait Word {
    /// The word.
    fn word(&self) -> B256;
}

macro_rules! word_number {
    ($($kind:ty),*) => {$(
        impl Word for $kind {
            fn word(&self) -> B256 {
                B256::from(U256::from(*self))
            }
        }
    )*};
}
word_number!(u8, u16, u32, u64, u128);

impl Word for Address {
    fn word(&self) -> B256 {
        self.into_word()
    }
}
impl Word for B256 {
    fn word(&self) -> B256 {
        *self
    }
}

/// [`Word::word`] as a function.
#[must_use]
pub fn word(value: impl Word) -> B256 {
    value.word()
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: impl AsRef<[u8]>) -> B256 {
    B256::from_slice(&Sha256::digest(bytes.as_ref()))
}
