//! The policy of every route, checked in one place, before a body is read.
//!
//! **Invariant:** a route that has no row in `api::routes()` is closed to everybody.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use openledger_api::policy::{Principal, Reach};
use openledger_api::{Errors, Method, Route, find};
use openledger_node::{Blame, NodeError, Viewer};

use super::problem::ProblemResponse;
use super::shared::Shared;
use crate::refusal::Refusal;

/// The bearer token of a request; none without the header.
///
/// # Errors
/// `unauthenticated` for a header that names no bearer token, and for several headers.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, NodeError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    });
    match (token, values.next()) {
        (Some(token), None) => Ok(Some(token)),
        _ => {
            let detail = "`Authorization` must be one `Bearer` with a token; leave it out to call anonymously";
            Err(NodeError::refused(Blame::Unauthenticated, "unauthenticated", detail))
        }
    }
}

/// Authenticates a request, checks the policy of its route, and hands the viewer on.
pub(super) async fn check(State(node): State<Shared>, mut request: Request, next: Next) -> Response {
    let route = row(&request);
    let form = route.map_or(Errors::Problem, |route| route.form);
    let principal = match bearer(request.headers()) {
        Ok(token) => node.auth.principal(token).await,
        Err(error) => Err(error),
    };
    let viewer = principal.and_then(|principal| viewer(route, principal));
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
    let of_operator = route.is_some_and(|route| route.access.operator != Reach::None);
    let of_payer = route.is_some_and(|route| route.access.payer != Reach::None);
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
        Principal::Operator if of_payer => (
            Blame::Permission,
            "forbidden",
            "this call needs the API key of a channel (`ol_...`), not the operator's token",
        ),
        _ if of_operator => (
            Blame::Permission,
            "operator-only",
            "this call needs `Authorization: Bearer <operator token>`; the node keeps it in operator.token",
        ),
        _ => (Blame::Permission, "forbidden", "these credentials do not allow this call"),
    };
    Err(NodeError::refused(blame, code, detail))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_caller_whom_a_route_refuses_reads_which_credentials_it_needs() {
        let refused = |method, path, principal| {
            let error = viewer(find(method, path), principal).err().unwrap();
            (error.code(), error.to_string())
        };
        let (code, detail) = refused(Method::Post, "/v1/chat/completions", Principal::Operator);
        assert_eq!(code, "forbidden");
        assert_eq!(detail, "this call needs the API key of a channel (`ol_...`), not the operator's token");
        let account = Principal::Account(openledger_protocol::Address::ZERO);
        let (code, detail) = refused(Method::Post, "/api/v1/epochs", account.clone());
        assert!(code == "operator-only" && detail.contains("<operator token>"), "{detail}");
        assert_eq!(refused(Method::Post, "/v1/chat/completions", account).0, "forbidden");
        assert_eq!(refused(Method::Post, "/v1/chat/completions", Principal::Anonymous).0, "invalid-api-key");
        assert_eq!(refused(Method::Post, "/no/such/route", Principal::Operator).0, "forbidden");
    }

    #[test]
    fn a_header_without_a_bearer_token_is_refused_and_the_scheme_has_any_case() {
        assert_eq!(bearer(&HeaderMap::new()).unwrap(), None);
        for value in ["Bearer x", "bearer x", "BEARER  x"] {
            assert_eq!(bearer(&headers(&[value.as_bytes()])).unwrap(), Some("x"), "{value}");
        }
        let alone: [&[u8]; 6] = [b"Basic eDp5", b"Bearer", b"Bearer ", b"x", b"", b"Bearer \xff"];
        let refused = |values: &[&[u8]]| {
            let error = bearer(&headers(values)).unwrap_err();
            assert_eq!((error.blame(), error.code()), (Blame::Unauthenticated, "unauthenticated"), "{values:?}");
        };
        alone.into_iter().for_each(|value| refused(&[value]));
        refused(&[b"Bearer x", b"Bearer y"]);
    }
}
