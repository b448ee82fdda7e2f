//! Epochs: no receipt between two of them, one settler, roots that are those of the rows; lists by page.

use openledger_protocol::sum_tree::{SumNode, SumTree};
use openledger_protocol::{Entry, PayeeRole};
use openledger_store::epochs::{EpochRoots, EpochRow, EpochState};
use openledger_store::ids::{Address, Amount, B256, ContributionId, ModelId, ReceiptId};
use openledger_store::leases::Lease;
use openledger_store::payouts::{ClaimRow, ClaimState, PayoutRow};
use openledger_store::receipts::{CreditNoteRow, NewReceipt, ReceiptCursor, ReceiptFilter};
use openledger_store::trees::{EpochTrees, Tree};
use openledger_store::{BlobsConfig, Error, Result, Store, transact_locked};

use crate::channels::{NODE, PAYER, channel_id, charge, receipt_id, reserve, with_channel};
use crate::engines::{execute, for_each_engine, for_each_url};

async fn lease(store: &Store, holder: &str) -> Lease {
    let taken: Result<Lease> = transact_locked!(store, |tx| tx.acquire_lease("settlement", holder, 1_000, 2_000).await);
    taken.unwrap()
}

/// Runs one step of an epoch in a transaction that locks rows.
macro_rules! locked {
    ($store:expr, |$tx:ident| $body:expr) => {{
        let done: Result<_> = transact_locked!($store, |$tx| $body.await);
        done
    }};
}

async fn pay(store: &Store, channel: u8, price: u128, now: u64) -> ReceiptId {
    let held = reserve(store, channel, price, "n", 50).await.unwrap();
    charge(store, held.id, price, now).await.unwrap()
}

/// What an epoch without entries of its own commits to: leaves and their roots.
struct Closing {
    roots: EpochRoots,
    payouts: Vec<PayoutRow>,
    leaves: [Vec<SumNode>; 3],
}

impl Closing {
    async fn of(store: &Store, number: u64) -> Self {
        let receipts = store.epoch_receipts(number, None, 100_000).await.unwrap();
        let leaf = |hash: B256, sum: Amount| SumNode { hash, sum };
        let ids: Vec<ReceiptId> = receipts.iter().map(|receipt| receipt.id).collect();
        let entries = store.entries_of_receipts(&ids).await.unwrap();
        let mut entries: Vec<Entry> = entries.into_values().flatten().collect();
        entries.sort_by_key(|entry| (entry.account, entry.receipt, entry.line));
        let mut payouts: Vec<PayoutRow> = Vec::new();
        for entry in &entries {
            match payouts.last_mut().filter(|last| last.account == entry.account) {
                Some(last) => last.cumulative = last.cumulative.plus(entry.amount).unwrap(),
                None => payouts.push(PayoutRow { account: entry.account, cumulative: entry.amount }),
            }
        }
        let leaves = [
            receipts.iter().map(|r| leaf(r.id.0, r.price)).collect::<Vec<_>>(),
            entries.iter().map(Entry::leaf).collect(),
            payouts.iter().map(|p| leaf(p.account.into_word(), p.cumulative)).collect(),
        ];
        let [r, e, p] = [root(&leaves[0]), root(&leaves[1]), root(&leaves[2])];
        let roots = EpochRoots {
            receipt_count: receipts.len() as u32,
            receipts_root: r.hash,
            receipts_total: r.sum,
            entries_root: e.hash,
            entries_total: e.sum,
            payout_root: p.hash,
            total: p.sum,
            params: B256::repeat_byte(0x70),
        };
        Self { roots, payouts, leaves }
    }

    async fn close(&self, store: &Store, lease: &Lease, number: u64) -> Result<()> {
        let [receipts, entries, payouts] = &self.leaves;
        let trees = &EpochTrees { receipts, entries, payouts }.build().unwrap();
        locked!(store, |tx| tx.close_epoch(lease, number, &self.roots, &self.payouts, trees))
    }
}

/// The root of a tree whose lone leaf has an empty place beside it.
fn root(leaves: &[SumNode]) -> SumNode {
    let mut leaves = leaves.to_vec();
    if leaves.len() == 1 {
        leaves.push(SumNode::default());
    }
    SumTree::new(leaves).unwrap().root()
}

fn entry(receipt: ReceiptId, line: u32, role: PayeeRole, account: u8, amount: u128) -> Entry {
    let contribution =
        if role == PayeeRole::Contributor { ContributionId(B256::repeat_byte(5)) } else { Entry::NO_CONTRIBUTION };
    Entry { receipt, line, role, account: Address::repeat_byte(account), contribution, amount: Amount(amount) }
}

#[test]
fn an_epoch_goes_from_open_to_finalized_and_back_once_when_it_was_rejected() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 1_000).await;
        let lease = &lease(&store, "one").await;
        let empty = locked!(store, |tx| tx.begin_closing(lease, 1));
        assert!(matches!(empty, Err(Error::NoReceipts { epoch: 1 })));
        let id = pay(&store, 1, 30, 500).await;
        let other = pay(&store, 1, 12, 400).await;
        locked!(store, |tx| tx.put_entries(id, &[entry(id, 0, PayeeRole::Node, 0xf0, 30)])).unwrap();
        locked!(store, |tx| tx.put_entries(other, &[entry(other, 0, PayeeRole::Contributor, 0x0f, 12)])).unwrap();

        let closing = locked!(store, |tx| tx.begin_closing(lease, 1)).unwrap();
        assert_eq!((closing.state, closing.cutoff().unwrap(), closing.node), (EpochState::Closing, 500, NODE));
        assert!(matches!(closing.roots(), Err(Error::State { .. })));
        assert_eq!(store.epoch(1).await.unwrap(), Some(closing));
        let next = store.latest_epoch(EpochState::Open).await.unwrap().unwrap();
        assert_eq!((next.number, next.after, next.cutoff), (2, 500, None));
        let late = pay(&store, 1, 5, 400).await;
        let late = store.receipt(late).await.unwrap().unwrap();
        assert_eq!((late.epoch, late.time), (2, 501), "it lies after the cutoff");

        for attempt in 0..2 {
            let books = Closing::of(&store, 1).await;
            assert!(matches!(locked!(store, |tx| tx.epoch_proposed(lease, 1, None)), Err(Error::State { .. })));
            let wrong = EpochRoots { receipts_total: Amount(43), ..books.roots };
            let wrong = Closing { roots: wrong, payouts: books.payouts.clone(), leaves: books.leaves.clone() };
            assert!(matches!(wrong.close(&store, lease, 1).await, Err(Error::OtherRoots { epoch: 1, .. })));
            let wrong = EpochRoots { payout_root: B256::ZERO, ..books.roots };
            let wrong = Closing { roots: wrong, payouts: books.payouts.clone(), leaves: books.leaves.clone() };
            assert!(matches!(wrong.close(&store, lease, 1).await, Err(Error::OtherRoots { what: "payouts", .. })));
            books.close(&store, lease, 1).await.unwrap();
            assert!(matches!(books.close(&store, lease, 1).await, Err(Error::State { .. })));
            locked!(store, |tx| tx.epoch_proposed(lease, 1, Some(777))).unwrap();
            let proposed = EpochRow {
                number: 1,
                state: EpochState::Proposed,
                node: NODE,
                after: 0,
                cutoff: Some(500),
                roots: Some(books.roots),
                attempt,
                closes_at: Some(777),
            };
            assert_eq!(store.epoch(1).await.unwrap(), Some(proposed.clone()));
            assert_eq!(store.settling_epoch().await.unwrap(), Some(proposed));
            assert_eq!(store.payouts_of_epoch(1).await.unwrap(), books.payouts);
            assert!(store.receipt(id).await.unwrap().unwrap().place.is_some());
            if attempt == 0 {
                locked!(store, |tx| tx.epoch_rejected(lease, 1)).unwrap();
                let again = store.epoch(1).await.unwrap().unwrap();
                assert_eq!((again.state, again.roots, again.closes_at), (EpochState::Closing, None, None));
                assert_eq!(store.payouts_of_epoch(1).await.unwrap(), []);
                assert!(matches!(store.tree_top(1, Tree::Receipts).await, Err(Error::Missing { .. })));
                assert_eq!(store.receipt(id).await.unwrap().unwrap().place, None);
            }
        }
        locked!(store, |tx| tx.epoch_finalized(lease, 1)).unwrap();
        assert!(matches!(locked!(store, |tx| tx.epoch_rejected(lease, 1)), Err(Error::State { .. })));
        assert_eq!(store.settling_epoch().await.unwrap(), None);
        assert_eq!(store.latest_epoch(EpochState::Finalized).await.unwrap().unwrap().number, 1);
        let closed = locked!(store, |tx| tx.put_entries(id, &[]));
        assert!(matches!(closed, Err(Error::State { .. })), "nothing is credited in a closed epoch");
    });
}

#[test]
fn an_epoch_closes_only_after_the_one_before_and_is_rejected_only_when_it_is_the_last_closed() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 1_000).await;
        let lease = &lease(&store, "one").await;
        for number in 1..=2 {
            let id = pay(&store, 1, 10, 100).await;
            locked!(store, |tx| tx.put_entries(id, &[entry(id, 0, PayeeRole::Node, 9, 10)])).unwrap();
            locked!(store, |tx| tx.begin_closing(lease, number)).unwrap();
        }
        let second = Closing::of(&store, 2).await;
        assert!(matches!(second.close(&store, lease, 2).await, Err(Error::State { .. })));
        Closing::of(&store, 1).await.close(&store, lease, 1).await.unwrap();
        second.close(&store, lease, 2).await.unwrap();
        assert!(matches!(locked!(store, |tx| tx.epoch_rejected(lease, 1)), Err(Error::State { .. })));
        locked!(store, |tx| tx.epoch_rejected(lease, 2)).unwrap();
        locked!(store, |tx| tx.epoch_rejected(lease, 1)).unwrap();
    });
}

#[test]
fn a_settler_that_lost_its_lease_changes_nothing() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 1_000).await;
        pay(&store, 1, 30, 500).await;
        let lost = &lease(&store, "one").await;
        let taken: Result<Lease> =
            transact_locked!(store, |tx| tx.acquire_lease("settlement", "other", 2_000, 3_000).await);
        let lease = &taken.unwrap();
        let stale = |done: Result<()>| matches!(done, Err(Error::StaleLease { .. }));
        assert!(stale(locked!(store, |tx| tx.begin_closing(lost, 1)).map(drop)));
        locked!(store, |tx| tx.begin_closing(lease, 1)).unwrap();
        let books = Closing::of(&store, 1).await;
        assert!(stale(books.close(&store, lost, 1).await));
        assert!(stale(locked!(store, |tx| tx.epoch_proposed(lost, 1, None))));
        assert!(stale(locked!(store, |tx| tx.epoch_rejected(lost, 1))));
        assert_eq!(store.epoch(1).await.unwrap().unwrap().state, EpochState::Closing);
    });
}

#[test]
fn a_step_that_waits_for_receipts_refuses_a_transaction_that_would_not_see_them() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 1_000).await;
        pay(&store, 1, 30, 500).await;
        let lease = lease(&store, "one").await;
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.begin_closing(&lease, 1).await, Err(Error::WrongTransaction)));
    });
}

#[test]
fn receipts_and_closings_at_once_put_every_receipt_into_one_epoch() {
    for_each_engine(|store| async move {
        for channel in 1..=4 {
            with_channel(&store, channel, 1_000_000).await;
        }
        let lease = lease(&store, "one").await;
        let payers: Vec<_> = (1..=4u8)
            .map(|channel| {
                let store = store.clone();
                tokio::spawn(async move {
                    for n in 0..25u64 {
                        // Clocks of several nodes: they differ, and now and then one goes back.
                        let now = 1_000 + n * 3 + u64::from(channel) * 5 - (n % 4) * 7;
                        pay(&store, channel, 10, now).await;
                    }
                })
            })
            .collect();
        let closer = {
            let (store, lease) = (store.clone(), lease.clone());
            tokio::spawn(async move {
                let lease = &lease;
                let mut closed = 0;
                while closed < 8 {
                    let number = closed + 1;
                    match locked!(store, |tx| tx.begin_closing(lease, number)) {
                        Ok(_) => closed += 1,
                        Err(Error::NoReceipts { .. }) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
                closed
            })
        };
        for payer in payers {
            payer.await.unwrap();
        }
        // A last receipt for a closer that is still waiting.
        pay(&store, 1, 10, 0).await;
        while !closer.is_finished() {
            pay(&store, 1, 10, 0).await;
        }
        assert_eq!(closer.await.unwrap(), 8);

        let mut all = Vec::new();
        let epochs = store.epochs(None, 100).await.unwrap();
        assert_eq!(epochs.iter().filter(|epoch| epoch.state == EpochState::Open).count(), 1);
        for pair in epochs.windows(2) {
            assert_eq!((pair[0].number, Some(pair[0].after)), (pair[1].number + 1, pair[1].cutoff));
        }
        for epoch in &epochs {
            let receipts = store.epoch_receipts(epoch.number, None, 1_000).await.unwrap();
            for receipt in &receipts {
                assert!(receipt.time > epoch.after, "{receipt:?} in {epoch:?}");
                assert!(epoch.cutoff.is_none_or(|cutoff| receipt.time <= cutoff), "{receipt:?} in {epoch:?}");
            }
            if let Some(cutoff) = epoch.cutoff {
                assert_eq!(receipts.iter().map(|receipt| receipt.time).max(), Some(cutoff));
            }
            all.extend(receipts);
        }
        assert_eq!(all.len() as u64, store.counters().await.unwrap().receipts);
        for channel in 1..=4 {
            let mut of: Vec<_> = all.iter().filter(|r| r.channel == channel_id(channel)).collect();
            of.sort_by_key(|r| r.nonce);
            assert!(of.len() >= 25);
            for pair in of.windows(2) {
                assert_eq!(pair[1].nonce, pair[0].nonce + 1);
                assert!(pair[1].time >= pair[0].time && pair[1].epoch >= pair[0].epoch, "{pair:?}");
            }
        }
    });
}

#[test]
fn credits_that_come_later_enter_until_the_epoch_is_closed() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 1_000).await;
        let (noted, plain) = (pay(&store, 1, 10, 100).await, pay(&store, 1, 20, 101).await);
        let mut both = [noted, plain];
        both.sort();
        assert_eq!(store.receipts_without_entries(1).await.unwrap(), both);
        let lease = &lease(&store, "one").await;
        locked!(store, |tx| tx.begin_closing(lease, 1)).unwrap();
        let note = &CreditNoteRow { receipt: noted, time: 105, body: "{ \"note\": 1}".into() };
        locked!(store, |tx| tx.put_credit_note(note, &[entry(noted, 0, PayeeRole::Contributor, 3, 10)])).unwrap();
        let twice = locked!(store, |tx| tx.put_credit_note(note, &[]));
        assert!(matches!(twice, Err(Error::Exists { .. })));
        assert_eq!(store.receipts_without_entries(1).await.unwrap(), [plain]);
        locked!(store, |tx| tx.put_entries(plain, &[entry(plain, 0, PayeeRole::Node, 2, 20)])).unwrap();
        assert_eq!(store.credit_note(noted).await.unwrap().as_ref(), Some(note));
        Closing::of(&store, 1).await.close(&store, lease, 1).await.unwrap();
        let late = locked!(store, |tx| tx.put_credit_note(note, &[]));
        assert!(matches!(late, Err(Error::State { .. })));
    });
}

#[test]
fn receipts_come_by_page_and_filter_newest_first() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 1_000).await;
        with_channel(&store, 2, 1_000).await;
        for n in 0..5 {
            // Two receipts a second: the id tells them apart.
            pay(&store, 1 + n as u8 % 2, 10, 100 + n / 2).await;
        }
        let lease = &lease(&store, "one").await;
        locked!(store, |tx| tx.begin_closing(lease, 1)).unwrap();
        pay(&store, 2, 10, 100).await;

        let all = ReceiptFilter::default();
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = store.receipts(&all, after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(ReceiptCursor { time: last.time, id: last.id });
            seen.extend(page);
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.windows(2).all(|pair| (pair[0].time, pair[0].id) > (pair[1].time, pair[1].id)));
        let count = |filter: ReceiptFilter| {
            let store = store.clone();
            async move { store.receipts(&filter, None, 100).await.unwrap().len() }
        };
        assert_eq!(count(ReceiptFilter { channel: Some(channel_id(1)), ..all }).await, 3);
        assert_eq!(count(ReceiptFilter { epoch: Some(2), ..all }).await, 1);
        assert_eq!(count(ReceiptFilter { epoch: Some(2), channel: Some(channel_id(1)), ..all }).await, 0);
        assert_eq!(count(ReceiptFilter { payer: Some(PAYER), model: Some(ModelId(4)), ..all }).await, 6);
        assert_eq!(count(ReceiptFilter { model: Some(ModelId(5)), ..all }).await, 0);
        let owing: Vec<_> = store.owing_channels().await.unwrap().iter().map(|channel| channel.id).collect();
        assert_eq!(owing, [channel_id(1), channel_id(2)]);
        let of: Vec<_> = store.channels_of_epoch(2).await.unwrap().iter().map(|channel| channel.id).collect();
        assert_eq!(of, [channel_id(2)]);
        let first = store.epoch_receipts(1, None, 1).await.unwrap();
        assert_eq!(store.epoch_receipts(1, Some(first[0].id), 100).await.unwrap().len(), 4);
    });
}

#[test]
fn entries_and_places_follow_the_order_of_the_tree() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 1_000).await;
        let held = reserve(&store, 1, 40, "n", 50).await.unwrap();
        let id = receipt_id(channel_id(1), 1);
        let lines = &[
            entry(id, 0, PayeeRole::Owner, 9, 20),
            entry(id, 1, PayeeRole::Contributor, 3, 15),
            entry(id, 2, PayeeRole::Treasury, 9, 5),
        ];
        let made: Result<()> = transact_locked!(store, |tx| {
            let place = tx.charge(held.id, Amount(40), 7).await?;
            let body = "{\"b\":1,  \"a\":2}";
            let receipt = NewReceipt { id, model: ModelId(4), tokens_in: 1, tokens_out: 2, body };
            tx.put_receipt(place, &receipt, lines).await
        });
        made.unwrap();
        assert_eq!(store.receipt(id).await.unwrap().unwrap().body, "{\"b\":1,  \"a\":2}");
        assert_eq!(store.entries_of_receipts(&[id]).await.unwrap()[&id], lines);
        assert_eq!(store.entry_places(id).await.unwrap(), [] as [u64; 0]);

        let lease = &lease(&store, "one").await;
        locked!(store, |tx| tx.begin_closing(lease, 1)).unwrap();
        let books = Closing::of(&store, 1).await;
        books.close(&store, lease, 1).await.unwrap();
        assert_eq!(store.entry_places(id).await.unwrap(), [1, 0, 2]);
        assert_eq!(store.receipt(id).await.unwrap().unwrap().place, Some(0));
        let nine = PayoutRow { account: Address::repeat_byte(9), cumulative: Amount(25) };
        assert_eq!(store.payout(1, nine.account).await.unwrap(), Some((nine, 1)));
        assert_eq!(store.top_payouts(1, None, 1).await.unwrap(), [nine]);
        let all = store.top_payouts(1, None, 100).await.unwrap();
        assert_eq!(store.top_payouts(1, Some(nine), 100).await.unwrap(), all[1..]);
        let claim = ClaimRow {
            tx_hash: B256::repeat_byte(4),
            account: nine.account,
            cumulative: Amount(25),
            state: ClaimState::Paid,
        };
        let mut tx = store.begin().await.unwrap();
        tx.put_claim(&claim).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.claims_of_accounts(&[nine.account]).await.unwrap(), [claim]);
    });
}

#[test]
fn payouts_by_page_are_each_listed_once_also_equal_ones() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 1_000).await;
        let held = reserve(&store, 1, 100, "n", 50).await.unwrap();
        let id = receipt_id(channel_id(1), 1);
        let amounts = [(5, 20), (3, 20), (9, 20), (4, 35), (7, 5)];
        let line = |(line, (account, amount))| entry(id, line, PayeeRole::Contributor, account, amount);
        let lines: Vec<Entry> = (0..).zip(amounts).map(line).collect();
        let made: Result<()> = transact_locked!(store, |tx| {
            let place = tx.charge(held.id, Amount(100), 7).await?;
            let receipt = NewReceipt { id, model: ModelId(4), tokens_in: 1, tokens_out: 2, body: "{}" };
            tx.put_receipt(place, &receipt, &lines).await
        });
        made.unwrap();
        let lease = &lease(&store, "one").await;
        locked!(store, |tx| tx.begin_closing(lease, 1)).unwrap();
        Closing::of(&store, 1).await.close(&store, lease, 1).await.unwrap();
        for limit in 1..=6 {
            let mut seen: Vec<PayoutRow> = Vec::new();
            loop {
                let page = store.top_payouts(1, seen.last().copied(), limit).await.unwrap();
                assert!(page.len() <= limit as usize);
                if page.is_empty() {
                    break;
                }
                seen.extend(page);
            }
            let seen: Vec<(u8, u128)> = seen.iter().map(|row| (row.account[0], row.cumulative.0)).collect();
            assert_eq!(seen, [(4, 35), (3, 20), (5, 20), (9, 20), (7, 5)], "pages of {limit}");
        }
        assert_eq!(store.top_payouts(2, None, 6).await.unwrap(), []);
    });
}

#[test]
fn a_damaged_epoch_is_named_and_never_read_as_zero() {
    for_each_url(|url| async move {
        let store = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        with_channel(&store, 1, 1_000).await;
        pay(&store, 1, 10, 100).await;
        let lease = &lease(&store, "one").await;
        locked!(store, |tx| tx.begin_closing(lease, 1)).unwrap();
        execute(&url, "UPDATE epochs SET cutoff = NULL WHERE number = 1").await;
        assert!(matches!(store.epoch(1).await, Err(Error::Damaged { noun: "epoch", .. })));
        execute(&url, "UPDATE epochs SET cutoff = 100, state = 'closed' WHERE number = 1").await;
        let read = store.epoch(1).await;
        assert!(matches!(read, Err(Error::Malformed { column, .. }) if column == "receipt_count"));
        execute(&url, "UPDATE epochs SET state = 'half' WHERE number = 1").await;
        assert!(matches!(store.epoch(1).await, Err(Error::Malformed { column, .. }) if column == "state"));
        store.close().await;
    });
}
