//! The OpenAPI 3.1 document of a node, generated from [`crate::routes()`] and the types it names.
//!
//! `docs/openapi.json` is this document; a test holds it against the code. Types of requests and of
//! responses are described apart, since a member with a default may be left out of a request only;
//! where the two differ, the request's type is named `…Input`.

use std::collections::BTreeSet;

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::policy::{Access, PrincipalKind, Reach};
use crate::routes::{EVENTS, Errors};
use crate::{Parameter, Place, Problem, ProblemKind, Route, routes};

/// Where the document keeps the types that have a name.
const COMPONENTS: &str = "#/components/schemas/";

/// The committed document, as a node serves it.
#[must_use]
pub fn text() -> &'static str {
    include_str!("../../../docs/openapi.json")
}

/// The document as text, generated from the routes.
///
/// # Errors
/// What serde_json says of a value that it cannot write; none of these types has one.
pub fn generated() -> serde_json::Result<String> {
    serde_json::to_string_pretty(&document()).map(|text| text + "\n")
}

/// The document, generated from the routes.
#[must_use]
pub fn document() -> Value {
    let mut requests = generator(Contract::Deserialize);
    let mut responses = generator(Contract::Serialize);
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let method = route.method.name().to_lowercase();
        let operation = operation(route, &mut requests, &mut responses);
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[method] = operation;
    }
    subschema::<Problem>(&mut responses);
    subschema::<crate::openai::ErrorBody>(&mut responses);
    let mut paths = Value::Object(paths);
    let schemas = merged(&mut paths, requests, responses);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "OpenLedger node",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The HTTP API of a node. Amounts are decimal strings of base units \
                (10^-18 OPEN), times are Unix seconds.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "operator": {
                    "type": "http", "scheme": "bearer",
                    "description": "The operator's token, `<data>/operator.token` of the node.",
                },
                "account": {
                    "type": "http", "scheme": "bearer",
                    "description": "The key of an account: of an owner, a contributor or a \
                        challenger with a bond.",
                },
                "channel": {
                    "type": "http", "scheme": "bearer",
                    "description": "The API key of a payment channel, `ol_…`.",
                },
                "agent": {
                    "type": "http", "scheme": "bearer",
                    "description": "The key of an agent.",
                },
            },
            "responses": error_responses(),
            "schemas": schemas,
        },
    })
}

fn generator(contract: Contract) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.contract = contract;
    });
    settings.into_generator()
}

fn subschema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn operation(route: &Route, requests: &mut SchemaGenerator, responses: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "tags": [route.tag],
        "security": security(&route.access),
        "x-openledger-access": access(&route.access),
    });
    if !route.parameters.is_empty() {
        let parameters = route.parameters.iter().map(|at| parameter(at, requests));
        operation["parameters"] = parameters.collect();
    }
    if let Some(body) = &route.body {
        // Markers keep the types of requests apart until they are merged.
        let schema = body.schema.map_or_else(bytes, |schema| input(schema(requests)));
        operation["requestBody"] =
            json!({ "required": body.required, "content": { body.media: { "schema": schema } } });
    }
    let mut answers = Map::new();
    for outcome in &route.outcomes {
        let mut content = Map::new();
        for (media, schema) in &outcome.bodies {
            let schema = schema.map_or_else(string, |schema| schema(responses).to_value());
            let schema = if *media == EVENTS { event(&schema, route.form) } else { schema };
            content.insert((*media).to_owned(), json!({ "schema": schema }));
        }
        let answer = json!({ "description": outcome.about, "content": content });
        answers.insert(outcome.status.to_string(), answer);
    }
    for status in errors(route) {
        answers.entry(status.to_string()).or_insert_with(|| error_reference(Some(status), route.form));
    }
    answers.insert("default".to_owned(), error_reference(None, route.form));
    operation["responses"] = Value::Object(answers);
    operation
}

/// Statuses of errors of a route, those that come with its policy included.
fn errors(route: &Route) -> BTreeSet<u16> {
    let mut statuses: BTreeSet<u16> = route.errors.iter().copied().collect();
    if route.access.anonymous != Reach::All {
        statuses.extend([401, 403]);
    }
    statuses.insert(500);
    statuses.extend([503, 504]);
    statuses
}

/// The name of a shared response: `Problem404`, `OpenAiError404`, or without a status for any
/// other.
fn error_name(status: Option<u16>, form: Errors) -> String {
    let form = match form {
        Errors::Problem => "Problem",
        Errors::OpenAi => "OpenAiError",
    };
    status.map_or_else(|| form.to_owned(), |status| format!("{form}{status}"))
}

fn error_reference(status: Option<u16>, form: Errors) -> Value {
    json!({ "$ref": format!("#/components/responses/{}", error_name(status, form)) })
}

/// The responses of error that routes refer to.
fn error_responses() -> Value {
    let mut all: BTreeSet<(Option<u16>, Errors)> = BTreeSet::new();
    for route in routes() {
        all.insert((None, route.form));
        all.extend(errors(route).into_iter().map(|status| (Some(status), route.form)));
    }
    let responses = all.into_iter().map(|(status, form)| (error_name(status, form), error(status, form)));
    responses.collect::<Map<_, _>>().into()
}

fn error(status: Option<u16>, form: Errors) -> Value {
    let (media, schema) = match form {
        Errors::Problem => (Problem::MEDIA_TYPE, "Problem"),
        Errors::OpenAi => ("application/json", "ErrorBody"),
    };
    let about = status.map_or("Another error", |status| ProblemKind::of_status(status).title);
    json!({
        "description": about,
        "content": { media: { "schema": { "$ref": format!("{COMPONENTS}{schema}") } } },
    })
}

fn parameter(parameter: &Parameter, requests: &mut SchemaGenerator) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    let mut schema = (parameter.schema)(requests);
    // What the parameter means is said beside it.
    schema.remove("description");
    json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.required,
        "description": parameter.about,
        "schema": input(schema),
    })
}

/// The member that marks a schema of a request until the types are merged.
const INPUT: &str = "x-input";

fn input(schema: Schema) -> Value {
    json!({ INPUT: schema })
}

fn bytes() -> Value {
    json!({ "type": "string", "contentMediaType": "application/jsonl" })
}

fn string() -> Value {
    json!({ "type": "string" })
}

/// One server-sent event whose `data` is `schema` in JSON.
///
/// A stream in OpenAI's form also has the event `openledger.receipt`, and ends with `[DONE]` or an
/// error.
fn event(schema: &Value, form: Errors) -> Value {
    let data =
        |schema: &Value| json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": schema });
    let data = match form {
        Errors::Problem => data(schema),
        Errors::OpenAi => {
            let named = ["AnswerNote", "ErrorBody"].map(|name| data(&json!({ "$ref": format!("{COMPONENTS}{name}") })));
            let mut forms = vec![json!({ "const": "[DONE]" }), data(schema)];
            forms.extend(named);
            json!({ "anyOf": forms })
        }
    };
    json!({
        "type": "object",
        "required": ["data"],
        "properties": { "data": data, "id": { "type": "string" }, "event": { "type": "string" } },
    })
}

/// The credentials that a route accepts; an empty requirement admits anonymous callers.
fn security(access: &Access) -> Value {
    let schemes = [
        (access.operator, "operator"),
        (access.account, "account"),
        (access.payer, "channel"),
        (access.agent, "agent"),
    ];
    let reaching = schemes.iter().filter(|(reach, _)| *reach != Reach::None);
    let mut accepted: Vec<Value> = reaching.map(|(_, scheme)| json!({ *scheme: [] })).collect();
    if access.anonymous != Reach::None {
        accepted.push(json!({}));
    }
    accepted.into()
}

/// The route's row of the policy.
fn access(access: &Access) -> Value {
    let row = PrincipalKind::ALL.map(|kind| (json!(kind), json!(access.of(kind))));
    let name = |kind: &Value| kind.as_str().unwrap_or_default().to_owned();
    row.iter().map(|(kind, reach)| (name(kind), reach.clone())).collect::<Map<_, _>>().into()
}

/// The types of requests and responses as one list; references in `paths` follow.
fn merged(paths: &mut Value, mut requests: SchemaGenerator, mut responses: SchemaGenerator) -> Value {
    let mut inputs = requests.take_definitions(true);
    let mut schemas = responses.take_definitions(true);
    let mut renamed: BTreeSet<String> = inputs
        .iter()
        .filter(|(name, schema)| schemas.get(*name).is_some_and(|other| other != *schema))
        .map(|(name, _)| name.clone())
        .collect();
    // What refers to a type that differs differs as well.
    loop {
        let before = renamed.len();
        for (name, schema) in &inputs {
            let refers = renamed.iter().any(|other| has_reference(schema, other));
            if refers && schemas.contains_key(name) {
                renamed.insert(name.clone());
            }
        }
        if renamed.len() == before {
            break;
        }
    }
    for (name, mut schema) in std::mem::take(&mut inputs) {
        rename(&mut schema, &renamed);
        let name = if renamed.contains(&name) { format!("{name}Input") } else { name };
        schemas.insert(name, schema);
    }
    unmark(paths, &renamed);
    let mut schemas = Value::Object(schemas);
    hashes(&mut schemas);
    let mut all = json!({ "paths": paths.take(), "schemas": schemas });
    tidy(&mut all);
    *paths = all["paths"].take();
    all["schemas"].take()
}

fn has_reference(schema: &Value, name: &str) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| {
            (key == "$ref" && value.as_str().and_then(|at| at.strip_prefix(COMPONENTS)) == Some(name))
                || has_reference(value, name)
        }),
        Value::Array(items) => items.iter().any(|item| has_reference(item, name)),
        _ => false,
    }
}

fn rename(schema: &mut Value, renamed: &BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members.iter_mut() {
                let name = value.as_str().and_then(|at| at.strip_prefix(COMPONENTS));
                match name {
                    Some(name) if key == "$ref" && renamed.contains(name) => {
                        *value = format!("{COMPONENTS}{name}Input").into();
                    }
                    _ => rename(value, renamed),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        _ => {}
    }
}

/// Puts the marked schemas of requests in their place.
fn unmark(value: &mut Value, renamed: &BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(mut schema) = members.remove(INPUT) {
                rename(&mut schema, renamed);
                *value = schema;
                return;
            }
            members.iter_mut().for_each(|(_, value)| unmark(value, renamed));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| unmark(item, renamed)),
        _ => {}
    }
}

/// Describes hashes and accounts as this API writes them: the library's form admits others.
fn hashes(schemas: &mut Value) {
    schemas["FixedBytes"] = json!({
        "description": "32 bytes: `0x` and 64 lower-case hexadecimal digits.",
        "type": "string",
        "pattern": "^0x[0-9a-f]{64}$",
    });
    schemas["Address"] = json!({
        "description": "An account: `0x` and 40 hexadecimal digits.",
        "type": "string",
        "pattern": "^0x[0-9a-fA-F]{40}$",
    });
    if let Value::Object(members) = schemas
        && let Some(hash) = members.remove("FixedBytes")
    {
        members.insert("Hash".to_owned(), hash);
    }
}

/// Names hashes, bounds unsigned numbers as their type does, and drops the links of rustdoc.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.get("$ref").is_some_and(|at| at == &format!("{COMPONENTS}FixedBytes")) {
                members.insert("$ref".to_owned(), format!("{COMPONENTS}Hash").into());
            }
            let largest = match members.get("format").and_then(Value::as_str) {
                Some("uint32") => Some(u64::from(u32::MAX)),
                Some("uint" | "uint64") => Some(u64::MAX),
                _ => None,
            };
            if let Some(largest) = largest {
                members.entry("maximum").or_insert_with(|| largest.into());
            }
            // The library's form of bytes is narrower than what it reads.
            if members.get("pattern").is_some_and(|pattern| pattern == "^0x([0-9a-f]{2})*$") {
                members.insert("pattern".to_owned(), "^(0x)?([0-9a-fA-F]{2})*$".into());
            }
            if let Some(Value::String(about)) = members.get_mut("description") {
                *about = about.replace("[`", "`").replace("`]", "`").replace("crate::", "");
            }
            members.iter_mut().for_each(|(_, value)| tidy(value));
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
