//! Facts about the table of routes and the policy in it.

use std::collections::BTreeSet;

use openledger_api::policy::{Access, PrincipalKind, Reach};
use openledger_api::{Method, PROBLEMS, Place, find, routes};

#[test]
fn every_method_and_path_has_one_row() {
    let rows: BTreeSet<_> = routes().iter().map(|route| (route.path, route.method)).collect();
    assert_eq!(rows.len(), routes().len());
    assert!(find(Method::Post, "/api/v1/jobs").is_some());
    assert!(find(Method::Get, "/api/v1/nothing").is_none());
}

#[test]
fn a_path_names_exactly_its_parameters() {
    for route in routes() {
        let named: BTreeSet<&str> =
            route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let listed = route.parameters.iter().filter(|at| at.place == Place::Path);
        assert_eq!(named, listed.map(|at| at.name).collect(), "{}", route.path);
    }
}

#[test]
fn nothing_is_changed_by_an_anonymous_caller() {
    for route in routes().iter().filter(|route| route.method == Method::Post) {
        let free = ["/tokenize", "/detokenize"].contains(&route.path) || route.outcomes.is_empty();
        let reach = route.access.of(PrincipalKind::Anonymous);
        assert!(free || reach == Reach::None, "{} admits anonymous callers", route.path);
    }
}

#[test]
fn work_that_grows_with_a_datanet_is_the_operators_alone() {
    let route = find(Method::Get, "/api/v1/datanets/{id}/next-version").unwrap();
    assert_eq!(route.access, Access::OPERATOR);
}

#[test]
fn the_api_page_names_each_post_whose_response_is_not_kept() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md")).unwrap();
    let (_, rest) = page.split_once("## Repeating a call").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let posts = routes().iter().filter(|route| route.method == Method::Post);
    for route in posts.filter(|route| route.path.starts_with("/api/v1/")) {
        let name = format!("`POST {}`", route.path.trim_start_matches("/api/v1/"));
        // A settlement is named there for a node that is killed.
        let named = section.contains(&name) && route.path != "/api/v1/epochs";
        assert_eq!(named, !route.repeatable, "{name}");
    }
}

#[test]
fn prompts_answers_and_record_texts_are_not_open() {
    for path in [
        "/api/v1/receipts/{id}/bundle",
        "/api/v1/receipts/{id}/detail",
        "/api/v1/epochs/{number}/publication",
        "/api/v1/records/{contribution}/{index}",
        "/api/v1/models/{name}/records",
    ] {
        let reach = find(Method::Get, path).unwrap().access.of(PrincipalKind::Anonymous);
        assert!(matches!(reach, Reach::None | Reach::Public), "{path}: {reach:?}");
    }
}

#[test]
fn every_status_of_an_error_has_a_kind_of_problem() {
    let statuses: BTreeSet<u16> = PROBLEMS.iter().map(|kind| kind.status).collect();
    for route in routes() {
        for status in &route.errors {
            assert!(statuses.contains(status), "{} may answer {status}", route.path);
        }
    }
    let codes: BTreeSet<&str> = PROBLEMS.iter().map(|kind| kind.code).collect();
    assert_eq!(codes.len(), PROBLEMS.len(), "a code stands twice");
}
