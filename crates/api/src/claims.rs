//! Claims of earnings.

use openledger_protocol::{Address, Amount, B256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Claims earnings of finalized epochs for accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimsRequest {
    /// The accounts; an empty list means every account that has earned.
    #[serde(default)]
    pub accounts: Vec<Address>,
}

/// A paid claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claimed {
    /// The account.
    pub account: Address,
    /// Its handle, where it has one.
    pub name: Option<String>,
    /// The amount that the claiming transaction moved, in base units.
    pub amount: Amount,
    /// WOPEN that the account holds now, in base units.
    pub balance: Amount,
    /// The transaction.
    pub tx: B256,
}

/// Paid claims; a repeated request returns the same claims and pays nothing again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimsMade {
    /// The claims, by account.
    pub claims: Vec<Claimed>,
}
