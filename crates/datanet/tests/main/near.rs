//! Near copies: the planted ones are found, paraphrases are not.

use openledger_datanet::near::{Clusters, WHOLE};
use openledger_datanet::{Limits, parse_jsonl};
use proptest::prelude::*;

use crate::files::sample;

/// The clusters of a sample file's accepted records, as lists of ids without the folder.
fn clusters_of(name: &str) -> Vec<Vec<String>> {
    let parsed = parse_jsonl(&sample(name), &Limits::default()).unwrap();
    let texts: Vec<String> = parsed.records.iter().map(|r| r.record.body.canonical_text()).collect();
    let clusters = Clusters::of(texts.iter().map(String::as_str));
    let id = |&place: &u32| parsed.records[place as usize].record.id.rsplit('/').next().unwrap().to_owned();
    clusters.clusters().iter().map(|cluster| cluster.members.iter().map(id).collect()).collect()
}

#[test]
fn planted_near_copies_are_found_and_paraphrases_are_not() {
    assert_eq!(clusters_of("bicycle-repair.jsonl"), [["042", "069"]]);
    assert_eq!(clusters_of("kitchen-chemistry.jsonl"), [["026", "066"]]);
    assert_eq!(clusters_of("night-sky.jsonl"), [["039", "078"]]);
}

fn words(range: std::ops::Range<u32>) -> String {
    range.map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_record_keeps_the_share_that_no_earlier_record_says() {
    let (own, half) = (words(0..40), words(20..60));
    let mut clusters = Clusters::default();
    assert_eq!(clusters.add(&own).multiplier, WHOLE);
    let derived = clusters.add(&half);
    assert_eq!((derived.multiplier, derived.near, derived.source), (WHOLE / 2, None, 0));
    // Words 5 to 39 stand in the first record, 40 to 54 in the second.
    let both = clusters.add(&words(5..55));
    assert_eq!((both.multiplier, both.source), (0, 0));
    assert_eq!(clusters.add(&words(100..108)).multiplier, WHOLE);
    assert_eq!(clusters.add("").multiplier, 0);
}

#[test]
fn case_and_punctuation_do_not_make_a_text_new() {
    let mut clusters = Clusters::default();
    clusters.add("Turn the left pedal clockwise to take it off the crank.");
    let copy = clusters.add("turn the LEFT pedal, clockwise: to take it off the crank");
    assert_eq!((copy.owner, copy.multiplier), (0, 0));
}

#[test]
fn a_later_record_never_merges_two_earlier_clusters() {
    let (first, second) = (words(0..100), words(12..112));
    let bridge = words(6..106);
    let clusters = Clusters::of([first.as_str(), second.as_str(), bridge.as_str()]);
    let owners: Vec<u32> = clusters.placements().iter().map(|placement| placement.owner).collect();
    assert_eq!(owners, [0, 1, 0]);
}

proptest! {
    #[test]
    fn adding_records_never_changes_earlier_ones(texts in proptest::collection::vec("([ab] ){0,8}", 0..12), cut in 0usize..12) {
        let cut = cut.min(texts.len());
        let all = Clusters::of(texts.iter().map(String::as_str));
        let some = Clusters::of(texts[..cut].iter().map(String::as_str));
        prop_assert_eq!(&all.placements()[..cut], some.placements());
        for (place, placement) in all.placements().iter().enumerate() {
            prop_assert!(placement.owner as usize <= place);
            prop_assert_eq!(all.placements()[placement.owner as usize].owner, placement.owner);
        }
    }
}
