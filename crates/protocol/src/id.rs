//! Ids as types: a contribution's id is not a receipt's id, and neither is a bare string.
//!
//! **Invariant:** 32-byte ids print and parse as `0x` and 64 hexadecimal digits, in JSON too.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::B256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub B256);

        impl $name {
            /// The first four bytes in hexadecimal, for people; never for look-ups.
            #[must_use]
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }
        impl FromStr for $name {
            type Err = alloy_primitives::hex::FromHexError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
        impl From<B256> for $name {
            fn from(value: B256) -> Self {
                Self(value)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number_id! {
    /// A datanet's title: its running number in `Datanets`, from 1.
    DatanetId
}
number_id! {
    /// A model's title: its running number in `Models`, from 1.
    ModelId
}
hash_id! {
    /// A contribution's title (`Contributions` token id): see [`crate::contribution_id`].
    ContributionId
}
hash_id! {
    /// A payment channel: the hash of its configuration.
    ChannelId
}
hash_id! {
    /// A receipt: keccak-256 of node, channel and nonce.
    ReceiptId
}
hash_id! {
    /// A blob: SHA-256 of its bytes.
    BlobHash
}
hash_id! {
    /// A base model: SHA-256 over its configuration and weights.
    BaseHash
}
hash_id! {
    /// A LoRA adapter: SHA-256 over its canonical tensors and scale.
    AdapterHash
}

/// One record: its place in the contribution that brought it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RecordRef {
    /// The contribution.
    pub contribution: ContributionId,
    /// The record's place in it, from 0.
    pub index: u32,
}
