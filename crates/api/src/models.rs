//! Models on offer.

use openledger_protocol::{AdapterHash, B256, Body, DatanetId, DatanetUse, ModelId, PriceList, RecordRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Offers a trained adapter under the title that its owner registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelOffer {
    /// The title.
    pub id: ModelId,
    /// The name to ask for; 1 to 200 bytes.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// The training job.
    pub job: u64,
}

/// A model that was put on offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelOffered {
    /// The title.
    pub id: ModelId,
    /// The name to ask for.
    pub name: String,
    /// The adapter.
    pub adapter: AdapterHash,
    /// The hash of its manifest.
    pub manifest: B256,
}

/// Mean loss over the records that were held out of training, in micro-nats a token; zeros without
/// held-out records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldOutLoss {
    /// Of the base.
    pub base_micro: u64,
    /// Of the adapter.
    pub adapter_micro: u64,
}

impl From<(u64, u64)> for HeldOutLoss {
    fn from((base_micro, adapter_micro): (u64, u64)) -> Self {
        Self { base_micro, adapter_micro }
    }
}

/// How a price is divided, in basis points; the shares sum to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelSplit {
    /// The platform's share.
    pub platform_bps: u16,
    /// The share of owner and node.
    pub model_bps: u16,
    /// The stakers' share.
    pub stakers_bps: u16,
    /// The contributors' share.
    pub contributors_bps: u16,
}

/// A model on offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelView {
    /// The title.
    pub id: ModelId,
    /// The name to ask for.
    pub name: String,
    /// The base's name.
    pub base: String,
    /// The adapter.
    pub adapter: AdapterHash,
    /// The hash of its manifest.
    pub manifest: B256,
    /// Its prices, in base units.
    pub prices: PriceList,
    /// How a price is divided.
    pub split: ModelSplit,
    /// Records it was trained on.
    pub records: u32,
    /// The datanet versions it was trained on.
    pub datanets: Vec<DatanetUse>,
    /// Its held-out loss beside the base's.
    pub held_out_loss: HeldOutLoss,
}

/// A record that a model was trained on; a list of them is in the order of training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrainedRecord {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version it was read from.
    pub version: u64,
    /// Its contribution and its place there.
    pub at: RecordRef,
    /// The contributor's name for it.
    pub id: String,
    /// Its content.
    pub body: Body,
}
