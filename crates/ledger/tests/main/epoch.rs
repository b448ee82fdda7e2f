//! Epochs: conservation, order, and proofs of presence, absence and earnings.

use std::collections::BTreeMap;

use openledger_ledger::{ClosedReceipt, EpochError, ProofError, close_epoch, verify_earned, verify_no_receipt};
use openledger_protocol::sum_tree::{self, SumNode};
use openledger_protocol::{Address, Amount, Payout, ReceiptId, word};

use crate::sample::{self, account};

#[test]
fn the_same_receipts_in_any_order_give_the_same_roots() {
    let previous = [30, 20, 1].map(|who| Payout { account: account(who), cumulative: Amount(who.into()) });
    let closed = sample::closed(7);
    let header = close_epoch(sample::span_of(4), &closed, &previous, sample::domain()).unwrap().header;
    for turn in 1..7 {
        let mut other = closed.clone();
        other.rotate_left(turn);
        other.swap(0, 3);
        other.iter_mut().for_each(|receipt| receipt.entries.reverse());
        let mut earlier = previous.to_vec();
        earlier.rotate_left(turn % 3);
        assert_eq!(close_epoch(sample::span_of(4), &other, &earlier, sample::domain()).unwrap().header, header);
    }
}

#[test]
fn an_epoch_pays_exactly_what_its_receipts_cost() {
    let previous = [Payout { account: account(20), cumulative: Amount(1_000) }];
    let epoch = sample::epoch(6, &previous);
    let prices = Amount::sum(epoch.receipts.iter().map(|signed| signed.receipt.price)).unwrap();
    assert_eq!(epoch.header.entries_total, prices);
    assert_eq!(epoch.header.total, Amount(prices.0 + 1_000));
    // Additivity: an account's epoch is the sum of its calls.
    let mut calls: BTreeMap<Address, u128> = BTreeMap::from([(account(20), 1_000)]);
    for entry in sample::closed(6).iter().flat_map(|closed| &closed.entries) {
        *calls.entry(entry.account).or_default() += entry.amount.0;
    }
    let paid: BTreeMap<_, _> = epoch.payouts.payouts().iter().map(|p| (p.account, p.cumulative.0)).collect();
    assert_eq!(paid, calls);
}

#[test]
fn an_epoch_without_receipts_carries_the_total_on() {
    let previous = [Payout { account: account(20), cumulative: Amount(1_000) }];
    let epoch = close_epoch(sample::span_of(2), &[], &previous, sample::domain()).unwrap();
    assert_eq!((epoch.header.entries_total, epoch.header.total), (Amount::ZERO, Amount(1_000)));
    let earned = epoch.prove_earned(account(20)).unwrap();
    assert_eq!(verify_earned(&epoch.header, &earned), Ok(Amount::ZERO));
    let id = ReceiptId(word(1u8));
    assert_eq!(verify_no_receipt(&epoch.header, epoch.domain, id, &epoch.prove_no_receipt(id).unwrap()), Ok(()));
}

/// The error of closing five receipts after `spoil`.
fn refused(spoil: impl Fn(&mut Vec<ClosedReceipt>)) -> EpochError {
    let mut closed = sample::closed(5);
    spoil(&mut closed);
    close_epoch(sample::span_of(1), &closed, &[], sample::domain()).unwrap_err()
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let id = sample::bundle(1).signed.receipt.id();
    assert_eq!(refused(|closed| closed.push(closed[0].clone())), EpochError::Duplicate(id));
    let domain = |closed: &mut Vec<ClosedReceipt>| closed[0].signed.domain.chain_id = 1;
    assert!(matches!(refused(domain), EpochError::Domain { receipt, .. } if receipt == id));
    let more = |closed: &mut Vec<ClosedReceipt>| closed[0].entries[1].amount.0 += 1;
    assert!(matches!(refused(more), EpochError::Unbalanced { receipt, .. } if receipt == id));
    let foreign = |closed: &mut Vec<ClosedReceipt>| closed[0].entries[1].receipt = ReceiptId(word(1u8));
    assert_eq!(refused(foreign), EpochError::Line { receipt: id, line: 1 });
    let twice = |closed: &mut Vec<ClosedReceipt>| closed[0].entries[1].line = 0;
    assert_eq!(refused(twice), EpochError::Line { receipt: id, line: 0 });
    let other = |closed: &mut Vec<ClosedReceipt>| closed[0].signed.receipt.node = account(9);
    assert!(matches!(refused(other), EpochError::Node { found, .. } if found == account(9)));
    let late = |closed: &mut Vec<ClosedReceipt>| closed[0].signed.receipt.time = sample::CUTOFF + 1;
    assert_eq!(refused(late), EpochError::Late { receipt: id, time: sample::CUTOFF + 1, cutoff: sample::CUTOFF });
    let moved = |closed: &mut Vec<ClosedReceipt>| {
        closed[0].entries[1].amount.0 -= 1;
        closed[0].entries[2].amount.0 += 1;
    };
    assert_eq!(refused(moved), EpochError::Lines(id));
    let noted = |closed: &mut Vec<ClosedReceipt>| closed[0].note = sample::closing(&sample::noted(1, 1_500)).note;
    assert_eq!(refused(noted), EpochError::Note(id));
    let payout = Payout { account: account(9), cumulative: Amount(1) };
    let error = close_epoch(sample::span_of(1), &[], &[payout.clone(), payout], sample::domain()).unwrap_err();
    assert_eq!(error, EpochError::PayoutTwice(account(9)));
}

#[test]
fn every_receipt_and_line_is_proven_under_the_roots() {
    for count in [1, 2, 3, 4, 5, 8] {
        let epoch = sample::epoch(count, &[]);
        let root = SumNode { hash: epoch.header.receipts_root, sum: epoch.header.receipts_total };
        assert_eq!(root.sum, epoch.header.entries_total);
        for signed in &epoch.receipts {
            let proof = epoch.prove_receipt(signed.receipt.id()).unwrap();
            assert!(!proof.siblings.is_empty(), "two places at least");
            assert!(sum_tree::verify(root, signed.leaf(None), &proof));
            let dearer = SumNode { sum: Amount(signed.receipt.price.0 + 1), ..signed.leaf(None) };
            assert!(!sum_tree::verify(root, dearer, &proof));
            assert!(epoch.prove_no_receipt(signed.receipt.id()).is_none());
        }
        for entry in &epoch.entries {
            let proof = epoch.prove_entry(entry).unwrap();
            assert!(sum_tree::verify(epoch.entries_tree.root(), entry.leaf(), &proof));
        }
    }
}

#[test]
fn a_missing_receipt_is_proven_missing_and_a_present_one_cannot_be() {
    for count in [1, 2, 3, 4, 5, 8] {
        let epoch = sample::epoch(count, &[]);
        let ids: Vec<ReceiptId> = epoch.receipts.iter().map(|signed| signed.receipt.id()).collect();
        let mut absent: Vec<ReceiptId> = (100..140).map(|nonce| sample::bundle(nonce).signed.receipt.id()).collect();
        absent.extend([ReceiptId(word(0u8)), ReceiptId([0xff; 32].into())]);
        for id in absent {
            let places = epoch.prove_no_receipt(id).unwrap();
            assert_eq!(verify_no_receipt(&epoch.header, epoch.domain, id, &places), Ok(()));
            for &present in &ids {
                assert!(verify_no_receipt(&epoch.header, epoch.domain, present, &places).is_err());
            }
            let mut changed = places.clone();
            changed[0].proof.index ^= 1;
            assert!(verify_no_receipt(&epoch.header, epoch.domain, id, &changed).is_err());
        }
    }
}

#[test]
fn what_an_account_earned_is_a_difference_of_two_proven_prefix_sums() {
    for count in [1, 2, 3, 5, 8] {
        let epoch = sample::epoch(count, &[]);
        let accounts = (0..30).map(account).chain([sample::key().address(), Address::repeat_byte(0xff)]);
        for account in accounts {
            let earned = epoch.prove_earned(account).unwrap();
            let lines = epoch.entries.iter().filter(|entry| entry.account == account).map(|entry| entry.amount);
            assert_eq!(verify_earned(&epoch.header, &earned), Ok(Amount::sum(lines).unwrap()), "{account}");
        }
        let mut earned = epoch.prove_earned(account(20)).unwrap();
        earned.to = earned.from.clone();
        assert_eq!(verify_earned(&epoch.header, &earned), Err(ProofError::NotEnclosing));
        let mut earned = epoch.prove_earned(account(20)).unwrap();
        earned.from[0].entry.as_mut().unwrap().amount.0 += 1;
        assert_eq!(verify_earned(&epoch.header, &earned), Err(ProofError::NotInTree));
    }
}

#[test]
fn a_claim_leads_to_the_payout_root() {
    let epoch = sample::epoch(5, &[]);
    let claim = epoch.payouts.claim(account(20)).unwrap();
    let leaf = Payout { account: claim.account, cumulative: claim.cumulative }.leaf(epoch.domain);
    let root = SumNode { hash: epoch.header.payout_root, sum: epoch.header.total };
    assert!(sum_tree::verify(root, leaf, &claim.proof));
    assert!(epoch.payouts.claim(account(999)).is_none());
}

#[test]
fn a_deferred_receipt_pays_by_its_note_or_else_by_training_weights() {
    let paid = |bundle| {
        let closed = sample::closing(&bundle);
        let epoch = close_epoch(sample::span_of(1), std::slice::from_ref(&closed), &[], sample::domain()).unwrap();
        assert_eq!(epoch.receipt_leaves[0].note_hash != word(0u8), closed.note.is_some());
        (closed.entries, closed.note.is_some())
    };
    let inline = sample::bundle(1);
    assert_eq!(paid(inline.clone()), (inline.entries.clone(), false));
    assert_eq!(paid(sample::noted(1, sample::CUTOFF)), (inline.entries.clone(), true));
    let (by_training, noted) = paid(sample::deferred(1));
    assert!(!noted && by_training != inline.entries);
    // 700 and 200 of 1,000 of the trained weight are one account's, 100 another's.
    let amounts =
        |who: u64| by_training.iter().filter(move |line| line.account == account(who)).map(|line| line.amount);
    let (most, least) = (Amount::sum(amounts(20)).unwrap().0, Amount::sum(amounts(21)).unwrap().0);
    assert!(least.abs_diff(most / 9) <= 1, "{most} {least}");
    assert_eq!(paid(sample::noted(1, sample::CUTOFF + 1)), (by_training, false), "the note came late");
}

#[test]
fn a_note_of_another_receipt_and_lines_other_than_the_notes_are_refused() {
    let close = |closed| close_epoch(sample::span_of(1), &[closed], &[], sample::domain()).map(drop);
    let mut closed = sample::closing(&sample::noted(1, 1_500));
    assert_eq!(close(closed.clone()), Ok(()));
    let id = closed.signed.receipt.id();
    closed.entries = sample::closing(&sample::deferred(1)).entries;
    assert_eq!(close(closed.clone()), Err(EpochError::Lines(id)));
    closed.note = sample::closing(&sample::noted(2, 1_500)).note;
    assert_eq!(close(closed.clone()), Err(EpochError::Note(id)));
    closed.note = sample::noted(1, sample::CUTOFF + 1).note.map(|signed| signed.note);
    assert_eq!(close(closed), Err(EpochError::Note(id)));
}
