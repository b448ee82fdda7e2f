//! Channels: opening, reservations of several instances, withdrawals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use openledger_api::policy::Principal;
use openledger_chain::flow::{FlowError, Withdrawal};
use openledger_protocol::{
    Address, Amount, B256, ChannelConfig, ChannelId, Domain, Key, ModelId, ReceiptId, Signature, Voucher,
};
use openledger_store::receipts::NewReceipt;
use openledger_store::{Result as Stored, Store, transact, transact_locked};

use super::{ManualTime, amount, code, eventually, instance, store};
use crate::auth::Auth;
use crate::deposits::{Deposits, HOLD_MS, RunningAnswer};
use crate::error::{Blame, Result};
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
    redeemed: Mutex<Vec<(String, Voucher, Signature)>>,
    /// The newest block: a new one for each look.
    block: AtomicU64,
}

impl ChannelsOnChain for Contract {
    fn node(&self) -> Address {
        self.node
    }

    fn domain(&self) -> Domain {
        DOMAIN
    }

    fn balance(&self, channel: ChannelId) -> BoxFuture<'_, Result<Amount>> {
        Box::pin(async move { Ok(self.balances.lock().unwrap().get(&channel).copied().unwrap_or_default()) })
    }

    fn withdrawal(&self, channel: ChannelId) -> BoxFuture<'_, Result<Option<Withdrawal>>> {
        let asked = self.withdrawing.lock().unwrap().contains(&channel);
        let amount = self.balances.lock().unwrap().get(&channel).copied().unwrap_or_default();
        Box::pin(async move { Ok(asked.then_some(Withdrawal { amount, ready_at: 1 })) })
    }

    fn newest_block(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(self.block.fetch_add(1, Ordering::SeqCst) + 1) })
    }

    fn redeem<'a>(
        &'a self,
        key: &'a str,
        vouchers: &'a [(ChannelConfig, Voucher, Signature)],
    ) -> BoxFuture<'a, std::result::Result<(), FlowError>> {
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
        let salt = B256::repeat_byte(5);
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
    tokio::time::timeout(std::time::Duration::ZERO, answer.wait_for_end()).await.is_ok()
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
