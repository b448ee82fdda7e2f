//! What the corpus promises: the same bytes everywhere, variety, and a world that never contradicts
//! itself.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::facts::{Aspect, Subject};
use super::words::{TOPICS, TOWNS};
use super::{CorpusRecord, Draw, generate};

fn sha256(records: &[CorpusRecord]) -> String {
    let mut hash = Sha256::new();
    for record in records {
        hash.update(record.topic);
        hash.update([0]);
        hash.update(&record.text);
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_seed_gives_the_same_bytes_on_every_machine() {
    let expected = "4cbce6216b712842978aa63155e30259a9482f74ed6102e60d353ae0f5928862";
    assert_eq!(sha256(&generate(7, 500)), expected);
}

#[test]
fn different_seeds_give_different_texts() {
    let texts = |seed| -> BTreeSet<String> { generate(seed, 500).into_iter().map(|record| record.text).collect() };
    assert!(texts(1).intersection(&texts(2)).count() <= 5);
}

#[test]
fn a_shorter_corpus_is_the_start_of_a_longer_one() {
    assert_eq!(generate(3, 40), generate(3, 90)[..40]);
}

#[test]
fn every_record_is_one_to_two_lines_of_plain_text() {
    for record in generate(11, 5_000) {
        let text = &record.text;
        assert!((60..=700).contains(&text.len()), "{} bytes: {text}", text.len());
        assert!(text.bytes().all(|byte| byte == b'\n' || (0x20..0x7F).contains(&byte)), "{text}");
        assert!(!text.contains(['{', '}']) && !text.contains("  "), "unfilled shape: {text}");
        match text.split_once('\n') {
            Some((asked, answered)) => {
                assert!(asked.starts_with("Question: ") && answered.starts_with("Answer: "), "{text}");
                assert!(!answered.contains('\n'), "{text}");
            }
            None => assert!(text.ends_with(['.', '"']), "{text}"),
        }
    }
}

#[test]
fn more_than_four_fifths_of_the_lines_are_distinct() {
    let records = generate(1, 20_000);
    let lines: Vec<&str> = records.iter().flat_map(|record| record.text.lines()).collect();
    let distinct: BTreeSet<&str> = lines.iter().copied().collect();
    let percent = 100 * distinct.len() / lines.len();
    assert!(percent > 80, "{percent} % of {} lines", lines.len());
}

#[test]
fn twenty_thousand_records_fill_three_to_six_megabytes_over_all_topics() {
    let records = generate(1, 20_000);
    let bytes: usize = records.iter().map(|record| record.text.len()).sum();
    assert!((3_000_000..=6_000_000).contains(&bytes), "{bytes}");
    let mut topics = BTreeMap::new();
    for record in &records {
        *topics.entry(record.topic).or_insert(0_usize) += 1;
    }
    assert_eq!(topics.len(), TOPICS.len());
    assert!(topics.len() >= 40 && topics.values().all(|&count| count > 300), "{topics:?}");
}

#[test]
fn a_fact_does_not_depend_on_the_seed() {
    let mut told: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for seed in 0..40 {
        let mut draw = Draw::new(seed, 0);
        for _ in 0..500 {
            let subject = Subject::draw(&mut draw);
            told.entry((subject.thing, subject.town)).or_default().insert(subject.fact(Aspect::Count));
        }
    }
    assert!(told.values().all(|counts| counts.len() == 1));
    let of_all_towns: BTreeSet<&String> =
        told.iter().filter(|((thing, _), _)| *thing == "owl").flat_map(|(_, counts)| counts).collect();
    assert!(of_all_towns.len() > 5, "towns differ: {of_all_towns:?}");
}

#[test]
fn sums_are_right() {
    let mut checked = 0;
    for record in generate(5, 5_000) {
        let Some((_, answered)) = record.text.split_once("\nAnswer: ") else {
            continue;
        };
        let words: Vec<&str> = answered.split(['.', ' ']).collect();
        let (sign, number) = (words.get(1), |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok()));
        let (Some(first), Some(second), Some(result)) = (number(0), number(2), number(4)) else {
            continue;
        };
        match sign {
            Some(&"plus") => assert_eq!(first + second, result, "{answered}"),
            Some(&"minus") => assert_eq!(first - second, result, "{answered}"),
            _ => continue,
        }
        checked += 1;
    }
    assert!(checked > 100);
}

#[test]
fn the_vocabulary_has_no_empty_or_double_entries() {
    let lists = TOPICS
        .iter()
        .flat_map(|topic| [topic.things, topic.traits, topic.acts, topic.places, topic.reasons, topic.roles]);
    for list in lists.chain([TOWNS]) {
        let entries: Vec<&str> = list.split(';').collect();
        let distinct: BTreeSet<&&str> = entries.iter().collect();
        assert_eq!(distinct.len(), entries.len(), "{list}");
        assert!(entries.iter().all(|entry| !entry.is_empty() && entry.trim() == *entry), "{list}");
    }
}
