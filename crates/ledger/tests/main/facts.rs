//! Facts about one split, in numbers that can be followed by hand: a price of 10,000 units at the
//! usual shares.

use std::collections::BTreeMap;

use openledger_ledger::{Parties, Rules, split};
use openledger_protocol::*;

use crate::sample::{account, contribution, parties, rules, score};

/// Lines as (role, account's number, contribution's number, units), of 10,000 units.
#[track_caller]
fn check(
    parties: &Parties,
    coverage: Coverage,
    scores: &[Score],
    held: &[(u64, u64)],
    expected: &[(PayeeRole, u64, u64, u128)],
) {
    let credits = Credits { scores: scores.to_vec(), coverage, ..Credits::default() };
    let holders: BTreeMap<_, _> = held.iter().map(|&(of, who)| (contribution(of), account(who))).collect();
    let entries = split(ReceiptId(word(1u8)), Amount(10_000), &rules(), &credits, &holders, parties).unwrap();
    let found: Vec<_> = entries.iter().map(|e| (e.role, e.account, e.contribution, e.amount.0)).collect();
    let expected: Vec<_> =
        expected.iter().map(|&(role, who, of, units)| (role, account(who), contribution(of), units)).collect();
    assert_eq!(found, expected);
}

fn plain() -> Parties {
    Parties { node: account(5), parents: vec![], ..parties() }
}

/// Everything but the contributors' 5,000 units, `extra` of which went to insurance.
fn others(extra: u128) -> Vec<(PayeeRole, u64, u64, u128)> {
    vec![
        (PayeeRole::Treasury, 1, 0, 600),
        (PayeeRole::Validation, 2, 0, 200),
        (PayeeRole::Insurance, 3, 0, 200 + extra),
        (PayeeRole::Owner, 4, 0, 1200),
        (PayeeRole::Node, 5, 0, 800),
        (PayeeRole::Stakers, 6, 0, 2000),
    ]
}

fn with(
    mut lines: Vec<(PayeeRole, u64, u64, u128)>,
    more: &[(PayeeRole, u64, u64, u128)],
) -> Vec<(PayeeRole, u64, u64, u128)> {
    lines.extend_from_slice(more);
    lines
}

#[test]
fn the_usual_shares_are_ten_twenty_twenty_and_fifty_percent() {
    let lines = with(others(0), &[(PayeeRole::Contributor, 20, 10, 5000)]);
    check(&plain(), Coverage::default(), &[score(Layer::Rest, 10, 0, 7)], &[(10, 20)], &lines);
}

#[test]
fn evidence_pays_its_pot_and_what_it_leaves_follows_training_weight() {
    // Spans: half of 5,000 at λ 0.4 is 1,000 for contribution 10; the other 4,000 go 3:1 by weight.
    let scores = [score(Layer::Spans, 10, 0, 9), score(Layer::Rest, 10, 0, 3), score(Layer::Rest, 11, 0, 1)];
    let coverage = Coverage { spans: 400_000, ..Coverage::default() };
    let lines = with(others(0), &[(PayeeRole::Contributor, 20, 10, 4000), (PayeeRole::Contributor, 21, 11, 1000)]);
    check(&plain(), coverage, &scores, &[(10, 20), (11, 21)], &lines);
}

#[test]
fn a_covered_layer_without_scores_joins_the_rest() {
    let coverage = Coverage { spans: 1_000_000, influence: 1_000_000, retrieval: 1_000_000 };
    let lines = with(others(0), &[(PayeeRole::Contributor, 20, 10, 5000)]);
    check(&plain(), coverage, &[score(Layer::Rest, 10, 0, 7)], &[(10, 20)], &lines);
}

#[test]
fn dust_and_what_nobody_holds_go_to_insurance() {
    // 5,000 by 1:1:1 is 1,666 each; the third has no holder.
    let scores = [10, 11, 12].map(|of| score(Layer::Rest, of, 0, 1));
    let lines = with(
        others(5000 - 2 * 1666),
        &[(PayeeRole::Contributor, 20, 10, 1666), (PayeeRole::Contributor, 21, 11, 1666)],
    );
    check(&plain(), Coverage::default(), &scores, &[(10, 20), (11, 21)], &lines);
    check(&plain(), Coverage::default(), &[], &[], &others(5000));
}

#[test]
fn one_holder_is_rounded_once_and_the_remainder_stands_in_the_first_contribution() {
    let scores = [10, 11, 12].map(|of| score(Layer::Rest, of, 0, 1));
    let lines = [10, 11, 12].map(|of| (PayeeRole::Contributor, 20, of, if of == 10 { 1668 } else { 1666 }));
    check(&plain(), Coverage::default(), &scores, &[(10, 20), (11, 20), (12, 20)], &with(others(0), &lines));
}

#[test]
fn parents_are_paid_inside_the_owners_line_and_no_stakers_means_insurance() {
    let parties = Parties { stakers: None, parents: vec![(account(7), 1500), (account(8), 1)], ..plain() };
    let lines = [
        (PayeeRole::Treasury, 1, 0, 600),
        (PayeeRole::Validation, 2, 0, 200),
        (PayeeRole::Insurance, 3, 0, 2200),
        (PayeeRole::Owner, 4, 0, 1020),
        (PayeeRole::Node, 5, 0, 800),
        (PayeeRole::Contributor, 20, 10, 5000),
        (PayeeRole::Parent, 7, 0, 180),
    ];
    check(&parties, Coverage::default(), &[score(Layer::Rest, 10, 0, 7)], &[(10, 20)], &lines);
}

#[test]
fn governed_numbers_cut_the_platforms_and_the_models_part_and_bound_the_parents() {
    let mut params = Params { treasury_bps: 5500, validation_bps: 2500, node_bps: 3500, ..Params::GENESIS };
    params.max_parents_bps = 2000;
    let rules = Rules { params: &params, ..rules() };
    let lines = |parents: &[(u64, u16)]| {
        let parents = parents.iter().map(|&(who, bps)| (account(who), bps)).collect();
        let parties = Parties { parents, ..plain() };
        split(ReceiptId(word(1u8)), Amount(10_000), &rules, &Credits::default(), &BTreeMap::new(), &parties)
    };
    let paid: Vec<_> = lines(&[(7, 2000)]).unwrap().iter().map(|line| (line.role, line.amount.0)).collect();
    let expected = [
        (PayeeRole::Treasury, 550),
        (PayeeRole::Validation, 250),
        (PayeeRole::Insurance, 200 + 5000),
        (PayeeRole::Owner, 1040),
        (PayeeRole::Node, 700),
        (PayeeRole::Stakers, 2000),
        (PayeeRole::Parent, 260),
    ];
    assert_eq!(paid, expected);
    let error = lines(&[(7, 2000), (8, 1)]).unwrap_err();
    assert_eq!(error, openledger_ledger::SplitError::Parents { bps: 2001, most: 2000 });
}
