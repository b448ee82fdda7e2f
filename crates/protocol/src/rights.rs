//! Usage rights: what a licence lets others do, as one struct that all exports come from.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{B256, CanonicalError, canonical_json, keccak};

/// One purpose of use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[repr(u32)]
pub enum Purpose {
    /// Training a model from the start.
    Train = 1,
    /// Fine-tuning a model (an adapter).
    Finetune = 2,
    /// Measuring a model.
    Evaluate = 4,
    /// Showing it to a model at answer time.
    Retrieve = 8,
    /// Answering with a model that was trained on it.
    Infer = 16,
    /// Passing the records on.
    Redistribute = 32,
    /// Making other records from it.
    Derive = 64,
    /// Any of the above for money.
    Commercial = 128,
}

impl Purpose {
    /// All purposes, lowest bit first.
    pub const ALL: [Self; 8] = [
        Self::Train,
        Self::Finetune,
        Self::Evaluate,
        Self::Retrieve,
        Self::Infer,
        Self::Redistribute,
        Self::Derive,
        Self::Commercial,
    ];
}

/// A set of purposes: a bit mask, as grants and contracts carry it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Purposes(pub u32);

impl Purposes {
    /// The set of `purposes`.
    #[must_use]
    pub fn of(purposes: &[Purpose]) -> Self {
        Self(purposes.iter().fold(0, |bits, &purpose| bits | purpose as u32))
    }
    /// Whether every purpose of `needed` is in the set.
    #[must_use]
    pub fn allow(self, needed: Self) -> bool {
        self.0 & needed.0 == needed.0
    }
    /// The purposes that both sets allow.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    /// The purposes in the set.
    pub fn iter(self) -> impl Iterator<Item = Purpose> {
        Purpose::ALL.into_iter().filter(move |&purpose| self.0 & purpose as u32 != 0)
    }
}

impl fmt::Debug for Purposes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The permitted uses of records, and what is owed for them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// The legal name: an SPDX expression or `LicenseRef-…`.
    pub license: String,
    /// The allowed purposes.
    pub purposes: Purposes,
    /// The makers must be named.
    pub attribution: bool,
    /// Derived works must carry the same licence.
    pub share_alike: bool,
    /// The least share of the contributors' line that use of these records earns, in basis points.
    pub min_royalty_bps: u16,
    /// Unix seconds when the permission ends; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Rights {
    /// The terms hash that grants and titles carry: keccak-256 of the canonical JSON.
    ///
    /// # Errors
    /// [`CanonicalError`] when `until` is beyond 2⁵³.
    pub fn terms_hash(&self) -> Result<B256, CanonicalError> {
        canonical_json(self).map(keccak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_allows_what_it_contains() {
        let both = Purposes::of(&[Purpose::Finetune, Purpose::Infer]);
        assert!(both.allow(Purposes::of(&[Purpose::Infer])));
        assert!(!both.allow(Purposes::of(&[Purpose::Infer, Purpose::Commercial])));
        assert_eq!(both.iter().collect::<Vec<_>>(), [Purpose::Finetune, Purpose::Infer]);
        assert_eq!(both.meet(Purposes::of(&[Purpose::Infer, Purpose::Derive])), Purposes::of(&[Purpose::Infer]));
    }

    #[test]
    fn every_field_changes_the_terms_hash() {
        let base = Rights {
            license: "CC0-1.0".into(),
            purposes: Purposes(255),
            attribution: false,
            share_alike: false,
            min_royalty_bps: 0,
            until: None,
        };
        let changed = [
            Rights { license: "MIT".into(), ..base.clone() },
            Rights { purposes: Purposes(1), ..base.clone() },
            Rights { attribution: true, ..base.clone() },
            Rights { share_alike: true, ..base.clone() },
            Rights { min_royalty_bps: 1, ..base.clone() },
            Rights { until: Some(1), ..base.clone() },
        ];
        for other in changed {
            assert_ne!(other.terms_hash().unwrap(), base.terms_hash().unwrap(), "{other:?}");
        }
    }
}
