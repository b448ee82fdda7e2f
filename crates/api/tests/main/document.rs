//! The committed document is the generated one, and is complete enough for a generated client.

use std::collections::BTreeSet;
use std::path::Path;

use openledger_api::{openapi, routes};
use serde_json::Value;

/// The committed document; `UPDATE_OPENAPI=1` writes it anew.
fn committed() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&file, openapi::generated().unwrap()).unwrap();
    }
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let (committed, generated) = (committed(), openapi::generated().unwrap());
    let differs = committed.lines().zip(generated.lines()).position(|(old, new)| old != new);
    assert!(
        committed == generated,
        "docs/openapi.json differs from line {}; UPDATE_OPENAPI=1 writes it anew",
        differs.map_or(committed.lines().count(), |at| at + 1),
    );
}

/// All objects of a document, with the way to each.
fn objects<'v>(value: &'v Value, way: &str, found: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Object(members) => {
            found.push((way.to_owned(), value));
            members.iter().for_each(|(name, value)| objects(value, &format!("{way}/{name}"), found));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(at, item)| objects(item, &format!("{way}/{at}"), found));
        }
        _ => {}
    }
}

#[test]
fn every_reference_leads_to_a_type_and_every_type_is_used() {
    let document = openapi::document();
    let mut found = Vec::new();
    objects(&document, "", &mut found);
    let references: BTreeSet<&str> = found.iter().filter_map(|(_, object)| object.get("$ref")?.as_str()).collect();
    let references: BTreeSet<&str> = references.into_iter().filter(|at| !at.contains("/responses/")).collect();
    let types: BTreeSet<String> = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
        .map(|name| format!("#/components/schemas/{name}"))
        .collect();
    for reference in &references {
        assert!(types.contains(*reference), "{reference} leads nowhere");
    }
    for name in &types {
        assert!(references.contains(name.as_str()), "{name} is used nowhere");
    }
}

/// Places whose form is free, with the reason.
const FREE: [(&str, &str); 5] = [
    ("/components/schemas/Record/properties/meta", "further members of a contributor's line"),
    ("/components/schemas/Manifest/properties/recipe", "a recipe has other members in every kind"),
    ("/components/schemas/ReceiptBundle/properties/request", "chat and text requests differ"),
    ("/components/schemas/ReceiptBundleInput/properties/request", "the same in a request"),
    ("/paths/~openapi.json", "the document itself"),
];

#[test]
fn every_body_is_typed_but_for_named_free_members() {
    let document = openapi::document();
    let mut found = Vec::new();
    objects(&document, "", &mut found);
    for (way, object) in found {
        let schema = way.ends_with("/schema") || way.contains("/properties/");
        let says_nothing =
            ["$ref", "type", "anyOf", "oneOf", "allOf", "const", "enum"].iter().all(|word| object.get(word).is_none());
        let untyped_object = object.get("type").is_some_and(|kind| kind == "object")
            && ["properties", "additionalProperties"].iter().all(|word| object.get(word).is_none());
        let free = FREE.iter().any(|(place, _)| way.replace("/openapi", "~openapi").contains(place));
        let parent = way.rsplit('/').nth(1) == Some("properties") || way.ends_with("/schema");
        assert!(!(schema && parent && (says_nothing || untyped_object)) || free, "{way}: {object}");
    }
}

#[test]
fn every_operation_has_an_id_of_its_own_a_success_and_typed_errors() {
    let document = openapi::document();
    let mut ids = BTreeSet::new();
    for route in routes() {
        let operation = &document["paths"][route.path][route.method.name().to_lowercase()];
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{}", route.path);
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            let shared = response["$ref"].as_str().map(|at| at.rsplit('/').next().unwrap());
            let response = shared.map_or(response, |name| &document["components"]["responses"][name]);
            let content = response["content"].as_object().unwrap();
            assert!(!content.is_empty(), "{} {status}", route.path);
            assert!(content.values().all(|body| body["schema"].is_object()));
        }
        assert!(responses.contains_key("default"), "{}", route.path);
        let security = operation["security"].as_array().unwrap();
        assert!(!security.is_empty(), "{} says nothing about credentials", route.path);
    }
}

#[test]
fn a_request_of_the_native_api_with_an_unknown_member_is_refused() {
    let document = openapi::document();
    let schemas = &document["components"]["schemas"];
    for route in routes().iter().filter(|route| route.path.starts_with("/api/")) {
        let operation = &document["paths"][route.path][route.method.name().to_lowercase()];
        let content = &operation["requestBody"]["content"]["application/json"]["schema"];
        let Some(reference) = content["$ref"].as_str() else { continue };
        let schema = &schemas[reference.rsplit('/').next().unwrap()];
        for variant in schema["oneOf"].as_array().unwrap_or(&vec![schema.clone()]) {
            assert_eq!(variant["additionalProperties"], false, "{}: {variant}", route.path);
        }
    }
}
