//! Grants: a datanet owner's leave to use one version for named purposes until a time.

use alloy_primitives::{Address, B256, keccak256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{keccak_words, word};
use crate::{DatanetId, Purpose, Purposes};

/// A permission, signed by the datanet's owner for `Datanets`; on chain one slot a purpose holds
/// `until` (0: revoked).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version that may be read.
    pub version: u64,
    /// The account that may use the data.
    pub grantee: Address,
    /// For what.
    pub purposes: Purposes,
    /// Unix seconds when it ends.
    pub until: u64,
    /// The hash of the terms it was given under.
    pub terms: B256,
}

impl Grant {
    /// The EIP-712 struct hash; also the grant's name in manifests.
    #[must_use]
    pub fn struct_hash(&self) -> B256 {
        keccak_words(&[
            keccak256(
                "Grant(uint64 datanet,uint64 version,address grantee,uint32 purposes,uint64 until,bytes32 terms)",
            ),
            word(self.datanet.0),
            word(self.version),
            word(self.grantee),
            word(self.purposes.0),
            word(self.until),
            self.terms,
        ])
    }

    /// The slot on chain of one purpose: `H(abi.encode(datanet, grantee, purpose))`.
    #[must_use]
    pub fn slot(datanet: DatanetId, grantee: Address, purpose: Purpose) -> B256 {
        keccak_words(&[word(datanet.0), word(grantee), word(purpose as u32)])
    }
}
