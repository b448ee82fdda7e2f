//! Every lie about real receipts is found by the watcher and refuted on chain; the challenger is paid, the payout corrected.

use std::collections::BTreeSet;

use openledger_protocol::{Address, Amount};

use super::dispute_fixture::{BURN, Disputes, Refuted, disputes};
use super::world::{BOND, key};

/// The lie was found as `what` and nothing else, and its proposer's bond went 30/30/40 to challenger, harmed and nobody.
#[track_caller]
fn check(label: &str, what: &[&str], harmed: Address) {
    refuted_as(&disputes().refuted[label], what, harmed);
}

/// See [`check`].
#[track_caller]
pub(crate) fn refuted_as(refuted: &Refuted, what: &[&str], harmed: Address) {
    let found = refuted.verdict["refutations"].as_array().unwrap();
    let names: BTreeSet<&str> = found.iter().map(|found| found["what"].as_str().unwrap()).collect();
    assert_eq!(names, what.iter().copied().collect());
    assert!(!refuted.pending, "the epoch is open again");
    assert_eq!(refuted.stake, Amount::ZERO);
    let bond = Amount::open(BOND).unwrap().0;
    let reward = bond * 3_000 / 10_000;
    let burned = bond - 2 * reward;
    assert_eq!(refuted.harmed, harmed);
    assert_eq!(refuted.paid, [(refuted.challenger, Amount(reward)), (harmed, Amount(reward)), (BURN, Amount(burned))]);
    assert_eq!((refuted.challenger_got, refuted.payouts_lost), (reward, bond));
    // Whoever was harmed has it with the challenge; insurance and fire wait.
    assert_eq!(refuted.waited, Amount(if harmed == insurance() { bond - reward } else { 0 }));
}

fn insurance() -> Address {
    key("insurance").address()
}

#[test]
fn a_span_that_the_record_does_not_hold_is_refuted() {
    check("span", &["false span", "omitted receipt"], insurance());
}

#[test]
fn a_span_of_a_record_that_is_not_there_is_refuted() {
    check("record", &["missing record", "omitted receipt"], insurance());
}

#[test]
fn a_lowered_total_is_refuted() {
    let [poorer, richer] = disputes().totals;
    // The refutation of the lower account is sent; who was paid too much was not harmed.
    check("total", &["wrong total"], if poorer < richer { poorer } else { insurance() });
}

#[test]
fn a_receipt_of_an_earlier_epoch_is_refuted() {
    check("duplicate", &["duplicate receipt"], insurance());
}

#[test]
fn a_line_of_another_amount_is_refuted() {
    check("split", &["wrong split", "wrong lines"], insurance());
}

#[test]
fn shares_that_are_not_the_models_are_refuted() {
    check("shares", &["wrong split", "omitted receipt"], insurance());
}

#[test]
fn a_receipt_that_its_node_did_not_sign_is_refuted() {
    check("signature", &["unsigned receipt"], insurance());
}

#[test]
fn receipts_of_another_node_are_refuted() {
    check("stolen", &["unsigned receipt"], insurance());
}

#[test]
fn a_receipt_that_the_proposer_signed_and_left_out_is_refuted() {
    check("omission", &["omitted receipt"], insurance());
}

#[test]
fn a_line_that_pays_the_holder_before_a_sale_is_refuted_and_the_buyer_is_compensated() {
    check("payee", &["wrong payee", "wrong lines"], key("second-buyer").address());
}

#[test]
fn leaves_out_of_order_are_refuted_by_the_node_itself() {
    check("order", &["wrong order"], insurance());
}

#[test]
fn a_line_of_no_receipt_is_refuted() {
    check("entry", &["entry without receipt"], insurance());
}

#[test]
fn the_watcher_agrees_with_an_honest_proposal_and_challenges_nothing() {
    let run = disputes();
    assert_eq!(run.honest["verdict"], "agrees", "{}", run.honest);
    assert!(run.challenge_of_honest.is_null());
}

#[test]
fn leaves_that_do_not_lead_to_the_proposed_roots_are_called_withheld() {
    let withheld = &disputes().withheld;
    assert_eq!(withheld["verdict"], "withheld");
    assert!(withheld["reason"].as_str().unwrap().contains("payouts"), "{withheld}");
}

#[test]
fn after_all_disputes_the_same_epoch_pays_what_its_receipts_say() {
    pays_what_receipts_say(disputes());
}

/// The honest proposal was claimed, by everybody and to the last unit.
pub(crate) fn pays_what_receipts_say(run: &Disputes) {
    assert_eq!(run.claimed, [run.closed.header.entries_total, Amount::ZERO]);
    for (payout, paid) in &run.lifetime {
        assert_eq!(*paid, payout.cumulative, "{}", payout.account);
    }
}
