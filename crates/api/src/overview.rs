//! The document behind the Studio's first page: public views only.

use openledger_protocol::Amount;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ContributionView, DatanetView, EpochView, ModelView, Network, PayoutView, ReceiptView};

/// Counts and sums over everything on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Records in all datanets.
    pub records: u64,
    /// Accounts that contributed.
    pub contributors: u64,
    /// Receipts, those of the open epoch included.
    pub receipts: u64,
    /// Paid into `Payouts`, in base units.
    pub paid_in: Amount,
    /// Earned by all accounts at the end of the newest epoch, in base units.
    pub paid_out: Amount,
    /// Claimed so far, in base units.
    pub claimed: Amount,
}

/// What the Studio's first page shows. It holds no prompt, answer or record text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Overview {
    /// The network.
    pub network: Network,
    /// Counts and sums.
    pub totals: Totals,
    /// The datanets, by id; at most 50.
    pub datanets: Vec<DatanetView>,
    /// The newest contributions, newest first; at most 50.
    pub contributions: Vec<ContributionView>,
    /// The models on offer, by id; at most 50.
    pub models: Vec<ModelView>,
    /// The newest receipts, newest first; at most 20.
    pub receipts: Vec<ReceiptView>,
    /// The newest epochs, by number; at most 50.
    pub epochs: Vec<EpochView>,
    /// The accounts that earned most by the newest epoch, most first; at most 50.
    pub payouts: Vec<PayoutView>,
}
