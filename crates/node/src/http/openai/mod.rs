//! The OpenAI dialect at `/v1`: stock clients ask, the answer carries its receipt.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use openledger_protocol::{ReceiptBundle, Role};
use openledger_serving::openai::{ApiError, ChatRequest, ChatResponse, ChatStream, DONE, named_event};
use openledger_serving::{Answer, Backend};
use openledger_store::channels::Channel;
use serde::Deserialize;
use serde_json::{Value, json};

use super::native::bearer;
use super::repeats::{IDEMPOTENCY_KEY, REPLAYED};
use crate::answer::canonical_request;
use crate::error::{Blame, NodeError};
use crate::models::Offered;
use crate::node::Node;
use crate::pipeline;

/// The routes.
pub(crate) fn router() -> Router<Node> {
    Router::new().route("/chat/completions", post(chat)).route("/models", get(models)).fallback(super::no_route)
}

/// What a request may carry beside OpenAI's members.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extension {
    /// `none`, `summary` or `full`.
    attribution: Option<String>,
    /// The most the answer may cost, in base units; checked against the largest answer before generating.
    max_price: Option<openledger_protocol::Amount>,
    /// The same key gives the same answer and is charged once.
    idempotency_key: Option<String>,
}

struct Refusal(ApiError);

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Self {
        let (status, document) = super::problem::document(&error);
        let kind = match error.blame() {
            Blame::Permission => "authentication_error",
            Blame::Payment => "insufficient_quota",
            Blame::Retry => "overloaded",
            Blame::Operator => "server_error",
            _ => "invalid_request_error",
        };
        let code = match (error.blame(), &error) {
            (Blame::Missing, _) => "model_not_found",
            (Blame::Permission, _) => "invalid_api_key",
            _ => error.code(),
        };
        let status = if error.blame() == Blame::Permission { 401 } else { status.as_u16() };
        Self(ApiError {
            status,
            message: document["detail"].as_str().unwrap_or_default().to_owned(),
            kind: kind.into(),
            param: None,
            code: Some(code.into()),
        })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0.body())).into_response()
    }
}

async fn models(State(node): State<Node>) -> Response {
    let cards = node.model_cards().await;
    let data: Vec<Value> = cards
        .into_iter()
        .map(|card| {
            json!({
                "id": card["name"], "object": "model", "created": 0, "owned_by": "openledger",
                "root": card["adapter"], "parent": card["base"], "openledger": card,
            })
        })
        .collect();
    Json(json!({ "object": "list", "data": data })).into_response()
}

/// What was asked, by whom, of which model.
struct Asked {
    channel: Channel,
    offered: Arc<Offered>,
    request: ChatRequest,
    canonical: Value,
    extension: Extension,
    ignored: Vec<String>,
}

async fn asked(node: &Node, headers: &HeaderMap, body: &[u8]) -> Result<Asked, Refusal> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal(ApiError::invalid("body", format!("the body is not JSON: {error}"))))?;
    let parsed = ChatRequest::parse(&body).map_err(Refusal)?;
    parsed.request.refuse_beyond_receipts().map_err(Refusal)?;
    let missing =
        || NodeError::refused(Blame::Permission, "invalid-api-key", "give an API key: `Authorization: Bearer ol_…`");
    let channel = node.channel_of_key(bearer(headers).ok_or_else(missing)?).await?;
    let request = parsed.request;
    let extension: Extension = match &request.extension {
        Some(extension) => serde_json::from_value(extension.clone())
            .map_err(|error| Refusal(ApiError::invalid("openledger", error.to_string())))?,
        None => Extension::default(),
    };
    let mut extension = extension;
    if let Some(key) = headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok()) {
        extension.idempotency_key.get_or_insert_with(|| key.to_owned());
    }
    let offered = node.offered(&request.model).await?;
    if let Some(limit) = extension.max_price {
        let dearest = node.dearest(&offered, &request)?;
        if dearest > limit {
            let detail = format!("the answer may cost up to {dearest}, more than max_price {limit}");
            return Err(NodeError::refused(Blame::Payment, "over-max-price", detail).into());
        }
    }
    let canonical = canonical_request(&request);
    Ok(Asked { channel, offered, request, canonical, extension, ignored: parsed.ignored })
}

async fn chat(State(node): State<Node>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let asked = asked(&node, &headers, &body).await?;
    let ignored = asked.ignored.join(",");
    let known = match asked.extension.idempotency_key.as_deref() {
        Some(key) => node.replay(&asked.channel, key, &asked.canonical).await?,
        None => None,
    };
    let replayed = known.is_some();
    if !replayed {
        node.affordable(&asked.channel, &asked.offered, &asked.request).await?;
    }
    let mut response =
        if asked.request.stream { stream(node, asked, known) } else { whole(node, asked, known).await? };
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    if let Ok(value) = HeaderValue::from_str(&ignored)
        && !ignored.is_empty()
    {
        response.headers_mut().insert(HeaderName::from_static("x-openledger-ignored-params"), value);
    }
    Ok(response)
}

async fn whole(node: Node, asked: Asked, known: Option<ReceiptBundle>) -> Result<Response, Refusal> {
    let (answer, bundle) = match known {
        Some(bundle) => (kept(&bundle), bundle),
        None => {
            let answer = node.generate(&asked.offered, &asked.request).await?;
            let (request, key) = (asked.canonical.clone(), asked.extension.idempotency_key.as_deref());
            let bundle = pipeline::receipt(&node, &asked.channel, &asked.offered, request, &answer, key).await?;
            // Of two requests under one key that ran at once, both tell the answer that was receipted.
            (if bundle.completion == answer.completion { answer } else { kept(&bundle) }, bundle)
        }
    };
    Ok(Json(response(&node, &asked, &answer, &bundle).await?).into_response())
}

/// The answer that a receipt was given for.
fn kept(bundle: &ReceiptBundle) -> Answer {
    Answer { completion: bundle.completion.clone(), logprobs: Vec::new(), cancelled: false }
}

async fn response(node: &Node, asked: &Asked, answer: &Answer, bundle: &ReceiptBundle) -> Result<Value, Refusal> {
    let receipt = &bundle.signed.receipt;
    let id = hex::encode(&receipt.id().0[..12]);
    let mut response = ChatResponse::new(&id, receipt.time, &asked.request.model, answer, asked.request.logprobs);
    response.openledger = Some(note(node, asked, bundle).await?);
    Ok(serde_json::to_value(response).map_err(NodeError::from)?)
}

/// What the answer tells of its receipt.
async fn note(node: &Node, asked: &Asked, bundle: &ReceiptBundle) -> Result<Value, NodeError> {
    let receipt = &bundle.signed.receipt;
    let names = node.names().await?;
    let splits: Vec<Value> = bundle
        .entries
        .iter()
        .map(|entry| {
            json!({ "role": entry.role, "to": entry.account, "name": names.get(&entry.account), "amount": entry.amount })
        })
        .collect();
    let payees = bundle.entries.iter().filter(|entry| entry.role == Role::Contributor).count();
    let mut note = json!({
        "receipt_id": receipt.id(),
        "receipt_hash": receipt.struct_hash(),
        "price": receipt.price,
        "payer": asked.channel.payer,
        "contributor_lines": payees,
        "settlement": { "state": "open" },
    });
    let wanted = asked.extension.attribution.as_deref().unwrap_or("summary");
    if wanted != "none" {
        note["splits"] = splits.into();
        note["attribution"] = json!({
            "methods": bundle.credits.methods,
            "coverage": bundle.credits.coverage,
            "top": node.top_records(&asked.offered, &bundle.credits, 5).await?,
        });
    }
    if wanted == "full" {
        note["attribution"]["spans"] = serde_json::to_value(&bundle.credits.spans)?;
    }
    Ok(note)
}

/// The answer as it is written; a client that hangs up cancels the rest and is charged for what was produced.
fn stream(node: Node, asked: Asked, known: Option<ReceiptBundle>) -> Response {
    let (send, receive) = tokio::sync::mpsc::channel::<String>(64);
    tokio::spawn(async move {
        let events = send.clone();
        if let Err(Refusal(error)) = stream_now(node, asked, known, events).await {
            let _ = send.send(format!("data: {}\n\n", error.body())).await;
        }
    });
    let body = futures::stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|event| (Ok::<_, Infallible>(event), receive))
    });
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")], Body::from_stream(body))
        .into_response()
}

async fn stream_now(
    node: Node,
    asked: Asked,
    known: Option<ReceiptBundle>,
    events: tokio::sync::mpsc::Sender<String>,
) -> Result<(), Refusal> {
    let chunks = ChatStream {
        id: hex::encode(&openledger_protocol::keccak(asked.canonical.to_string())[..12]),
        created: crate::jobs::now_ms() / 1000,
        model: asked.request.model.clone(),
        system_fingerprint: openledger_engine::NUMERIC_MODE.to_owned(),
        include_usage: asked.request.include_usage,
    };
    let _ = events.send(chunks.first()).await;
    let bundle = match known {
        Some(bundle) => {
            let _ = events.send(chunks.delta(&bundle.completion.text)).await;
            bundle
        }
        None => {
            let answer = stream_pieces(&node, &asked, &events, &chunks).await?;
            let (request, key) = (asked.canonical.clone(), asked.extension.idempotency_key.as_deref());
            pipeline::receipt(&node, &asked.channel, &asked.offered, request, &answer, key).await?
        }
    };
    let completion = &bundle.completion;
    let _ = events.send(chunks.last(completion.finish_reason)).await;
    let usage = chunks.usage(completion.usage.into());
    if !usage.is_empty() {
        let _ = events.send(usage).await;
    }
    if asked.request.extension.is_some() {
        let note = note(&node, &asked, &bundle).await?;
        let _ = events.send(named_event("openledger.receipt", &note)).await;
    }
    let _ = events.send(DONE.to_owned()).await;
    Ok(())
}

/// Generates an answer and sends its pieces as they come.
async fn stream_pieces(
    node: &Node,
    asked: &Asked,
    events: &tokio::sync::mpsc::Sender<String>,
    chunks: &ChatStream,
) -> Result<Answer, NodeError> {
    let request = asked.request.to_completion(asked.offered.id, node.inner.serving.chat_form())?;
    let (engine, pieces, writer) = (node.clone(), events.clone(), chunks.clone());
    let generated = tokio::task::spawn_blocking(move || {
        engine.inner.serving.complete(&request, &mut |token| {
            if token.text.is_empty() || pieces.blocking_send(writer.delta(token.text)).is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })
    });
    Ok(generated.await??)
}
