//! Channels: amounts reserved, charged and released, also by many at once.

use openledger_protocol::ChannelConfig;
use openledger_store::channels::{Channel, ChannelState};
use openledger_store::ids::{Address, Amount, B256, ChannelId, ModelId, ReceiptId};
use openledger_store::receipts::NewReceipt;
use openledger_store::reservations::{NewReservation, Reservation, ReservationId, ReservationState};
use openledger_store::{Error, Result, Store, transact, transact_locked};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::engines::for_each_engine;

pub(crate) const PAYER: Address = Address::repeat_byte(1);
pub(crate) const NODE: Address = Address::repeat_byte(2);

pub(crate) fn channel_id(id: u8) -> ChannelId {
    ChannelId(B256::repeat_byte(id))
}

pub(crate) fn channel(id: u8, deposited: u128) -> Channel {
    Channel {
        id: channel_id(id),
        payer: PAYER,
        payee: NODE,
        deposited: Amount(deposited),
        spent: Amount::ZERO,
        reserved: Amount::ZERO,
        nonce: 0,
        time: 0,
        state: ChannelState::Open,
    }
}

fn config() -> ChannelConfig {
    ChannelConfig {
        payer: PAYER,
        authorizer: Address::repeat_byte(3),
        node: NODE,
        withdraw_delay: 900,
        salt: B256::repeat_byte(4),
    }
}

/// A channel with an open epoch beside it.
pub(crate) async fn with_channel(store: &Store, id: u8, deposited: u128) {
    let made: Result<()> = transact!(store, |tx| {
        tx.put_channel(&channel(id, deposited), &config()).await?;
        tx.open_epoch(NODE).await.map(drop)
    });
    made.unwrap();
}

pub(crate) async fn reserve(store: &Store, id: u8, amount: u128, holder: &str, until: u64) -> Result<Reservation> {
    let new =
        &NewReservation { channel: channel_id(id), amount: Amount(amount), holder, lease_until: until, key: Some("k") };
    transact_locked!(store, |tx| tx.reserve(new).await)
}

pub(crate) fn receipt_id(channel: ChannelId, nonce: u64) -> ReceiptId {
    let mut id = channel.0;
    id[16..24].copy_from_slice(&nonce.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[24..].copy_from_slice(&nonce.to_be_bytes());
    ReceiptId(id)
}

/// Charges a reservation and puts its receipt, without entries.
pub(crate) async fn charge(store: &Store, id: ReservationId, price: u128, now: u64) -> Result<ReceiptId> {
    transact_locked!(store, |tx| {
        let place = tx.charge(id, Amount(price), now).await?;
        let id = receipt_id(place.channel, place.nonce);
        let body = &format!("{{\"nonce\": {}}}", place.nonce);
        let receipt = NewReceipt { id, model: ModelId(4), tokens_in: 3, tokens_out: 5, body };
        tx.put_receipt(place, &receipt, &[]).await?;
        Ok(id)
    })
}

async fn amounts(store: &Store, id: u8) -> (u128, u128, u64) {
    let found = store.channel(channel_id(id)).await.unwrap().unwrap();
    (found.spent.0, found.reserved.0, found.nonce)
}

#[test]
fn amounts_survive_up_to_the_last_bit() {
    for_each_engine(|store| async move {
        for (i, amount) in [0, 1, u128::from(u64::MAX), 1 << 127, u128::MAX].into_iter().enumerate() {
            let made = Channel { spent: Amount(amount), ..channel(i as u8, amount) };
            let mut tx = store.begin().await.unwrap();
            tx.put_channel(&made, &config()).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(store.channel(made.id).await.unwrap(), Some(made));
        }
        assert_eq!(store.channel_config(channel_id(3)).await.unwrap(), Some(config()));
        assert_eq!(store.channel_config(channel_id(9)).await.unwrap(), None);
    });
}

#[test]
fn a_charge_is_within_its_reserve_and_frees_the_rest() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 100).await;
        let held = reserve(&store, 1, 60, "n", 50).await.unwrap();
        assert_eq!(store.reservation(held.id).await.unwrap(), Some(held.clone()));
        let refused = reserve(&store, 1, 41, "n", 50).await;
        assert!(matches!(refused, Err(Error::Insufficient { free: Amount(40), needed: Amount(41), .. })));
        let other = reserve(&store, 1, 40, "n", 50).await.unwrap();
        assert!(matches!(charge(&store, held.id, 61, 7).await, Err(Error::OutOfBounds { .. })));
        assert_eq!(amounts(&store, 1).await, (0, 100, 0));

        let id = charge(&store, held.id, 25, 7).await.unwrap();
        assert_eq!(amounts(&store, 1).await, (25, 40, 1));
        let receipt = store.receipt(id).await.unwrap().unwrap();
        assert_eq!((receipt.nonce, receipt.price, receipt.epoch, receipt.time), (1, Amount(25), 1, 7));
        let charged = store.reservation(held.id).await.unwrap().unwrap();
        assert_eq!((charged.state, charged.charged), (ReservationState::Charged, Some(Amount(25))));
        assert!(matches!(charge(&store, held.id, 1, 7).await, Err(Error::State { .. })), "it is charged once");

        let released: Result<()> = transact_locked!(store, |tx| tx.release(other.id).await);
        released.unwrap();
        assert_eq!(amounts(&store, 1).await, (25, 0, 1));
        assert!(matches!(charge(&store, other.id, 1, 7).await, Err(Error::State { .. })));
        reserve(&store, 1, 75, "n", 50).await.unwrap();
    });
}

#[test]
fn a_charge_whose_transaction_is_taken_back_charges_nothing() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 100).await;
        let held = reserve(&store, 1, 60, "n", 50).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let place = tx.charge(held.id, Amount(60), 7).await.unwrap();
        assert_eq!((place.cumulative, place.nonce, place.payer), (Amount(60), 1, PAYER));
        drop(tx);
        assert_eq!(amounts(&store, 1).await, (0, 60, 0));
        charge(&store, held.id, 60, 7).await.unwrap();
    });
}

#[test]
fn a_closing_channel_pays_what_is_reserved_and_reserves_no_more() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 100).await;
        let held = reserve(&store, 1, 60, "n", 50).await.unwrap();
        asked_back(&store, 3).await;
        assert!(matches!(reserve(&store, 1, 1, "n", 50).await, Err(Error::ChannelClosed { .. })));
        charge(&store, held.id, 60, 7).await.unwrap();
        assert_eq!(amounts(&store, 1).await, (60, 0, 1));
        assert!(matches!(reserve(&store, 9, 1, "n", 50).await, Err(Error::Missing { .. })));
    });
}

/// Opens channel 1 with a deposit that the chain had as of a block.
async fn open(store: &Store, deposited: u128, block: u64) -> Result<bool> {
    transact_locked!(store, |tx| tx.open_channel(channel_id(1), Amount(deposited), block).await)
}

/// Notes that the payer of channel 1 asked money back in a block.
async fn asked_back(store: &Store, block: u64) {
    let noted: Result<()> = transact_locked!(store, |tx| tx.withdrawal_requested(channel_id(1), block).await);
    noted.unwrap();
}

#[test]
fn a_channel_is_opened_only_by_what_the_chain_says_after_the_last_request_to_withdraw() {
    for_each_engine(|store| async move {
        asked_back(&store, 3).await;
        let state = || async { store.channel(channel_id(1)).await.unwrap().unwrap().state };
        with_channel(&store, 1, 0).await;
        assert!(open(&store, 100, 10).await.unwrap());
        asked_back(&store, 10).await;
        assert_eq!(state().await, ChannelState::Open, "the chain had said so when the channel was opened");
        asked_back(&store, 12).await;
        assert_eq!(state().await, ChannelState::Closing);
        assert!(matches!(reserve(&store, 1, 1, "n", 50).await, Err(Error::ChannelClosed { .. })));
        assert!(!open(&store, 100, 11).await.unwrap(), "the request came later than what the chain said");
        assert_eq!(state().await, ChannelState::Closing);
        assert!(open(&store, 70, 12).await.unwrap());
        assert!(!open(&store, 100, 11).await.unwrap(), "what the chain said later counts");
        let channel = store.channel(channel_id(1)).await.unwrap().unwrap();
        assert_eq!((channel.state, channel.deposited), (ChannelState::Open, Amount(70)));
    });
}

#[test]
fn what_was_taken_back_is_not_free_even_where_it_was_spent() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 100).await;
        let held = reserve(&store, 1, 60, "n", 50).await.unwrap();
        charge(&store, held.id, 60, 7).await.unwrap();
        let free = async |deposited| {
            assert!(open(&store, deposited, 9).await.unwrap());
            store.channel(channel_id(1)).await.unwrap().unwrap().free()
        };
        assert_eq!(free(90).await, Amount(30));
        assert_eq!(free(50).await, Amount::ZERO);
        let refused = reserve(&store, 1, 1, "n", 50).await;
        assert!(matches!(refused, Err(Error::Insufficient { free: Amount::ZERO, .. })), "{refused:?}");
        assert_eq!(free(150).await, Amount(90));
    });
}

#[test]
fn a_receipt_of_one_operator_never_enters_the_epoch_of_another() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 100).await;
        let stranger = Channel { payee: Address::repeat_byte(9), ..channel(2, 100) };
        let made: Result<()> = transact!(store, |tx| tx.put_channel(&stranger, &config()).await);
        made.unwrap();
        let held = reserve(&store, 2, 10, "n", 50).await.unwrap();
        let refused = charge(&store, held.id, 10, 7).await;
        assert!(matches!(refused, Err(Error::OtherOperator { operator: NODE, .. })), "{refused:?}");
        assert_eq!(amounts(&store, 2).await, (0, 10, 0));
    });
}

#[test]
fn reservations_of_the_dead_are_released_and_those_of_the_living_stay() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 100).await;
        with_channel(&store, 2, 100).await;
        reserve(&store, 1, 10, "one", 50).await.unwrap();
        reserve(&store, 2, 20, "one", 50).await.unwrap();
        let living = reserve(&store, 1, 5, "other", 50).await.unwrap().id;
        let lost = reserve(&store, 1, 7, "other", 50).await.unwrap().id;
        assert_eq!(store.extend_reservations("other", &[living], 200).await.unwrap(), 1);
        assert_eq!(store.extend_reservations("one", &[living, lost], 200).await.unwrap(), 0, "they are another's");
        let expired = |now| {
            let store = store.clone();
            async move { transact_locked!(store, |tx| tx.release_expired(now).await) }
        };
        let count = |done: Result<u64>| done.unwrap();
        assert_eq!(count(expired(49).await), 0);
        assert_eq!(count(expired(50).await), 3);
        assert_eq!(count(expired(50).await), 0);
        assert_eq!((amounts(&store, 1).await.1, amounts(&store, 2).await.1), (5, 0));
        // The other started anew: what it held is free at once.
        let freed: Result<u64> = transact_locked!(store, |tx| tx.release_of_holder("other").await);
        assert_eq!((count(freed), amounts(&store, 1).await.1), (1, 0));
    });
}

#[test]
fn of_fifty_reserves_at_once_a_channel_grants_the_ten_it_can_pay() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 1_009).await;
        let each = (0..50).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { reserve(&store, 1, 100, "n", 50).await })
        });
        let mut granted = Vec::new();
        for task in each.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Ok(held) => granted.push(held.id),
                Err(error) => assert!(matches!(error, Error::Insufficient { .. }), "{error}"),
            }
        }
        assert_eq!(granted.len(), 10);
        assert_eq!(amounts(&store, 1).await, (0, 1_000, 0));
        let charges = granted.into_iter().map(|id| {
            let store = store.clone();
            tokio::spawn(async move { charge(&store, id, 99, 7).await.unwrap() })
        });
        for task in charges.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(amounts(&store, 1).await, (990, 0, 10));
        let counters = store.counters().await.unwrap();
        assert_eq!((counters.receipts, counters.priced, counters.tokens_out), (10, Amount(990), 50));
    });
}

/// A step of one of several workers on one channel.
#[derive(Clone, Copy, Debug)]
enum Step {
    Reserve(u8),
    Charge(u8),
    Release,
    Expire(u8),
    Deposit(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u8>().prop_map(Step::Reserve),
        3 => any::<u8>().prop_map(Step::Charge),
        1 => Just(Step::Release),
        1 => any::<u8>().prop_map(Step::Expire),
        1 => any::<u8>().prop_map(Step::Deposit),
    ]
}

/// Takes steps in order; a refusal is a step too.
async fn work(store: Store, steps: Vec<Step>) {
    let mut held: Vec<Reservation> = Vec::new();
    for step in steps {
        let done: Result<()> = match step {
            Step::Reserve(amount) => {
                let made = reserve(&store, 1, amount.into(), "n", amount.into()).await;
                made.map(|made| held.push(made))
            }
            Step::Charge(part) => match held.pop() {
                Some(made) => charge(&store, made.id, made.amount.0 * u128::from(part) / 255, 7).await.map(drop),
                None => Ok(()),
            },
            Step::Release => match held.pop() {
                Some(made) => transact_locked!(store, |tx| tx.release(made.id).await),
                None => Ok(()),
            },
            Step::Expire(now) => transact_locked!(store, |tx| tx.release_expired(now.into()).await).map(drop),
            Step::Deposit(more) => transact!(store, |tx| {
                let now = tx.channel(channel_id(1)).await?.unwrap();
                tx.open_channel(now.id, Amount(now.deposited.0 + u128::from(more)), 1).await.map(drop)
            }),
        };
        match done {
            Ok(()) => {}
            // Another worker expired it, spent the money, or deposited more meanwhile.
            Err(Error::Insufficient { .. } | Error::State { .. } | Error::OutOfBounds { .. }) => {}
            Err(error) => panic!("{step:?}: {error}"),
        }
    }
}

#[test]
fn random_steps_of_four_workers_keep_every_sum() {
    let mut runner = TestRunner::deterministic();
    let plans: Vec<Vec<Vec<Step>>> = (0..10)
        .map(|_| {
            let plan = prop::collection::vec(prop::collection::vec(step(), 1..25), 4);
            plan.new_tree(&mut runner).unwrap().current()
        })
        .collect();
    for plan in plans {
        let plan = &plan;
        for_each_engine(|store| async move {
            with_channel(&store, 1, 500).await;
            let workers: Vec<_> = plan.iter().map(|steps| tokio::spawn(work(store.clone(), steps.clone()))).collect();
            for worker in workers {
                worker.await.unwrap();
            }
            let channel = store.channel(channel_id(1)).await.unwrap().unwrap();
            let mut held = 0;
            let mut charged = 0;
            for number in 1.. {
                let id = ReservationId { channel: channel.id, number };
                let Some(found) = store.reservation(id).await.unwrap() else { break };
                match found.state {
                    ReservationState::Held => held += found.amount.0,
                    ReservationState::Charged => charged += found.charged.unwrap().0,
                    ReservationState::Released => assert_eq!(found.charged, None),
                }
            }
            assert_eq!((channel.reserved.0, channel.spent.0), (held, charged));
            assert!(held + charged <= channel.deposited.0);
            let receipts = store.epoch_receipts(1, None, 10_000).await.unwrap();
            assert_eq!(receipts.len() as u64, channel.nonce);
            assert_eq!(receipts.iter().map(|r| r.price.0).sum::<u128>(), charged);
            let mut nonces: Vec<u64> = receipts.iter().map(|r| r.nonce).collect();
            nonces.sort_unstable();
            assert_eq!(nonces, (1..=channel.nonce).collect::<Vec<_>>());
            let counters = store.counters().await.unwrap();
            assert_eq!((counters.receipts, counters.priced.0), (channel.nonce, charged));
        });
    }
}
