//! Terms of settlement: the prices, accounts and holders that turned an answer into money.
//!
//! `ledger` splits by them; a [`crate::ReceiptBundle`] carries them so that a stranger can split
//! again.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Amount, ContributionId};

/// A model's prices, in base units of OPEN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// For a thousand tokens of the prompt.
    pub per_1k_in: Amount,
    /// For a thousand tokens of the answer.
    pub per_1k_out: Amount,
    /// For every answer.
    pub royalty_flat: Amount,
}

/// The accounts behind the roles of a split.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parties {
    /// The platform's treasury.
    pub treasury: Address,
    /// The platform's validation budget.
    pub validation: Address,
    /// Disputes and insurance; also gets the remainders of rounding and the shares without an
    /// owner.
    pub insurance: Address,
    /// The model's owner.
    pub owner: Address,
    /// The node that answered.
    pub node: Address,
    /// The model's stake vault; `None` without stakes, then insurance is paid.
    pub stakers: Option<Address>,
    /// Owners of parent models, each with its share of the owner's line in basis points.
    pub parents: Vec<(Address, u16)>,
}

/// All that a split takes besides receipt, credits and manifest.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The prices.
    pub prices: PriceList,
    /// The accounts of the roles.
    pub parties: Parties,
    /// Who held each contribution's title at the receipt's holder block. One that is missing has no
    /// holder.
    #[serde(deserialize_with = "crate::strict::holders")]
    pub holders: BTreeMap<ContributionId, Address>,
}
