//! Channels and vouchers: how answers are paid for without a transaction each.

use alloy_primitives::{Address, B256, keccak256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{keccak_words, word};
use crate::{Amount, ChannelId};

/// The parties of a channel; its hash is the channel's id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// Whose money it is.
    pub payer: Address,
    /// Whose signature vouchers carry: the payer's own, or a session key's.
    pub authorizer: Address,
    /// The node that answers.
    pub node: Address,
    /// Seconds between asking for the rest and getting it.
    pub withdraw_delay: u64,
    /// Tells channels of the same parties apart.
    pub salt: B256,
}

impl ChannelConfig {
    /// `H(abi.encode(chainId, Channels, payer, payerAuthorizer, node, withdrawDelay, salt))`.
    #[must_use]
    pub fn id(&self, chain_id: u64, channels: Address) -> ChannelId {
        ChannelId(keccak_words(&[
            word(chain_id),
            word(channels),
            word(self.payer),
            word(self.authorizer),
            word(self.node),
            word(self.withdraw_delay),
            self.salt,
        ]))
    }
}

/// A cumulative promise to pay: the highest one counts, so replaying one changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Voucher {
    /// The channel.
    pub channel: ChannelId,
    /// All that may be taken from it, since it was opened.
    pub cumulative: Amount,
}

impl Voucher {
    /// The EIP-712 struct hash.
    #[must_use]
    pub fn struct_hash(&self) -> B256 {
        keccak_words(&[
            keccak256("Voucher(bytes32 channel,uint128 cumulative)"),
            self.channel.0,
            word(self.cumulative.0),
        ])
    }
}
