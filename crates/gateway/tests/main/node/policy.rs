//! The policy: every route of the table × every kind of principal, and what is private stays so.

use openledger_api::policy::{PrincipalKind, Reach};
use openledger_api::{Errors, Method, PrincipalOpening, Route, routes};
use openledger_protocol::{Address, PrincipalId, sha256};
use openledger_store::api_keys::{ApiKeyRow, KeyKind};
use openledger_store::transact;
use serde_json::json;

use super::story::{QUESTION, fixture, on};
use super::world::{Answer, World};

/// A route's path with parameters that name nothing.
fn path(route: &Route) -> String {
    let zeros = format!("0x{}", "0".repeat(64));
    let mut path = route.path.to_owned();
    for (name, value) in [("{import}", &*zeros), ("{contribution}", &zeros), ("{name}", "none"), ("{number}", "999")] {
        path = path.replace(name, value);
    }
    for (name, value) in [("{index}", "0"), ("{job}", "999"), ("{code}", "not-found")] {
        path = path.replace(name, value);
    }
    let hash = route.path.contains("receipts");
    path.replace("{id}", if hash { &zeros } else { "999" })
}

/// Keys of every kind of principal; anonymous has none.
async fn keys(world: &World) -> Vec<(PrincipalKind, Option<String>)> {
    let payer = world.payer("policy").await;
    let store = world.database.store(&world.data).await;
    for (kind, key) in [(KeyKind::Account, "account-key"), (KeyKind::Agent, "agent-key")] {
        let row = ApiKeyRow {
            hash: sha256(key),
            kind,
            principal: Address::repeat_byte(7).to_string(),
            channel: None,
            scopes: String::new(),
            created: 1,
            revoked: None,
            last_used: None,
        };
        transact!(store, |tx| tx.put_api_key(&row).await).unwrap();
    }
    store.close().await;
    vec![
        (PrincipalKind::Operator, Some(world.token.clone())),
        (PrincipalKind::Account, Some("account-key".to_owned())),
        (PrincipalKind::Payer, Some(payer)),
        (PrincipalKind::Agent, Some("agent-key".to_owned())),
        (PrincipalKind::Anonymous, None),
    ]
}

async fn call(world: &World, route: &Route, key: Option<&str>) -> Answer {
    let request = world.request(route.method.name(), &path(route)).header("content-type", "application/json");
    let request = if route.method == Method::Post { request.body("{") } else { request };
    world
        .send(match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        })
        .await
}

#[test]
fn every_route_answers_those_whom_the_policy_lets_in_and_refuses_all_others() {
    let world = &fixture().world;
    on(async {
        let keys = keys(world).await;
        let mut tried = 0;
        for route in routes() {
            // A post without a body would settle what other facts rest on.
            let settles = route.method == Method::Post && route.body.is_none() && !route.path.contains('{');
            for (kind, key) in &keys {
                let reach = route.access.of(*kind);
                if settles && reach != Reach::None {
                    continue;
                }
                let answer = call(world, route, key.as_deref()).await;
                let place = format!("{} {} as {kind:?}: {}", route.method.name(), route.path, answer.text);
                if reach == Reach::None {
                    let status = if *kind == PrincipalKind::Anonymous { 401 } else { 403 };
                    assert_eq!(answer.status, status, "{place}");
                } else if !route.outcomes.is_empty() {
                    assert!(![401, 403, 405].contains(&answer.status), "{place}");
                }
                assert!(answer.status < 500, "{place}");
                tried += 1;
            }
        }
        assert!(tried >= 200, "{tried}");
    });
}

#[test]
fn a_wrong_key_is_401_on_every_route_that_is_checked() {
    let world = &fixture().world;
    on(async {
        for route in routes() {
            let answer = call(world, route, Some("ol_wrong")).await;
            assert_eq!(answer.status, 401, "{} {}", route.method.name(), route.path);
            let code = if route.form == Errors::OpenAi { "invalid_api_key" } else { "invalid-api-key" };
            assert_eq!(answer.code(), code, "{}", route.path);
        }
    });
}

#[test]
fn prompts_answers_and_bundles_are_for_the_payer_and_the_operator_alone() {
    let world = &fixture().world;
    on(async {
        let (payer, other) = (world.payer("reads-own").await, world.payer("reads-others").await);
        let answer = world.ask(&payer, QUESTION, json!({})).await.done();
        let id = answer["openledger"]["receipt_id"].as_str().unwrap().to_owned();
        let text = answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        for what in ["detail", "bundle"] {
            let path = format!("/api/v1/receipts/{id}/{what}");
            let read = async |key: Option<&str>| {
                let request = world.request("get", &path);
                world
                    .send(match key {
                        Some(key) => request.bearer_auth(key),
                        None => request,
                    })
                    .await
            };
            assert_eq!(read(Some(&payer)).await.status, 200);
            assert_eq!(read(Some(&world.token)).await.status, 200);
            assert_eq!(read(Some(&other)).await.status, 404, "another payer is not told that it is there");
            assert_eq!(read(None).await.status, 401);
        }
        // What everybody may read holds neither the question nor the answer, nor a record's text.
        let record = told_record(world).await;
        for path in ["/api/v1/overview", "/api/v1/receipts", &format!("/api/v1/receipts/{id}")] {
            let public = world.get_anonymously(path).await;
            assert_eq!(public.status, 200, "{path}");
            for private in [QUESTION, &text, &record] {
                assert!(!public.text.contains(private), "{path} tells `{private}`");
            }
        }
        let listed = world.get_anonymously("/api/v1/receipts").await.done();
        assert!(listed["items"].as_array().unwrap().iter().any(|receipt| receipt["id"] == id.as_str()));
    });
}

/// The text of a record that the model was trained on.
async fn told_record(world: &World) -> String {
    let records = world.get("/api/v1/models/thread/records?limit=1").await.done();
    let body = &records["items"][0]["body"];
    let text = body["response"].as_str().or(body["text"].as_str()).map(str::to_owned);
    text.unwrap_or_else(|| panic!("{records}"))
}

#[test]
fn the_payer_of_a_receipt_can_show_on_whose_behalf_it_was_made() {
    let world = &fixture().world;
    on(async {
        let key = world.payer("opens-its-principal").await;
        let id = world.ask(&key, QUESTION, json!({})).await.done()["openledger"]["receipt_id"].clone();
        let read = async |what: &str| {
            let path = format!("/api/v1/receipts/{}/{what}", id.as_str().unwrap());
            world.send(world.request("get", &path).bearer_auth(&key)).await.done()
        };
        let (detail, bundle) = (read("detail").await, read("bundle").await);
        let opening: PrincipalOpening = serde_json::from_value(detail["on_behalf_of"].clone()).unwrap();
        let principal: PrincipalId = opening.principal.parse().unwrap();
        let committed = &bundle["signed"]["receipt"]["principal"];
        assert_eq!(committed, principal.commitment(opening.salt).to_string().as_str());
    });
}

#[test]
fn a_number_that_no_database_holds_is_the_callers_mistake_on_every_route() {
    let world = &fixture().world;
    on(async {
        let mut tried = 0;
        for route in routes() {
            let beyond = ["{id}", "{number}", "{job}", "{index}"].iter().fold(route.path.to_owned(), |path, name| {
                let numbers = !route.path.contains("receipts") || *name != "{id}";
                if numbers { path.replace(name, "18446744073709551615") } else { path }
            });
            if beyond == route.path {
                continue;
            }
            let path = beyond.replace("{contribution}", &format!("0x{}", "0".repeat(64)));
            let request = world.request(route.method.name(), &path).bearer_auth(&world.token);
            let request = if route.method == Method::Post { request.json(&json!({})) } else { request };
            let answer = world.send(request).await;
            let status = answer.status;
            assert!((400..500).contains(&status), "{} {path}: {status} {}", route.method.name(), answer.text);
            tried += 1;
        }
        assert!(tried >= 10, "{tried}");
    });
}

#[test]
fn records_of_terms_that_do_not_allow_passing_on_are_private() {
    let world = &fixture().world;
    on(async {
        let contributions = world.get("/api/v1/contributions").await.done();
        let id = contributions["items"][0]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/records/{id}/0");
        assert_eq!(world.get(&path).await.status, 200, "the operator reads it");
        let anonymous = world.get_anonymously(&path).await;
        assert_eq!((anonymous.status, anonymous.code()), (404, "not-found"));
        let trained = world.get_anonymously("/api/v1/models/thread/records").await;
        assert_eq!((trained.status, trained.code()), (403, "forbidden"));
    });
}
