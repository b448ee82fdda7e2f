//! The OpenAI dialect at `/v1`: stock clients ask, the answer carries its receipt.
//!
//! **Invariants:** chat and plain completions are one question each ([`question`]) and take one way to one receipt; what no
//! receipt can say is refused by name, and so are endpoints that sell something else. Forms, errors and streams are those
//! of `openledger serve`.

mod answers;
mod question;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use openledger_api::ModelView;
use openledger_api::openai::{ModelEntry, ModelList};
use openledger_node::NodeError;

use crate::node_api::input::{Path, Reader};
use crate::node_api::shared::Shared;
use crate::refusal::{Refusal, refusal};
use crate::serve::{Server, Setup, tokens};
use question::Question;

/// Largest body of what is tokenized free, for anyone.
const TOKENIZED_MAX: usize = 1 << 20;

/// The routes.
pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{name}", get(model))
        .route("/v1/embeddings", post(no_embeddings))
        .route("/v1/load_lora_adapter", post(no_loading))
        .route("/v1/unload_lora_adapter", post(no_loading))
}

/// `/tokenize` and `/detokenize`, as `openledger serve` has them; free.
pub(super) fn tokenizing(node: &Shared) -> Router {
    let base = node.answering.base();
    let server = Server::new(Setup {
        backend: Arc::clone(node.answering.backend()),
        tokenizer: Arc::clone(base.tokenizer()),
        form: base.form().clone(),
        eos: base.model().config().eos.clone(),
        adapters: None,
        metrics: None,
        now: unix_s,
    });
    tokens(Arc::new(server), TOKENIZED_MAX)
}

/// Unix seconds, by the machine.
fn unix_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

async fn chat(
    State(node): State<Shared>,
    Reader(viewer): Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let question = Question::chat(&node, &viewer, &headers, &body).await?;
    Box::pin(answers::answer(&node, question, viewer)).await
}

async fn completions(
    State(node): State<Shared>,
    Reader(viewer): Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let question = Question::text(&node, &viewer, &headers, &body).await?;
    Box::pin(answers::answer(&node, question, viewer)).await
}

fn entry(view: ModelView) -> ModelEntry {
    ModelEntry {
        id: view.name.clone(),
        object: "model".into(),
        created: 0,
        owned_by: "openledger".into(),
        root: view.adapter.to_string(),
        parent: Some(view.base.clone()),
        openledger: Some(view),
    }
}

async fn models(State(node): State<Shared>) -> Json<ModelList> {
    Json(ModelList::new(node.models.views().await.into_iter().map(entry).collect()))
}

async fn model(State(node): State<Shared>, Path(name): Path<String>) -> Result<Json<ModelEntry>, Refusal> {
    let found = node.models.views().await.into_iter().find(|view| view.name == name);
    Ok(Json(found.map(entry).ok_or_else(|| NodeError::missing("model", name))?))
}

/// An endpoint that this node has no form of business for.
fn not_here(code: &str, message: &str) -> Refusal {
    refusal(403, "permission_error", None, code, message.to_owned())
}

/// `/v1/embeddings`: a receipt commits to a text and to what it rests on; numbers have neither.
async fn no_embeddings() -> Refusal {
    not_here(
        "no_receipt_form",
        "this node sells nothing that it cannot give a receipt for, and a receipt commits to an answer's text: embeddings have \
         none. Run `openledger serve` on base and adapter for them",
    )
}

/// `/v1/load_lora_adapter`, `/v1/unload_lora_adapter`: the ledger is the registry.
async fn no_loading() -> Refusal {
    not_here(
        "registry_is_the_ledger",
        "which adapters this node answers with is decided on the ledger, not by a request: train one with `openledger model \
         train` and offer it under its title with `openledger model publish`",
    )
}
