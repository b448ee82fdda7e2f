//! EIP-712 domains, keys and signatures.
//!
//! **Invariant:** signatures are deterministic (RFC 6979) and low-s, so the same key and record
//! give the same bytes.

use std::borrow::Cow;
use std::fmt;

use alloy_primitives::{Address, B256, keccak256};
use hmac::{Hmac, Mac};
use k256::ecdsa::SigningKey;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;

use crate::hash::{keccak_words, word};

/// Where a signed record counts: EIP-712 domain `OpenLedger` version `1` on one chain and contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// The chain.
    pub chain_id: u64,
    /// The contract that checks the signature.
    pub contract: Address,
}

impl Domain {
    /// The domain separator.
    #[must_use]
    pub fn separator(&self) -> B256 {
        keccak_words(&[
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
            keccak256("OpenLedger"),
            keccak256("1"),
            word(self.chain_id),
            word(self.contract),
        ])
    }

    /// The digest that is signed: `H(0x1901 ‖ separator ‖ structHash)`.
    #[must_use]
    pub fn digest(&self, struct_hash: B256) -> B256 {
        let mut bytes = [0u8; 66];
        bytes[..2].copy_from_slice(&[0x19, 0x01]);
        bytes[2..34].copy_from_slice(self.separator().as_slice());
        bytes[34..].copy_from_slice(struct_hash.as_slice());
        keccak256(bytes)
    }
}

/// A secp256k1 key. Never printed; dropped keys are wiped.
#[derive(Clone)]
pub struct Key(SigningKey);

/// The reason why a key or signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The 32 bytes are zero or beyond the curve's order.
    #[error("not a secp256k1 key")]
    Key,
    /// The 65 bytes are not a low-s signature with v 27 or 28, or no key made them.
    #[error("malformed signature")]
    Malformed,
    /// Another key signed.
    #[error("signed by {found}, expected {expected}")]
    WrongSigner {
        /// The account that should have signed.
        expected: Address,
        /// The account that did.
        found: Address,
    },
}

impl Key {
    /// The key with these secret bytes.
    ///
    /// # Errors
    /// [`SignatureError::Key`] when they are not a valid scalar.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, SignatureError> {
        SigningKey::from_slice(secret).map(Self).map_err(|_| SignatureError::Key)
    }

    /// The key of a demo identity: derived from a public seed and a name, so worth nothing on a
    /// real network.
    #[must_use]
    pub fn demo(seed: u64, name: &str) -> Self {
        let mut secret = keccak256(format!("openledger demo identity\n{seed}\n{name}"));
        loop {
            match SigningKey::from_slice(secret.as_slice()) {
                Ok(key) => return Self(key),
                Err(_) => secret = keccak256(secret), // happens once in 2^128
            }
        }
    }

    /// The account that this key controls.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from_public_key(self.0.verifying_key())
    }

    /// HMAC-SHA256 of `message` under the secret: a salt that only this key can make again.
    pub(crate) fn authenticate(&self, message: &[u8]) -> B256 {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0.to_bytes()).expect("HMAC takes keys of any length");
        mac.update(message);
        B256::from_slice(&mac.finalize().into_bytes())
    }

    /// Signs a digest.
    #[must_use]
    pub fn sign(&self, digest: B256) -> Signature {
        let (signature, recovery) =
            self.0.sign_prehash_recoverable(digest.as_slice()).expect("a 32-byte digest is always signable");
        let mut bytes = [0u8; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = 27 + recovery.to_byte();
        Signature(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.address())
    }
}

/// A signature: r ‖ s ‖ v, v being 27 or 28. In JSON `0x` and hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 65]);

impl Signature {
    /// The account that signed `digest`.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`] for a high s, another v, or bytes that no key made.
    pub fn recover(&self, digest: B256) -> Result<Address, SignatureError> {
        if !matches!(self.0[64], 27 | 28) {
            return Err(SignatureError::Malformed);
        }
        let signature =
            alloy_primitives::Signature::try_from(self.0.as_slice()).map_err(|_| SignatureError::Malformed)?;
        if signature.normalize_s().is_some() {
            return Err(SignatureError::Malformed);
        }
        signature.recover_address_from_prehash(&digest).map_err(|_| SignatureError::Malformed)
    }

    /// Checks that `signer` signed `digest`.
    ///
    /// # Errors
    /// [`SignatureError`] when it is malformed or another key's.
    pub fn verify(&self, digest: B256, signer: Address) -> Result<(), SignatureError> {
        let found = self.recover(digest)?;
        if found == signer { Ok(()) } else { Err(SignatureError::WrongSigner { expected: signer, found }) }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl JsonSchema for Signature {
    fn schema_name() -> Cow<'static, str> {
        "Signature".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A signature r, s, v: `0x` and 130 hexadecimal digits, v being 27 or 28.",
            "type": "string",
            "pattern": "^0x[0-9a-fA-F]{130}$",
        })
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0u8; 65];
        let digits = text.strip_prefix("0x").ok_or_else(|| serde::de::Error::custom("a signature begins with 0x"))?;
        hex::decode_to_slice(digits, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_names_its_signer_and_is_repeatable() {
        let key = Key::demo(7, "river-gauge");
        let digest = keccak256("a record");
        let signature = key.sign(digest);
        assert_eq!(signature.0, key.sign(digest).0);
        assert_eq!(signature.recover(digest), Ok(key.address()));
        assert!(signature.verify(keccak256("another"), key.address()).is_err());
    }

    #[test]
    fn malleable_and_malformed_signatures_are_refused() {
        let key = Key::demo(7, "river-gauge");
        let digest = keccak256("a record");
        let good = key.sign(digest);
        let mut high = good;
        let s = alloy_primitives::U256::from_be_slice(&good.0[32..64]);
        let order: alloy_primitives::U256 =
            "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();
        high.0[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        high.0[64] = 55 - good.0[64];
        assert_eq!(high.recover(digest), Err(SignatureError::Malformed));
        let mut raw_v = good;
        raw_v.0[64] -= 27;
        assert_eq!(raw_v.recover(digest), Err(SignatureError::Malformed));
    }

    #[test]
    fn a_key_does_not_print_its_secret() {
        let key = Key::from_bytes(&[7; 32]).unwrap();
        assert_eq!(format!("{key:?}"), format!("Key({})", key.address()));
        assert!(Key::from_bytes(&[0; 32]).is_err());
    }
}
