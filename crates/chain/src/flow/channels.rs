//! Channels: money in, redeemed by vouchers.

use alloy_primitives::{B256, U256};
use openledger_protocol::{Amount, ChannelConfig, ChannelId, Signature, Voucher};

use super::{Authorization, Done, Flow, FlowError, bytes, event, events, parts};
use crate::contracts::bindings::channels::{Channels, IChannels};
use crate::sender::Mined;

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

impl Flow {
    /// Pays `amount` of the account's token into a channel; approve `channels` for it first.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `BadConfig` or `DepositsPaused` where they apply.
    pub async fn deposit(
        &self,
        key: &str,
        config: &ChannelConfig,
        amount: Amount,
    ) -> Result<Done<ChannelId>, FlowError> {
        let call = Channels::depositCall { config: members(config), amount: amount.0 };
        let mined = self.send(key, self.at.channels, call).await?;
        let deposited: Channels::Deposited = event(&mined, self.at.channels)?;
        Ok(Done { value: ChannelId(deposited.channel), mined })
    }

    /// As [`Flow::deposit`], with an ERC-2612 permit ([`Flow::permit_digest`]) instead of an approval: one transaction.
    ///
    /// # Errors
    ///
    /// As [`Flow::deposit`]; with a permit that is not the account's the token refuses for want of an allowance.
    pub async fn deposit_with_permit(
        &self,
        key: &str,
        config: &ChannelConfig,
        amount: Amount,
        deadline: u64,
        permit: &Signature,
    ) -> Result<Done<ChannelId>, FlowError> {
        let (v, r, s) = parts(permit);
        let call = Channels::depositWithPermitCall {
            config: members(config),
            amount: amount.0,
            deadline: U256::from(deadline),
            v,
            r,
            s,
        };
        let mined = self.send(key, self.at.channels, call).await?;
        let deposited: Channels::Deposited = event(&mined, self.at.channels)?;
        Ok(Done { value: ChannelId(deposited.channel), mined })
    }

    /// Pays the payer's own money into a channel by its ERC-3009 authorization ([`Flow::authorization_digest`]): whoever
    /// sends it pays the gas and can send it nowhere else.
    ///
    /// # Errors
    ///
    /// As [`Flow::deposit`], with the token's error when the authorization is used, not valid yet or not any more.
    pub async fn deposit_with_authorization(
        &self,
        key: &str,
        config: &ChannelConfig,
        authorization: &Authorization,
        signature: &Signature,
    ) -> Result<Done<ChannelId>, FlowError> {
        let (v, r, s) = parts(signature);
        let call = Channels::depositWithAuthorizationCall {
            config: members(config),
            amount: authorization.amount.0,
            validAfter: U256::from(authorization.valid_after),
            validBefore: U256::from(authorization.valid_before),
            salt: authorization.salt,
            v,
            r,
            s,
        };
        let mined = self.send(key, self.at.channels, call).await?;
        let deposited: Channels::Deposited = event(&mined, self.at.channels)?;
        Ok(Done { value: ChannelId(deposited.channel), mined })
    }

    /// Redeems a voucher into `Payouts`; the result is what moved, zero for an older voucher.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `NotSignedByPayer` when the channel's key did not sign it.
    pub async fn redeem(
        &self,
        key: &str,
        config: &ChannelConfig,
        voucher: &Voucher,
        signature: &Signature,
    ) -> Result<Done<Amount>, FlowError> {
        let voucher = redeemable(config, voucher, signature);
        self.redeemed(self.send(key, self.at.channels, Channels::redeemCall { voucher }).await?)
    }

    /// Redeems several vouchers in one transaction; the result is what moved in all.
    ///
    /// # Errors
    ///
    /// As [`Flow::redeem`].
    pub async fn redeem_many(
        &self,
        key: &str,
        vouchers: &[(ChannelConfig, Voucher, Signature)],
    ) -> Result<Done<Amount>, FlowError> {
        let vouchers = vouchers.iter().map(|(config, voucher, signature)| redeemable(config, voucher, signature));
        let call = Channels::redeemManyCall { vouchers: vouchers.collect() };
        self.redeemed(self.send(key, self.at.channels, call).await?)
    }

    fn redeemed(&self, mined: Mined) -> Result<Done<Amount>, FlowError> {
        let redeemed: Vec<Channels::Redeemed> = events(&mined, self.at.channels);
        let moved = Amount::sum(redeemed.iter().map(|event| Amount(event.amount)));
        let too_large = |_| FlowError::TooLarge { what: "what was redeemed", value: U256::MAX };
        Ok(Done { value: moved.map_err(too_large)?, mined })
    }

    /// Asks for `amount` back; only the payer.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `NotPayer` for anyone else.
    pub async fn request_withdrawal(
        &self,
        key: &str,
        config: &ChannelConfig,
        amount: Amount,
    ) -> Result<Mined, FlowError> {
        let call = Channels::requestWithdrawalCall { config: members(config), amount: amount.0 };
        self.send(key, self.at.channels, call).await
    }

    /// Pays the payer what was asked for, once it is due; anyone may.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `WithdrawalNotDue` before.
    pub async fn withdraw(&self, key: &str, config: &ChannelConfig) -> Result<Done<Amount>, FlowError> {
        let mined = self.send(key, self.at.channels, Channels::withdrawCall { config: members(config) }).await?;
        let withdrawn: Channels::Withdrawn = event(&mined, self.at.channels)?;
        Ok(Done { value: Amount(withdrawn.amount), mined })
    }

    /// What the payer asked back and did not take yet, if anything.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn withdrawal(&self, channel: ChannelId) -> Result<Option<Withdrawal>, FlowError> {
        let asked = self.view(self.at.channels, Channels::withdrawalsCall { channel: channel.0 }).await?;
        Ok((asked.readyAt != 0).then_some(Withdrawal { amount: Amount(asked.amount), ready_at: asked.readyAt }))
    }

    /// A channel's money; zero when nothing was ever paid in.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn channel(&self, channel: ChannelId) -> Result<ChannelState, FlowError> {
        let state = self.view(self.at.channels, Channels::channelsCall { channel: B256::from(channel.0) }).await?;
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
