//! Deposits: channels, the session keys that spend them, reservations, and withdrawals.
//!
//! # Invariants
//!
//! - What an answer may cost at most is reserved before it is generated; what it costs is charged once, and never more
//!   than was reserved. So concurrent requests on one channel never spend more than its deposit.
//! - A payer may ask its deposit back on chain without a word to the node. The index sees it, and
//!   [`Deposits::guard`] before the request's block is final. The channel then takes no new
//!   reservation, its running answers end, and what it has spent is redeemed before the payer can
//!   take it. It is redeemed again when an answer that ended was charged after that.
//! - A channel is opened only by what the chain says of it while it is known here, so that no
//!   request to withdraw falls between the look at the chain and the index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use openledger_api::OpenedChannel;
use openledger_chain::flow::FlowError;
use openledger_chain::rpc::RpcError;
use openledger_chain::sender::SendError;
use openledger_protocol::{Address, Amount, B256, ChannelConfig, ChannelId, Key, Signature, Voucher, keccak, sha256};
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
/// Channels that are read from the chain at a time.
const READ_AT_ONCE: usize = 8;
/// Vouchers in one redeeming transaction.
pub(crate) const REDEEM_CHUNK: usize = 60;
/// Blocks in which a look searches for requests to withdraw, at most; the index reads older ones.
const LOOK_BLOCKS_MAX: u64 = 1_000;
/// Blocks below the last look that the next one reads again: they may have been replaced.
const LOOK_AGAIN: u64 = 32;

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
    /// Number of the last block in which this process searched for requests to withdraw; 0 before
    /// the first search.
    searched: Arc<AtomicU64>,
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
        let answers = RunningAnswers::default();
        Self { store, chain, keys, clock, holds, steps, answers, searched: Arc::default() }
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
            // The index closes the channel by a request in a later block, since its row exists now.
            // What the chain returns must include the requests in the blocks that are indexed.
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
            if let Err(error) = self.close_withdrawing().await {
                tracing::warn!(%error, "requests to withdraw could not be read; trying again");
            }
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
        let ending = channels.for_each_concurrent(READ_AT_ONCE, |channel| async move {
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

    /// Closes the channels whose payers have asked the deposit back in blocks that the index does
    /// not hold yet, up to the newest one.
    ///
    /// A request in a block that is replaced afterwards closes its channel too; the payer opens it
    /// again.
    ///
    /// # Errors
    ///
    /// [`NodeError`] when chain or store do not answer; the next look reads the same blocks.
    pub(crate) async fn close_withdrawing(&self) -> Result<()> {
        let indexed = self.store.chain_cursor().await?.map_or(0, |cursor| cursor.number);
        let newest = self.chain.newest_block().await?;
        let searched = self.searched.load(Ordering::Relaxed).saturating_sub(LOOK_AGAIN);
        let from = indexed.max(searched).max(newest.saturating_sub(LOOK_BLOCKS_MAX)) + 1;
        if from <= newest {
            for (channel, block) in self.chain.withdrawal_requests(from, newest).await? {
                let known = self.store.channel(channel).await?;
                if known.is_some_and(|channel| channel.state == ChannelState::Open) {
                    transact_locked!(self.store, |tx| tx.withdrawal_requested(channel, block).await)?;
                }
            }
        }
        self.searched.store(newest, Ordering::Relaxed);
        Ok(())
    }

    /// Redeems every owing channel whose payer has asked its deposit back, and closes it to new
    /// reservations.
    ///
    /// Many are redeemed in one transaction; where the contract refuses it, each in one of its own.
    /// A channel that fails is logged, and does not keep the others from being redeemed.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`] when the channels cannot be listed.
    pub(crate) async fn redeem_pending_withdrawals(&self) -> Result<()> {
        let owing = futures::stream::iter(self.store.owing_channels().await?);
        let mut read = owing
            .map(|channel| async move {
                let due = self.due_if_withdrawing(&channel).await;
                (channel, due)
            })
            .buffered(READ_AT_ONCE);
        let mut due = Vec::new();
        while let Some((channel, found)) = read.next().await {
            match found {
                Ok(found) => due.extend(found),
                Err(error) => log_unredeemed(&channel, &error),
            }
        }
        for chunk in due.chunks(REDEEM_CHUNK) {
            self.redeem(chunk).await;
        }
        Ok(())
    }

    /// The voucher that is to be redeemed of an owing channel, if its payer has asked the deposit
    /// back; then the channel is closed.
    async fn due_if_withdrawing(&self, channel: &Channel) -> Result<Option<Due>> {
        let block = self.chain.newest_block().await?;
        if self.chain.withdrawal(channel.id).await?.is_none() {
            return Ok(None);
        }
        self.close(channel.id, block).await?;
        // What a look before this one redeemed would cost gas and move nothing.
        if self.chain.redeemed(channel.id).await? >= channel.spent {
            return Ok(None);
        }
        let voucher = self.voucher(channel).await?;
        Ok(Some(Due { channel: channel.clone(), voucher }))
    }

    /// Redeems some channels in one transaction, or, where the contract refuses it, one by one.
    async fn redeem(&self, due: &[Due]) {
        let Err(error) = self.redeem_together(due).await else { return };
        if due.len() > 1 && is_of_vouchers(&error) {
            tracing::warn!(%error, channels = due.len(), "redeeming channels one by one");
            for one in due {
                if let Err(error) = self.redeem_together(std::slice::from_ref(one)).await {
                    log_unredeemed(&one.channel, &error);
                }
            }
        } else {
            due.iter().for_each(|one| log_unredeemed(&one.channel, &error));
        }
    }

    /// Closes a channel to new reservations: the chain has a pending withdrawal as of `block` or
    /// later.
    async fn close(&self, channel: ChannelId, block: u64) -> Result<()> {
        // The request may have come after the channel was opened as of this very block; and it is
        // paid out in a later one.
        let since = block + 1;
        Ok(transact_locked!(self.store, |tx| tx.withdrawal_requested(channel, since).await)?)
    }

    /// Redeems all that some channels have spent, in one transaction; the same amounts are redeemed
    /// once, however often this is called.
    async fn redeem_together(&self, due: &[Due]) -> Result<()> {
        let step = self.steps.next(redeem_step(due)).await?;
        let vouchers: Vec<_> = due.iter().map(|one| one.voucher.clone()).collect();
        let sent = self.chain.redeem(step.key(), &vouchers).await;
        self.steps.sent(&step, None, sent).await
    }
}

/// A voucher that is to be redeemed.
struct Due {
    channel: Channel,
    voucher: (ChannelConfig, Voucher, Signature),
}

/// The name of a redeeming step: another one once a channel joins, leaves or has spent more.
fn redeem_step(due: &[Due]) -> String {
    match due {
        [one] => format!("channel/{}/redeem/{}", one.channel.id, one.channel.nonce),
        many => {
            let mut names = Vec::new();
            for one in many {
                names.extend_from_slice(one.channel.id.0.as_slice());
                names.extend(one.channel.spent.to_be_bytes());
            }
            format!("channels/redeem/{}", keccak(&names))
        }
    }
}

/// Whether one of the vouchers may be the cause of an error: their transaction reverted, or the
/// contract or the network refused to estimate it.
fn is_of_vouchers(error: &NodeError) -> bool {
    match error {
        NodeError::Refused { code, .. } => *code == "step-reverted",
        NodeError::Flow(FlowError::Send(error)) => {
            matches!(error, SendError::Refused { .. } | SendError::Rpc(RpcError::Refused { .. }))
        }
        _ => false,
    }
}

fn log_unredeemed(channel: &Channel, error: &NodeError) {
    tracing::warn!(%error, channel = %channel.id, "a channel could not be redeemed; trying again");
}
