//! `Idempotency-Key` on the native API's posts: a repeat gets the first answer, another body under the key is refused.
//!
//! **Invariant:** only answers of success are kept. What was refused or cut off is done again under the same key, which
//! is safe because every step recognises what it has done; so a crash between a step's effect and its kept answer
//! costs nothing but the work of finding out.
//!
//! Not here: `/v1/chat/completions`, whose key is charged once and is kept with its receipt.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use openledger_protocol::keccak;
use openledger_store::idempotency::{Begun, RequestKey, Response as Kept};

use super::BODY_MAX;
use crate::error::{Blame, NodeError, Result};
use crate::jobs::now_ms;
use crate::node::Node;

/// The caller's name for a call.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is a kept one.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key, in bytes.
const KEY_MAX: usize = 200;
/// How long answers are kept.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Paths whose answers are not kept. A channel's carries a secret, its API key, and is the same when asked again; claims
/// pay nothing twice by themselves, and an old answer must not stand in for what a new epoch owes.
const UNKEPT: [&str; 2] = ["/channels", "/claims"];

/// Gives a repeated post its first answer.
pub(crate) async fn repeatable(State(node): State<Node>, request: Request, next: Next) -> Response {
    let Some(key) = request.headers().get(IDEMPOTENCY_KEY).cloned() else { return next.run(request).await };
    if request.method() != Method::POST || UNKEPT.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    once(&node, &key, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn once(node: &Node, key: &HeaderValue, request: Request, next: Next) -> Result<Response> {
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_MAX).ok_or_else(|| {
        let detail = format!("an Idempotency-Key has 1 to {KEY_MAX} printable characters");
        NodeError::refused(Blame::Request, "bad-idempotency-key", detail)
    })?;
    let _one = node.inner.keyed.lock().await;
    let (parts, body) = request.into_parts();
    let too_large = |_| NodeError::refused(Blame::Request, "too-large", format!("the body is over {BODY_MAX} bytes"));
    let body = to_bytes(body, BODY_MAX).await.map_err(too_large)?;
    // Held for no time: one of these runs at a time, and a crash must not keep its repeat waiting.
    let now = now_ms();
    let asked =
        RequestKey { scope: parts.uri.path().to_owned(), key: key.to_owned(), body: keccak(&body), held_until: now };
    let mut tx = node.inner.store.begin().await?;
    if let Begun::Replay(kept) = tx.idempotency_begin(&asked, now).await? {
        return Ok(replayed(kept));
    }
    tx.rollback().await?;

    let (mut head, body) = next.run(Request::from_parts(parts, Body::from(body))).await.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| {
        NodeError::refused(Blame::Operator, "unreadable-answer", format!("the answer could not be read: {error}"))
    })?;
    if head.status.is_success() {
        let kept = Kept { status: head.status.as_u16(), body: body.to_vec() };
        let mut tx = node.inner.store.begin().await?;
        tx.idempotency_prune(now.saturating_sub(u64::try_from(KEPT_FOR.as_millis()).unwrap_or(0))).await?;
        tx.idempotency_begin(&asked, now).await?;
        tx.idempotency_end(&asked, &kept).await?;
        tx.commit().await?;
    }
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, Body::from(body)))
}

fn replayed(kept: Kept) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (REPLAYED, HeaderValue::from_static("true")),
    ];
    (status, headers, kept.body).into_response()
}
