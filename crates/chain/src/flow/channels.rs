//! Channels: money in, redeemed by vouchers.

use alloy_primitives::{B256, U256};
use openledger_protocol::{Amount, ChannelConfig, ChannelId, Signature, Voucher};

use super::{Contract, Done, FlowError, bytes};
use crate::contracts::bindings::channels::{Channels, IChannels};

/// A channel's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// Paid in and not withdrawn.
    pub balance: Amount,
    /// Of that, gone to `Payouts`.
    pub redeemed: Amount,
}

/// Money asked back from a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// How much, at most.
    pub amount: Amount,
    /// From when on it is paid, in seconds since 1970.
    pub ready_at: u64,
}

/// The contract of channels.
#[derive(Clone, Copy)]
pub struct ChannelsContract<'a>(pub(super) Contract<'a>);

impl ChannelsContract<'_> {
    /// Pays `amount` of the account's token into a channel; approve `channels` for it first.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `BadConfig` or `DepositsPaused` where they apply.
    pub async fn deposit(
        self,
        key: &str,
        config: &ChannelConfig,
        amount: Amount,
    ) -> Result<Done<ChannelId>, FlowError> {
        let call = Channels::depositCall { config: members(config), amount: amount.0 };
        let mined = self.0.send(key, call).await?;
        let deposited: Channels::Deposited = self.0.event(&mined)?;
        Ok(Done { value: ChannelId(deposited.channel), mined })
    }

    /// Redeems vouchers into `Payouts` in one transaction. The result is the sum that moved:
    /// nothing for a voucher that is no higher than what its channel has redeemed.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `NotSignedByPayer` when the channel's key did not sign one of
    /// them.
    pub async fn redeem(
        self,
        key: &str,
        vouchers: &[(ChannelConfig, Voucher, Signature)],
    ) -> Result<Done<Amount>, FlowError> {
        let vouchers = vouchers.iter().map(|(config, voucher, signature)| redeemable(config, voucher, signature));
        let call = Channels::redeemManyCall { vouchers: vouchers.collect() };
        let mined = self.0.send(key, call).await?;
        let redeemed: Vec<Channels::Redeemed> = self.0.events(&mined);
        let moved = Amount::sum(redeemed.iter().map(|event| Amount(event.amount)));
        let too_large = |_| FlowError::TooLarge { what: "what was redeemed", value: U256::MAX };
        Ok(Done { value: moved.map_err(too_large)?, mined })
    }

    /// What the payer asked back and did not take yet, if anything.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn withdrawal(self, channel: ChannelId) -> Result<Option<Withdrawal>, FlowError> {
        let asked = self.0.view(Channels::withdrawalsCall { channel: channel.0 }).await?;
        Ok((asked.readyAt != 0).then_some(Withdrawal { amount: Amount(asked.amount), ready_at: asked.readyAt }))
    }

    /// A channel's money; zero when nothing was ever paid in.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn state(self, channel: ChannelId) -> Result<ChannelState, FlowError> {
        let state = self.0.view(Channels::channelsCall { channel: B256::from(channel.0) }).await?;
        Ok(ChannelState { balance: Amount(state.balance), redeemed: Amount(state.redeemed) })
    }
}

fn members(config: &ChannelConfig) -> IChannels::Config {
    IChannels::Config {
        payer: config.payer,
        payerAuthorizer: config.authorizer,
        node: config.node,
        withdrawDelay: config.withdraw_delay,
        salt: config.salt,
    }
}

fn redeemable(config: &ChannelConfig, voucher: &Voucher, signature: &Signature) -> IChannels::Voucher {
    IChannels::Voucher { config: members(config), cumulative: voucher.cumulative.0, signature: bytes(signature) }
}
