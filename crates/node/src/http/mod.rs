//! The node's HTTP faces over one service layer: native API, OpenAI dialect, chain RPC, health, metrics, Studio.

mod native;
mod openai;
mod openapi;
mod problem;
mod repeats;
mod studio;

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;

use crate::metrics::Metrics;
use crate::node::Node;

/// Largest body of a request: a file of records.
const BODY_MAX: usize = 64 << 20;
/// How long a request may take; answers and settlements wait for the engine and the chain.
const TIMEOUT: Duration = Duration::from_secs(600);

/// All routes of a node.
pub(crate) fn router(node: Node) -> Router {
    let rpc = node.inner.chain.as_ref().map(openledger_chain::embedded::EmbeddedChain::router).unwrap_or_default();
    let own = Router::new()
        .route("/health/live", get(|| async { Json(json!({ "ok": true })) }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi::document))
        .nest("/api/v1", native::router(node.clone()))
        .nest("/v1", openai::router())
        .fallback(studio::page)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(node.clone());
    rpc.merge(own)
        .merge(openai::tokenizing(&node))
        .layer(middleware::from_fn_with_state(node, counted))
        .layer(tower_http::timeout::TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT))
        .layer(CatchPanicLayer::new())
}

/// Counts requests and answers with an error status.
async fn counted(State(node): State<Node>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    Metrics::add(&node.inner.metrics.requests, 1);
    if response.status().as_u16() >= 400 {
        Metrics::add(&node.inner.metrics.errors, 1);
    }
    response
}

/// A path that no API of this node has: the Studio's first page is not the answer to it.
async fn no_route(uri: axum::http::Uri) -> crate::error::NodeError {
    let detail = format!("`{}` is no path of this API; /openapi.json lists them", uri.path());
    crate::error::NodeError::refused(crate::error::Blame::Missing, "no-route", detail)
}

async fn ready(State(node): State<Node>) -> Response {
    let head = node.inner.flow.client().block_number().await;
    let database = node.inner.store.kv("ready").await;
    let ok = head.is_ok() && database.is_ok();
    let body = json!({
        "ok": ok,
        "chain": { "ok": head.is_ok(), "head": head.ok() },
        "database": { "ok": database.is_ok() },
        "base": { "ok": true, "name": node.inner.base.name },
    });
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

async fn metrics(State(node): State<Node>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], node.inner.metrics.text() + &(node.inner.counted)())
        .into_response()
}
