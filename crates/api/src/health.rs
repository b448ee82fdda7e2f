//! Health of a node's process and its parts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Liveness {
    /// Always true.
    pub ok: bool,
}

/// The health of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentHealth {
    /// Whether it answers.
    pub ok: bool,
}

/// The health of the chain's RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainHealth {
    /// Whether it answers.
    pub ok: bool,
    /// The head's block number, where it answers.
    pub head: Option<u64>,
}

/// The health of a named part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedHealth {
    /// Whether it is ready.
    pub ok: bool,
    /// Its name.
    pub name: String,
}

/// Whether a node can serve requests; 503 when it cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Whether every part is ready.
    pub ok: bool,
    /// The chain.
    pub chain: ChainHealth,
    /// The database.
    pub database: ComponentHealth,
    /// The base model.
    pub base: NamedHealth,
}
