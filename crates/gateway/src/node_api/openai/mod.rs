//! The OpenAI dialect at `/v1`, for stock clients; an answer carries its receipt.
//!
//! **Invariants:** a chat or plain completion is one question ([`question`]) with one receipt. A
//! request beyond what a receipt can hold is refused by name, and so are endpoints without a
//! receipt. Forms, errors and streams are those of `openledger serve`.

mod answers;
mod buffer;
mod prompts;
mod question;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, MatchedPath, Path, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Json, Router};
use openledger_api::openai::{ModelEntry, ModelList};
use openledger_api::{Method, ModelView, find};
use openledger_node::NodeError;
use tokio::sync::Semaphore;

use crate::call::spawn;
use crate::node_api::input::Reader;
use crate::node_api::shared::Shared;
use crate::refusal::{self, Refusal, media, refusal};
use crate::serve::{Server, Setup, tokens};
use prompts::PromptReader;
use question::{Body, Question};

/// Largest body of a request for an answer, in bytes.
const ASKED_MAX: usize = 4 << 20;
/// Largest body of what is tokenized free, for anyone, in bytes: 32 KiB.
const TOKENIZED_MAX: usize = 32 << 10;
/// Bodies that are tokenized at a time.
const TOKENIZED_AT_ONCE: usize = 2;
/// How long a body waits for its turn to be tokenized.
const TOKENIZED_WAIT: Duration = Duration::from_secs(1);

/// The routes.
pub(super) fn router(node: &Shared) -> Router<Shared> {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{name}", get(model))
        .route("/v1/embeddings", post(no_embeddings))
        .route("/v1/load_lora_adapter", post(no_loading))
        .route("/v1/unload_lora_adapter", post(no_loading))
        .route_layer(middleware::from_fn(typed))
        .layer(Extension(PromptReader::of(node)))
        .layer(DefaultBodyLimit::max(ASKED_MAX))
}

/// All other paths of the dialect.
pub(super) fn unknown() -> Router<Shared> {
    let unknown = || any(refusal::no_route);
    Router::new().route("/v1", unknown()).route("/v1/", unknown()).route("/v1/{*path}", unknown())
}

/// `/tokenize` and `/detokenize`, as `openledger serve` has them; free, a few at a time.
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
    let turns = Arc::new(Semaphore::new(TOKENIZED_AT_ONCE));
    tokens(Arc::new(server), TOKENIZED_MAX)
        .route_layer(middleware::from_fn_with_state(turns, in_turn))
        .route_layer(middleware::from_fn(typed))
        .layer(DefaultBodyLimit::max(TOKENIZED_MAX))
}

/// Lets a few requests through at a time; one whose turn does not come soon is refused.
async fn in_turn(State(turns): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    // Read before the turn is taken: a slow upload keeps nobody waiting.
    let body = match Bytes::from_request(Request::from_parts(head.clone(), body), &()).await {
        Ok(body) => body,
        Err(rejected) => {
            let status = rejected.status().as_u16();
            return refusal(status, "invalid_request_error", None, "unreadable_body", rejected.body_text())
                .into_response();
        }
    };
    let Ok(Ok(turn)) = tokio::time::timeout(TOKENIZED_WAIT, turns.acquire_owned()).await else {
        let message = "too many texts are being tokenized; send it again".to_owned();
        let busy = refusal(503, "server_error", None, "overloaded", message);
        return Refusal { retry_after: Some(1), ..busy }.into_response();
    };
    // The work goes on when the client hangs up, and its turn ends with it.
    let request = Request::from_parts(head, body.into());
    let working = spawn(async move {
        let response = next.run(request).await;
        drop(turn);
        response
    });
    working.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a text could not be tokenized");
        refusal(500, "server_error", None, "broken_off", "the request broke off; send it again".to_owned())
            .into_response()
    })
}

/// Refuses a body of another media type than the route's row names.
async fn typed(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let posts = request.method() == axum::http::Method::POST;
    let row = path.filter(|_| posts).and_then(|path| find(Method::Post, path));
    let (given, wanted) = (media(request.headers()), row.and_then(|row| row.body).map(|body| body.media));
    match wanted {
        Some(wanted) if !given.eq_ignore_ascii_case(wanted) => {
            let message = format!("the body is of media type `{given}`, this call takes `{wanted}`");
            refusal(415, "invalid_request_error", None, "unsupported_media_type", message).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Unix seconds, by the machine.
fn unix_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

async fn chat(
    State(node): State<Shared>,
    Extension(reader): Extension<PromptReader>,
    Reader(viewer): Reader,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let question = Box::pin(Question::chat(&node, reader, &viewer, &headers, body)).await?;
    Box::pin(answers::answer(&node, question, viewer)).await
}

async fn completions(
    State(node): State<Shared>,
    Extension(reader): Extension<PromptReader>,
    Reader(viewer): Reader,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let question = Box::pin(Question::text(&node, reader, &viewer, &headers, body)).await?;
    Box::pin(answers::answer(&node, question, viewer)).await
}

fn entry(view: ModelView) -> ModelEntry {
    ModelEntry {
        id: view.name.clone(),
        object: "model".into(),
        // A node keeps no time of the offer.
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

async fn model(
    State(node): State<Shared>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelEntry>, Refusal> {
    let bad = |rejected: PathRejection| {
        refusal(400, "invalid_request_error", Some("model"), "bad_parameter", rejected.body_text())
    };
    let Path(name) = name.map_err(bad)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_text_waits_a_second_for_its_turn_and_is_503_without_one() {
        let turns = Arc::new(Semaphore::new(TOKENIZED_AT_ONCE));
        let router = Router::new()
            .route("/tokenize", post(|| async { "tokens" }))
            .route_layer(middleware::from_fn_with_state(Arc::clone(&turns), in_turn));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tokenize", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = reqwest::Client::new();
        let mut held = Vec::new();
        for _ in 0..TOKENIZED_AT_ONCE {
            held.push(Arc::clone(&turns).acquire_owned().await.unwrap());
        }
        let refused = client.post(&url).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        assert!(refused.text().await.unwrap().contains("\"overloaded\""));
        held.pop();
        // Each takes the turn that the one before gave back.
        for _ in 0..3 {
            assert_eq!(client.post(&url).send().await.unwrap().status().as_u16(), 200);
        }
    }
}
