//! Channels: prepaid money, session keys, and the API keys that spend them.

use openledger_protocol::{Address, Amount, B256, ChannelConfig, ChannelId, Key, Voucher, sha256};
use openledger_store::channels::{Channel, ChannelState};
use serde::Serialize;

use crate::error::{Blame, NodeError, Result};
use crate::node::Node;

/// A channel that may be spent from.
#[derive(Clone, Debug, Serialize)]
pub struct OpenedChannel {
    /// The channel.
    pub channel: ChannelId,
    /// All deposits so far.
    pub deposited: Amount,
    /// The bearer token for `/v1`; it spends from this channel and from nothing else.
    pub api_key: String,
}

impl Node {
    fn session_key(&self, payer: Address, salt: B256) -> Key {
        self.derived_key(&format!("session {payer} {salt}"))
    }

    /// The account of the session key this node keeps for a payer: name it as the channel's authorizer before the
    /// deposit. It can only spend what is deposited there.
    #[must_use]
    pub fn session_account(&self, payer: Address, salt: B256) -> Address {
        self.session_key(payer, salt).address()
    }

    /// Takes up a channel after its deposit; asking again looks at the deposit again.
    ///
    /// # Errors
    ///
    /// `wrong-node`, `wrong-authorizer`; `not-funded` when nothing was deposited.
    pub async fn open_channel(&self, config: &ChannelConfig) -> Result<OpenedChannel> {
        let me = self.inner.flow.account();
        if config.node != me {
            let detail = format!("the channel is with {}, this node is {me}", config.node);
            return Err(NodeError::refused(Blame::Request, "wrong-node", detail));
        }
        let session = self.session_account(config.payer, config.salt);
        if config.authorizer != session {
            let detail = format!("name {session} as the authorizer: vouchers are signed by this node's session key");
            return Err(NodeError::refused(Blame::Request, "wrong-authorizer", detail));
        }
        let id = config.id(self.inner.chain_id, self.inner.flow.addresses().channels);
        let deposited = self.inner.flow.channel(id).await?.balance;
        if deposited == Amount::ZERO {
            let detail = format!("nothing was deposited into channel {id}; deposit on chain first");
            return Err(NodeError::refused(Blame::Payment, "not-funded", detail));
        }
        let api_key = format!("ol_{}", hex::encode(sha256(self.derived_key(&format!("api {id}")).sign(id.0).0)));
        let mut tx = self.inner.store.begin().await?;
        match tx.channel(id).await? {
            Some(_) => tx.set_deposited(id, deposited).await?,
            None => {
                let row = Channel {
                    id,
                    payer: config.payer,
                    payee: me,
                    deposited,
                    spent: Amount::ZERO,
                    nonce: 0,
                    state: ChannelState::Open,
                };
                tx.put_channel(&row).await?;
                tx.put_kv(&config_key(id), &serde_json::to_vec(config)?).await?;
                tx.put_kv(&api_key_key(&api_key), id.0.as_slice()).await?;
            }
        }
        tx.commit().await?;
        Ok(OpenedChannel { channel: id, deposited, api_key })
    }

    /// The channel that an API key spends from.
    ///
    /// # Errors
    ///
    /// `invalid-api-key`.
    pub(crate) async fn channel_of_key(&self, api_key: &str) -> Result<Channel> {
        let unknown = || NodeError::refused(Blame::Permission, "invalid-api-key", "this API key is not known here");
        let id = self.inner.store.kv(&api_key_key(api_key)).await?.ok_or_else(unknown)?;
        let id = ChannelId(B256::try_from(id.as_slice()).map_err(|_| unknown())?);
        self.inner.store.channel(id).await?.ok_or_else(unknown)
    }

    /// The voucher for all that was spent from a channel, signed by its session key, with the channel's configuration.
    pub(crate) async fn voucher(
        &self,
        channel: &Channel,
    ) -> Result<(ChannelConfig, Voucher, openledger_protocol::Signature)> {
        let stored = self.inner.store.kv(&config_key(channel.id)).await?;
        let stored = stored.ok_or_else(|| NodeError::missing("channel configuration", channel.id))?;
        let config: ChannelConfig = serde_json::from_slice(&stored)?;
        let voucher = Voucher { channel: channel.id, cumulative: channel.spent };
        let domain = self.domain(self.inner.flow.addresses().channels);
        let signature = self.session_key(config.payer, config.salt).sign(domain.digest(voucher.struct_hash()));
        Ok((config, voucher, signature))
    }
}

fn config_key(id: ChannelId) -> String {
    format!("channel/{id}")
}

fn api_key_key(api_key: &str) -> String {
    format!("api-key/{}", sha256(api_key))
}
