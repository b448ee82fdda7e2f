//! Intake: what a file becomes beside what the datanet holds.

use std::collections::BTreeMap;

use openledger_datanet::intake::{Plan, Registry, UnknownContributors, accounts_of, contributions, plan};
use openledger_datanet::near::WHOLE;
use openledger_datanet::{Dedup, Earlier, Limits, PrepareError, Salting, batches, handle, parse_jsonl, title_name};
use openledger_protocol::{Address, B256, DatanetId, contribution_id};

use crate::line;

const LONG: &str = "the ferry bell is rung twice before the last crossing of the evening by whoever holds the rope";

/// What `lines` become in a datanet that holds `held`: (id, text).
fn planned(held: &[(&str, &str)], lines: &[String]) -> Plan {
    let parsed = parse_jsonl(lines.join("\n").as_bytes(), &Limits::default()).unwrap();
    let known: BTreeMap<B256, &str> = held.iter().map(|(id, text)| (Dedup::key(text), *id)).collect();
    let known = |hash| known.get(&hash).map(|id| Earlier { id: (*id).to_owned(), line: None, record: None });
    plan(parsed, &known, held.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())))
}

#[test]
fn what_is_held_is_refused_and_what_is_nearly_held_keeps_its_own_words() {
    let near = LONG.replace("rope", "line");
    let lines = [line("copy", "mila", LONG), line("near", "mila", &near), line("new", "mila", "Quite another thing.")];
    let plan = planned(&[("first", LONG)], &lines);
    assert_eq!(plan.lines, 3);
    assert_eq!(plan.accepted.iter().map(|p| p.record.id.as_str()).collect::<Vec<_>>(), ["near", "new"]);
    assert_eq!(plan.refused[0].to_string(), "line 1 (`copy`): the same text as `first`, which was accepted earlier");
    assert_eq!(plan.near.iter().map(|n| (n.record.as_str(), n.of.as_str())).collect::<Vec<_>>(), [("near", "first")]);
    assert!(plan.multiplier("near") < WHOLE && plan.multiplier("new") == WHOLE);
}

#[test]
fn near_copies_within_a_file_belong_to_the_first_of_them() {
    let near = LONG.replace("rope", "line");
    let plan = planned(&[], &[line("a", "mila", LONG), line("b", "bruno", &near)]);
    assert_eq!(plan.near.iter().map(|n| (n.record.as_str(), n.of.as_str())).collect::<Vec<_>>(), [("b", "a")]);
    assert_eq!(plan.multiplier("a"), WHOLE);
}

fn account(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

fn registry() -> Registry<'static> {
    Registry {
        chain_id: 1,
        contributions: account(9),
        datanet: DatanetId(3),
        terms: B256::repeat_byte(5),
        salting: Salting::Public,
    }
}

#[test]
fn batches_become_contributions_under_their_registrants_running_numbers() {
    let several = r#"{"id": "c", "contributors": ["mila", "bruno"], "license": "MIT", "text": "three"}"#;
    let lines = [line("a", "mila", "one"), line("b", "bruno", "two"), several.to_owned()];
    let batches = batches(planned(&[], &lines).accepted);
    let accounts = BTreeMap::from([("mila".to_owned(), account(1)), ("bruno".to_owned(), account(2))]);
    let paid = accounts_of(&batches, &accounts).unwrap();
    assert_eq!(paid, [vec![account(1)], vec![account(2)], vec![account(1), account(2)]]);

    let nonces = BTreeMap::from([(account(1), 7), (account(2), 0)]);
    let made = contributions(batches.clone(), paid.clone(), nonces, &registry()).unwrap();
    let numbers: Vec<_> = made.iter().map(|m| (m.contribution.registrant, m.contribution.nonce)).collect();
    assert_eq!(numbers, [(account(1), 7), (account(2), 0), (account(1), 8)]);
    assert_eq!(made[2].contribution.id, contribution_id(1, account(9), account(1), 8));
    assert_eq!(made[2].contribution.contributors, [account(1), account(2)]);

    let error = contributions(batches, paid, BTreeMap::from([(account(1), 7)]), &registry()).unwrap_err();
    assert_eq!(error, PrepareError::NoNonce { registrant: account(2) });
}

#[test]
fn all_contributors_without_an_account_are_named_and_nothing_is_made() {
    let lines = [line("a", "mila", "one"), line("b", "toll-house", "two"), line("c", "Zofia S\u{301}", "three")];
    let batches = batches(planned(&[], &lines).accepted);
    let mut accounts = BTreeMap::from([("mila".to_owned(), account(1))]);
    let UnknownContributors(unknown) = accounts_of(&batches, &accounts).unwrap_err();
    assert_eq!(unknown.iter().map(String::as_str).collect::<Vec<_>>(), ["Zofia \u{15a}", "toll-house"]);
    accounts.insert("toll-house".into(), account(2));
    // The account was noted in the composed spelling.
    accounts.insert(handle("Zofia \u{15a}").unwrap(), account(3));
    assert_eq!(accounts_of(&batches, &accounts).unwrap().len(), 3);
}

#[test]
fn names_of_datanets_and_models_have_one_spelling_and_a_limit() {
    assert_eq!(title_name("  Cafe\u{301} guide ").unwrap(), "Caf\u{e9} guide");
    assert_eq!(title_name(&"x".repeat(200)).unwrap().len(), 200);
    for bad in ["", "  \u{200d} ", "turned\u{202e}", "two\nlines", &"x".repeat(201)] {
        assert!(title_name(bad).is_err(), "{bad:?}");
    }
}
