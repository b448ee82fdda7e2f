//! The policy of every route, checked in one place, before a body is read.
//!
//! **Invariant:** a route that has no row in `api::routes()` is closed to everybody.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use openledger_api::policy::{Principal, Reach};
use openledger_api::{Errors, Method, Route, find};
use openledger_node::{Blame, NodeError, Viewer};

use super::problem::ProblemResponse;
use super::shared::Shared;
use crate::refusal::Refusal;

/// The bearer token of a request.
fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(axum::http::header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::trim)
}

/// Authenticates a request, checks the policy of its route, and hands on who reads.
pub(super) async fn check(State(node): State<Shared>, mut request: Request, next: Next) -> Response {
    let route = row(&request);
    let form = route.map_or(Errors::Problem, |route| route.form);
    let viewer = match node.auth.principal(bearer(&request)).await {
        Ok(principal) => viewer(route, principal),
        Err(error) => Err(error),
    };
    match viewer {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(error) if form == Errors::OpenAi => Refusal::from(error).into_response(),
        Err(error) => ProblemResponse::from(error).into_response(),
    }
}

/// The policy's row of a request's route.
fn row(request: &Request) -> Option<&'static Route> {
    let path = request.extensions().get::<MatchedPath>()?;
    let method = match *request.method() {
        axum::http::Method::GET | axum::http::Method::HEAD => Method::Get,
        axum::http::Method::POST => Method::Post,
        _ => return None,
    };
    find(method, path.as_str())
}

/// The viewer that a principal is on a route.
fn viewer(route: Option<&Route>, principal: Principal) -> Result<Viewer, NodeError> {
    let reach = route.map_or(Reach::None, |route| route.access.of(principal.kind()));
    if reach != Reach::None {
        return Ok(Viewer::new(principal, reach));
    }
    let open_to_others = route.is_some_and(|route| route.access.operator != Reach::None);
    let (blame, code, detail) = match principal {
        Principal::Anonymous if route.is_some_and(|route| route.form == Errors::OpenAi) => {
            (Blame::Unauthenticated, "invalid-api-key", "give an API key: `Authorization: Bearer ol_…`")
        }
        Principal::Anonymous => (
            Blame::Unauthenticated,
            "unauthenticated",
            "this call needs `Authorization: Bearer` with the operator's token (the node keeps it in operator.token) or an \
             API key",
        ),
        _ if open_to_others => (
            Blame::Permission,
            "operator-only",
            "this call needs `Authorization: Bearer <operator token>`; the node keeps it in operator.token",
        ),
        _ => (Blame::Permission, "forbidden", "these credentials do not allow this call"),
    };
    Err(NodeError::refused(blame, code, detail))
}
