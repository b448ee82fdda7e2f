//! The whole walk, again, and under kills.

use serde_json::Value;

use crate::program::{demo, undisturbed};

/// A summary without the times and kills of its run.
fn lasting(summary: &Value) -> Value {
    let mut summary = summary.clone();
    summary.as_object_mut().unwrap().remove("run");
    summary
}

fn sum(amounts: &Value) -> u128 {
    amounts.as_object().unwrap().values().map(|amount| amount.as_str().unwrap().parse::<u128>().unwrap()).sum()
}

#[test]
fn the_shipped_samples_run_to_an_audit_without_faults() {
    let demo = undisturbed();
    assert_eq!(demo.ran.code, 0, "--- out\n{}\n--- err\n{}", demo.ran.out, demo.ran.err);
    assert_eq!(demo.summary["audit_ok"], true);
    assert_eq!(demo.summary["broken"], serde_json::json!([]));
    assert!(demo.summary["probes"]["hits"].as_u64().unwrap() >= 7, "{}", demo.summary["probes"]);
    // Planted copies are refused by name.
    assert!(demo.ran.out.contains("bicycle-repair/065"), "{}", demo.ran.out);
    assert!(demo.ran.out.contains("finalize"), "{}", demo.ran.out);
}

#[test]
fn what_is_claimed_is_what_was_paid_in_to_the_last_unit() {
    let summary = &undisturbed().summary;
    let total: u128 = summary["epochs"][0]["header"]["total"].as_str().unwrap().parse().unwrap();
    assert!(total > 0);
    assert_eq!(sum(&summary["payouts"]), total);
    assert_eq!(sum(&summary["claimed"]), total);
    let prices = summary["receipts"].as_array().unwrap().iter();
    assert_eq!(prices.map(|receipt| receipt["price"].as_str().unwrap().parse::<u128>().unwrap()).sum::<u128>(), total);
}

#[test]
fn two_runs_with_one_seed_give_equal_roots_adapter_receipts_and_payouts() {
    let (first, again) = (undisturbed(), demo(&[]));
    assert_eq!(again.ran.code, 0, "{}\n{}", again.ran.out, again.ran.err);
    let (first, again) = (lasting(&first.summary), lasting(&again.summary));
    for part in ["contributions", "adapter", "manifest", "receipts", "epochs", "payouts", "claimed", "balances"] {
        assert_eq!(first[part], again[part], "{part}");
    }
    assert_eq!(first, again);
}

#[test]
fn twenty_kills_change_no_root_and_no_payout() {
    let (undisturbed, killed) = (undisturbed(), demo(&["--kills", "20"]));
    assert_eq!(killed.ran.code, 0, "{}\n{}", killed.ran.out, killed.ran.err);
    assert_eq!(killed.summary["run"]["kills"], 20);
    for part in ["contributions", "adapter", "manifest", "payouts", "claimed", "balances", "epochs", "receipts"] {
        assert_eq!(undisturbed.summary[part], killed.summary[part], "{part}");
    }
}
