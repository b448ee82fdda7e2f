//! Channels: opening, reservations of several instances, withdrawals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use openledger_api::policy::Principal;
use openledger_chain::flow::{FlowError, Withdrawal};
use openledger_chain::sender::SendError;
use openledger_protocol::{
    Address, Amount, B256, ChannelConfig, ChannelId, Domain, Key, ModelId, ReceiptId, Signature, Voucher, keccak,
};
use openledger_store::chain_events::BlockRef;
use openledger_store::channels::{Channel, ChannelState};
use openledger_store::receipts::NewReceipt;
use openledger_store::{Result as Stored, Store, transact, transact_locked};

use super::{ManualTime, amount, code, eventually, instance, store};
use crate::auth::Auth;
use crate::deposits::{Deposits, HOLD_MS, REDEEM_CHUNK, RunningAnswer};
use crate::error::{Blame, NodeError, Result};
use crate::fake_chain::FakeChain;
use crate::holds::Hold;
use crate::keys::NodeKeys;
use crate::on_chain::ChannelsOnChain;

const PAYER: Address = Address::repeat_byte(1);
const DOMAIN: Domain = Domain { chain_id: 7, contract: Address::repeat_byte(0xc0) };

/// The contract of channels as a test sets it up.
#[derive(Default)]
struct Contract {
    node: Address,
    balances: Mutex<BTreeMap<ChannelId, Amount>>,
    withdrawing: Mutex<BTreeSet<ChannelId>>,
    /// Channels of which every view fails.
    unreadable: Mutex<BTreeSet<ChannelId>>,
    /// Channels whose vouchers the contract refuses.
    refused: Mutex<BTreeSet<ChannelId>>,
    redeemed: Mutex<Vec<(String, Voucher, Signature)>>,
    /// The channels of each transaction that was sent, refused ones included.
    sent: Mutex<Vec<Vec<ChannelId>>>,
    /// The newest block: a new one for each look.
    block: AtomicU64,
}

impl Contract {
    /// Fails for a channel that cannot be read.
    fn check(&self, channel: ChannelId) -> Result<()> {
        if self.unreadable.lock().unwrap().contains(&channel) {
            return Err(NodeError::refused(Blame::Operator, "internal", "the channel cannot be read"));
        }
        Ok(())
    }
}

impl ChannelsOnChain for Contract {
    fn node(&self) -> Address {
        self.node
    }

    fn domain(&self) -> Domain {
        DOMAIN
    }

    fn balance(&self, channel: ChannelId) -> BoxFuture<'_, Result<Amount>> {
        Box::pin(async move {
            self.check(channel)?;
            Ok(self.balances.lock().unwrap().get(&channel).copied().unwrap_or_default())
        })
    }

    fn withdrawal(&self, channel: ChannelId) -> BoxFuture<'_, Result<Option<Withdrawal>>> {
        let asked = self.withdrawing.lock().unwrap().contains(&channel);
        let amount = self.balances.lock().unwrap().get(&channel).copied().unwrap_or_default();
        Box::pin(async move {
            self.check(channel)?;
            Ok(asked.then_some(Withdrawal { amount, ready_at: 1 }))
        })
    }

    fn redeemed(&self, channel: ChannelId) -> BoxFuture<'_, Result<Amount>> {
        Box::pin(async move {
            let redeemed = self.redeemed.lock().unwrap();
            let of_channel = redeemed.iter().filter(|(_, voucher, _)| voucher.channel == channel);
            Ok(of_channel.map(|(_, voucher, _)| voucher.cumulative).max().unwrap_or_default())
        })
    }

    fn withdrawal_requests(&self, _: u64, _: u64) -> BoxFuture<'_, Result<Vec<(ChannelId, u64)>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn newest_block(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(self.block.fetch_add(1, Ordering::SeqCst) + 1) })
    }

    fn redeem<'a>(
        &'a self,
        key: &'a str,
        vouchers: &'a [(ChannelConfig, Voucher, Signature)],
    ) -> BoxFuture<'a, std::result::Result<(), FlowError>> {
        self.sent.lock().unwrap().push(vouchers.iter().map(|(_, voucher, _)| voucher.channel).collect());
        let refused = self.refused.lock().unwrap();
        if vouchers.iter().any(|(_, voucher, _)| refused.contains(&voucher.channel)) {
            let (key, hash, revert) = (key.to_owned(), B256::ZERO, Box::default());
            let reverted = SendError::Reverted { key, hash, block: 3, revert };
            return Box::pin(async move { Err(reverted.into()) });
        }
        let redeemed = vouchers.iter().map(|(_, voucher, signature)| (key.to_owned(), voucher.clone(), *signature));
        self.redeemed.lock().unwrap().extend(redeemed);
        Box::pin(async { Ok(()) })
    }
}

/// The channels of a node over one store.
pub(super) struct World {
    time: ManualTime,
    store: Store,
    pub(super) keys: NodeKeys,
    contract: Arc<Contract>,
}

impl World {
    async fn new() -> Self {
        Self::over(store().await, ManualTime::default())
    }

    pub(super) fn over(store: Store, time: ManualTime) -> Self {
        let keys = NodeKeys::new(Key::demo(1, "node"));
        let contract = Arc::new(Contract { node: keys.account(), ..Contract::default() });
        Self { time, store, keys, contract }
    }

    /// The deposits as the node instance of this name has them.
    pub(super) fn of(&self, name: &str) -> Deposits {
        let contract = Arc::clone(&self.contract);
        Deposits::new(self.store.clone(), contract, self.keys.clone(), self.time.clock(), instance(name))
    }

    fn config(&self) -> ChannelConfig {
        self.config_of(5)
    }

    /// The configuration of the payer's channel with this salt.
    fn config_of(&self, salt: u8) -> ChannelConfig {
        let salt = B256::repeat_byte(salt);
        let authorizer = self.of("any").session_account(PAYER, salt);
        ChannelConfig { payer: PAYER, authorizer, node: self.keys.account(), withdraw_delay: 900, salt }
    }

    fn pay_in(&self, units: u64) -> ChannelId {
        let id = self.config().id(DOMAIN.chain_id, DOMAIN.contract);
        self.contract.balances.lock().unwrap().insert(id, amount(units));
        id
    }

    /// A channel of 100 units.
    pub(super) async fn channel(&self) -> ChannelId {
        let id = self.pay_in(100);
        self.of("any").open(&self.config()).await.unwrap();
        id
    }

    /// Channels of 100 units with the salts from 1 on, each charged 40, whose payer has asked the
    /// deposit back; by id.
    async fn withdrawing(&self, count: u8) -> Vec<ChannelId> {
        let deposits = self.of("any");
        let mut channels = Vec::new();
        for salt in 1..=count {
            let config = self.config_of(salt);
            let id = config.id(DOMAIN.chain_id, DOMAIN.contract);
            self.contract.balances.lock().unwrap().insert(id, amount(100));
            deposits.open(&config).await.unwrap();
            self.answer_with(deposits.reserve(id, amount(60), None).await.unwrap(), salt).await;
            channels.push(id);
        }
        channels.sort_unstable();
        self.contract.withdrawing.lock().unwrap().extend(channels.iter().copied());
        channels
    }

    async fn state(&self, channel: ChannelId) -> ChannelState {
        self.store.channel(channel).await.unwrap().unwrap().state
    }

    pub(super) async fn reserved(&self, channel: ChannelId) -> Amount {
        self.store.channel(channel).await.unwrap().unwrap().reserved
    }

    /// Charges 40 units of a reservation, as an answer does.
    async fn answer(&self, hold: Hold) {
        self.answer_with(hold, 9).await;
    }

    /// As [`World::answer`], for the receipt of this number.
    async fn answer_with(&self, hold: Hold, receipt: u8) {
        let node = self.keys.account();
        let opened: Stored<()> = transact!(self.store, |tx| tx.open_epoch(node).await.map(drop));
        opened.unwrap();
        let (reservation, price, now) = (hold.id().unwrap(), amount(40), self.time.now() / 1000);
        let id = ReceiptId(B256::repeat_byte(receipt));
        let receipt = NewReceipt { id, model: ModelId(1), tokens_in: 1, tokens_out: 1, body: "{}" };
        let charged: Stored<()> = transact_locked!(self.store, |tx| {
            let place = tx.charge(reservation, price, now).await?;
            tx.put_receipt(place, &receipt, &[]).await
        });
        charged.unwrap();
        hold.charged();
    }
}

/// One round of the guard's duties.
async fn look(deposits: &Deposits) {
    deposits.renew_reservations().await;
    deposits.end_withdrawn_answers().await;
    deposits.close_withdrawing().await.unwrap();
    deposits.redeem_pending_withdrawals().await.unwrap();
}

/// Ends an answer as a crash of its process does: its reservation stays.
fn crash(hold: Hold) {
    hold.charged();
}

#[tokio::test]
async fn a_channel_is_opened_for_this_node_and_its_session_key_and_only_with_a_deposit() {
    let world = World::new().await;
    let (deposits, config) = (world.of("one"), world.config());
    let other_node = ChannelConfig { node: PAYER, ..config.clone() };
    assert_eq!(code(deposits.open(&other_node).await), "wrong-node");
    let own_key = ChannelConfig { authorizer: PAYER, ..config.clone() };
    assert_eq!(code(deposits.open(&own_key).await), "wrong-authorizer");
    let unfunded = deposits.open(&config).await.unwrap_err();
    assert_eq!((unfunded.blame(), unfunded.code()), (Blame::Payment, "not-funded"));
    let id = world.pay_in(100);
    let opened = deposits.open(&config).await.unwrap();
    assert_eq!((opened.channel, opened.deposited), (id, amount(100)));
}

#[tokio::test]
async fn a_channel_that_is_opened_again_has_the_same_key_and_the_new_deposit() {
    let world = World::new().await;
    let (deposits, config) = (world.of("one"), world.config());
    let id = world.pay_in(100);
    let first = deposits.open(&config).await.unwrap();
    world.pay_in(250);
    let again = deposits.open(&config).await.unwrap();
    assert_eq!((again.api_key, again.deposited), (first.api_key, amount(250)));
    assert_eq!(world.store.channel(id).await.unwrap().unwrap().deposited, amount(250));
}

#[tokio::test]
async fn the_key_of_a_channel_makes_its_holder_the_payer() {
    let world = World::new().await;
    let channel = world.pay_in(100);
    let key = world.of("one").open(&world.config()).await.unwrap().api_key;
    let auth = Auth::new(world.store.clone(), world.time.clock(), "operator");
    let principal = auth.principal(Some(&key)).await.unwrap();
    assert_eq!(principal, Principal::Payer { account: PAYER, channel });
}

#[tokio::test]
async fn of_two_answers_at_once_on_a_deposit_for_one_the_second_is_refused() {
    let world = World::new().await;
    let channel = world.channel().await;
    let (one, two) = (world.of("one"), world.of("two"));
    let (first, second) = tokio::join!(one.reserve(channel, amount(60), None), two.reserve(channel, amount(60), None));
    let (kept, refused): (Vec<_>, Vec<_>) = [first, second].into_iter().partition(|held| held.is_ok());
    assert_eq!((kept.len(), refused.len()), (1, 1));
    let refused = refused.into_iter().next().unwrap().err().unwrap();
    assert_eq!((refused.blame(), refused.code()), (Blame::Payment, "insufficient-deposit"));
    assert_eq!(world.reserved(channel).await, amount(60));
}

#[tokio::test]
async fn an_answer_that_ends_without_a_charge_gives_its_reservation_back() {
    let world = World::new().await;
    let channel = world.channel().await;
    drop(world.of("one").reserve(channel, amount(100), None).await.unwrap());
    eventually("the deposit is free", async || world.reserved(channel).await == Amount::ZERO).await;
}

#[tokio::test]
async fn a_look_frees_what_a_process_that_is_gone_held_when_its_lease_ends_and_not_before() {
    let world = World::new().await;
    let channel = world.channel().await;
    crash(world.of("gone").reserve(channel, amount(100), None).await.unwrap());
    let other = world.of("other");
    world.time.pass(HOLD_MS - 1);
    look(&other).await;
    assert_eq!(code(other.reserve(channel, amount(1), None).await), "insufficient-deposit");
    world.time.pass(1);
    look(&other).await;
    other.reserve(channel, amount(100), None).await.unwrap();
}

#[tokio::test]
async fn a_look_extends_the_reservations_of_its_own_process() {
    let world = World::new().await;
    let channel = world.channel().await;
    let (slow, other) = (world.of("slow"), world.of("other"));
    let hold = slow.reserve(channel, amount(100), None).await.unwrap();
    for _ in 0..3 {
        world.time.pass(HOLD_MS - 1);
        look(&slow).await;
        look(&other).await;
    }
    assert_eq!(world.reserved(channel).await, amount(100));
    world.answer(hold).await;
    assert_eq!(world.store.channel(channel).await.unwrap().unwrap().spent, amount(40));
}

#[tokio::test]
async fn an_instance_that_starts_again_gives_back_its_own_reservations_and_no_others() {
    let world = World::new().await;
    let channel = world.channel().await;
    crash(world.of("one").reserve(channel, amount(30), None).await.unwrap());
    let _other = world.of("two").reserve(channel, amount(20), None).await.unwrap();
    world.of("one").release_own().await.unwrap();
    assert_eq!(world.reserved(channel).await, amount(20));
}

#[tokio::test]
async fn a_channel_that_is_withdrawn_is_redeemed_by_its_session_key_and_reserves_nothing_more() {
    let world = World::new().await;
    let (channel, deposits) = (world.channel().await, world.of("one"));
    let hold = deposits.reserve(channel, amount(60), None).await.unwrap();
    world.answer(hold).await;
    look(&deposits).await;
    assert!(world.contract.redeemed.lock().unwrap().is_empty(), "the payer has not asked for anything");

    world.contract.withdrawing.lock().unwrap().insert(channel);
    look(&deposits).await;
    let refused = deposits.reserve(channel, amount(1), None).await.err().unwrap();
    assert_eq!((refused.blame(), refused.code()), (Blame::Payment, "deposit-withdrawn"));
    let redeemed = world.contract.redeemed.lock().unwrap().clone();
    let [(key, voucher, signature)] = redeemed.as_slice() else { panic!("{redeemed:?}") };
    assert_eq!((voucher.channel, voucher.cumulative), (channel, amount(40)));
    assert_eq!(*key, format!("channel/{channel}/redeem/1"));
    signature.verify(DOMAIN.digest(voucher.struct_hash()), world.config().authorizer).unwrap();
}

/// Whether a running answer is to end; it says so once.
async fn is_ended(answer: &mut RunningAnswer) -> bool {
    tokio::time::timeout(Duration::ZERO, answer.wait_for_end()).await.is_ok()
}

#[tokio::test]
async fn a_withdrawal_ends_running_answers_and_what_they_cost_is_redeemed_after_they_are_charged() {
    let world = World::new().await;
    let (channel, deposits) = (world.channel().await, world.of("one"));
    let hold = deposits.reserve(channel, amount(40), None).await.unwrap();
    world.answer_with(hold, 1).await;
    let hold = deposits.reserve(channel, amount(60), None).await.unwrap();
    let mut running = deposits.begin_answer(channel);
    look(&deposits).await;
    assert!(!is_ended(&mut running).await);

    world.contract.withdrawing.lock().unwrap().insert(channel);
    look(&deposits).await;
    assert!(is_ended(&mut running).await);
    drop(running);
    let cumulative = || {
        let redeemed = world.contract.redeemed.lock().unwrap();
        redeemed.iter().map(|(_, voucher, _)| voucher.cumulative).collect::<Vec<_>>()
    };
    assert_eq!(cumulative(), [amount(40)]);
    // The answer ended early, and was charged after the first redemption.
    world.answer_with(hold, 2).await;
    look(&deposits).await;
    assert_eq!(cumulative(), [amount(40), amount(80)]);
}

#[tokio::test]
async fn a_first_answer_of_a_channel_ends_too_when_the_index_or_the_chain_has_the_withdrawal() {
    let world = World::new().await;
    let (channel, deposits) = (world.channel().await, world.of("one"));
    // By the chain alone, before the index has the request; nothing was charged yet.
    let mut first = deposits.begin_answer(channel);
    world.contract.withdrawing.lock().unwrap().insert(channel);
    look(&deposits).await;
    assert!(is_ended(&mut first).await);
    // By the row alone.
    world.contract.withdrawing.lock().unwrap().clear();
    let mut second = deposits.begin_answer(channel);
    look(&deposits).await;
    assert!(is_ended(&mut second).await);
    assert!(world.contract.redeemed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_reservation_is_given_back_at_whatever_moment_its_request_is_dropped() {
    let world = World::new().await;
    let (channel, deposits) = (world.channel().await, world.of("one"));
    for polls in 1..40 {
        let mut reserving = Box::pin(deposits.reserve(channel, amount(1), None));
        for _ in 0..polls {
            if futures::poll!(reserving.as_mut()).is_ready() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for _ in 0..8 {
        world.time.pass(HOLD_MS / 4);
        deposits.renew_reservations().await;
    }
    eventually("the deposit is free", async || world.reserved(channel).await == Amount::ZERO).await;
}

#[tokio::test]
async fn a_channel_is_refused_while_a_withdrawal_is_pending_and_opened_again_after_a_new_deposit() {
    let world = World::new().await;
    let (deposits, config) = (world.of("one"), world.config());
    let id = world.pay_in(100);
    let refused = async || deposits.open(&config).await.unwrap_err().code();
    world.contract.withdrawing.lock().unwrap().insert(id);
    assert_eq!(refused().await, "withdrawal-pending");
    assert_eq!(world.store.channel(id).await.unwrap(), None);

    world.contract.withdrawing.lock().unwrap().clear();
    deposits.open(&config).await.unwrap();
    world.answer(deposits.reserve(id, amount(60), None).await.unwrap()).await;
    // Requested right after the channel was opened, before the index has the block.
    world.contract.withdrawing.lock().unwrap().insert(id);
    assert_eq!(refused().await, "withdrawal-pending");
    assert_eq!(world.state(id).await, ChannelState::Closing);

    world.contract.withdrawing.lock().unwrap().clear();
    world.pay_in(0);
    assert_eq!(refused().await, "not-funded");
    // The new deposit is smaller than the first one; 40 of it are what the channel has spent.
    world.pay_in(60);
    assert_eq!(deposits.open(&config).await.unwrap().channel, id);
    let channel = world.store.channel(id).await.unwrap().unwrap();
    assert_eq!((channel.state, channel.free()), (ChannelState::Open, amount(20)));
}

#[tokio::test]
async fn withdrawing_channels_are_redeemed_many_in_a_transaction_and_once() {
    let world = World::new().await;
    let channels = world.withdrawing(REDEEM_CHUNK as u8 + 2).await;
    let deposits = world.of("one");
    deposits.redeem_pending_withdrawals().await.unwrap();
    let (full, rest) = channels.split_at(REDEEM_CHUNK);
    assert_eq!(*world.contract.sent.lock().unwrap(), [full, rest]);
    let redeemed = world.contract.redeemed.lock().unwrap().clone();
    for ((key, voucher, _), channel) in redeemed.iter().zip(&channels) {
        assert_eq!((voucher.channel, voucher.cumulative), (*channel, amount(40)));
        assert!(key.starts_with("channels/redeem/"), "{key}");
    }
    assert_ne!(redeemed[0].0, redeemed[REDEEM_CHUNK].0, "each transaction has a key of its own");
    deposits.redeem_pending_withdrawals().await.unwrap();
    assert_eq!(world.contract.sent.lock().unwrap().len(), 2, "what was redeemed is not sent again");
}

#[tokio::test]
async fn a_voucher_that_the_contract_refuses_does_not_keep_the_others_from_being_redeemed() {
    let world = World::new().await;
    let channels = world.withdrawing(3).await;
    world.contract.refused.lock().unwrap().insert(channels[1]);
    let deposits = world.of("one");
    deposits.redeem_pending_withdrawals().await.unwrap();
    let singly = channels.iter().map(|channel| vec![*channel]);
    let sent: Vec<_> = [channels.clone()].into_iter().chain(singly).collect();
    assert_eq!(*world.contract.sent.lock().unwrap(), sent);
    let redeemed = world.contract.redeemed.lock().unwrap().clone();
    let redeemed: Vec<_> = redeemed.iter().map(|(_, voucher, _)| voucher.channel).collect();
    assert_eq!(redeemed, [channels[0], channels[2]]);
    // Only the refused one is still due.
    deposits.redeem_pending_withdrawals().await.unwrap();
    assert_eq!(world.contract.sent.lock().unwrap().last().unwrap(), &[channels[1]]);
}

#[tokio::test]
async fn a_channel_that_cannot_be_read_does_not_keep_the_others_from_being_redeemed() {
    let world = World::new().await;
    let channels = world.withdrawing(2).await;
    world.contract.unreadable.lock().unwrap().insert(channels[0]);
    world.of("one").redeem_pending_withdrawals().await.unwrap();
    assert_eq!(world.state(channels[0]).await, ChannelState::Open);
    assert_eq!(world.state(channels[1]).await, ChannelState::Closing);
    let redeemed = world.contract.redeemed.lock().unwrap().clone();
    let [(key, voucher, signature)] = redeemed.as_slice() else { panic!("{redeemed:?}") };
    assert_eq!((voucher.channel, voucher.cumulative), (channels[1], amount(40)));
    assert_eq!(*key, format!("channel/{}/redeem/1", channels[1]));
    let config = world.store.channel_config(channels[1]).await.unwrap().unwrap();
    signature.verify(DOMAIN.digest(voucher.struct_hash()), config.authorizer).unwrap();
}

#[tokio::test]
async fn an_idle_channel_is_closed_before_the_index_has_the_block_of_its_request() {
    let (store, chain) = (store().await, FakeChain::with_blocks(5_000));
    let keys = NodeKeys::new(FakeChain::key());
    let clock = ManualTime::default().clock();
    let view = Arc::new(chain.view(&store).await);
    let deposits = Deposits::new(store.clone(), view, keys, clock, instance("one"));
    let ids = [1, 2].map(|byte| ChannelId(B256::repeat_byte(byte)));
    for id in ids {
        let channel = Channel {
            id,
            payer: PAYER,
            payee: FakeChain::key().address(),
            deposited: amount(100),
            spent: Amount::ZERO,
            reserved: Amount::ZERO,
            nonce: 0,
            time: 0,
            state: ChannelState::Open,
        };
        let config = ChannelConfig {
            payer: PAYER,
            authorizer: PAYER,
            node: channel.payee,
            withdraw_delay: 900,
            salt: B256::repeat_byte(5),
        };
        let made: Stored<()> = transact!(store, |tx| tx.put_channel(&channel, &config).await);
        made.unwrap();
    }
    let state = async |id| store.channel(id).await.unwrap().unwrap().state;
    deposits.close_withdrawing().await.unwrap();
    assert_eq!(chain.logs_read(), [(4_001, 5_000)], "a look reads so many blocks at most");
    chain.ask_back(ids[0]);
    chain.ask_back(ChannelId(B256::repeat_byte(9)));
    deposits.close_withdrawing().await.unwrap();
    assert_eq!(chain.logs_read()[1], (4_969, 5_002), "it goes on from the last look, a few blocks below");
    assert_eq!((state(ids[0]).await, state(ids[1]).await), (ChannelState::Closing, ChannelState::Open));
    let refused = deposits.reserve(ids[0], amount(1), None).await;
    assert_eq!(code(refused), "deposit-withdrawn");

    // What the index holds is not read again.
    let at = BlockRef { number: 5_002, hash: keccak("block") };
    let indexed: Stored<()> = transact!(store, |tx| tx.append_range(0, at, &[], &[], &[]).await);
    indexed.unwrap();
    deposits.close_withdrawing().await.unwrap();
    assert_eq!(chain.logs_read().len(), 2);
    chain.ask_back(ids[1]);
    deposits.close_withdrawing().await.unwrap();
    assert_eq!(chain.logs_read()[2], (5_003, 5_003));
    assert_eq!(state(ids[1]).await, ChannelState::Closing);
}
