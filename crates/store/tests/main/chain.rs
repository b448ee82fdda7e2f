//! What the chain said and what was sent to it.

use openledger_store::chain_events::{BlockRef, ChainEvent};
use openledger_store::chain_sums::{ChainAmount, ChainSum};
use openledger_store::ids::{Address, Amount, B256};
use openledger_store::outbox::OutboxState;
use openledger_store::titles::Transfer;
use openledger_store::{Error, transact};

use crate::engines::for_each_engine;

const CONTRACT: Address = Address::repeat_byte(0xc0);
const TOKEN: B256 = B256::repeat_byte(0x70);

fn block(number: u64, fork: u8) -> BlockRef {
    BlockRef { number, hash: B256::repeat_byte(number as u8 * 16 + fork) }
}

fn event(block: BlockRef, log_index: u32) -> ChainEvent {
    ChainEvent {
        block,
        log_index,
        tx_hash: B256::repeat_byte(9),
        address: CONTRACT,
        topics: vec![B256::repeat_byte(8), B256::repeat_byte(log_index as u8)],
        data: vec![1, 2, log_index as u8],
    }
}

fn transfer(block: u64, log_index: u32, from: u8, to: u8) -> Transfer {
    let (from, to) = (Address::repeat_byte(from), Address::repeat_byte(to));
    Transfer { block, log_index, contract: CONTRACT, token: TOKEN, from, to }
}

#[test]
fn the_holder_at_a_block_is_the_last_recipient_up_to_it_and_a_reorganisation_takes_it_back() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        let (b5, b7) = (block(5, 0), block(7, 0));
        tx.append_range(0, b5, &[event(b5, 0)], &[transfer(5, 0, 0, 1)], &[]).await.unwrap();
        let moved = [transfer(7, 0, 1, 2), transfer(7, 1, 2, 3)];
        tx.append_range(6, b7, &[event(b7, 1), event(b7, 0)], &moved, &[]).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(store.chain_cursor().await.unwrap(), Some(b7));
        let holder = |n: u8| Some(Address::repeat_byte(n));
        for (at, expected) in [(4, None), (5, holder(1)), (6, holder(1)), (7, holder(3)), (99, holder(3))] {
            assert_eq!(store.owner_at(CONTRACT, TOKEN, at).await.unwrap(), expected, "at {at}");
        }
        assert_eq!(store.owner_now(CONTRACT, TOKEN).await.unwrap(), holder(3));
        assert_eq!(store.first_title_of(CONTRACT, Address::repeat_byte(3)).await.unwrap(), Some(TOKEN));
        assert_eq!(store.first_title_of(CONTRACT, Address::repeat_byte(2)).await.unwrap(), None);
        let events = store.chain_events_since(0, 9).await.unwrap();
        assert_eq!(events, [event(b5, 0), event(b7, 0), event(b7, 1)]);

        let mut tx = store.begin().await.unwrap();
        tx.rollback_to(Some(5)).await.unwrap();
        tx.append_range(6, block(7, 1), &[], &[], &[]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.owner_at(CONTRACT, TOKEN, 7).await.unwrap(), holder(1));
        assert_eq!(store.chain_events_since(6, 9).await.unwrap(), []);
        assert_eq!(store.indexed_block_below(8).await.unwrap(), Some(block(7, 1)));
        assert_eq!(store.indexed_block_below(7).await.unwrap(), Some(b5));

        let mut tx = store.begin().await.unwrap();
        tx.rollback_to(None).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.chain_cursor().await.unwrap(), None);
        assert_eq!(store.owner_at(CONTRACT, TOKEN, 99).await.unwrap(), None);
    });
}

#[test]
fn a_range_that_does_not_follow_the_cursor_is_refused() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        tx.append_range(0, block(5, 0), &[], &[], &[]).await.unwrap();
        for (from, to) in [(7, block(7, 0)), (5, block(6, 0)), (6, block(5, 1))] {
            let refused = tx.append_range(from, to, &[], &[], &[]).await;
            assert!(matches!(refused, Err(Error::NotNextBlock { last: 5, .. })), "{from} to {to:?}");
        }
        tx.append_range(6, block(8, 0), &[], &[], &[]).await.unwrap();
    });
}

#[test]
fn a_transaction_is_signed_once_per_key_and_nonces_have_no_gaps() {
    for_each_engine(|store| async move {
        let sender = Address::repeat_byte(1);
        assert_eq!(store.next_nonce(sender, 0).await.unwrap(), 0);
        assert_eq!(store.next_nonce(sender, 4).await.unwrap(), 4);
        let mut tx = store.begin().await.unwrap();
        tx.outbox_put_signed("epoch/1/propose", sender, 4, b"raw", B256::repeat_byte(2)).await.unwrap();
        assert_eq!(tx.next_nonce(sender, 4).await.unwrap(), 5);
        tx.commit().await.unwrap();

        let mut tx = store.begin().await.unwrap();
        let again = tx.outbox_put_signed("epoch/1/propose", sender, 5, b"other", B256::repeat_byte(3)).await;
        assert!(matches!(again, Err(Error::Exists { .. })));
        drop(tx);
        assert_eq!(store.outbox_pending().await.unwrap().len(), 1);

        let mut tx = store.begin().await.unwrap();
        tx.outbox_mined("epoch/1/propose", 12, 21_000, true).await.unwrap();
        assert!(matches!(tx.outbox_mined("none", 12, 1, true).await, Err(Error::Missing { .. })));
        tx.commit().await.unwrap();
        let row = store.outbox_get("epoch/1/propose").await.unwrap().unwrap();
        assert_eq!((row.raw, row.nonce, row.block), (b"raw".to_vec(), 4, Some(12)));
        assert_eq!((row.state, row.gas), (OutboxState::Mined, Some(21_000)));
        assert_eq!(store.outbox_pending().await.unwrap(), []);
    });
}

#[test]
fn sums_follow_the_blocks_that_are_indexed() {
    for_each_engine(|store| async move {
        let (ann, bob) = (Address::repeat_byte(0xa), Address::repeat_byte(0xb));
        let moved = |block, log_index, sum, account, amount| ChainAmount {
            block,
            log_index,
            sum,
            account,
            amount: Amount(amount),
        };
        let big = u128::MAX / 2;
        let mut tx = store.begin().await.unwrap();
        let first = [moved(5, 0, ChainSum::Claimed, ann, big), moved(5, 1, ChainSum::Redeemed, ann, 3)];
        tx.append_range(0, block(5, 0), &[], &[], &first).await.unwrap();
        let second = [moved(6, 0, ChainSum::Claimed, bob, 2), moved(7, 0, ChainSum::Claimed, ann, 1)];
        tx.append_range(6, block(7, 0), &[], &[], &second).await.unwrap();
        tx.commit().await.unwrap();
        let claimed = |store: &openledger_store::Store| {
            let store = store.clone();
            async move {
                let each = store.chain_sums_of(ChainSum::Claimed, &[ann, bob]).await.unwrap();
                let of = |account| each.get(&account).copied().unwrap_or_default().0;
                (store.chain_sum(ChainSum::Claimed).await.unwrap().0, of(ann), of(bob))
            }
        };
        assert_eq!(claimed(&store).await, (big + 3, big + 1, 2));
        assert_eq!(store.chain_sum(ChainSum::Redeemed).await.unwrap(), Amount(3));
        assert_eq!(store.chain_sum(ChainSum::Deposited).await.unwrap(), Amount::ZERO);

        let mut tx = store.begin().await.unwrap();
        tx.rollback_to(Some(6)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(claimed(&store).await, (big + 2, big, 2));
        let mut tx = store.begin().await.unwrap();
        tx.rollback_to(None).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(claimed(&store).await, (0, 0, 0));
    });
}

#[test]
fn of_two_node_instances_that_append_at_once_one_is_refused() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        tx.append_range(0, block(5, 0), &[], &[], &[]).await.unwrap();
        tx.commit().await.unwrap();
        let append = |to| {
            let store = store.clone();
            tokio::spawn(async move { transact!(store, |tx| tx.append_range(6, block(to, 0), &[], &[], &[]).await) })
        };
        let (one, other) = (append(8), append(9));
        let outcomes = [one.await.unwrap(), other.await.unwrap()];
        let refused = |outcome: &&Result<(), Error>| matches!(outcome, Err(Error::NotNextBlock { .. }));
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(refused).count(), 1, "{outcomes:?}");
    });
}
