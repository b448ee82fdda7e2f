//! The network that a node serves, and the node's place in it.

use openledger_protocol::{Address, B256, BaseHash};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The contracts of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContractAddresses {
    /// `WOPEN`: OPEN as an ERC-20 token.
    pub wopen: Address,
    /// `Datanets`.
    pub datanets: Address,
    /// `Contributions`.
    pub contributions: Address,
    /// `Models`.
    pub models: Address,
    /// `Channels`.
    pub channels: Address,
    /// `Payouts`.
    pub payouts: Address,
    /// `Verifier`.
    pub verifier: Address,
    /// `Params`: the governed numbers.
    pub params: Address,
}

/// The accounts of the platform's line of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlatformAccounts {
    /// The treasury.
    pub treasury: Address,
    /// The validation budget.
    pub validation: Address,
    /// Disputes and insurance.
    pub insurance: Address,
}

/// The base model of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaseModel {
    /// Its name.
    pub name: String,
    /// SHA-256 over its configuration and weights.
    pub hash: BaseHash,
}

/// The network, and the node's place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    /// The chain's id.
    #[schemars(example = 2626)]
    pub chain_id: u64,
    /// The contracts.
    pub addresses: ContractAddresses,
    /// The node's account: it signs receipts and proposes epochs.
    pub node: Address,
    /// The platform's accounts.
    pub parties: PlatformAccounts,
    /// The base that answers.
    pub base: BaseModel,
    /// SHA-256 of the base's tokenizer file.
    pub tokenizer: B256,
    /// The numeric mode of answers; `remote` when another server computes them.
    #[schemars(example = "f32fma-1")]
    pub numeric_mode: String,
}
