//! `Idempotency-Key` on the native API's posts: a repeat gets the first answer, another body under the key is refused.
//!
//! **Invariant:** only answers of success are kept. A request that was refused or cut off is done again under the same
//! key, which is safe because every step recognises what it has done; so a crash between a step's effect and its kept
//! answer costs nothing but the work of finding out.
//!
//! Not here: `/v1/chat/completions`, whose key is charged once and is kept with its receipt.

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use openledger_api::{Method, find};
use openledger_node::{Blame, KeptResponse, NodeError, Taken, Viewer};
use openledger_protocol::keccak;

use super::problem::Result;
use super::shared::{BODY_MAX, Shared};

/// The caller's name for a call.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was kept.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key, in bytes.
const KEY_MAX: usize = 200;

/// Gives a repeated post its first answer, where the route's row says that it is repeatable.
pub(super) async fn repeatable(State(node): State<Shared>, request: Request, next: Next) -> Response {
    let Some(key) = request.headers().get(IDEMPOTENCY_KEY).cloned() else { return next.run(request).await };
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let repeatable = path.and_then(|path| find(Method::Post, path)).is_some_and(|route| route.repeatable);
    if request.method() != axum::http::Method::POST || !repeatable {
        return next.run(request).await;
    }
    once(&node, &key, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn once(node: &Shared, key: &HeaderValue, request: Request, next: Next) -> Result<Response> {
    let key = key.to_str().ok().filter(|key| !key.trim().is_empty() && key.len() <= KEY_MAX).ok_or_else(|| {
        let detail = format!("an Idempotency-Key has 1 to {KEY_MAX} printable characters");
        NodeError::refused(Blame::Request, "bad-idempotency-key", detail)
    })?;
    let (parts, body) = request.into_parts();
    let too_large = |_| NodeError::refused(Blame::TooLarge, "too-large", format!("the body is over {BODY_MAX} bytes"));
    let body = to_bytes(body, BODY_MAX).await.map_err(too_large)?;
    let caller = parts.extensions.get::<Viewer>().map(|viewer| format!("{:?}", viewer.principal()));
    let principal = format!("{} {}", caller.unwrap_or_default(), parts.uri.path());
    let hold = match node.requests.take(&principal, key, keccak(&body)).await? {
        Taken::Done(kept) => return Ok(replayed(kept)),
        Taken::Fresh(hold) => hold,
    };
    let (mut head, body) = next.run(Request::from_parts(parts, Body::from(body))).await.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| {
        NodeError::refused(Blame::Operator, "unreadable-answer", format!("the answer could not be read: {error}"))
    })?;
    if head.status.is_success() {
        hold.finish(KeptResponse { status: head.status.as_u16(), body: body.to_vec() }).await?;
    }
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, Body::from(body)))
}

fn replayed(kept: KeptResponse) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (REPLAYED, HeaderValue::from_static("true")),
    ];
    (status, headers, kept.body).into_response()
}
