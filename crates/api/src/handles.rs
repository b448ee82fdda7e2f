//! Contributor handles: the names in records, and the accounts that are paid for them.

use openledger_protocol::Address;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A contributor's handle and account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handle {
    /// The handle, as records name it; 1 to 128 bytes.
    #[schemars(length(min = 1, max = 128), example = "river-gauge")]
    pub name: String,
    /// The account that is paid.
    pub address: Address,
}

/// Handles to note. A handle keeps its first account: another one is a conflict, and then none of
/// the list is noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHandles {
    /// The handles.
    pub handles: Vec<Handle>,
}

/// Handles that were noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HandlesNoted {
    /// How many handles the request had.
    pub handles: u64,
}
