//! Checks of bundles: what is true passes, and any change is named.

use openledger_ledger::{ExportedEpoch, Fault, verify_bundle, verify_receipt};
use openledger_protocol::{Annex, FinishReason, Manifest, RECEIPT_FIELDS, Receipt, ReceiptBundle};
use serde_json::Value;

use crate::sample;

/// Paths of all scalars below `value`, with `/` between steps (JSON pointers).
fn scalars(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, v)| scalars(v, &format!("{path}/{name}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, v)| scalars(v, &format!("{path}/{at}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

/// Another value of the same type.
fn changed(value: &Value) -> Value {
    let swap = |text: &str| {
        let pairs = [
            ("stop", "length"),
            ("spans", "influence"),
            ("influence", "spans"),
            ("rest", "influence"),
            ("treasury", "validation"),
        ];
        let roles = ["validation", "insurance", "owner", "node", "stakers", "contributor", "parent"];
        let named = pairs.iter().find(|(from, _)| *from == text).map(|(_, to)| (*to).to_owned());
        named.or_else(|| roles.contains(&text).then(|| "treasury".to_owned()))
    };
    match value {
        Value::Number(number) => (number.as_u64().unwrap() ^ 1).into(),
        Value::String(text) if swap(text).is_some() => swap(text).unwrap().into(),
        Value::String(text) if text.starts_with("0x") || text.bytes().all(|b| b.is_ascii_digit()) => {
            let last = if text.ends_with('1') { '2' } else { '1' };
            format!("{}{last}", &text[..text.len() - 1]).into()
        }
        Value::String(text) => format!("{text}x").into(),
        other => panic!("no other value for {other}"),
    }
}

/// The words of a path, `a.b[0].c` and `/a/b/0/c` alike.
fn steps(path: &str) -> Vec<&str> {
    path.split(['.', '[', ']', '/']).filter(|step| !step.is_empty()).collect()
}

/// Whether a fault names the path or something that encloses it (JSON has `annex` flat, faults too).
fn names(fault: &Fault, path: &str) -> bool {
    let (fault, path) = (steps(&fault.field), steps(path));
    path.starts_with(&fault)
}

/// Changes every scalar of a file in turn; each change must be refused by a fault that names it.
#[track_caller]
fn every_change_is_named<T: serde::Serialize + serde::de::DeserializeOwned>(
    file: &T,
    prefix: &str,
    check: impl Fn(&T) -> Vec<Fault>,
) -> usize {
    let whole = serde_json::to_value(file).unwrap();
    let mut paths = Vec::new();
    scalars(&whole, "", &mut paths);
    for path in &paths {
        let mut other = whole.clone();
        let place = other.pointer_mut(path).unwrap();
        let (before, after) = (place.clone(), changed(place));
        assert_ne!(before, after, "{path}");
        *place = after;
        let file: T = serde_json::from_value(other).unwrap_or_else(|error| panic!("{path}: {error}"));
        let faults = check(&file);
        assert!(!faults.is_empty(), "a change of {prefix}{path} passed");
        assert!(faults.iter().any(|fault| names(fault, &format!("{prefix}{path}"))), "{prefix}{path}: {faults:?}");
    }
    paths.len()
}

fn faults(bundle: &ReceiptBundle, epoch: &ExportedEpoch, manifest: &Manifest) -> Vec<Fault> {
    verify_bundle(bundle, epoch, manifest).err().unwrap_or_default()
}

#[test]
fn a_true_bundle_passes_and_says_what_to_compare_with_the_chain() {
    let (bundle, epoch, manifest) = sample::files();
    let verified = verify_bundle(&bundle, &epoch, &manifest).unwrap();
    assert_eq!(verified.receipt, bundle.signed.receipt.id());
    assert_eq!(verified.node, sample::key().address());
    assert_eq!(verified.epoch_hash, Some(epoch.header.hash()));
    assert_eq!(verified.manifest, manifest.hash().unwrap());
}

#[test]
fn a_bundle_before_its_epoch_passes_all_but_inclusion() {
    let bundle = sample::bundle(3);
    assert_eq!(verify_receipt(&bundle, &sample::manifest()).unwrap().epoch_hash, None);
    let (_, epoch, manifest) = sample::files();
    let found = faults(&bundle, &epoch, &manifest);
    assert_eq!(found.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["inclusion", "entry_proofs"]);
}

#[test]
fn each_of_the_29_receipt_fields_is_named_exactly() {
    let (bundle, epoch, manifest) = sample::files();
    for (at, name) in RECEIPT_FIELDS.iter().enumerate() {
        let mut words = bundle.signed.receipt.words();
        words[at].0[31] ^= 1;
        let mut other = bundle.clone();
        other.signed.receipt = Receipt::from_words(&words).unwrap();
        let found = faults(&other, &epoch, &manifest);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].field, format!("signed.receipt.{name}"));

        let mut other = bundle.clone();
        other.words[at] = words[at];
        let found = faults(&other, &epoch, &manifest);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].field, format!("words[{at}]"));
    }
}

#[test]
fn any_changed_value_of_the_bundle_is_named() {
    let (bundle, epoch, manifest) = sample::files();
    let count = every_change_is_named(&bundle, "", |bundle| faults(bundle, &epoch, &manifest));
    assert!(count > 200, "{count} values");
}

#[test]
fn any_changed_value_of_the_epoch_is_named() {
    let (bundle, epoch, manifest) = sample::files();
    let count = every_change_is_named(&epoch, "epoch", |epoch| faults(&bundle, epoch, &manifest));
    assert_eq!(count, 1 + 2 + 7 + 7 + 1);
}

#[test]
fn any_changed_value_of_the_manifest_is_named() {
    let (bundle, epoch, manifest) = sample::files();
    let count = every_change_is_named(&manifest, "manifest", |manifest| faults(&bundle, &epoch, manifest));
    assert!(count > 30, "{count} values");
}

#[test]
fn a_field_changed_together_with_its_word_breaks_the_signature() {
    let (bundle, epoch, manifest) = sample::files();
    for (at, name) in RECEIPT_FIELDS.iter().enumerate() {
        let mut other = bundle.clone();
        other.words[at].0[31] ^= 1;
        other.signed.receipt = Receipt::from_words(&other.words.clone().try_into().unwrap()).unwrap();
        let found = faults(&other, &epoch, &manifest);
        assert!(found.iter().any(|fault| fault.field == "signed.signature"), "{name}");
    }
}

#[test]
fn what_the_words_leave_out_cannot_be_replaced_with_its_annex() {
    let (mut bundle, epoch, manifest) = sample::files();
    bundle.completion.finish_reason = FinishReason::Length;
    let hash = manifest.hash().unwrap();
    bundle.annex.annex = Annex::of(&bundle.completion, &bundle.terms, hash, &bundle.entries).unwrap();
    let found = faults(&bundle, &epoch, &manifest);
    assert_eq!(found.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["annex.signature"]);
}

#[test]
fn a_bundle_of_another_epoch_is_refused_by_its_inclusion() {
    let (bundle, _, manifest) = sample::files();
    let other = sample::epoch(2, &[]);
    let other = ExportedEpoch::new(other.header, other.domain);
    let found = faults(&bundle, &other, &manifest);
    assert!(found.iter().any(|fault| fault.field == "inclusion"));
    assert!(found.iter().all(|fault| fault.field.starts_with("inclusion") || fault.field.starts_with("entry_proofs")));
}

#[test]
fn a_node_cannot_sign_a_split_of_its_own_making() {
    let mut bundle = sample::bundle(3);
    let (insurance, node) = (2, 4);
    bundle.entries[insurance].amount.0 -= 1;
    bundle.entries[node].amount.0 += 1;
    let manifest = sample::manifest();
    let annex = Annex::of(&bundle.completion, &bundle.terms, manifest.hash().unwrap(), &bundle.entries).unwrap();
    bundle.annex = annex.sign(&bundle.signed, &sample::key());
    let found = verify_receipt(&bundle, &manifest).unwrap_err();
    let fields: Vec<_> = found.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["entries[2].amount", "entries[4].amount"]);
}

#[test]
fn a_span_beyond_the_answer_is_refused_even_when_signed() {
    let mut bundle = sample::bundle(3);
    bundle.credits.spans[1].length = 10;
    let mut receipt = bundle.signed.receipt.clone();
    receipt.spans_root = bundle.credits.spans_root();
    bundle.words = receipt.words().to_vec();
    bundle.signed = receipt.sign(sample::domain(), &sample::key());
    bundle.annex = bundle.annex.annex.clone().sign(&bundle.signed, &sample::key());
    let found = verify_receipt(&bundle, &sample::manifest()).unwrap_err();
    assert_eq!(found.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["credits.spans[1]"]);
}
