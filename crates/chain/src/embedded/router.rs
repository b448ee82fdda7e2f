//! Serves the chain's JSON-RPC at `/rpc`: POST, and WebSocket where the request asks for an
//! upgrade.
//!
//! Pages of any origin may call it, because browser wallets do, and because nothing here holds a
//! key.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tower_http::cors::CorsLayer;

use super::dispatch::Dispatch;
use super::subscriptions;
use super::wire::{NOT_JSON, envelope, refuse};

/// What one client may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Largest body and message, in bytes; what is larger is refused.
    pub(super) request_bytes: usize,
    /// How long a WebSocket's reader may take for one message.
    pub(super) reader_patience: Duration,
}

#[derive(Clone)]
struct Served {
    dispatch: Arc<Dispatch>,
    limits: Limits,
}

/// The `/rpc` routes over `dispatch`.
pub(super) fn router(dispatch: Arc<Dispatch>, limits: Limits) -> Router {
    Router::new()
        .route("/rpc", post(by_post).get(by_websocket))
        .layer(DefaultBodyLimit::max(limits.request_bytes))
        .layer(CorsLayer::very_permissive().allow_credentials(false))
        .with_state(Served { dispatch, limits })
}

async fn by_post(State(served): State<Served>, body: Bytes) -> Response {
    match answer_text(&served.dispatch, &body).await {
        Some(answer) => Json(answer).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn by_websocket(State(served): State<Served>, upgrade: WebSocketUpgrade) -> Response {
    let Served { dispatch, limits } = served;
    upgrade
        .max_message_size(limits.request_bytes)
        .on_upgrade(move |socket| subscriptions::serve(socket, dispatch, limits.reader_patience))
}

async fn answer_text(dispatch: &Dispatch, body: &[u8]) -> Option<Value> {
    match serde_json::from_slice(body) {
        Ok(request) => dispatch.answer(request).await,
        Err(error) => Some(envelope(Value::Null, Err(refuse(NOT_JSON, &format!("the body is not JSON: {error}"))))),
    }
}
