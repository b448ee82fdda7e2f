//! Ensembles: several adapters answering as one, each with a weight.
//!
//! **Invariant:** an ensemble is its members' hashes and weights, in whatever order they are named;
//! its hash binds both, so that an answer that carries it names its members and their parts. Not
//! here: the sum of the products ([`Lora::ensemble`](openledger_engine::Lora::ensemble)), payment
//! (`ledger`).

use openledger_protocol::{AdapterHash, sha256};
use serde::{Serialize, Serializer};

use crate::error::ServeError;

/// Domain of [`Ensemble::hash`].
const HASH_TAG: &[u8] = b"openledger/ensemble/v1\0";
/// Most members of an ensemble.
const MEMBERS_MAX: usize = 64;

/// How strongly a member counts: a whole number of millionths, from 0.000001 to 1000.
///
/// Weights are no floats, so that a price can be split by them to the last unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u32);

impl Weight {
    const MAX: u32 = 1_000_000_000;

    /// The weight of that many millionths.
    ///
    /// # Errors
    /// [`ServeError::BadRequest`] when it is 0 or above 1000.
    pub fn from_millionths(millionths: u32) -> Result<Self, ServeError> {
        if millionths == 0 || millionths > Self::MAX {
            return refuse(format!("has a weight of {millionths} millionths; a weight is 0.000001 to 1000"));
        }
        Ok(Self(millionths))
    }

    /// The weight of a decimal number.
    ///
    /// # Errors
    /// [`ServeError::BadRequest`] when it is not 0.000001 to 1000 (a member that takes away could
    /// not be given its part), or has more than six decimals.
    pub fn from_decimal(weight: f64) -> Result<Self, ServeError> {
        if !(1e-6..=1000.0).contains(&weight) {
            return refuse(format!("has the weight {weight}; a weight is 0.000001 to 1000"));
        }
        let millionths = (weight * 1e6).round();
        // The quotient is the f64 nearest to the decimal, which is what a number of six decimals
        // was read as.
        if (millionths / 1e6).to_bits() != weight.to_bits() {
            return refuse(format!("has the weight {weight}; a weight has at most six decimals"));
        }
        Self::from_millionths(millionths as u32)
    }

    /// In millionths.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// As the engine multiplies by it: the nearest f32.
    #[must_use]
    pub fn factor(self) -> f32 {
        (f64::from(self.0) / 1e6) as f32
    }
}

impl Serialize for Weight {
    /// As a decimal number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1e6)
    }
}

/// One adapter of an ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Member {
    /// The adapter.
    pub adapter: AdapterHash,
    /// How strongly it counts.
    pub weight: Weight,
}

/// Several adapters, each with a weight. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ensemble {
    /// By hash.
    members: Vec<Member>,
}

impl Ensemble {
    /// The ensemble of `members`, in whatever order.
    ///
    /// # Errors
    /// [`ServeError::BadRequest`] about `members` when there are none or more than 64, or an
    /// adapter is named twice.
    pub fn new(mut members: Vec<Member>) -> Result<Self, ServeError> {
        if members.is_empty() || members.len() > MEMBERS_MAX {
            return refuse(format!("has {} members; an ensemble has 1 to {MEMBERS_MAX}", members.len()));
        }
        members.sort();
        if let Some(pair) = members.windows(2).find(|pair| pair[0].adapter == pair[1].adapter) {
            return refuse(format!("names {} twice; add its weights", pair[0].adapter));
        }
        Ok(Self { members })
    }

    /// Its members by hash.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What names it wherever an adapter's hash stands: SHA-256 over the tag
    /// `openledger/ensemble/v1\0`, the number of members (u32), and for each member by ascending
    /// hash its hash and its weight in millionths (u32); numbers little-endian.
    #[must_use]
    pub fn hash(&self) -> AdapterHash {
        let mut bytes = HASH_TAG.to_vec();
        bytes.extend((self.members.len() as u32).to_le_bytes());
        for Member { adapter, weight } in &self.members {
            bytes.extend(adapter.0.0);
            bytes.extend(weight.0.to_le_bytes());
        }
        AdapterHash(sha256(&bytes))
    }
}

fn refuse<T>(reason: String) -> Result<T, ServeError> {
    Err(ServeError::BadRequest { param: "members", reason })
}

#[cfg(test)]
mod tests {
    use openledger_protocol::B256;

    use super::*;

    fn member(byte: u8, weight: f64) -> Member {
        Member { adapter: AdapterHash(B256::repeat_byte(byte)), weight: Weight::from_decimal(weight).unwrap() }
    }

    #[test]
    fn the_hash_binds_members_and_weights_and_not_their_order() {
        let (one, two) = (member(1, 0.7), member(2, 0.3));
        let hash = |members: &[Member]| Ensemble::new(members.to_vec()).unwrap().hash();
        let both = hash(&[one, two]);
        // Computed apart, by the words of the definition.
        assert_eq!(both.to_string(), "0x71b6d2e7fcb8a59e11c3bd5f70354923b080c28b057e89c9492119c307127aad");
        assert_eq!(hash(&[two, one]), both);
        for other in [vec![one], vec![one, member(2, 0.300001)], vec![member(1, 0.3), member(2, 0.7)]] {
            assert_ne!(hash(&other), both);
        }
    }

    #[test]
    fn weights_are_exact_decimals_and_others_are_refused() {
        for (weight, millionths) in [(0.7, 700_000), (0.000001, 1), (1000.0, 1_000_000_000), (33.333333, 33_333_333)] {
            assert_eq!(Weight::from_decimal(weight).unwrap().millionths(), millionths);
        }
        for (weight, why) in [
            (0.0, "0.000001 to 1000"),
            (-0.5, "0.000001 to 1000"),
            (1000.000001, "0.000001 to 1000"),
            (f64::NAN, "0.000001 to 1000"),
            (f64::INFINITY, "0.000001 to 1000"),
            (0.1234567, "six decimals"),
            (1.0 / 3.0, "six decimals"),
        ] {
            let error = Weight::from_decimal(weight).unwrap_err().to_string();
            assert!(error.contains(why), "{weight}: {error}");
        }
        assert!(Weight::from_millionths(0).is_err() && Weight::from_millionths(1_000_000_001).is_err());
    }

    #[test]
    fn ensembles_without_members_or_with_one_named_twice_are_refused() {
        assert!(Ensemble::new(Vec::new()).is_err());
        let error = Ensemble::new(vec![member(1, 0.5), member(1, 0.25)]).unwrap_err().to_string();
        assert!(error.contains("twice"), "{error}");
    }
}
