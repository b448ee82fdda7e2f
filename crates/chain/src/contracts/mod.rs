//! Our contracts as Rust sees them: generated types, addresses, deployment.
//!
//! # Place in the flow
//!
//! `flow` makes calls with these types, `indexer` reads events with them; no other crate's product
//! code knows an ABI.
//!
//! # Invariants
//!
//! - The types come from `contracts/artifacts`, which CI compares with the sources byte for byte.
//! - The same parameters give the same addresses on every chain (CREATE2, fixed salts).

pub mod bindings;
mod deploy;
mod revert;

use alloy_primitives::{Address, address, hex};
use serde::{Deserialize, Serialize};

pub use self::deploy::{DeployError, DeployParams, Deployed, Deployment, Step, Token};
pub use self::revert::Revert;

/// The deterministic deployment proxy: `salt ‖ init code` as call data deploys by CREATE2. The same
/// on most networks.
pub const CREATE2_DEPLOYER: Address = address!("0x4e59b44847b379578588920cA78FbF26c0B4956C");

/// Run-time code of [`CREATE2_DEPLOYER`], which our own chain has from genesis.
pub const CREATE2_DEPLOYER_CODE: [u8; 69] = hex!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);

/// Where our contracts are on one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The token money moves in: WOPEN where OPEN is the native coin, the ERC-20 elsewhere.
    pub wopen: Address,
    /// Titles, versions and grants of datanets.
    pub datanets: Address,
    /// Titles of contributions.
    pub contributions: Address,
    /// Titles of models.
    pub models: Address,
    /// Prepaid channels.
    pub channels: Address,
    /// Epochs and claims.
    pub payouts: Address,
    /// Judge of refutations.
    pub verifier: Address,
    /// The governed numbers.
    pub params: Address,
}

impl Addresses {
    /// The contracts whose events are indexed: all but the token, which others use too, the judge,
    /// which has none, and the governed numbers, which are read by their hash.
    #[must_use]
    pub fn indexed(&self) -> Vec<Address> {
        vec![self.datanets, self.contributions, self.models, self.channels, self.payouts]
    }
}
