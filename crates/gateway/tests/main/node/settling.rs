//! What the story settled: who was paid, that nothing moves twice, that damage is seen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use openledger_protocol::{Address, Amount};
use serde_json::{Value, json};

use super::story::{Story, on, on_both_databases};
use super::world::{World, key};

on_both_databases! {
    the_thread_runs_from_files_to_claims_and_the_audit_holds,
    a_sold_contribution_pays_its_old_holder_before_and_its_new_one_after,
    two_contributors_of_one_batch_get_half_each_and_the_first_the_remainder,
    settling_or_claiming_twice_moves_nothing_twice,
    a_reopened_node_keeps_its_models_and_answers,
    a_job_of_the_run_before_goes_on_at_once_and_what_cannot_succeed_ends_with_its_reason,
    a_receipt_that_was_tampered_with_in_the_database_fails_the_audit,
}

fn amount(value: &Value) -> Amount {
    serde_json::from_value(value.clone()).unwrap()
}

fn the_thread_runs_from_files_to_claims_and_the_audit_holds(story: &Story) {
    audited(story);
}

pub(crate) fn audited(story: &Story) {
    assert_eq!(story.job["result"]["records"], 26);
    assert_eq!(story.audit["ok"], true, "{}", story.audit);
    let paid: u128 = story.claims["claims"].as_array().unwrap().iter().map(|claim| amount(&claim["amount"]).0).sum();
    let prices = [&story.before_sale, &story.after_sale].map(|bundle| amount(&bundle["signed"]["receipt"]["price"]).0);
    assert_eq!(paid, prices.iter().sum::<u128>(), "all that was paid in is paid out");
}

fn a_sold_contribution_pays_its_old_holder_before_and_its_new_one_after(story: &Story) {
    each_holder_is_paid_its_part(story);
}

pub(crate) fn each_holder_is_paid_its_part(story: &Story) {
    let before = World::payees(&story.before_sale)[&story.sold];
    let after = World::payees(&story.after_sale)[&story.sold];
    assert_eq!(before.0, key("dark-adapted").address());
    assert_eq!(after.0, key("buyer").address());
    let owed: BTreeMap<Address, Amount> = story.payouts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|payout| (serde_json::from_value(payout["account"].clone()).unwrap(), amount(&payout["cumulative"])))
        .collect();
    assert_eq!(owed[&before.0], before.1);
    assert_eq!(owed[&after.0], after.1);
}

fn two_contributors_of_one_batch_get_half_each_and_the_first_the_remainder(story: &Story) {
    each_contributor_gets_half(story);
}

pub(crate) fn each_contributor_gets_half(story: &Story) {
    let line = |bundle| World::payees(bundle)[&story.pair.0];
    assert_eq!(line(&story.before_sale).0, story.pair.1, "the line is paid to their splitter");
    let earned = line(&story.before_sale).1.plus(line(&story.after_sale).1).unwrap();
    assert_eq!(story.in_splitter, earned);
    let [first, second] = story.halves.map(|(before, after)| after.0 - before.0);
    assert_eq!((first, second), (earned.0 - earned.0 / 2, earned.0 / 2));
}

fn settling_or_claiming_twice_moves_nothing_twice(story: &Story) {
    assert_eq!((story.settled_again.status, story.settled_again.code()), (409, "no-receipts"));
    assert_eq!(story.settled["header"]["epoch"], 1);
    assert!(!story.claims["claims"].as_array().unwrap().is_empty());
    assert_eq!(story.claims_again, story.claims, "same transactions, same amounts, same balances");
}

fn a_reopened_node_keeps_its_models_and_answers(story: &Story) {
    assert_eq!(story.models[0], story.models[1]);
    assert!(story.replayed.replayed);
    let again = story.replayed.clone().done();
    assert_eq!(again["choices"], story.first_answer["choices"]);
    assert_eq!(again["openledger"]["receipt_id"], story.first_answer["openledger"]["receipt_id"]);
}

fn a_job_of_the_run_before_goes_on_at_once_and_what_cannot_succeed_ends_with_its_reason(story: &Story) {
    on(async {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let card = story.world.get(&format!("/api/v1/jobs/{}", story.left_job)).await.done();
            if card["state"] == "failed" {
                assert_eq!((&card["attempts"], &card["result"]), (&json!(2), &Value::Null));
                assert!(card["cause"].is_string(), "{card}");
                break;
            }
            assert!(Instant::now() < deadline, "held for an hour: {card}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

fn a_receipt_that_was_tampered_with_in_the_database_fails_the_audit(story: &Story) {
    let world = &story.world;
    on(async {
        let payer = world.payer("tampered").await;
        let answer = world.ask(&payer, "What is a weir?", json!({})).await.done();
        let id = answer["openledger"]["receipt_id"].as_str().unwrap();
        let id = hex::decode(id.trim_start_matches("0x")).unwrap();
        let mut rows = world.database.rows(&world.data).await;
        let kept = rows.body(&id).await;
        let mut body: Value = serde_json::from_str(&kept).unwrap();
        let text = format!("{}!", body["completion"]["text"].as_str().unwrap());
        body["completion"]["text"] = text.into();
        for (kept, sound) in [(body.to_string(), false), ("{".to_owned(), false), (kept, true)] {
            rows.write_body(&id, &kept).await;
            let audit = world.get("/api/v1/audit").await.done();
            let checks = audit["checks"].as_array().unwrap();
            let check = checks
                .iter()
                .find(|check| check["name"].as_str().unwrap().contains("open epoch: every receipt"))
                .unwrap();
            assert_eq!((&audit["ok"], &check["ok"]), (&json!(sound), &json!(sound)), "{audit}");
        }
    });
}
