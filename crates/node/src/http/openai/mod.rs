//! The OpenAI dialect at `/v1`: stock clients ask, the answer carries its receipt.
//!
//! **Invariants:** chat and plain completions are one question each ([`question`]) and take one way to one receipt; what no
//! receipt can say is refused by name, and so are endpoints that sell something else. Forms and errors are those of
//! `openledger serve` (`openledger_serving::openai`).

mod answers;
mod question;
mod refusal;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use openledger_serving::http::{Server, Setup, tokens};
use openledger_serving::openai::{ModelEntry, ModelList};
use serde_json::Value;

use crate::error::NodeError;
use crate::node::Node;
use question::Question;
use refusal::Refusal;

/// Largest body of what is tokenized free, for anyone.
const TOKENIZED_MAX: usize = 1 << 20;

/// The routes below `/v1`.
pub(crate) fn router() -> Router<Node> {
    Router::new()
        .route("/chat/completions", post(chat))
        .route("/completions", post(completions))
        .route("/models", get(models))
        .route("/models/{name}", get(model))
        .route("/embeddings", post(refusal::no_embeddings))
        .route("/load_lora_adapter", post(refusal::no_loading))
        .route("/unload_lora_adapter", post(refusal::no_loading))
        .fallback(super::no_route)
}

/// `/tokenize` and `/detokenize`, as `openledger serve` has them; free.
pub(crate) fn tokenizing(node: &Node) -> Router {
    let inner = &node.inner;
    let server = Server::new(Setup {
        backend: Arc::clone(&inner.serving),
        tokenizer: Arc::clone(&inner.base.tokenizer),
        form: inner.form.clone(),
        eos: inner.base.model.config().eos.clone(),
        adapters: None,
        metrics: None,
        now: || crate::jobs::now_ms() / 1000,
    });
    tokens(Arc::new(server), TOKENIZED_MAX)
}

async fn chat(State(node): State<Node>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    answers::answer(&node, Question::chat(&node, &headers, &body).await?).await
}

async fn completions(State(node): State<Node>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    answers::answer(&node, Question::text(&node, &headers, &body).await?).await
}

fn entry(card: Value) -> ModelEntry {
    let text = |name: &str| card[name].as_str().unwrap_or_default().to_owned();
    ModelEntry {
        id: text("name"),
        object: "model".into(),
        created: 0,
        owned_by: "openledger".into(),
        root: text("adapter"),
        parent: Some(text("base")),
        openledger: Some(card),
    }
}

async fn models(State(node): State<Node>) -> Json<ModelList> {
    Json(ModelList::new(node.model_cards().await.into_iter().map(entry).collect()))
}

async fn model(State(node): State<Node>, Path(name): Path<String>) -> Result<Json<ModelEntry>, Refusal> {
    let found = node.model_cards().await.into_iter().find(|card| card["name"] == name.as_str());
    Ok(Json(found.map(entry).ok_or_else(|| NodeError::missing("model", name))?))
}
