//! Epochs: their settlement, their headers and what accounts earned.

use openledger_protocol::{Address, Amount, B256, Domain, EpochHeader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EpochState {
    /// It takes receipts.
    Open,
    /// Its receipts are fixed, its roots are computed.
    Closing,
    /// Its roots are fixed.
    Closed,
    /// Its proposal is on chain and may be refuted.
    Proposed,
    /// Its payouts can be claimed.
    Finalized,
}

/// An epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EpochView {
    /// Its number, from 1.
    pub number: u64,
    /// Its state.
    pub state: EpochState,
    /// Its receipts.
    pub receipts: u64,
    /// The sum of their prices, in base units.
    pub entries_total: Amount,
    /// The sum of all payouts since genesis, in base units.
    pub total: Amount,
    /// The root over its receipts.
    pub receipts_root: B256,
    /// The root over its entries.
    pub entries_root: B256,
    /// The root over the payouts since genesis.
    pub payout_root: B256,
}

/// An epoch's header: the fields, the words that are hashed, and their hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EpochExport {
    /// `openledger/epoch/v2`.
    pub format: String,
    /// Chain and `Payouts` contract.
    pub domain: Domain,
    /// The fields.
    pub header: EpochHeader,
    /// The fields as words, in the header's order.
    pub words: Vec<B256>,
    /// keccak-256 over the words; compare it with that of the proposal on chain.
    pub hash: B256,
}

/// One transaction of an epoch's settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettlementStep {
    /// What it does.
    pub what: String,
    /// The transaction.
    pub tx: B256,
    /// The transaction's block number.
    pub block: u64,
    /// Gas that it used.
    pub gas: u64,
}

/// A settled epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EpochSettled {
    /// The header with its words.
    #[serde(flatten)]
    pub epoch: EpochExport,
    /// The transactions that this call sent or found.
    pub steps: Vec<SettlementStep>,
}

/// What an account has earned by the end of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayoutView {
    /// The account.
    pub account: Address,
    /// Its handle; a splitter is named after its contributors.
    pub name: Option<String>,
    /// All it earned since genesis, in base units.
    pub cumulative: Amount,
    /// What was claimed of it, in base units.
    pub claimed: Amount,
}
