//! Deposits: channels, the session keys that spend them, reservations, and withdrawals.
//!
//! # Invariants
//!
//! - What an answer may cost at most is reserved before it is generated; what it costs is charged once, and never more
//!   than was reserved. So concurrent requests on one channel never spend more than its deposit.
//! - A payer may ask its deposit back on chain without a word to the node. The index and [`Deposits::guard`] see it: the
//!   channel then takes no new reservation, and what it has spent is redeemed before the payer can take it.

use std::sync::Arc;
use std::time::Duration;

use openledger_api::OpenedChannel;
use openledger_protocol::{Address, Amount, B256, ChannelConfig, ChannelId, Key, Signature, Voucher, sha256};
use openledger_store::api_keys::{ApiKeyRow, KeyKind};
use openledger_store::channels::{Channel, ChannelState};
use openledger_store::reservations::{NewReservation, ReservationId};
use openledger_store::{Error as StoreError, Store};
use openledger_store::{transact, transact_locked};

use crate::auth::key_hash;
use crate::clock::Clock;
use crate::error::{Blame, NodeError, Result};
use crate::instance::Instance;
use crate::keys::NodeKeys;
use crate::on_chain::ChannelsOnChain;

/// How often the node looks for withdrawals: far below the shortest delay of a public network, 15 minutes.
const LOOK: Duration = Duration::from_secs(5);
/// How long a reservation is held without a sign of life of its process, in milliseconds.
pub(crate) const HOLD_MS: u64 = 60_000;

/// The channels of this node.
#[derive(Clone)]
pub struct Deposits {
    store: Store,
    chain: Arc<dyn ChannelsOnChain>,
    keys: NodeKeys,
    clock: Clock,
    instance: Instance,
}

/// Money that is held for one answer. Dropped without a charge, it is given back.
pub struct Hold {
    id: Option<ReservationId>,
    amount: Amount,
    deposits: Deposits,
}

impl Hold {
    /// What is held, in base units.
    pub(crate) fn amount(&self) -> Amount {
        self.amount
    }

    /// The reservation; the caller charges it.
    pub(crate) fn id(&self) -> Option<ReservationId> {
        self.id
    }

    /// Notes that it was charged.
    pub(crate) fn charged(mut self) {
        self.id = None;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let store = self.deposits.store.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // A reservation that cannot be released now runs out with its lease.
        runtime.spawn(async move {
            if let Err(error) = transact_locked!(store, |tx| tx.release(id).await) {
                tracing::warn!(%error, "a reservation could not be released; it ends with its lease");
            }
        });
    }
}

impl Deposits {
    pub(crate) fn new(
        store: Store,
        chain: Arc<dyn ChannelsOnChain>,
        keys: NodeKeys,
        clock: Clock,
        instance: Instance,
    ) -> Self {
        Self { store, chain, keys, clock, instance }
    }

    fn session_key(&self, payer: Address, salt: B256) -> Key {
        self.keys.derived(&format!("session {payer} {salt}"))
    }

    /// The account of the session key that this node keeps for a payer: the authorizer of its channel. It can spend
    /// what is deposited there and nothing else.
    #[must_use]
    pub fn session_account(&self, payer: Address, salt: B256) -> Address {
        self.session_key(payer, salt).address()
    }

    /// Takes up a channel after its deposit; a repeat reads the deposit again.
    ///
    /// # Errors
    ///
    /// `wrong-node`, `wrong-authorizer`; `not-funded` when nothing was deposited.
    pub async fn open(&self, config: &ChannelConfig) -> Result<OpenedChannel> {
        let me = self.chain.node();
        if config.node != me {
            let detail = format!("the channel is with {}, this node is {me}", config.node);
            return Err(NodeError::refused(Blame::Request, "wrong-node", detail));
        }
        let session = self.session_account(config.payer, config.salt);
        if config.authorizer != session {
            let detail = format!("name {session} as the authorizer: vouchers are signed by this node's session key");
            return Err(NodeError::refused(Blame::Request, "wrong-authorizer", detail));
        }
        let domain = self.chain.domain();
        let id = config.id(domain.chain_id, domain.contract);
        let deposited = self.chain.balance(id).await?;
        if deposited == Amount::ZERO {
            let detail = format!("nothing was deposited into channel {id}; deposit on chain first");
            return Err(NodeError::refused(Blame::Payment, "not-funded", detail));
        }
        let secret = self.keys.derived(&format!("api {id}")).sign(id.0);
        let api_key = format!("ol_{}", hex::encode(sha256(secret.0)));
        let key = ApiKeyRow {
            hash: key_hash(&api_key),
            kind: KeyKind::Channel,
            principal: config.payer.to_string(),
            channel: Some(id),
            scopes: String::new(),
            created: self.clock.unix_ms(),
            revoked: None,
            last_used: None,
        };
        let channel = Channel {
            id,
            payer: config.payer,
            payee: me,
            deposited,
            spent: Amount::ZERO,
            reserved: Amount::ZERO,
            nonce: 0,
            time: 0,
            state: ChannelState::Open,
        };
        transact!(self.store, |tx| match tx.channel(id).await? {
            Some(_) => tx.set_deposited(id, deposited).await,
            None => {
                tx.put_channel(&channel, config).await?;
                tx.put_api_key(&key).await
            }
        })?;
        Ok(OpenedChannel { channel: id, deposited, api_key })
    }

    /// Holds `amount` of a channel for one answer.
    ///
    /// # Errors
    ///
    /// `insufficient-deposit` when less is free, `deposit-withdrawn` once the payer asked for it back.
    pub(crate) async fn reserve(&self, channel: ChannelId, amount: Amount, key: Option<&str>) -> Result<Hold> {
        let lease_until = self.clock.unix_ms() + HOLD_MS;
        let new = NewReservation { channel, amount, holder: self.instance.name(), lease_until, key };
        let held = transact_locked!(self.store, |tx| tx.reserve(&new).await);
        match held {
            Ok(reservation) => Ok(Hold { id: Some(reservation.id), amount, deposits: self.clone() }),
            Err(StoreError::Insufficient { needed, free, .. }) => {
                let detail = format!(
                    "the answer may cost up to {needed}, and {free} of the deposit is free: deposit more or lower `max_tokens`"
                );
                Err(NodeError::refused(Blame::Payment, "insufficient-deposit", detail))
            }
            Err(StoreError::ChannelClosed { .. }) => {
                let detail = "the payer has asked the deposit of this channel back; open another channel";
                Err(NodeError::refused(Blame::Payment, "deposit-withdrawn", detail))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives back what this process held when it ended.
    pub(crate) async fn release_own(&self) -> Result<()> {
        let holder = self.instance.name();
        transact_locked!(self.store, |tx| tx.release_of_holder(holder).await)?;
        Ok(())
    }

    /// The voucher for all that was spent from a channel, signed by its session key, with the channel's configuration.
    pub(crate) async fn voucher(&self, channel: &Channel) -> Result<(ChannelConfig, Voucher, Signature)> {
        let config = self.store.channel_config(channel.id).await?;
        let config = config.ok_or_else(|| NodeError::missing("channel configuration", channel.id))?;
        let voucher = Voucher { channel: channel.id, cumulative: channel.spent };
        let digest = self.chain.domain().digest(voucher.struct_hash());
        let signature = self.session_key(config.payer, config.salt).sign(digest);
        Ok((config, voucher, signature))
    }

    /// Looks for withdrawals, extends reservations and frees expired ones until the task is dropped.
    pub(crate) async fn guard(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "pending withdrawals could not be redeemed; trying again");
            }
        }
    }

    /// One look of the guard: extends this process's reservations, frees expired ones and redeems
    /// pending withdrawals.
    pub(crate) async fn look(&self) -> Result<()> {
        let now = self.clock.unix_ms();
        self.store.extend_reservations(self.instance.name(), now + HOLD_MS).await?;
        transact_locked!(self.store, |tx| tx.release_expired(now).await)?;
        self.redeem_pending_withdrawals().await
    }

    /// Redeems every owing channel whose payer has asked its deposit back, and closes it to new reservations.
    pub(crate) async fn redeem_pending_withdrawals(&self) -> Result<()> {
        for channel in self.store.owing_channels().await? {
            if self.chain.is_withdrawing(channel.id).await? {
                self.close(channel.id).await?;
                self.redeem(&channel).await?;
            }
        }
        Ok(())
    }

    async fn close(&self, channel: ChannelId) -> Result<()> {
        let state = ChannelState::Closing;
        Ok(transact!(self.store, |tx| tx.set_channel_state(channel, state).await)?)
    }

    /// Redeems all that a channel has spent; the same amount is redeemed once, however often this is called.
    async fn redeem(&self, channel: &Channel) -> Result<()> {
        if channel.nonce > 0 {
            let voucher = self.voucher(channel).await?;
            let key = format!("channel/{}/redeem/{}", channel.id, channel.nonce);
            self.chain.redeem(&key, &[voucher]).await?;
        }
        Ok(())
    }
}
