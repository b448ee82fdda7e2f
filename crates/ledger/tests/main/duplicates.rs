//! Bundles, epochs and manifests in which a member appears twice: each is refused by name.

use std::sync::LazyLock;

use openledger_ledger::ExportedEpoch;
use openledger_protocol::{Manifest, ReceiptBundle, read_json};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::sample;

/// The number of members of all objects below `value`.
fn count(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.values().map(|value| 1 + count(value)).sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

/// The text of `value` with its member number `at` written twice, and that member's name.
fn repeated(value: &Value, at: usize) -> (String, String) {
    let (mut text, mut left, mut name) = (String::new(), Some(at), None);
    write(value, &mut left, &mut name, &mut text);
    (text, name.unwrap())
}

/// Writes JSON; `left` members are passed before one is written twice.
fn write(value: &Value, left: &mut Option<usize>, found: &mut Option<String>, text: &mut String) {
    match value {
        Value::Object(members) => {
            text.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                if *left == Some(0) {
                    text.push_str(&format!("{}:{value},", json!(name)));
                    *found = Some(name.clone());
                }
                *left = left.and_then(|left| left.checked_sub(1));
                text.push_str(&format!("{}:", json!(name)));
                write(value, left, found, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, value) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(value, left, found, text);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// Checks that `read` refuses `value` with any member twice, by that member's name.
#[track_caller]
fn refused_everywhere<E: std::fmt::Display>(value: &Value, least: usize, read: impl Fn(&str) -> Result<(), E>) {
    let members = count(value);
    assert!(members >= least, "{members} members");
    assert!(read(&value.to_string()).is_ok());
    for at in 0..members {
        let (text, name) = repeated(value, at);
        let error = read(&text).err().unwrap_or_else(|| panic!("`{name}` (member {at}) twice was taken")).to_string();
        let named = error.contains(&name);
        assert!(named && (error.contains("duplicate") || error.contains("twice")), "{name}: {error}");
    }
}

#[test]
fn a_member_that_appears_twice_is_refused_by_name_wherever_it_is() {
    let (mut bundle, epoch, mut manifest) = sample::files();
    bundle.request = json!({ "messages": [{ "role": "user", "content": [{ "text": "Which lamp?" }] }], "n": 1 });
    assert!(!bundle.terms.holders.is_empty());
    manifest.recipe.insert("steps".into(), json!({ "first": "1", "last": ["2", { "of": "3" }] }));
    let json = |value: Result<Value, serde_json::Error>| value.unwrap();
    let bundle = json(serde_json::to_value(&bundle));
    refused_everywhere(&bundle, 100, |text| ReceiptBundle::from_json(text).map(drop));
    // Readers that do not go through `from_json` refuse it as well.
    refused_everywhere(&bundle, 100, |text| serde_json::from_str::<ReceiptBundle>(text).map(drop));
    let epoch = json(serde_json::to_value(&epoch));
    refused_everywhere(&epoch, 15, |text| serde_json::from_str::<ExportedEpoch>(text).map(drop));
    let manifest = json(serde_json::to_value(&manifest));
    refused_everywhere(&manifest, 20, |text| serde_json::from_str::<Manifest>(text).map(drop));
}

#[test]
fn a_false_question_before_the_true_one_is_refused_and_its_path_named() {
    let bundle = serde_json::to_value(sample::files().0).unwrap();
    let text = bundle.to_string();
    let request = format!("\"request\":{}", bundle["request"]);
    let two = text.replace(&request, &format!("\"request\":\"another question\",{request}"));
    assert_ne!(two, text);
    let error = ReceiptBundle::from_json(&two).unwrap_err().to_string();
    assert!(error.contains("duplicate field `request`"), "{error}");
    let inner = r#""request":{"messages":[{"content":"another question","content":"the question"}]}"#;
    let error = ReceiptBundle::from_json(&text.replace(&request, inner)).unwrap_err().to_string();
    assert!(error.contains("`request.messages[0].content` appears twice"), "{error}");
    // A reader of files names the object around a field that is there twice.
    let two = text.replacen("\"cumulative\":", "\"cumulative\":\"1\",\"cumulative\":", 1);
    let error = read_json::<ReceiptBundle>(two.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("signed.receipt") && error.contains("duplicate field `cumulative`"), "{error}");
    assert!(read_json::<ReceiptBundle>(text.as_bytes()).is_ok());
    assert!(read_json::<ReceiptBundle>(format!("{text} {{}}").as_bytes()).is_err(), "more after the bundle");
}

/// Any JSON that a request may hold.
fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1_000_000i64..1_000_000).prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 1..5)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// A request of any shape is read as it is, and refused with any of its members twice.
    #[test]
    fn no_request_with_a_repeated_member_is_read(request in any_json(), at: usize) {
        static BUNDLE: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(sample::files().0).unwrap());
        let mut whole = BUNDLE.clone();
        whole["request"] = request.clone();
        let read = ReceiptBundle::from_json(&whole.to_string()).unwrap();
        prop_assert_eq!(&read.request, &request);
        let members = count(&request);
        if members > 0 {
            let (twice, _) = repeated(&request, at % members);
            whole["request"] = json!("HERE");
            let text = whole.to_string().replace("\"HERE\"", &twice);
            let error = ReceiptBundle::from_json(&text).unwrap_err().to_string();
            prop_assert!(error.contains("appears twice"), "{}: {}", text, error);
        }
    }
}
