//! Contributions: accepted batches of records, each a title whose holder is paid.

use alloy_primitives::{Address, B256, keccak256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{keccak_words, leaf, tags, word};
use crate::{ContributionId, DatanetId};

/// An accepted batch of records of one list of contributors.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Contribution {
    /// Its title.
    pub id: ContributionId,
    /// Where it was accepted.
    pub datanet: DatanetId,
    /// The signer of the registration.
    pub registrant: Address,
    /// The accounts of its contributors; the first receives what an equal split leaves.
    pub contributors: Vec<Address>,
    /// The Merkle root over its record leaves, in order.
    pub root: B256,
    /// How many records.
    pub count: u32,
    /// The hash of the terms ([`crate::Rights::terms_hash`]).
    pub terms: B256,
    /// The registrant's running number of batches, from 0.
    pub nonce: u64,
}

/// `H(abi.encode(chainId, Contributions, registrant, nonce))`: known before the root is, so leaves
/// can name it.
#[must_use]
pub fn contribution_id(chain_id: u64, contributions: Address, registrant: Address, nonce: u64) -> ContributionId {
    ContributionId(keccak_words(&[word(chain_id), word(contributions), word(registrant), word(nonce)]))
}

/// `H(H(TAG_CONTRIBUTION ‖ datanet ‖ contribution ‖ root ‖ count))`.
#[must_use]
pub fn contribution_leaf(datanet: DatanetId, id: ContributionId, root: B256, count: u32) -> B256 {
    leaf(tags::contribution(), &[word(datanet.0), id.0, root, word(count)])
}

impl Contribution {
    /// The leaf under a datanet version's root.
    #[must_use]
    pub fn leaf(&self) -> B256 {
        contribution_leaf(self.datanet, self.id, self.root, self.count)
    }

    /// The record that the registrant signs.
    #[must_use]
    pub fn registration(&self) -> Registration {
        let words: Vec<B256> = self.contributors.iter().map(|&account| word(account)).collect();
        Registration {
            datanet: self.datanet,
            root: self.root,
            count: self.count,
            contributors: keccak_words(&words),
            terms: self.terms,
            nonce: self.nonce,
        }
    }
}

/// A registration, signed for `Contributions` so that a relayer may pay the gas.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// The datanet.
    pub datanet: DatanetId,
    /// The batch's root.
    pub root: B256,
    /// Its number of records.
    pub count: u32,
    /// keccak-256 over the contributors' addresses as words.
    pub contributors: B256,
    /// The hash of the terms.
    pub terms: B256,
    /// The registrant's running number.
    pub nonce: u64,
}

impl Registration {
    /// The EIP-712 struct hash.
    #[must_use]
    pub fn struct_hash(&self) -> B256 {
        keccak_words(&[
            keccak256(
                "Register(uint64 datanet,bytes32 root,uint32 count,bytes32 contributors,bytes32 terms,uint64 nonce)",
            ),
            word(self.datanet.0),
            self.root,
            word(self.count),
            self.contributors,
            self.terms,
            word(self.nonce),
        ])
    }
}

/// A new version of a datanet, signed by its owner for `Datanets`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Publication {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version that is published; refused unless it is the next one.
    pub expected_version: u64,
    /// The Merkle root over its contribution leaves.
    pub root: B256,
    /// Records in all its contributions.
    pub records: u64,
}

impl Publication {
    /// The EIP-712 struct hash.
    #[must_use]
    pub fn struct_hash(&self) -> B256 {
        keccak_words(&[
            keccak256("Publish(uint64 datanet,uint64 expectedVersion,bytes32 root,uint64 records)"),
            word(self.datanet.0),
            word(self.expected_version),
            self.root,
            word(self.records),
        ])
    }
}
