//! Checks of bundles: what is true passes, and any change is named.

use std::sync::LazyLock;

use openledger_ledger::{ExportedEpoch, Fault, verify_bundle, verify_receipt};
use openledger_protocol::{
    Annex, BundleError, CreditNote, CreditState, EpochHeader, FinishReason, Manifest, Params, Receipt, ReceiptBundle,
    ReceiptKind, ReceiptWords, lines_root,
};
use proptest::prelude::*;
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
            ("answer", "task"),
            ("inline", "sampled"),
            ("deferred", "sampled"),
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

/// The steps of a path, `a.b[0].c` and `/a/b/0/c` alike.
fn steps(path: &str) -> Vec<&str> {
    path.split(['.', '[', ']', '/']).filter(|step| !step.is_empty()).collect()
}

/// Whether a fault names the path or something that encloses it.
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
        if ["/signed/receipt/version", "/header/version"].contains(&path.as_str()) {
            // A receipt or header of another version does not exist: it is refused as it is read.
            let error = serde_json::from_value::<T>(other).err().map(|error| error.to_string());
            assert_eq!(error.as_deref().map(|error| error.contains("version")), Some(true), "{path}: {error:?}");
            continue;
        }
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

/// The receipt's words with the lowest bit of one of them turned, which is another receipt for all
/// but the version.
fn turned(bundle: &ReceiptBundle, at: usize) -> ReceiptWords {
    let mut words = bundle.signed.receipt.words();
    words[at].0[31] ^= 1;
    words
}

#[test]
fn each_field_of_the_receipt_is_named_exactly() {
    let (bundle, epoch, manifest) = sample::files();
    for (at, name) in Receipt::FIELDS.iter().enumerate() {
        let words = turned(&bundle, at);
        let mut other = bundle.clone();
        other.words[at] = words[at];
        let found = faults(&other, &epoch, &manifest);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].field, format!("words[{at}]"));

        let mut other = bundle.clone();
        match Receipt::from_words(&words) {
            Ok(receipt) => other.signed.receipt = receipt,
            Err(error) => {
                assert_eq!((error.field, *name), ("version", "version"));
                continue;
            }
        }
        let found = faults(&other, &epoch, &manifest);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].field, format!("signed.receipt.{name}"));
    }
}

#[test]
fn each_field_of_the_annex_and_of_the_lines_is_named_exactly() {
    let (bundle, epoch, manifest) = sample::files();
    for (at, name) in Annex::FIELDS.iter().enumerate() {
        let mut words = bundle.annex.words();
        words[at].0[31] ^= 1;
        let other = ReceiptBundle { annex: Annex::from_words(&words).unwrap(), ..bundle.clone() };
        let found: Vec<_> = faults(&other, &epoch, &manifest).into_iter().map(|fault| fault.field).collect();
        assert_eq!(found, [format!("annex.{name}")]);
    }
    for at in 0..bundle.entries.len() {
        let mut other = bundle.clone();
        other.entries[at].amount.0 += 1;
        let found: Vec<_> = faults(&other, &epoch, &manifest).into_iter().map(|fault| fault.field).collect();
        assert_eq!(found, ["entries".to_owned(), format!("entries[{at}].amount"), format!("entry_proofs[{at}]")]);
    }
}

#[test]
fn what_a_receipt_follows_from_is_bound_by_its_words() {
    let (bundle, epoch, manifest) = sample::files();
    let check = |change: fn(&mut ReceiptBundle)| {
        let mut other = bundle.clone();
        change(&mut other);
        faults(&other, &epoch, &manifest).into_iter().map(|fault| fault.field).collect::<Vec<_>>()
    };
    assert_eq!(check(|bundle| bundle.parents.reverse()), ["parents"]);
    assert_eq!(check(|bundle| bundle.parents.clear()), ["parents"]);
    assert_eq!(check(|bundle| bundle.context[1].length += 1), ["context"]);
    assert_eq!(check(|bundle| bundle.context.clear()), ["context"]);
    assert_eq!(check(|bundle| bundle.params.max_platform_bps -= 1), ["params.max_platform_bps"]);
    let changed = Params { version: 2, ..Params::GENESIS };
    let mut other = sample::bundle(3);
    sample::resigned(&mut other, |receipt| receipt.params = changed.hash());
    let found = verify_receipt(&other, &manifest).unwrap_err();
    assert_eq!(found.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["params"]);
    other.params = changed;
    assert!(verify_receipt(&other, &manifest).is_ok(), "a receipt is judged by the numbers it names");
}

#[test]
fn a_bundle_of_another_kind_is_refused() {
    let mut bundle = sample::bundle(3);
    sample::resigned(&mut bundle, |receipt| receipt.kind = ReceiptKind::Training);
    let found = verify_receipt(&bundle, &sample::manifest()).unwrap_err();
    assert_eq!(found.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["signed.receipt.kind"]);
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
    assert_eq!(count, 1 + 2 + 2 * EpochHeader::WORDS + 1);
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
    for (at, name) in Receipt::FIELDS.iter().enumerate() {
        let Ok(receipt) = Receipt::from_words(&turned(&bundle, at)) else { continue };
        let mut other = bundle.clone();
        other.words = receipt.words().to_vec();
        other.signed.receipt = receipt;
        let found = faults(&other, &epoch, &manifest);
        assert!(found.iter().any(|fault| fault.field == "signed.signature"), "{name}");
    }
}

#[test]
fn what_the_words_leave_out_cannot_be_replaced_with_its_annex() {
    let (mut bundle, epoch, manifest) = sample::files();
    bundle.completion.finish_reason = FinishReason::Length;
    bundle.annex = Annex::of(&bundle.completion, &bundle.terms, manifest.hash().unwrap()).unwrap();
    let found = faults(&bundle, &epoch, &manifest);
    assert_eq!(found.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["annex"]);
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
    let lines = lines_root(&bundle.entries).unwrap();
    sample::resigned(&mut bundle, |receipt| receipt.lines = lines);
    let found = verify_receipt(&bundle, &sample::manifest()).unwrap_err();
    let fields: Vec<_> = found.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["entries[2].amount", "entries[4].amount"]);
}

#[test]
fn a_span_beyond_the_answer_is_refused_even_when_signed() {
    let mut bundle = sample::bundle(3);
    bundle.credits.spans[1].length = 10;
    let spans_root = bundle.credits.spans_root();
    sample::resigned(&mut bundle, |receipt| receipt.spans_root = spans_root);
    let found = verify_receipt(&bundle, &sample::manifest()).unwrap_err();
    assert_eq!(found.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["credits.spans[1]"]);
}

#[test]
fn a_deferred_receipt_is_true_before_its_note_with_it_and_when_it_never_comes() {
    let manifest = sample::manifest();
    let mut pending = sample::deferred(3);
    assert!(verify_receipt(&pending, &manifest).is_ok());
    pending.entries = sample::bundle(3).entries;
    let lines = lines_root(&pending.entries).unwrap();
    sample::resigned(&mut pending, |receipt| receipt.lines = lines);
    assert!(verify_receipt(&pending, &manifest).is_err(), "lines by credits that nobody signed");
    for bundle in [sample::noted(3, 1_500), sample::deferred(3)] {
        let mut closed = sample::closed(2);
        closed.push(sample::closing(&bundle));
        let epoch = openledger_ledger::close_epoch(sample::span_of(1), &closed, &[], sample::domain()).unwrap();
        let mut bundle = ReceiptBundle { entries: closed[2].entries.clone(), ..bundle };
        assert!(epoch.include(&mut bundle));
        let exported = ExportedEpoch::new(epoch.header, epoch.domain);
        assert_eq!(faults(&bundle, &exported, &manifest), []);
    }
}

#[test]
fn each_field_of_a_credit_note_is_named() {
    let (bundle, manifest) = (sample::noted(3, 1_500), sample::manifest());
    let signed = bundle.note.clone().unwrap();
    for (at, name) in CreditNote::FIELDS.iter().enumerate() {
        let mut words = signed.note.words();
        words[at].0[31] ^= 1;
        let mut other = bundle.clone();
        other.note.as_mut().unwrap().note = CreditNote::from_words(&words).unwrap();
        let found = verify_receipt(&other, &manifest).unwrap_err();
        let path = format!("note.note.{name}");
        assert!(found.iter().all(|fault| names(fault, &path)), "{name}: {found:?}");
        // Nothing in the bundle tells the note's time, so only the note as a whole is named.
        assert_eq!(found[0].field, if *name == "time" { "note" } else { path.as_str() });
    }
    let mut other = bundle.clone();
    other.credits.coverage.influence -= 1;
    let found = verify_receipt(&other, &manifest).unwrap_err();
    assert_eq!(found[0].field, "credits.coverage.influence");
    let mut other = sample::bundle(3);
    other.note = Some(signed);
    let found = verify_receipt(&other, &manifest).unwrap_err();
    assert_eq!(found.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["note"]);
}

#[test]
fn a_deferred_receipt_with_credits_in_its_words_is_refused() {
    let mut bundle = sample::bundle(3);
    sample::resigned(&mut bundle, |receipt| receipt.credit_state = CreditState::Deferred);
    let found = verify_receipt(&bundle, &sample::manifest()).unwrap_err();
    assert!(found.iter().any(|fault| fault.field == "signed.receipt"), "{found:?}");
}

#[test]
fn another_format_and_unknown_members_are_refused_by_name() {
    let whole = serde_json::to_value(sample::files().0).unwrap();
    let refused = |path: &str, name: &str, value: Value| {
        let mut other = whole.clone();
        let place = if path.is_empty() { &mut other } else { other.pointer_mut(path).unwrap() };
        place[name] = value;
        ReceiptBundle::from_json(&other.to_string()).unwrap_err()
    };
    assert!(ReceiptBundle::from_json(&whole.to_string()).is_ok());
    let old = "openledger/receipt-bundle/v1";
    assert!(matches!(refused("", "format", old.into()), BundleError::Format(found) if found == old));
    // Objects that people may extend at no place but the request.
    let mut objects = Vec::new();
    members(&whole, "", &mut objects);
    for path in objects.iter().filter(|path| !path.starts_with("/request") && !path.starts_with("/terms/holders")) {
        let error = refused(path, "comment", "unsigned".into()).to_string();
        assert!(error.contains("unknown field `comment`"), "{path}: {error}");
        assert!(steps(path).iter().all(|step| error.contains(step)), "{path}: {error}");
    }
    assert!(objects.len() > 30, "{} objects", objects.len());
}

/// Paths of all objects below `value`.
fn members(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members_of) => {
            found.push(path.to_owned());
            members_of.iter().for_each(|(name, v)| members(v, &format!("{path}/{name}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, v)| members(v, &format!("{path}/{at}"), found));
        }
        _ => {}
    }
}

/// What a mutation puts in a member's place.
fn mutated(value: &Value, how: u8) -> Value {
    match how {
        0 => Value::Null,
        1 => 7.into(),
        2 => "0x07".into(),
        3 => Value::Array(vec![value.clone()]),
        4 => serde_json::json!({ "of": value }),
        5 => (-1).into(),
        6 => "".into(),
        _ if value.is_number() || value.is_string() => changed(value),
        _ => Value::Bool(true),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Members are replaced by values of any type, taken away, or moved: each time the member is
    /// named.
    #[test]
    fn any_mutation_of_a_bundle_is_named(at: usize, how in 0u8..11, other: usize) {
        static FILES: LazyLock<(ReceiptBundle, ExportedEpoch, Manifest)> = LazyLock::new(sample::files);
        let (bundle, epoch, manifest) = &*FILES;
        let whole = serde_json::to_value(bundle).unwrap();
        let mut paths = Vec::new();
        scalars(&whole, "", &mut paths);
        members(&whole, "", &mut paths);
        paths.retain(|path| !path.is_empty());
        let path = &paths[at % paths.len()];
        let (parent, name) = path.rsplit_once('/').unwrap();
        let mut mutant = whole.clone();
        let value = whole.pointer(path).unwrap();
        let replaced = match how {
            8 => None,
            9 => Some(whole.pointer(&paths[other % paths.len()]).unwrap().clone()),
            how => Some(mutated(value, how)),
        };
        match (replaced, mutant.pointer_mut(parent).unwrap()) {
            (Some(replaced), _) => *mutant.pointer_mut(path).unwrap() = replaced,
            (None, Value::Object(members)) => drop(members.remove(name)),
            (None, Value::Array(items)) => drop(items.remove(name.parse().unwrap())),
            (None, _) => unreachable!("a member of a scalar"),
        }
        match ReceiptBundle::from_json(&mutant.to_string()) {
            Err(error) => {
                let error = error.to_string();
                let named = steps(path).into_iter().all(|step| error.contains(step));
                // A member that is gone or unknown is named by the object around it and by its own
                // name.
                prop_assert!(named || steps(parent).into_iter().all(|step| error.contains(step)), "{path}: {error}");
            }
            // The same bundle in other letters, such as an empty list instead of none.
            Ok(read) if read == *bundle => {}
            Ok(read) => {
                let found = faults(&read, epoch, manifest);
                let (named, parent) = (|path: &str| found.iter().any(|fault| names(fault, path)), parent);
                prop_assert!(!found.is_empty(), "{path} passed");
                // Of a list that lost a member, a later one may be the first that differs.
                let around = steps(parent);
                let within = found.iter().any(|fault| steps(&fault.field).starts_with(&around));
                prop_assert!(named(path) || (how == 8 && within) || related(path, &found), "{path}: {found:?}");
            }
        }
    }
}

/// Whether a fault names something within the path: a whole member was replaced, and a part of it
/// is what differs.
fn related(path: &str, found: &[Fault]) -> bool {
    let path = steps(path);
    found.iter().any(|fault| steps(&fault.field).starts_with(&path))
}
