//! One way from a question to its answer and receipt, whole or as a stream.
//!
//! **Invariant:** what was produced is receipted before it is told to be over: the last chunk of a stream comes after its
//! receipt is kept. Headers are sent when the answer has begun, so that whatever is known before has its status.

use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use openledger_protocol::{FinishReason, ReceiptBundle, Role};
use openledger_serving::Answer;
use openledger_serving::openai::{
    ApiError, ChatResponse, ChatStream, CompletionsResponse, CompletionsStream, DONE, EchoToken, Usage, named_event,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::repeats::REPLAYED;
use super::question::{Form, Question};
use super::refusal::Refusal;
use crate::answer::{Generation, Step};
use crate::error::NodeError;
use crate::node::Node;
use crate::pipeline;

/// The answer to a question, with its receipt.
pub(super) async fn answer(node: &Node, question: Question) -> Result<Response, Refusal> {
    let known = match question.key() {
        Some(key) => node.replay(&question.channel, key, &question.canonical).await?,
        None => None,
    };
    let replayed = known.is_some();
    if !replayed {
        node.affordable(&question.channel, &question.offered, &question.request).await?;
    }
    let (adapter, ignored) = (question.offered.manifest.adapter.to_string(), question.ignored.join(","));
    let mut response = if question.stream {
        stream(node.clone(), question, known).await?
    } else {
        whole(node, &question, known).await?
    };
    let mut set = |name: HeaderName, value: &str| {
        if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    };
    set(HeaderName::from_static("x-openledger-adapter"), &adapter);
    set(HeaderName::from_static("x-openledger-ignored-params"), &ignored);
    set(REPLAYED, if replayed { "true" } else { "" });
    Ok(response)
}

async fn whole(node: &Node, question: &Question, known: Option<ReceiptBundle>) -> Result<Response, Refusal> {
    let (answer, bundle) = match known {
        Some(bundle) => (kept(&bundle), bundle),
        None => {
            let mut run = node.begin(question.request.clone(), question.tenant()).await?;
            let answer = loop {
                if let Step::Done(answer) = run.step().await? {
                    break *answer;
                }
            };
            let bundle = receipted(node, question, &answer).await?;
            // Of two requests under one key that ran at once, both tell the answer that was receipted.
            (if bundle.completion == answer.completion { answer } else { kept(&bundle) }, bundle)
        }
    };
    let receipt = &bundle.signed.receipt;
    let (id, model) = (hex::encode(&receipt.id().0[..12]), &question.request.model);
    let note = Some(note(node, question, &bundle).await?);
    let body = match question.form {
        Form::Chat => {
            let mut response = ChatResponse::new(&id, receipt.time, model, &answer, question.logprobs.is_some());
            response.openledger = note;
            serde_json::to_value(response)
        }
        Form::Text { echo, token_ids } => {
            let echo = if echo { Some(echoed(node, question, &answer).await?) } else { None };
            let told = question.logprobs.is_some();
            let mut response = CompletionsResponse::new(&id, receipt.time, model, &answer, told, echo.as_deref());
            if let (true, Some(choice)) = (token_ids, response.choices.first_mut()) {
                choice.token_ids = Some(answer.completion.output_ids);
                choice.prompt_token_ids = Some(answer.completion.prompt_ids);
            }
            response.openledger = note;
            serde_json::to_value(response)
        }
    };
    Ok(Json(body.map_err(NodeError::from)?).into_response())
}

/// The answer that a receipt was given for.
fn kept(bundle: &ReceiptBundle) -> Answer {
    Answer { completion: bundle.completion.clone(), logprobs: Vec::new(), cancelled: false }
}

async fn receipted(node: &Node, question: &Question, answer: &Answer) -> Result<ReceiptBundle, NodeError> {
    let (request, key) = (question.canonical.clone(), question.key());
    pipeline::receipt(node, &question.channel, &question.offered, request, answer, key).await
}

/// The prompt's tokens with how likely they were, for an answer that echoes it.
async fn echoed(node: &Node, question: &Question, answer: &Answer) -> Result<Vec<EchoToken>, NodeError> {
    let (node, model, top) = (node.clone(), question.request.model.clone(), question.logprobs);
    let ids = answer.completion.prompt_ids.clone();
    let tokens = tokio::task::spawn_blocking(move || {
        openledger_serving::http::echo(&*node.inner.serving, &node.inner.base.tokenizer, &model, &ids, top)
    });
    Ok(tokens.await??)
}

/// What the answer tells of its receipt.
async fn note(node: &Node, question: &Question, bundle: &ReceiptBundle) -> Result<Value, NodeError> {
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
        "payer": question.channel.payer,
        "contributor_lines": payees,
        "settlement": { "state": "open" },
    });
    let wanted = question.extension.attribution.as_deref().unwrap_or("summary");
    if wanted != "none" {
        note["splits"] = splits.into();
        note["attribution"] = json!({
            "methods": bundle.credits.methods,
            "coverage": bundle.credits.coverage,
            "top": node.top_records(&question.offered, &bundle.credits, 5).await?,
        });
    }
    if wanted == "full" {
        note["attribution"]["spans"] = serde_json::to_value(&bundle.credits.spans)?;
    }
    Ok(note)
}

/// The chunks of either endpoint.
enum Chunks {
    Chat(ChatStream),
    Text(CompletionsStream),
}

impl Chunks {
    fn new(node: &Node, question: &Question) -> Self {
        let id = hex::encode(&openledger_protocol::keccak(question.canonical.to_string())[..12]);
        let (created, model) = (crate::jobs::now_ms() / 1000, question.request.model.clone());
        let system_fingerprint = node.inner.serving.capabilities().numeric_mode.to_owned();
        let include_usage = question.include_usage;
        match question.form {
            Form::Chat => Self::Chat(ChatStream { id, created, model, system_fingerprint, include_usage }),
            Form::Text { .. } => {
                Self::Text(CompletionsStream { id, created, model, system_fingerprint, include_usage })
            }
        }
    }

    fn first(&self) -> String {
        match self {
            Self::Chat(chunks) => chunks.first(),
            Self::Text(_) => String::new(),
        }
    }

    fn delta(&self, text: &str) -> String {
        match self {
            Self::Chat(chunks) => chunks.delta(text),
            Self::Text(chunks) => chunks.delta(text),
        }
    }

    fn last(&self, reason: FinishReason, usage: Usage) -> String {
        match self {
            Self::Chat(chunks) => chunks.last(reason) + &chunks.usage(usage),
            Self::Text(chunks) => chunks.last(reason) + &chunks.usage(usage),
        }
    }

    fn error(&self, error: &ApiError) -> String {
        match self {
            Self::Chat(chunks) => chunks.error(error),
            Self::Text(chunks) => chunks.error(error),
        }
    }
}

/// The answer as it is written; a client that hangs up cancels the rest and is charged for what was produced.
async fn stream(node: Node, question: Question, known: Option<ReceiptBundle>) -> Result<Response, Refusal> {
    let run = match known {
        Some(bundle) => Run::Known(Box::new(bundle)),
        None => Run::New(node.begin(question.request.clone(), question.tenant()).await?),
    };
    let (send, receive) = mpsc::channel::<String>(64);
    tokio::spawn(async move {
        let chunks = Chunks::new(&node, &question);
        if let Err(Refusal { error, .. }) = write(&node, &question, run, &chunks, &send).await {
            let _ = send.send(chunks.error(&error)).await;
        }
    });
    let body = futures::stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|event| (Ok::<_, Infallible>(event), receive))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Where a stream's answer comes from.
enum Run {
    /// It was given before, under the same key.
    Known(Box<ReceiptBundle>),
    /// It has begun.
    New(Generation),
}

/// Writes a stream to its end.
async fn write(
    node: &Node,
    question: &Question,
    run: Run,
    chunks: &Chunks,
    to: &mpsc::Sender<String>,
) -> Result<(), Refusal> {
    let _ = to.send(chunks.first()).await;
    let mut shown = 0;
    let bundle = match run {
        Run::Known(bundle) => *bundle,
        Run::New(mut run) => {
            let answer = loop {
                match run.step().await? {
                    Step::Done(answer) => break answer,
                    Step::Text(text) => {
                        shown += text.len();
                        if to.send(chunks.delta(&text)).await.is_err() {
                            run.cancel();
                        }
                    }
                }
            };
            receipted(node, question, &answer).await?
        }
    };
    let completion = &bundle.completion;
    // What was held back because a stop text might have begun.
    let rest = completion.text.get(shown..).unwrap_or_default();
    if !rest.is_empty() {
        let _ = to.send(chunks.delta(rest)).await;
    }
    let _ = to.send(chunks.last(completion.finish_reason, completion.usage.into())).await;
    if question.extended {
        let note = note(node, question, &bundle).await?;
        let _ = to.send(named_event("openledger.receipt", &note)).await;
    }
    let _ = to.send(DONE.to_owned()).await;
    Ok(())
}
