//! Datanets, their contributions, versions and grants.

use openledger_protocol::{Address, B256, ContributionId, DatanetId, Grant, Publication, Rights, Signature};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NamedAccount;

/// A datanet to add: its title exists on chain already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDatanet {
    /// Its title.
    pub id: DatanetId,
    /// Its name on this node; 1 to 200 bytes.
    #[schemars(length(min = 1, max = 200), example = "bicycle-repair")]
    pub name: String,
    /// What it is about; at most 4,000 bytes.
    #[serde(default)]
    #[schemars(length(max = 4_000))]
    pub description: String,
    /// Its terms; their hash is on chain.
    pub rights: Rights,
}

/// A datanet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatanetView {
    /// Its title.
    pub id: DatanetId,
    /// Its name on this node.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// The licence of its terms.
    pub license: String,
    /// The owner of its title.
    pub owner: NamedAccount,
    /// Its newest version, from 1; 0 before the first.
    pub version: u64,
    /// The root of that version.
    pub root: Option<B256>,
    /// Records in it, published or not.
    pub records: u64,
    /// Contributions in it, published or not.
    pub contributions: u64,
}

/// A registered contribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContributionView {
    /// Its title.
    pub id: ContributionId,
    /// The datanet.
    pub datanet: DatanetId,
    /// The datanet's name on this node.
    pub datanet_name: String,
    /// The handles of its contributors, in order; an account without one is named by its first
    /// digits.
    pub contributors: Vec<String>,
    /// Records in it.
    pub records: u32,
    /// The root over its record leaves.
    pub root: B256,
    /// The account that is paid for it: the contributor, or the splitter of several.
    pub holder: Option<Address>,
}

/// The message that a datanet's owner signs to publish the contributions registered so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextVersion {
    /// The message.
    pub publication: Publication,
    /// Its EIP-712 digest for `Datanets`.
    pub digest: B256,
}

/// A datanet's next version, signed by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedVersion {
    /// The owner's signature over the digest of [`NextVersion`].
    pub signature: Signature,
}

/// A published version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionPublished {
    /// The version, from 1.
    pub version: u64,
    /// Its root.
    pub root: B256,
    /// The transaction.
    pub tx: B256,
    /// The transaction's block number.
    pub block: u64,
}

/// A grant, signed by the datanet's owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedGrant {
    /// The grant; its datanet is that of the path.
    pub grant: Grant,
    /// The owner's signature over its EIP-712 digest for `Datanets`.
    pub signature: Signature,
}

/// A grant on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantPublished {
    /// The grant's hash, which manifests name.
    pub grant: B256,
    /// The transaction.
    pub tx: B256,
    /// The transaction's block number.
    pub block: u64,
}
