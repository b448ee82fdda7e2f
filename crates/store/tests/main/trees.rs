//! Stored trees give the proofs of trees that were built whole; audits go on where they stood.

use openledger_protocol::sum_tree::{SumNode, SumTree};
use openledger_store::audits::AuditMark;
use openledger_store::epochs::EpochRoots;
use openledger_store::ids::{Address, Amount, B256};
use openledger_store::payouts::PayoutRow;
use openledger_store::trees::{EpochTrees, Tree};
use openledger_store::{Error, Result, Store, transact_locked};

use crate::channels::{charge, reserve, with_channel};
use crate::engines::for_each_engine;

fn account(n: u32) -> Address {
    let mut account = Address::ZERO;
    account[..4].copy_from_slice(&n.to_be_bytes());
    account
}

/// An epoch with one receipt that cost nothing, and `count` payouts.
async fn close(store: &Store, number: u64, count: u32) -> Vec<SumNode> {
    let held = reserve(store, 1, 0, "n", 50).await.unwrap();
    let id = charge(store, held.id, 0, number * 10).await.unwrap();
    let payouts: Vec<_> =
        (0..count).map(|n| PayoutRow { account: account(n), cumulative: Amount(u128::from(n) << 64) }).collect();
    let leaf = |p: &PayoutRow| SumNode { hash: p.account.into_word(), sum: p.cumulative };
    let leaves: Vec<SumNode> = payouts.iter().map(leaf).collect();
    let receipt = [SumNode { hash: id.0, sum: Amount::ZERO }];
    let (receipts, top) = (whole(&receipt).root(), whole(&leaves).root());
    let roots = &EpochRoots {
        receipt_count: 1,
        receipts_root: receipts.hash,
        receipts_total: Amount::ZERO,
        entries_root: B256::ZERO,
        entries_total: Amount::ZERO,
        payout_root: top.hash,
        total: top.sum,
        params: B256::ZERO,
    };
    let trees = &EpochTrees { receipts: &receipt, entries: &[], payouts: &leaves }.build().unwrap();
    let payouts = &payouts;
    let done: Result<()> = transact_locked!(store, |tx| {
        let lease = tx.acquire_lease("settlement", "n", 0, 9).await?;
        tx.begin_closing(&lease, number).await?;
        tx.close_epoch(&lease, number, roots, payouts, trees).await
    });
    done.unwrap();
    leaves
}

/// The tree in memory; a lone leaf has an empty place beside it.
fn whole(leaves: &[SumNode]) -> SumTree {
    let mut leaves = leaves.to_vec();
    if leaves.len() == 1 {
        leaves.push(SumNode::default());
    }
    SumTree::new(leaves).unwrap()
}

#[test]
fn proofs_are_those_of_the_whole_tree_for_sizes_around_every_edge() {
    for_each_engine(|store| async move {
        with_channel(&store, 1, 10).await;
        for (number, count) in (1..).zip([0, 1, 2, 3, 5, 127, 128, 129, 255, 256, 257, 1_000]) {
            let leaves = close(&store, number, count).await;
            let tree = whole(&leaves);
            let indexes: Vec<u64> = if count < 10 {
                (0..u64::from(count)).collect()
            } else {
                let last = u64::from(count) - 1;
                vec![last, 0, 1, last / 2, last - 1, 126, last.min(128)]
            };
            let proofs = store.tree_proofs(number, Tree::Payouts, &indexes).await.unwrap();
            for (proof, &index) in proofs.iter().zip(&indexes) {
                assert_eq!(Some(proof), tree.prove(index).as_ref(), "leaf {index} of {count}");
            }
            assert_eq!(proofs.len(), indexes.len());
            let beyond = u64::from(count.max(2).next_power_of_two());
            let refused = store.tree_proofs(number, Tree::Payouts, &[beyond]).await;
            assert!(matches!(refused, Err(Error::Missing { .. })), "{count}");
            let top = if count == 0 { [SumNode::default(); 2] } else { tree.top() };
            assert_eq!(store.tree_top(number, Tree::Payouts).await.unwrap(), top, "{count}");
        }
        assert!(matches!(store.tree_proofs(99, Tree::Entries, &[0]).await, Err(Error::Missing { .. })));
    });
}

#[test]
fn an_audit_goes_on_where_the_last_one_stood() {
    for_each_engine(|store| async move {
        assert_eq!(store.audit_mark().await.unwrap(), None);
        let mark = |epoch| AuditMark {
            epoch,
            total: Amount(7),
            payout_root: B256::repeat_byte(3),
            block: 40,
            burned: Amount(u128::MAX),
        };
        let (one, two) = (Address::repeat_byte(1), Address::repeat_byte(2));
        for (epoch, accounts) in [(1, vec![two]), (2, vec![one, two])] {
            let mut tx = store.begin().await.unwrap();
            tx.put_audit_mark(&mark(epoch)).await.unwrap();
            tx.add_audit_accounts(&accounts).await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(store.audit_mark().await.unwrap(), Some(mark(2)));
        assert_eq!(store.audit_accounts().await.unwrap(), [one, two]);
    });
}
