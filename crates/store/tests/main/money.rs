//! Channels, receipts, entries, epochs, payouts, claims.

use openledger_protocol::{Entry, Role};
use openledger_store::channels::{Channel, ChannelState};
use openledger_store::epochs::{ClaimRow, ClaimState, EpochRow, EpochState, PayoutRow};
use openledger_store::ids::{Address, Amount, B256, ChannelId, ContributionId, ReceiptId};
use openledger_store::receipts::ReceiptRow;
use openledger_store::{Error, Store};
use serde_json::json;

use crate::engines::for_each_engine;

const CHANNEL: ChannelId = ChannelId(B256::repeat_byte(0xcc));

fn channel(deposited: u128) -> Channel {
    Channel {
        id: CHANNEL,
        payer: Address::repeat_byte(1),
        payee: Address::repeat_byte(2),
        deposited: Amount(deposited),
        spent: Amount::ZERO,
        nonce: 0,
        state: ChannelState::Open,
    }
}

async fn with_channel(store: &Store, deposited: u128) {
    let mut tx = store.begin().await.unwrap();
    tx.put_channel(&channel(deposited)).await.unwrap();
    tx.commit().await.unwrap();
}

fn receipt(id: u8, nonce: u64) -> ReceiptRow {
    ReceiptRow {
        id: ReceiptId(B256::repeat_byte(id)),
        channel: CHANNEL,
        nonce,
        epoch: None,
        price: Amount(10),
        time: 1_000 + nonce,
        body: "{\"b\":1,  \"a\":2}".into(),
    }
}

fn entry(receipt: u8, line: u32, role: Role, account: u8) -> Entry {
    let contribution =
        if role == Role::Contributor { ContributionId(B256::repeat_byte(5)) } else { Entry::NO_CONTRIBUTION };
    let receipt = ReceiptId(B256::repeat_byte(receipt));
    Entry {
        receipt,
        line,
        role,
        account: Address::repeat_byte(account),
        contribution,
        amount: Amount(u128::from(line) + 1),
    }
}

#[test]
fn amounts_survive_up_to_the_last_bit() {
    for_each_engine(|store| async move {
        for (i, amount) in [0, 1, u128::from(u64::MAX), 1 << 127, u128::MAX].into_iter().enumerate() {
            let mut made = channel(amount);
            made.id = ChannelId(B256::repeat_byte(i as u8));
            made.spent = Amount(amount);
            let mut tx = store.begin().await.unwrap();
            tx.put_channel(&made).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(store.channel(made.id).await.unwrap(), Some(made));
        }
        assert_eq!(store.channels_of(Address::repeat_byte(1)).await.unwrap().len(), 5);
    });
}

#[test]
fn a_channel_pays_once_per_nonce_and_never_beyond_its_deposit() {
    for_each_engine(|store| async move {
        with_channel(&store, 100).await;
        let mut tx = store.begin().await.unwrap();
        let after = tx.spend(CHANNEL, 0, Amount(60)).await.unwrap();
        assert_eq!((after.spent, after.nonce), (Amount(60), 1));
        assert!(matches!(tx.spend(CHANNEL, 0, Amount(70)).await, Err(Error::ChannelMoved { found: 1, .. })));
        assert!(matches!(tx.spend(CHANNEL, 1, Amount(101)).await, Err(Error::OutOfBounds { .. })));
        assert!(matches!(tx.spend(CHANNEL, 1, Amount(59)).await, Err(Error::OutOfBounds { .. })));
        assert!(matches!(tx.set_deposited(CHANNEL, Amount(99)).await, Err(Error::OutOfBounds { .. })));
        tx.set_deposited(CHANNEL, Amount(200)).await.unwrap();
        tx.spend(CHANNEL, 1, Amount(101)).await.unwrap();
        tx.set_channel_state(CHANNEL, ChannelState::Closing).await.unwrap();
        assert!(matches!(tx.spend(CHANNEL, 2, Amount(102)).await, Err(Error::ChannelClosed { .. })));
        tx.commit().await.unwrap();
        let kept = store.channel(CHANNEL).await.unwrap().unwrap();
        assert_eq!((kept.spent, kept.nonce, kept.state), (Amount(101), 2, ChannelState::Closing));
    });
}

#[test]
fn eight_payers_at_once_spend_each_nonce_once() {
    for_each_engine(|store| async move {
        with_channel(&store, 1_000).await;
        let payers = (0..8).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .transact(|tx| {
                        Box::pin(async move {
                            let now = tx.channel(CHANNEL).await?.unwrap();
                            tx.spend(CHANNEL, now.nonce, Amount(now.spent.0 + 10)).await
                        })
                    })
                    .await
                    .unwrap_or_else(|error: Error| panic!("{error}"))
                    .nonce
            })
        });
        let mut nonces = Vec::new();
        for payer in payers.collect::<Vec<_>>() {
            nonces.push(payer.await.unwrap());
        }
        nonces.sort_unstable();
        assert_eq!(nonces, (1..=8).collect::<Vec<_>>());
        assert_eq!(store.channel(CHANNEL).await.unwrap().unwrap().spent, Amount(80));
    });
}

#[test]
fn receipts_come_by_id_and_entries_by_account_and_closing_takes_all_open_ones() {
    for_each_engine(|store| async move {
        with_channel(&store, 100).await;
        let mut tx = store.begin().await.unwrap();
        let first = [entry(0xf0, 0, Role::Owner, 9), entry(0xf0, 1, Role::Contributor, 3)];
        tx.put_receipt(&receipt(0xf0, 0), &first).await.unwrap();
        let second = [entry(0x0f, 0, Role::Treasury, 9), entry(0x0f, 1, Role::Contributor, 0xee)];
        tx.put_receipt(&receipt(0x0f, 1), &second).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(store.open_receipts().await.unwrap(), [receipt(0x0f, 1), receipt(0xf0, 0)]);
        let ordered = [first[1].clone(), second[0].clone(), first[0].clone(), second[1].clone()];
        assert_eq!(store.open_entries().await.unwrap(), ordered);

        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.close_receipts_into(7).await.unwrap(), 2);
        tx.commit().await.unwrap();
        assert_eq!(store.open_receipts().await.unwrap(), []);
        assert_eq!(store.entries_of_epoch(7).await.unwrap(), ordered);
        assert_eq!(store.receipts_of_epoch(7).await.unwrap().len(), 2);
        assert_eq!(store.receipt(receipt(0xf0, 0).id).await.unwrap().unwrap().epoch, Some(7));
        assert_eq!(store.entries_of_receipt(receipt(0xf0, 0).id).await.unwrap(), first);
        assert_eq!(store.entries_of_account(Address::repeat_byte(9)).await.unwrap().len(), 2);
        assert_eq!(store.latest_receipts(1).await.unwrap()[0].nonce, 1);
    });
}

#[test]
fn two_receipts_cannot_take_one_place_in_a_channel() {
    for_each_engine(|store| async move {
        with_channel(&store, 100).await;
        let mut tx = store.begin().await.unwrap();
        tx.put_receipt(&receipt(1, 0), &[]).await.unwrap();
        assert!(matches!(tx.put_receipt(&receipt(2, 0), &[]).await, Err(Error::Exists { .. })));
    });
}

#[test]
fn an_epoch_only_goes_forward_and_its_payouts_and_claims_are_kept() {
    for_each_engine(|store| async move {
        let mut epoch = EpochRow {
            number: 1,
            state: EpochState::Open,
            receipts_root: B256::ZERO,
            entries_root: B256::ZERO,
            payout_root: B256::ZERO,
            total: Amount::ZERO,
            header: json!({}),
        };
        let mut tx = store.begin().await.unwrap();
        tx.put_epoch(&epoch).await.unwrap();
        epoch.state = EpochState::Closed;
        epoch.payout_root = B256::repeat_byte(1);
        epoch.total = Amount(u128::MAX);
        epoch.header = json!({ "receipts": 2 });
        tx.put_epoch(&epoch).await.unwrap();
        assert!(matches!(tx.put_epoch(&epoch).await, Err(Error::State { .. })));
        let row = |account, cumulative| PayoutRow {
            epoch: 1,
            account: Address::repeat_byte(account),
            cumulative: Amount(cumulative),
        };
        tx.put_payouts(&[row(0xf0, 1), row(0x0f, u128::MAX)]).await.unwrap();
        tx.advance_epoch(1, EpochState::Closed, EpochState::Proposed).await.unwrap();
        let again = tx.advance_epoch(1, EpochState::Closed, EpochState::Proposed).await;
        assert!(matches!(again, Err(Error::State { .. })));
        let missing = tx.advance_epoch(2, EpochState::Closed, EpochState::Proposed).await;
        assert!(matches!(missing, Err(Error::Missing { .. })));
        let claim = ClaimRow {
            tx_hash: B256::repeat_byte(4),
            account: Address::repeat_byte(0xf0),
            cumulative: Amount(1),
            state: ClaimState::Sent,
        };
        tx.put_claim(&claim).await.unwrap();
        tx.set_claim_state(claim.tx_hash, ClaimState::Paid).await.unwrap();
        tx.commit().await.unwrap();

        epoch.state = EpochState::Proposed;
        assert_eq!(store.latest_epoch().await.unwrap(), Some(epoch.clone()));
        assert_eq!(store.epochs().await.unwrap(), [epoch.clone()]);
        assert_eq!(store.epoch(1).await.unwrap(), Some(epoch));
        assert_eq!(store.payouts_of_epoch(1).await.unwrap(), [row(0x0f, u128::MAX), row(0xf0, 1)]);
        assert_eq!(store.latest_payout(Address::repeat_byte(0xf0)).await.unwrap(), Some(row(0xf0, 1)));
        assert_eq!(store.claims_of(claim.account).await.unwrap(), [ClaimRow { state: ClaimState::Paid, ..claim }]);
    });
}

#[test]
fn an_epoch_whose_proposal_was_dropped_is_closed_again_with_other_roots_and_without_its_payouts() {
    for_each_engine(|store| async move {
        let mut epoch = EpochRow {
            number: 1,
            state: EpochState::Closed,
            receipts_root: B256::repeat_byte(1),
            entries_root: B256::repeat_byte(2),
            payout_root: B256::repeat_byte(3),
            total: Amount(5),
            header: json!({ "attempt": 0 }),
        };
        let payout =
            |cumulative| PayoutRow { epoch: 1, account: Address::repeat_byte(9), cumulative: Amount(cumulative) };
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.close_epoch_again(&epoch).await, Err(Error::Missing { .. })));
        tx.put_epoch(&epoch).await.unwrap();
        tx.put_payouts(&[payout(5)]).await.unwrap();
        assert!(matches!(tx.close_epoch_again(&epoch).await, Err(Error::State { .. })), "it was not proposed");
        tx.advance_epoch(1, EpochState::Closed, EpochState::Proposed).await.unwrap();
        epoch = EpochRow {
            entries_root: B256::repeat_byte(4),
            payout_root: B256::repeat_byte(6),
            total: Amount(7),
            header: json!({ "attempt": 1 }),
            ..epoch
        };
        tx.close_epoch_again(&epoch).await.unwrap();
        tx.put_payouts(&[payout(7)]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.epoch(1).await.unwrap(), Some(epoch));
        assert_eq!(store.payouts_of_epoch(1).await.unwrap(), [payout(7)]);
    });
}
