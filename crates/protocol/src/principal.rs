//! Ids of principals: on whose behalf a call is made.
//!
//! A receipt carries its principal's id only as a salted hash. The payer gets the salt and can show
//! the id to others; nobody else can test a guess. **Invariant:** an id has one text, and its hash
//! is over that text.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::{keccak, tags};
use crate::{Key, ReceiptId};

/// The id of a principal: on whose behalf a call is made. In JSON and in the hash its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PrincipalId {
    /// The operator of the node: `operator`.
    Operator,
    /// An account: `account:0x…`.
    Account(Address),
    /// An API key, by the hash that the node keeps of it: `key:0x…`.
    ApiKey(B256),
    /// An agent's title: `agent:7`.
    Agent(u64),
    /// A caller without a credential: `anonymous`.
    Anonymous,
}

impl PrincipalId {
    /// The receipt's `principal` word: `H(TAG_PRINCIPAL ‖ salt ‖ text)`, the text in UTF-8 bytes.
    #[must_use]
    pub fn commitment(&self, salt: B256) -> B256 {
        let text = self.to_string();
        keccak([tags::principal().as_slice(), salt.as_slice(), text.as_bytes()].concat())
    }

    /// The salt of a receipt's principal: `HMAC-SHA256(node's key, TAG_PRINCIPAL ‖ receipt id)`.
    /// The node can give it to the payer at any time and never stores it.
    #[must_use]
    pub fn salt(node: &Key, receipt: ReceiptId) -> B256 {
        node.authenticate(&[tags::principal().as_slice(), receipt.0.as_slice()].concat())
    }
}

/// A text that names no principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a principal: expected operator, account:0x…, key:0x…, agent:N or anonymous")]
pub struct PrincipalError(String);

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Account(account) => write!(f, "account:0x{}", hex::encode(account)),
            Self::ApiKey(key) => write!(f, "key:0x{}", hex::encode(key)),
            Self::Agent(agent) => write!(f, "agent:{agent}"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

impl FromStr for PrincipalId {
    type Err = PrincipalError;
    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        let read = || match text.split_once(':') {
            None if text == "operator" => Some(Self::Operator),
            None if text == "anonymous" => Some(Self::Anonymous),
            Some(("account", account)) => account.parse().ok().map(Self::Account),
            Some(("key", key)) => key.parse().ok().map(Self::ApiKey),
            Some(("agent", agent)) => agent.parse().ok().map(Self::Agent),
            _ => None,
        };
        // Other spellings of the same value would have another hash.
        read().filter(|read| read.to_string() == text).ok_or_else(|| PrincipalError(text.to_owned()))
    }
}

impl Serialize for PrincipalId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PrincipalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [PrincipalId; 5] {
        [
            PrincipalId::Operator,
            PrincipalId::Account(Address::repeat_byte(0xab)),
            PrincipalId::ApiKey(B256::repeat_byte(0xcd)),
            PrincipalId::Agent(7),
            PrincipalId::Anonymous,
        ]
    }

    #[test]
    fn a_principal_has_one_text() {
        for principal in all() {
            assert_eq!(principal.to_string().parse(), Ok(principal));
        }
        for other in ["", "Operator", "agent:07", "agent:+7", "account:0xAB", "agent:", "key:0x", "guest:1"] {
            assert!(other.parse::<PrincipalId>().is_err(), "{other}");
        }
        let upper = all()[1].to_string().replace("ab", "AB");
        assert!(upper.parse::<PrincipalId>().is_err());
    }

    #[test]
    fn a_commitment_depends_on_principal_salt_receipt_and_node() {
        let (node, other) = (Key::demo(1, "node"), Key::demo(1, "other"));
        let (first, second) = (ReceiptId(B256::repeat_byte(1)), ReceiptId(B256::repeat_byte(2)));
        let mut seen = std::collections::BTreeSet::new();
        for principal in all() {
            for salt in [(&node, first), (&node, second), (&other, first)].map(|(key, id)| PrincipalId::salt(key, id)) {
                assert!(seen.insert(principal.commitment(salt)));
            }
        }
        assert_eq!(PrincipalId::salt(&node, first), PrincipalId::salt(&node, first));
    }
}
