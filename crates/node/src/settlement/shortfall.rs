//! Channels that were redeemed for less than they have spent: redeemed again where they hold more,
//! named where they do not.
//!
//! The contract of channels redeems what a channel holds, and does not revert when that is less than
//! its voucher. So a proposal is the first step that shows a shortfall.
//!
//! Not here: how a payer is kept from withdrawing what it spent (`deposits`).

use futures::StreamExt;
use openledger_chain::flow::ChannelState;
use openledger_protocol::keccak;
use openledger_store::channels::Channel;
use openledger_store::epochs::EpochRow;

use super::{REDEEM_CHUNK, Settlement, Turn};
use crate::error::{Blame, NodeError, Result};

/// Channels that are read from the chain at a time.
const READ_AT_ONCE: usize = 8;
/// Channels that an error names.
const NAMED_MAX: usize = 10;

/// A channel that was redeemed for less than it has spent.
struct Owing {
    channel: Channel,
    money: ChannelState,
}

impl Owing {
    /// Whether the channel holds money that can be redeemed.
    fn has_more(&self) -> bool {
        self.money.balance > self.money.redeemed
    }
}

impl Settlement {
    /// The channels of an epoch that were redeemed for less than they have spent, by id.
    async fn owing(&self, row: &EpochRow) -> Result<Vec<Owing>> {
        let channels = futures::stream::iter(self.store.channels_of_epoch(row.number).await?);
        let mut read = channels
            .map(|channel| async move {
                let money = self.chain.flow().channels().state(channel.id).await?;
                Ok::<_, NodeError>(Owing { channel, money })
            })
            .buffered(READ_AT_ONCE);
        let mut owing = Vec::new();
        while let Some(one) = read.next().await {
            let one = one?;
            if one.money.redeemed < one.channel.spent {
                owing.push(one);
            }
        }
        Ok(owing)
    }

    /// Redeems the channels of an epoch again that owe and hold money; whether there are any.
    pub(super) async fn redeem_rest(&self, turn: &Turn, row: &EpochRow) -> Result<bool> {
        let mut owing = self.owing(row).await?;
        owing.retain(Owing::has_more);
        for chunk in owing.chunks(REDEEM_CHUNK) {
            let (mut vouchers, mut names) = (Vec::with_capacity(chunk.len()), Vec::<u8>::new());
            for one in chunk {
                vouchers.push(self.deposits.voucher(&one.channel).await?);
                // The step has another name once a channel has spent or holds something else.
                names.extend_from_slice(one.channel.id.0.as_slice());
                names.extend(one.channel.spent.to_be_bytes());
                names.extend(one.money.balance.to_be_bytes());
                names.extend(one.money.redeemed.to_be_bytes());
            }
            let step = self.step(row, &format!("redeem/rest/{}", keccak(&names))).await?;
            let sent = self.chain.flow().channels().redeem(step.key(), &vouchers).await;
            self.steps.sent(&step, Some(turn.lease()), sent).await?;
        }
        Ok(!owing.is_empty())
    }

    /// The error of an epoch that the redeemed money does not cover.
    pub(super) async fn underfunded(&self, row: &EpochRow) -> Result<NodeError> {
        let owing = self.owing(row).await?;
        let name =
            |one: &Owing| format!("{} has spent {} and holds {}", one.channel.id, one.channel.spent, one.money.balance);
        let mut named: Vec<String> = owing.iter().take(NAMED_MAX).map(name).collect();
        if owing.len() > NAMED_MAX {
            named.push(format!("in all {} channels", owing.len()));
        }
        let detail = format!(
            "the redeemed money does not cover epoch {}. Channels that owe: {}. Deposit what is missing into them, or pay \
             it in with `fund` of the payouts contract, then settle again",
            row.number,
            if named.is_empty() { "none of this epoch".to_owned() } else { named.join("; ") }
        );
        Ok(NodeError::refused(Blame::Conflict, "underfunded", detail))
    }
}
