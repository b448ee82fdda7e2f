//! Records and the accounts that views name.

use openledger_protocol::{Address, B256, ContributionId, DatanetId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An account with its handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedAccount {
    /// The account.
    pub account: Address,
    /// Its handle, where it has one.
    pub name: Option<String>,
}

/// A record of a datanet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordView {
    /// The contributor's name for it.
    pub record: String,
    /// The contribution that brought it.
    pub contribution: ContributionId,
    /// Its place in the contribution, from 0.
    pub index: u32,
    /// The datanet.
    pub datanet: DatanetId,
    /// Its canonical text.
    pub text: String,
    /// The handles of its contributors, in order.
    pub contributors: Vec<String>,
    /// Its licence, an SPDX expression.
    #[schemars(example = "CC-BY-4.0")]
    pub license: String,
    /// The root over the text's 256-byte chunks.
    pub content_root: B256,
}
