//! Around every request of a node: a limit on its time, an answer to a panic, and counts.
//!
//! **Invariant:** these answers have the form of the path's other errors, and the request's id. The
//! limit is on the time until a response begins, so that streams may take longer.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use openledger_api::{Errors, Problem};
use openledger_node::{Blame, NodeError};

use super::problem::{ProblemResponse, failed, written};
use super::shared::Shared;
use crate::call::current_id;
use crate::refusal::refusal;

/// The form of errors of a path, whether or not a route has it.
fn form(uri: &Uri) -> Errors {
    let path = uri.path();
    let dialect = path == "/v1" || path.starts_with("/v1/") || path == "/tokenize" || path == "/detokenize";
    if dialect { Errors::OpenAi } else { Errors::Problem }
}

/// Counts requests and answers with an error status.
pub(super) async fn counted(State(node): State<Shared>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    node.count_request(response.status().as_u16());
    response
}

/// Ends a request that panics or takes longer than `limit` to begin its response.
pub(super) async fn guarded(limit: Duration, request: Request, next: Next) -> Response {
    let form = form(request.uri());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(limit, answered).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            tracing::error!(panic = text.unwrap_or_default(), "request panicked");
            response(form, 500, "internal", failed())
        }
        Err(_) => {
            tracing::warn!(seconds = limit.as_secs(), "request took too long");
            let id = current_id().unwrap_or_default();
            let then = match form {
                Errors::Problem => "repeat it",
                // An answer has a task of its own, which goes on.
                Errors::OpenAi => "the answer may still be charged; repeat under the same idempotency key, or stream",
            };
            response(form, 504, "timeout", format!("request {id} took longer than {} s; {then}", limit.as_secs()))
        }
    }
}

fn response(form: Errors, status: u16, code: &str, detail: String) -> Response {
    match form {
        Errors::Problem => written(Problem::new(status, code, detail)),
        Errors::OpenAi => refusal(status, "server_error", None, code, detail).into_response(),
    }
}

/// A path below `/api` that is no route: the Studio's first page is not the answer to it.
pub(super) async fn no_route(uri: Uri) -> ProblemResponse {
    let detail = format!("`{}` is no path of this API; /openapi.json lists them", uri.path());
    NodeError::refused(Blame::Missing, "no-route", detail).into()
}

/// A path of the native API with another method.
pub(super) async fn no_method(method: Method, uri: Uri) -> ProblemResponse {
    let detail = format!("`{}` does not take {method}; /openapi.json lists its methods", uri.path());
    NodeError::refused(Blame::Method, "method-not-allowed", detail).into()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use serde_json::Value;

    use super::*;

    async fn slow() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }

    async fn broken() {
        panic!("of a test");
    }

    #[tokio::test]
    async fn a_timeout_and_a_panic_have_the_form_of_the_path_and_the_requests_id() {
        let limit = Duration::from_millis(50);
        let router = Router::new()
            .route("/v1/slow", get(slow))
            .route("/v1/broken", get(broken))
            .route("/api/v1/slow", get(slow))
            .route("/api/v1/broken", get(broken))
            .layer(from_fn(move |request: Request, next: Next| guarded(limit, request, next)))
            .layer(from_fn(crate::call::identified));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = reqwest::Client::new();
        for (path, status, code) in [
            ("/v1/slow", 504, "timeout"),
            ("/v1/broken", 500, "internal"),
            ("/api/v1/slow", 504, "timeout"),
            ("/api/v1/broken", 500, "internal"),
        ] {
            let request = client.get(format!("{url}{path}")).header("x-request-id", "of-the-test");
            let response = request.send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path}");
            assert_eq!(response.headers()["x-request-id"], "of-the-test");
            let media = response.headers()["content-type"].to_str().unwrap().to_owned();
            let text = response.text().await.unwrap();
            assert!(!text.contains("of a test") && text.contains("of-the-test"), "{path}: {text}");
            let charged = "the answer may still be charged; repeat under the same idempotency key, or stream";
            assert_eq!(text.contains(charged), path == "/v1/slow", "{path}: {text}");
            let body: Value = serde_json::from_str(&text).unwrap();
            if path.starts_with("/v1") {
                assert_eq!((body["error"]["code"].as_str(), media.as_str()), (Some(code), "application/json"));
            } else {
                assert_eq!((body["code"].as_str(), media.as_str()), (Some(code), Problem::MEDIA_TYPE));
            }
        }
    }
}
