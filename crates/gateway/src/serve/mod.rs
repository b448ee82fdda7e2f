//! OpenLoRA over HTTP: OpenAI's endpoints, vLLM's for adapters and tokens, on one backend.
//!
//! # Place in the flow
//!
//! `openledger serve` mounts [`router`] as it is. The node has routes of its own for answers, which
//! carry receipts there, and shares wire form, refusals and streams.
//!
//! # Invariants
//!
//! - Every error is OpenAI's envelope with a status that stock clients turn into their typed
//!   exceptions; refusals that pass by themselves carry `Retry-After`.
//! - Headers are sent when an answer has begun, so that whatever is known before its first token is
//!   told by the status.
//! - A client that hangs up drops its run; nothing waits for it.
//! - Answers name the adapter that made them: header `x-openledger-adapter`, and the fingerprint.
//!
//! Not here: keys and prices (`node`); who may reach the port is up to who binds it.

mod adapters;
mod answers;
mod ensembles;
mod scoring;
mod server;
mod streams;
mod texts;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};

use crate::call;
use crate::origin::Origins;
use crate::refusal;
pub use server::{Server, Setup};

/// Largest body of a request.
const BODY_MAX: usize = 16 << 20;

/// All routes of `server`, for programs and for pages of `origins`.
pub fn router(server: Arc<Server>, origins: &Origins) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(answers::chat))
        .route("/v1/completions", post(answers::completions))
        .route("/v1/embeddings", post(texts::embeddings))
        .route("/v1/models", get(adapters::models))
        .route("/v1/models/{*model}", get(adapters::model))
        .route("/v1/load_lora_adapter", post(adapters::load))
        .route("/v1/unload_lora_adapter", post(adapters::unload))
        .route("/v1/lora_adapters", get(adapters::list))
        .route("/v1/ensembles", post(ensembles::load).get(ensembles::list))
        .route("/metrics", get(adapters::metrics))
        .route("/health", get(|| async {}))
        .route("/health/live", get(|| async { "ok\n" }))
        .route("/version", get(|| async { concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}\n") }))
        .fallback(refusal::no_route)
        .method_not_allowed_fallback(refusal::no_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Arc::clone(&server))
        .merge(tokens(server, BODY_MAX).method_not_allowed_fallback(refusal::no_method))
        .layer(origins.layer())
        .layer(middleware::from_fn(call::identified))
}

/// The routes that only turn texts into tokens and back, `/tokenize` and `/detokenize`: for those
/// who answer by routes of their own. Bodies are read up to `body_bytes`; other methods are the
/// caller's to refuse.
pub(crate) fn tokens(server: Arc<Server>, body_bytes: usize) -> Router {
    Router::new()
        .route("/tokenize", post(texts::tokenize))
        .route("/detokenize", post(texts::detokenize))
        .layer(DefaultBodyLimit::max(body_bytes))
        .with_state(server)
}
