//! Records that are a fixed list of 32-byte words: what is hashed, what is signed, and the view of
//! it as fields.
//!
//! `word_record!` makes a struct with its words and back; `typed_record!` adds the EIP-712 type and
//! struct hash. **Invariant:** `from_words` accepts only what `words` gives, so a record has one
//! encoding.

use std::fmt;

use alloy_primitives::{Address, B256, U256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::{Word, word};
use crate::{AdapterHash, Amount, BaseHash, ChannelId, ModelId, ReceiptId};

/// The reason why words are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` does not fit its type")]
pub struct WordsError {
    /// The field.
    pub field: &'static str,
}

/// The inverse of [`Word::word`]; `None` for a word that no value of the type gives.
pub(crate) trait FromWord: Sized {
    fn from_word(word: B256) -> Option<Self>;
}

macro_rules! from_word_number {
    ($($kind:ty),*) => {$(
        impl FromWord for $kind {
            fn from_word(word: B256) -> Option<Self> {
                <$kind>::try_from(U256::from_be_bytes(word.0)).ok()
            }
        }
    )*};
}
from_word_number!(u8, u16, u32, u64, u128);

impl FromWord for B256 {
    fn from_word(word: B256) -> Option<Self> {
        Some(word)
    }
}
impl FromWord for Address {
    fn from_word(word: B256) -> Option<Self> {
        word[..12].iter().all(|&byte| byte == 0).then(|| Address::from_slice(&word[12..]))
    }
}

macro_rules! word_newtype {
    ($($kind:ident($inner:ty)),*) => {$(
        impl FromWord for $kind {
            fn from_word(word: B256) -> Option<Self> {
                <$inner>::from_word(word).map($kind)
            }
        }
        impl Word for $kind {
            fn word(&self) -> B256 {
                word(self.0)
            }
        }
    )*};
}
word_newtype!(Amount(u128), ChannelId(B256), ReceiptId(B256), ModelId(u64), BaseHash(B256), AdapterHash(B256));

/// The version of a format: always `N`, so a record of another version cannot exist. In JSON the
/// number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FormatVersion<const N: u16>;

impl<const N: u16> fmt::Debug for FormatVersion<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N}")
    }
}
impl<const N: u16> Word for FormatVersion<N> {
    fn word(&self) -> B256 {
        word(N)
    }
}
impl<const N: u16> FromWord for FormatVersion<N> {
    fn from_word(word: B256) -> Option<Self> {
        (u16::from_word(word) == Some(N)).then_some(Self)
    }
}
impl<const N: u16> Serialize for FormatVersion<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(N)
    }
}
impl<const N: u16> schemars::JsonSchema for FormatVersion<N> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("FormatVersion{N}").into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "The format's version.", "type": "integer", "const": N })
    }
}
impl<'de, const N: u16> Deserialize<'de> for FormatVersion<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u16::deserialize(deserializer)? {
            found if found == N => Ok(Self),
            found => Err(serde::de::Error::custom(format!("version {found} is not supported, expected {N}"))),
        }
    }
}

/// Makes an enum with numbers a word: its name, then each variant. Other numbers are no value of
/// it.
macro_rules! word_enum {
    ($kind:ident { $($variant:ident),* $(,)? }) => {
        impl $crate::hash::Word for $kind {
            fn word(&self) -> alloy_primitives::B256 {
                $crate::hash::word(*self as u8)
            }
        }
        impl $crate::words::FromWord for $kind {
            fn from_word(word: alloy_primitives::B256) -> Option<Self> {
                let number = <u8 as $crate::words::FromWord>::from_word(word)?;
                [$(Self::$variant),*].into_iter().find(|kind| *kind as u8 == number)
            }
        }
    };
}
pub(crate) use word_enum;

/// A struct whose fields are words, in the order in which they are written.
macro_rules! word_record {
    (
        $(#[$outer:meta])*
        $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ty,)* }
    ) => {
        $(#[$outer])*
        #[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$doc])* pub $field: $kind,)*
        }

        impl $name {
            /// The number of words.
            pub const WORDS: usize = Self::FIELDS.len();

            /// The names of the fields, in the order of the words.
            pub const FIELDS: [&'static str; [$(stringify!($field)),*].len()] = [$(stringify!($field)),*];

            /// The fields as words.
            #[must_use]
            pub fn words(&self) -> [alloy_primitives::B256; Self::WORDS] {
                [$($crate::hash::Word::word(&self.$field)),*]
            }

            /// The record of these words.
            ///
            /// # Errors
            /// [`crate::WordsError`] naming the field whose word does not fit its type.
            pub fn from_words(words: &[alloy_primitives::B256; Self::WORDS]) -> Result<Self, $crate::WordsError> {
                let mut next = words.iter();
                Ok(Self {$(
                    $field: next
                        .next()
                        .and_then(|&word| <$kind as $crate::words::FromWord>::from_word(word))
                        .ok_or($crate::WordsError { field: stringify!($field) })?,
                )*})
            }
        }
    };
}
pub(crate) use word_record;

/// A [`word_record!`] with an EIP-712 type: each field with its Solidity declaration.
macro_rules! typed_record {
    (
        $(#[$outer:meta])*
        $name:ident {
            $(#[$doc0:meta])* $field0:ident: $kind0:ty = $solidity0:literal,
            $($(#[$doc:meta])* $field:ident: $kind:ty = $solidity:literal,)*
        }
    ) => {
        $crate::words::word_record! {
            $(#[$outer])*
            $name { $(#[$doc0])* $field0: $kind0, $($(#[$doc])* $field: $kind,)* }
        }

        impl $name {
            /// The EIP-712 type.
            pub const TYPE: &'static str = concat!(stringify!($name), "(", $solidity0, $(",", $solidity,)* ")");

            /// The EIP-712 struct hash: `H(H(TYPE) ‖ words)`.
            #[must_use]
            pub fn struct_hash(&self) -> alloy_primitives::B256 {
                $crate::words::struct_hash(Self::TYPE, &self.words())
            }
        }
    };
}
pub(crate) use typed_record;

/// `H(H(type) ‖ words)`, for words that need not be a record.
pub(crate) fn struct_hash(of: &str, words: &[B256]) -> B256 {
    let mut all = Vec::with_capacity(words.len() + 1);
    all.push(alloy_primitives::keccak256(of));
    all.extend_from_slice(words);
    crate::hash::keccak_words(&all)
}
