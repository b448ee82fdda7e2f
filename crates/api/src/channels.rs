//! Payment channels: a payer's session key and the API key that spends a deposit.

use openledger_protocol::{Address, Amount, B256, ChannelConfig, ChannelId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Asks for the session key that the node keeps for a payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionKeyRequest {
    /// The payer.
    pub payer: Address,
    /// Distinguishes channels of the same payer; zero without it.
    #[serde(default)]
    pub salt: B256,
}

/// The session key that the node keeps for a payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionKey {
    /// The account to name as the channel's authorizer. It can spend only the channel's deposit.
    pub authorizer: Address,
}

/// A funded channel to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// The channel, as it was funded on chain.
    pub config: ChannelConfig,
}

/// An open channel. The response holds a secret and is never kept for replays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenedChannel {
    /// The channel.
    pub channel: ChannelId,
    /// Deposits minus withdrawals, in base units.
    pub deposited: Amount,
    /// The bearer token for `/v1`; it spends from this channel only.
    #[schemars(example = "ol_9f2c…")]
    pub api_key: String,
}
