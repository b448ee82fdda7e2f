//! The properties that every split has, over 20,000 random splits: each case is put to all of them.

use std::collections::BTreeMap;

use openledger_ledger::{Parties, Rules, SplitRule, split};
use openledger_protocol::*;
use proptest::prelude::*;

use crate::sample::{account, contribution, parties, rules};

/// Everything a split takes.
#[derive(Clone, Debug)]
struct Case {
    price: Amount,
    rule: SplitRule,
    mix: Mix,
    params: Params,
    credits: Credits,
    holders: BTreeMap<ContributionId, Address>,
    parties: Parties,
}

impl Case {
    fn split(&self) -> Vec<Entry> {
        let Self { price, rule, mix, params, credits, holders, parties } = self;
        let rules = Rules { shares: *rule, mix: *mix, params };
        split(ReceiptId(word(1u8)), *price, &rules, credits, holders, parties).unwrap()
    }
}

/// What each contributor gets.
fn pay(entries: &[Entry]) -> BTreeMap<Address, u128> {
    let mut pay = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.role == PayeeRole::Contributor) {
        *pay.entry(entry.account).or_default() += entry.amount.0;
    }
    pay
}

fn of(pay: &BTreeMap<Address, u128>, who: Address) -> u128 {
    pay.get(&who).copied().unwrap_or_default()
}

fn prices() -> impl Strategy<Value = Amount> {
    prop_oneof![
        0u128..40,
        any::<u32>().prop_map(u128::from),
        (u64::MAX - 3..=u64::MAX).prop_map(u128::from),
        0..=Amount::SUPPLY.0,
        Just(u128::MAX),
    ]
    .prop_map(Amount)
}

fn shares() -> impl Strategy<Value = SplitRule> {
    (0u16..=2000, 1000u16..=4000, 0u16..=3000).prop_map(|(p, m, s)| SplitRule::new(p, m, s).unwrap_or_default())
}

fn mixes() -> impl Strategy<Value = Mix> {
    (0u16..=10_000, 0u16..=10_000).prop_map(|(a, b)| {
        let (low, high) = (a.min(b), a.max(b));
        Mix { spans_bps: low, influence_bps: high - low, retrieval_bps: 10_000 - high }
    })
}

/// Governed numbers within their bounds that leave the sample's parents their shares.
fn governed() -> impl Strategy<Value = Params> {
    (0u16..=10_000, 0u16..=10_000, 3000u16..=10_000, 2000u16..=5000).prop_map(|(a, b, node_bps, max_parents_bps)| {
        let (treasury_bps, both) = (a.min(b), a.max(b));
        let validation_bps = both - treasury_bps;
        Params { treasury_bps, validation_bps, node_bps, max_parents_bps, ..Params::GENESIS }
    })
}

fn scores() -> impl Strategy<Value = Vec<Score>> {
    let layer = prop_oneof![Just(Layer::Spans), Just(Layer::Influence), Just(Layer::Retrieval), Just(Layer::Rest)];
    let value = prop_oneof![Just(0u64), 1u64..20, any::<u64>(), Just(u64::MAX)];
    let line = (layer, 0u64..8, 0u32..3, value).prop_map(|(layer, of, index, score)| {
        let record = RecordRef { contribution: contribution(of), index };
        Score { layer, datanet: DatanetId(1), record, score }
    });
    prop::collection::vec(line, 0..14)
}

fn cases() -> impl Strategy<Value = Case> {
    let lambda = || prop_oneof![Just(0u32), Just(1_000_000), 0u32..=1_000_000];
    let coverage = (lambda(), lambda(), lambda()).prop_map(|(spans, influence, retrieval)| Coverage {
        spans,
        influence,
        retrieval,
    });
    // Contributions 0 to 7 belong to accounts 100 to 103; what is drawn as 4 belongs to nobody.
    let holders = prop::collection::vec(0u64..5, 8).prop_map(|drawn| {
        let held = (0u64..).zip(drawn).filter(|&(_, who)| who < 4);
        held.map(|(of, who)| (contribution(of), account(100 + who))).collect()
    });
    (prices(), shares(), mixes(), governed(), coverage, scores(), holders, any::<bool>()).prop_map(
        |(price, rule, mix, params, coverage, scores, holders, staked)| {
            let credits = Credits { scores, coverage, ..Credits::default() };
            let parties = Parties { stakers: staked.then(|| account(6)), ..parties() };
            Case { price, rule, mix, params, credits, holders, parties }
        },
    )
}

fn balance_and_no_deficit(case: &Case, entries: &[Entry]) {
    let sum = Amount::sum(entries.iter().map(|entry| entry.amount)).unwrap();
    assert_eq!(sum, case.price);
    assert!(entries.iter().all(|entry| entry.amount > Amount::ZERO));
    assert!((0..).zip(entries).all(|(line, entry)| entry.line == line));
    assert!(entries.is_sorted_by(|a, b| (a.role, a.account, a.contribution) < (b.role, b.account, b.contribution)));
}

/// One party as caller, owner, node, staker and every contributor still loses the platform's
/// part.
fn self_dealing_loses_the_platform_part(case: &Case, entries: &[Entry]) {
    let platform = case.price.mul_div_down(case.rule.platform_bps().into(), 10_000).unwrap();
    let kept = [PayeeRole::Treasury, PayeeRole::Validation, PayeeRole::Insurance];
    let lost: u128 = entries.iter().filter(|e| kept.contains(&e.role)).map(|e| e.amount.0).sum();
    assert!(lost >= platform.0);
}

fn null_players_get_nothing_and_change_nothing(case: &Case, entries: &[Entry]) {
    for entry in entries.iter().filter(|entry| entry.role == PayeeRole::Contributor) {
        let scored = case.credits.scores.iter().any(|s| s.contribution() == entry.contribution && s.score > 0);
        assert!(scored, "{entry:?}");
    }
    let mut other = case.clone();
    other.holders.insert(contribution(50), account(150));
    for layer in [Layer::Spans, Layer::Rest] {
        let record = RecordRef { contribution: contribution(50), index: 0 };
        other.credits.scores.push(Score { layer, datanet: DatanetId(1), record, score: 0 });
    }
    assert_eq!(other.split(), entries);
}

fn relabelling_identities_permutes_pay(case: &Case, before: &BTreeMap<Address, u128>) {
    let turn = |who: u64| account(100 + (who + 1) % 4);
    let names: BTreeMap<Address, Address> = (0..4).map(|who| (account(100 + who), turn(who))).collect();
    let mut other = case.clone();
    other.holders.values_mut().for_each(|who| *who = names[who]);
    let after = pay(&other.split());
    for (old, new) in &names {
        assert_eq!(of(before, *old), of(&after, *new));
    }
}

fn equal_scores_get_equal_pay(case: &Case) {
    let mut other = case.clone();
    for layer in [Layer::Spans, Layer::Influence, Layer::Rest] {
        for twin in [60, 61] {
            let record = RecordRef { contribution: contribution(twin), index: 0 };
            other.credits.scores.push(Score { layer, datanet: DatanetId(1), record, score: 17 });
            other.holders.insert(contribution(twin), account(100 + twin));
        }
    }
    let pay = pay(&other.split());
    assert_eq!(of(&pay, account(160)), of(&pay, account(161)));
}

/// A score cut into records of the same contribution changes no line.
fn cutting_a_score_changes_nothing(case: &Case, entries: &[Entry]) {
    let mut other = case.clone();
    let Some(line) = other.credits.scores.iter_mut().find(|line| line.score > 1) else { return };
    let mut part = line.clone();
    part.score = line.score / 3;
    part.record.index = 99;
    line.score -= part.score;
    other.credits.scores.push(part);
    assert_eq!(other.split(), entries);
}

/// One account's contributions spread over identities never earn more, and nobody else earns less.
fn spreading_over_identities_never_gains(case: &Case, before: &BTreeMap<Address, u128>, way: u64) {
    let actor = account(100);
    let mut other = case.clone();
    let mut identities = vec![actor];
    for (at, who) in (0..).zip(other.holders.values_mut().filter(|who| **who == actor)) {
        if way >> at & 1 == 1 {
            *who = account(200 + at % 3);
            identities.push(*who);
        }
    }
    identities.sort_unstable();
    identities.dedup();
    let after = pay(&other.split());
    let gained: u128 = identities.iter().map(|&who| of(&after, who)).sum();
    assert!(gained <= of(before, actor));
    for who in (1..4).map(|who| account(100 + who)) {
        assert_eq!(of(&after, who), of(before, who));
    }
}

fn a_higher_own_score_never_lowers_own_pay(case: &Case, before: &BTreeMap<Address, u128>, which: usize, more: u64) {
    let mut other = case.clone();
    let count = other.credits.scores.len();
    let Some(line) = (count > 0).then(|| &mut other.credits.scores[which % count]) else { return };
    line.score = line.score.saturating_add(more);
    let Some(&who) = case.holders.get(&line.contribution()) else { return };
    assert!(of(&pay(&other.split()), who) >= of(before, who));
}

fn order_does_not_matter(case: &Case, entries: &[Entry], turn: usize) {
    let mut other = case.clone();
    let count = other.credits.scores.len().max(1);
    other.credits.scores.rotate_left(turn % count);
    other.credits.scores.reverse();
    assert_eq!(other.split(), entries);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_reward_rule_keeps_its_promises(case in cases(), way: u64, which: usize, more: u64) {
        let entries = case.split();
        let before = pay(&entries);
        balance_and_no_deficit(&case, &entries);
        self_dealing_loses_the_platform_part(&case, &entries);
        null_players_get_nothing_and_change_nothing(&case, &entries);
        relabelling_identities_permutes_pay(&case, &before);
        equal_scores_get_equal_pay(&case);
        cutting_a_score_changes_nothing(&case, &entries);
        spreading_over_identities_never_gains(&case, &before, way);
        a_higher_own_score_never_lowers_own_pay(&case, &before, which, more);
        order_does_not_matter(&case, &entries, which);
    }
}

#[test]
fn the_largest_price_and_weights_do_not_overflow() {
    let heavy = |of| Score {
        layer: Layer::Rest,
        datanet: DatanetId(1),
        record: RecordRef { contribution: contribution(of), index: 0 },
        score: u64::MAX,
    };
    let credits = Credits { scores: (0..1000).map(heavy).collect(), ..Credits::default() };
    let holders = (0..1000).map(|of| (contribution(of), account(of % 7))).collect();
    let price = Amount(u128::MAX);
    let entries = split(ReceiptId(word(1u8)), price, &rules(), &credits, &holders, &parties()).unwrap();
    assert_eq!(Amount::sum(entries.iter().map(|entry| entry.amount)).unwrap(), price);
    // The ratio W_b / W at W = 2^96 keeps 256-bit intermediates.
    assert_eq!(Amount::SUPPLY.mul_div_down((1 << 96) - 1, 1 << 96).unwrap(), Amount(Amount::SUPPLY.0 - 1));
}

#[test]
fn mixes_coverages_and_parents_out_of_bounds_are_refused() {
    use openledger_ledger::SplitError;
    let refused = |mix: Mix, coverage: Coverage, parents: &[u16]| {
        let credits = Credits { coverage, ..Credits::default() };
        let parents = parents.iter().map(|&bps| (account(9), bps)).collect();
        let parties = Parties { parents, ..parties() };
        let rules = Rules { mix, ..rules() };
        split(ReceiptId(word(1u8)), Amount(100), &rules, &credits, &BTreeMap::new(), &parties)
    };
    let mix = rules().mix;
    let full = Coverage::default();
    assert_eq!(refused(Mix { spans_bps: 4999, ..mix }, full, &[]), Err(SplitError::Mix { sum: 9999 }));
    let over = Coverage { spans: 1_000_001, ..full };
    assert!(matches!(refused(mix, over, &[]), Err(SplitError::Coverage { layer: Layer::Spans, .. })));
    assert_eq!(refused(mix, full, &[2001]), Err(SplitError::Parents { bps: 2001, most: 2000 }));
    assert_eq!(refused(mix, full, &[2000, 2000, 1001]), Err(SplitError::Parents { bps: 5001, most: 5000 }));
    assert!(refused(mix, full, &[2000, 2000, 1000]).is_ok());
}
