//! Deposits: channels, the session keys that spend them, reservations, and withdrawals.
//!
//! # Invariants
//!
//! - What an answer may cost at most is reserved before it is generated; what it costs is charged once, and never more
//!   than was reserved. So concurrent requests on one channel never spend more than its deposit.
//! - A payer may ask its deposit back on chain without a word to the node. The index and
//!   [`Deposits::guard`] see it. The channel then takes no new reservation, its running answers end,
//!   and what it has spent is redeemed before the payer can take it. It is redeemed again when an
//!   answer that ended was charged after that.
//! - A channel is opened only by what the chain says of it while it is known here, so that no
//!   request to withdraw falls between the look at the chain and the index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use openledger_api::OpenedChannel;
use openledger_protocol::{Address, Amount, B256, ChannelConfig, ChannelId, Key, Signature, Voucher, sha256};
use openledger_store::api_keys::{ApiKeyRow, KeyKind};
use openledger_store::channels::{Channel, ChannelState};
use openledger_store::{Error as StoreError, Store};
use openledger_store::{transact, transact_locked};
use tokio::sync::oneshot;

use crate::auth::key_hash;
use crate::clock::Clock;
use crate::error::{Blame, NodeError, Result};
use crate::holds::{Hold, Holds};
use crate::instance::Instance;
use crate::keys::NodeKeys;
use crate::on_chain::ChannelsOnChain;
use crate::steps::Steps;

/// How often the node looks for withdrawals: far below the shortest delay of a public network, 15 minutes.
const LOOK: Duration = Duration::from_secs(5);
/// How long a reservation is held without a sign of life of its process, in milliseconds.
pub(crate) const HOLD_MS: u64 = 60_000;
/// How often opening a channel looks at the chain, which may change meanwhile.
const OPEN_TRIES: u32 = 4;
/// Channels that are redeemed at a time, or looked at on the chain.
const REDEEM_AT_ONCE: usize = 8;

/// The channels of this node.
#[derive(Clone)]
pub struct Deposits {
    store: Store,
    chain: Arc<dyn ChannelsOnChain>,
    keys: NodeKeys,
    clock: Clock,
    holds: Holds,
    steps: Steps,
    answers: RunningAnswers,
}

/// The running answers of this process, by channel. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct RunningAnswers(Arc<Mutex<Ends>>);

/// How running answers are ended.
#[derive(Default)]
struct Ends {
    /// Answers that were begun.
    begun: u64,
    by_answer: BTreeMap<(ChannelId, u64), oneshot::Sender<()>>,
}

/// A running answer of a channel. Dropped, it is forgotten.
pub(crate) struct RunningAnswer {
    name: (ChannelId, u64),
    answers: RunningAnswers,
    /// Resolves when the answer is to end; none once it has.
    end: Option<oneshot::Receiver<()>>,
}

impl RunningAnswers {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, channel: ChannelId) -> RunningAnswer {
        let (ender, end) = oneshot::channel();
        let mut ends = self.ends();
        ends.begun += 1;
        let name = (channel, ends.begun);
        ends.by_answer.insert(name, ender);
        RunningAnswer { name, answers: self.clone(), end: Some(end) }
    }

    /// Channels with a running answer.
    fn channels(&self) -> BTreeSet<ChannelId> {
        self.ends().by_answer.keys().map(|(channel, _)| *channel).collect()
    }

    /// Ends the running answers of a channel.
    pub(crate) fn end(&self, channel: ChannelId) {
        let mut ends = self.ends();
        let of_channel = (channel, 0)..=(channel, u64::MAX);
        let names: Vec<_> = ends.by_answer.range(of_channel).map(|(name, _)| *name).collect();
        for name in names {
            if let Some(end) = ends.by_answer.remove(&name) {
                // An answer that is over meanwhile needs no end.
                let _ = end.send(());
            }
        }
    }
}

impl RunningAnswer {
    /// Waits until the answer is to end; says so once.
    pub(crate) async fn wait_for_end(&mut self) {
        let Some(end) = &mut self.end else { return std::future::pending().await };
        let _ = end.await;
        self.end = None;
    }
}

impl Drop for RunningAnswer {
    fn drop(&mut self) {
        self.answers.ends().by_answer.remove(&self.name);
    }
}

/// The refusal of an answer whose payer has asked the deposit back.
pub(crate) fn deposit_withdrawn() -> NodeError {
    let detail = "the payer has asked the deposit of this channel back; open another channel, or deposit again after \
                  the withdrawal and open this one";
    NodeError::refused(Blame::Payment, "deposit-withdrawn", detail)
}

impl Deposits {
    pub(crate) fn new(
        store: Store,
        chain: Arc<dyn ChannelsOnChain>,
        keys: NodeKeys,
        clock: Clock,
        instance: Instance,
    ) -> Self {
        let holds = Holds::new(store.clone(), instance);
        let steps = Steps::new(store.clone(), clock.clone());
        Self { store, chain, keys, clock, holds, steps, answers: RunningAnswers::default() }
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

    /// Takes up a channel after a deposit; a repeat reads the deposit again. A channel whose
    /// deposit was asked back is taken up again once that is paid out and something is deposited.
    ///
    /// # Errors
    ///
    /// `wrong-node`, `wrong-authorizer`; `withdrawal-pending` while the payer has asked money back
    /// and did not take it; `not-funded` when nothing is deposited.
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
        if self.store.channel(id).await?.is_none() {
            self.funds(id).await?;
        }
        let secret = self.keys.derived(&format!("api {id}")).sign(id.0);
        let api_key = format!("ol_{}", hex::encode(sha256(secret.0)));
        self.put(id, config, &api_key).await?;
        for _ in 0..OPEN_TRIES {
            // A request to withdraw of a block that is not indexed yet comes through the index,
            // which knows the channel by now. Those before it the chain must have seen.
            let indexed = self.store.chain_cursor().await?.map_or(0, |cursor| cursor.number);
            let (deposited, block) = self.funds(id).await?;
            let opened =
                block >= indexed && transact_locked!(self.store, |tx| tx.open_channel(id, deposited, block).await)?;
            if opened {
                return Ok(OpenedChannel { channel: id, deposited, api_key });
            }
        }
        let detail = format!("channel {id} changes on chain while it is opened, or the chain lags behind the index");
        Err(NodeError::refused(Blame::Retry, "try-again", detail))
    }

    /// What is deposited in a channel and not asked back, as of the block of this number or later.
    async fn funds(&self, id: ChannelId) -> Result<(Amount, u64)> {
        let block = self.chain.newest_block().await?;
        if let Some(asked) = self.chain.withdrawal(id).await? {
            self.close(id, block).await?;
            let detail = format!(
                "the payer of channel {id} asked {} back, to be paid from {} on (Unix seconds); withdraw it, deposit and \
                 open the channel again, or open one with another salt",
                asked.amount, asked.ready_at
            );
            return Err(NodeError::refused(Blame::Conflict, "withdrawal-pending", detail));
        }
        let deposited = self.chain.balance(id).await?;
        if deposited == Amount::ZERO {
            let detail = format!("nothing is deposited in channel {id}; deposit on chain first");
            return Err(NodeError::refused(Blame::Payment, "not-funded", detail));
        }
        Ok((deposited, block))
    }

    /// Makes a channel known, with the API key that spends it, unless it is. It takes no
    /// reservations yet.
    async fn put(&self, id: ChannelId, config: &ChannelConfig, api_key: &str) -> Result<()> {
        let key = ApiKeyRow {
            hash: key_hash(api_key),
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
            payee: self.chain.node(),
            deposited: Amount::ZERO,
            spent: Amount::ZERO,
            reserved: Amount::ZERO,
            nonce: 0,
            time: 0,
            state: ChannelState::Closing,
        };
        Ok(transact!(self.store, |tx| match tx.channel(id).await? {
            Some(_) => Ok(()),
            None => {
                tx.put_channel(&channel, config).await?;
                tx.put_api_key(&key).await
            }
        })?)
    }

    /// Holds `amount` of a channel for one answer.
    ///
    /// # Errors
    ///
    /// `insufficient-deposit` when less is free, `deposit-withdrawn` once the payer asked for it back.
    pub(crate) async fn reserve(&self, channel: ChannelId, amount: Amount, key: Option<&str>) -> Result<Hold> {
        let lease_until = self.clock.unix_ms() + HOLD_MS;
        match self.holds.reserve(channel, amount, key, lease_until).await {
            Err(NodeError::Store(StoreError::Insufficient { needed, free, .. })) => {
                let detail = format!(
                    "the answer may cost up to {needed}, and {free} of the deposit is free: deposit more or lower `max_tokens`"
                );
                Err(NodeError::refused(Blame::Payment, "insufficient-deposit", detail))
            }
            Err(NodeError::Store(StoreError::ChannelClosed { .. })) => Err(deposit_withdrawn()),
            held => held,
        }
    }

    /// Notes a running answer of a channel, for as long as the result lives.
    pub(crate) fn begin_answer(&self, channel: ChannelId) -> RunningAnswer {
        self.answers.begin(channel)
    }

    /// Gives back what this process held when it ended.
    pub(crate) async fn release_own(&self) -> Result<()> {
        self.holds.release_earlier().await
    }

    /// The voucher for all that was spent from a channel, signed by its session key, with the channel's configuration.
    pub(crate) async fn voucher(&self, channel: &Channel) -> Result<(ChannelConfig, Voucher, Signature)> {
        let config = self.store.channel_config(channel.id).await?;
        let config = config.ok_or_else(|| NodeError::lost("channel configuration", channel.id))?;
        let voucher = Voucher { channel: channel.id, cumulative: channel.spent };
        let domain = self.chain.domain();
        let signature = self.session_key(config.payer, config.salt).sign(domain.digest(voucher.struct_hash()));
        Ok((config, voucher, signature))
    }

    /// Keeps what is held, frees what has run out, and looks for withdrawals, until the task is
    /// dropped.
    ///
    /// Three duties side by side: redeeming waits for blocks, and meanwhile no hold may run out and
    /// no answer may go on whose deposit is asked back.
    pub(crate) async fn guard(self) {
        tokio::join!(self.keep_reservations(), self.watch_answers(), self.watch_withdrawals());
    }

    async fn keep_reservations(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.renew_reservations().await;
        }
    }

    async fn watch_answers(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.end_withdrawn_answers().await;
        }
    }

    async fn watch_withdrawals(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.redeem_pending_withdrawals().await {
                tracing::warn!(%error, "channels that owe could not be listed; trying again");
            }
        }
    }

    /// Extends what is held and frees what has run out; a failure of one does not keep the other
    /// from happening.
    pub(crate) async fn renew_reservations(&self) {
        let now = self.clock.unix_ms();
        if let Err(error) = self.holds.extend(now + HOLD_MS).await {
            tracing::warn!(%error, "reservations could not be extended; trying again");
        }
        if let Err(error) = transact_locked!(self.store, |tx| tx.release_expired(now).await) {
            tracing::warn!(%error, "expired reservations could not be released; trying again");
        }
    }

    /// Ends the running answers of channels whose payer has asked the deposit back. What was produced
    /// is charged, and the next look at withdrawals redeems it.
    pub(crate) async fn end_withdrawn_answers(&self) {
        let channels = futures::stream::iter(self.answers.channels());
        let ending = channels.for_each_concurrent(REDEEM_AT_ONCE, |channel| async move {
            match self.is_withdrawing(channel).await {
                Ok(true) => self.answers.end(channel),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, %channel, "a channel with a running answer cannot be read"),
            }
        });
        ending.await;
    }

    /// Whether the payer of a channel has asked the deposit back, by the index or by the chain.
    async fn is_withdrawing(&self, channel: ChannelId) -> Result<bool> {
        let known = self.store.channel(channel).await?;
        if known.is_some_and(|channel| channel.state != ChannelState::Open) {
            return Ok(true);
        }
        let block = self.chain.newest_block().await?;
        let asked = self.chain.withdrawal(channel).await?.is_some();
        if asked {
            self.close(channel, block).await?;
        }
        Ok(asked)
    }

    /// Redeems every owing channel whose payer has asked its deposit back, and closes it to new
    /// reservations. A channel that fails is logged, and does not keep the others from being
    /// redeemed.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`] when the channels cannot be listed.
    pub(crate) async fn redeem_pending_withdrawals(&self) -> Result<()> {
        let owing = self.store.owing_channels().await?;
        let redeeming = futures::stream::iter(owing).for_each_concurrent(REDEEM_AT_ONCE, |channel| async move {
            if let Err(error) = self.redeem_if_withdrawing(&channel).await {
                tracing::warn!(%error, channel = %channel.id, "a channel could not be redeemed; trying again");
            }
        });
        redeeming.await;
        Ok(())
    }

    async fn redeem_if_withdrawing(&self, channel: &Channel) -> Result<()> {
        let block = self.chain.newest_block().await?;
        if self.chain.withdrawal(channel.id).await?.is_some() {
            self.close(channel.id, block).await?;
            self.redeem(channel).await?;
        }
        Ok(())
    }

    /// Closes a channel to new reservations: the chain has a pending withdrawal as of `block` or
    /// later.
    async fn close(&self, channel: ChannelId, block: u64) -> Result<()> {
        // The request may have come after the channel was opened as of this very block; and it is
        // paid out in a later one.
        let since = block + 1;
        Ok(transact_locked!(self.store, |tx| tx.withdrawal_requested(channel, since).await)?)
    }

    /// Redeems all that a channel has spent; the same amount is redeemed once, however often this is called.
    async fn redeem(&self, channel: &Channel) -> Result<()> {
        if channel.nonce > 0 {
            let voucher = self.voucher(channel).await?;
            let step = self.steps.next(format!("channel/{}/redeem/{}", channel.id, channel.nonce)).await?;
            let sent = self.chain.redeem(step.key(), &[voucher]).await;
            self.steps.sent(&step, None, sent).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use openledger_ledger::base_units;
    use openledger_protocol::{ModelId, ReceiptId, keccak};
    use openledger_store::BlobsConfig;
    use openledger_store::receipts::NewReceipt;
    use openledger_store::reservations::NewReservation;

    use super::*;
    use crate::config::NodeClock;
    use crate::fake_chain::{FakeChain, Money};

    const INSTANCE: &str = "this";

    /// A node's deposits, on a chain and a clock that the test moves.
    struct Scene {
        deposits: Deposits,
        store: Store,
        chain: FakeChain,
        now: Arc<AtomicU64>,
    }

    async fn scene() -> Scene {
        let store = Store::open("sqlite::memory:", BlobsConfig::new("memory:")).await.unwrap();
        let (chain, now) = (FakeChain::with_blocks(5), Arc::new(AtomicU64::new(1_000)));
        let time = Arc::clone(&now);
        let clock = Clock::with_source(NodeClock::Wall, move || time.load(Ordering::Relaxed));
        let keys = NodeKeys::new(FakeChain::key());
        let view = chain.view(&store).await;
        let deposits = Deposits::new(store.clone(), Arc::new(view), keys, clock, Instance::named(INSTANCE));
        Scene { deposits, store, chain, now }
    }

    impl Scene {
        /// A channel with this salt, which the chain has `balance` of.
        fn channel(&self, salt: u8, balance: u128) -> (ChannelConfig, ChannelId) {
            let (payer, salt) = (Key::demo(1, "payer").address(), B256::repeat_byte(salt));
            let authorizer = self.deposits.session_account(payer, salt);
            let config =
                ChannelConfig { payer, authorizer, node: FakeChain::key().address(), withdraw_delay: 900, salt };
            let domain = self.deposits.chain.domain();
            let id = config.id(domain.chain_id, domain.contract);
            self.chain.set_channel(id, Money { balance: base_units(balance), ready_at: 0 });
            (config, id)
        }

        /// An open channel.
        async fn opened(&self, salt: u8, balance: u128) -> ChannelId {
            let (config, id) = self.channel(salt, balance);
            assert_eq!(self.deposits.open(&config).await.unwrap().deposited, base_units(balance));
            id
        }

        /// Charges a channel for an answer.
        async fn pay(&self, channel: ChannelId) {
            let hold = self.deposits.reserve(channel, base_units(3), None).await.unwrap();
            let (id, node) = (hold.id().unwrap(), FakeChain::key().address());
            let receipt = NewReceipt {
                id: ReceiptId(keccak(channel.0)),
                model: ModelId(1),
                tokens_in: 1,
                tokens_out: 1,
                body: "{}",
            };
            let paid: Result<(), StoreError> = transact_locked!(self.store, |tx| {
                tx.open_epoch(node).await?;
                let place = tx.charge(id, base_units(2), 7).await?;
                tx.put_receipt(place, &receipt, &[]).await
            });
            paid.unwrap();
            hold.charged();
        }

        async fn reserved(&self, channel: ChannelId) -> Amount {
            self.store.channel(channel).await.unwrap().unwrap().reserved
        }

        async fn state(&self, channel: ChannelId) -> ChannelState {
            self.store.channel(channel).await.unwrap().unwrap().state
        }

        /// Lets two minutes pass, in which reservations are renewed as the guard does.
        async fn two_minutes(&self) {
            for _ in 0..8 {
                self.now.fetch_add(15_000, Ordering::Relaxed);
                self.deposits.renew_reservations().await;
            }
        }
    }

    #[tokio::test]
    async fn what_a_request_reserved_is_free_again_at_whatever_moment_it_went_away() {
        let scene = scene().await;
        let channel = scene.opened(1, 1_000_000).await;
        for polls in 1..40 {
            let mut reserving = Box::pin(scene.deposits.reserve(channel, base_units(10), None));
            for _ in 0..polls {
                if futures::poll!(reserving.as_mut()).is_ready() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        scene.two_minutes().await;
        assert_eq!(scene.reserved(channel).await, Amount::ZERO);
    }

    #[tokio::test]
    async fn a_running_answer_keeps_its_reservation_and_a_lost_one_runs_out() {
        let scene = scene().await;
        let channel = scene.opened(1, 1_000).await;
        let running = scene.deposits.reserve(channel, base_units(10), None).await.unwrap();
        let lease_until = scene.deposits.clock.unix_ms() + HOLD_MS;
        let lost = NewReservation { channel, amount: base_units(500), holder: INSTANCE, lease_until, key: None };
        let made: Result<_, StoreError> = transact_locked!(scene.store, |tx| tx.reserve(&lost).await);
        made.unwrap();
        scene.two_minutes().await;
        assert_eq!(scene.reserved(channel).await, running.amount());
    }

    #[tokio::test]
    async fn one_channel_that_cannot_be_read_does_not_keep_the_others_from_being_redeemed() {
        let scene = scene().await;
        let mut channels = [scene.opened(1, 100).await, scene.opened(2, 100).await];
        channels.sort();
        for channel in channels {
            scene.pay(channel).await;
            scene.chain.set_channel(channel, Money { balance: base_units(100), ready_at: 2_000 });
        }
        scene.chain.fail_channel(channels[0]);
        scene.chain.add_block();
        scene.deposits.redeem_pending_withdrawals().await.unwrap();
        assert_eq!(scene.state(channels[0]).await, ChannelState::Open);
        assert_eq!(scene.state(channels[1]).await, ChannelState::Closing);
    }

    #[tokio::test]
    async fn a_channel_is_refused_by_name_while_a_withdrawal_is_pending_and_opened_again_afterwards() {
        let scene = scene().await;
        let (config, id) = scene.channel(1, 100);
        let refused = async || scene.deposits.open(&config).await.unwrap_err().code();
        scene.chain.set_channel(id, Money { balance: base_units(100), ready_at: 2_000 });
        assert_eq!(refused().await, "withdrawal-pending");
        assert_eq!(scene.store.channel(id).await.unwrap(), None);

        scene.opened(1, 100).await;
        scene.pay(id).await;
        // Asked for right after the channel was opened, in no later block that the node has seen.
        scene.chain.set_channel(id, Money { balance: base_units(100), ready_at: 3_000 });
        assert_eq!(refused().await, "withdrawal-pending");
        assert_eq!(scene.state(id).await, ChannelState::Closing);
        scene.chain.set_channel(id, Money::default());
        scene.chain.add_block();
        assert_eq!(refused().await, "not-funded");
        // 40 came after the withdrawal of all that was not spent: less than was deposited before.
        assert_eq!(scene.opened(1, 42).await, id);
        let channel = scene.store.channel(id).await.unwrap().unwrap();
        assert_eq!((channel.state, channel.free()), (ChannelState::Open, base_units(40)));
    }
}
