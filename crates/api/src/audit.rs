//! The audit of a node's books.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a check of an audit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditScope {
    /// Money: the supply, and what contracts hold.
    Supply,
    /// The chain's state beside the node's.
    Chain,
    /// Epochs and receipts, computed again.
    Books,
}

/// One check of an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditCheck {
    /// What it is about.
    pub scope: AuditScope,
    /// The statement that was checked.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// The figures.
    pub detail: String,
}

/// An audit. A statement that does not hold is a failed check, not an error of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// Whether every check holds.
    pub ok: bool,
    /// The checks, in order.
    pub checks: Vec<AuditCheck>,
    /// The last epoch that this audit covers; 0 before the first.
    #[serde(default)]
    pub epoch: u64,
}
