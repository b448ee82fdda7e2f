//! The programs in `examples/` that need no node do what they say.

use openledger_protocol::Amount;

#[path = "../../../../examples/split_a_price.rs"]
mod split_a_price;
#[path = "../../../../examples/verify_a_receipt.rs"]
mod verify_a_receipt;

#[test]
fn the_split_example_pays_its_price_to_the_last_unit() {
    let lines = split_a_price::lines().unwrap();
    assert_eq!(Amount::sum(lines.iter().map(|line| line.amount)).unwrap(), Amount::OPEN);
}

#[test]
fn the_verify_example_takes_the_golden_receipt_and_names_a_changed_field() {
    let [bundle, epoch, manifest] = crate::vectors::receipt_files();
    let verdict = verify_a_receipt::verify(bundle.as_bytes(), epoch.as_bytes(), manifest.as_bytes()).unwrap();
    assert!(verdict.starts_with("receipt 0x"), "{verdict}");
    let changed = bundle.replace("High tide", "Low tide");
    let faults = verify_a_receipt::verify(changed.as_bytes(), epoch.as_bytes(), manifest.as_bytes()).unwrap_err();
    assert!(faults.to_string().contains("completion.text"), "{faults}");
}
