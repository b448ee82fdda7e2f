//! Payers who ask their deposit back: what their channels have spent is redeemed before they can take it.
//!
//! A payer may ask on chain without a word to the node, and takes the rest after the channel's delay. Receipts whose
//! money left that way could never be funded, and the epoch that holds them could never be proposed. So the node looks.
//!
//! **Invariant:** looking changes nothing; only a channel that is asked back is redeemed, once a voucher.

use std::time::Duration;

use openledger_store::channels::Channel;

use crate::error::Result;
use crate::node::Node;

/// How often the node looks: far below the shortest delay that the contract allows on a public network, 15 minutes.
const LOOK: Duration = Duration::from_secs(5);

impl Node {
    /// Looks for ever.
    pub(crate) async fn guard_deposits(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.redeem_what_is_asked_back().await {
                tracing::warn!(%error, "deposits that are asked back could not be redeemed; tried again");
            }
        }
    }

    async fn redeem_what_is_asked_back(&self) -> Result<()> {
        for channel in self.inner.store.owing_channels().await? {
            if self.inner.flow.withdrawal(channel.id).await?.is_some() {
                self.redeem_at_once(&channel).await?;
            }
        }
        Ok(())
    }

    /// Redeems all that a channel has spent; the same amount is redeemed once, however often this is called.
    pub(crate) async fn redeem_at_once(&self, channel: &Channel) -> Result<()> {
        if channel.nonce > 0 {
            let voucher = self.voucher(channel).await?;
            let key = format!("channel/{}/redeem/{}", channel.id, channel.nonce);
            self.inner.flow.redeem_many(&key, &[voucher]).await?;
        }
        Ok(())
    }
}
