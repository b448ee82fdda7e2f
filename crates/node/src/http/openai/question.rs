//! A request of `/v1` as one question: who asks which model what, whichever endpoint it came by.

use std::sync::Arc;

use axum::http::HeaderMap;
use openledger_serving::openai::{ApiError, ChatRequest, CompletionsRequest, truncated};
use openledger_serving::{CompletionRequest, Message, Prompt, Tenant};
use openledger_store::channels::Channel;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::native::bearer;
use super::super::repeats::IDEMPOTENCY_KEY;
use super::refusal::Refusal;
use crate::error::{Blame, NodeError};
use crate::models::Offered;
use crate::node::Node;

/// What a request may carry beside OpenAI's members.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extension {
    /// `none`, `summary` or `full`.
    pub(super) attribution: Option<String>,
    /// The most the answer may cost, in base units; checked against the largest answer before generating.
    pub(super) max_price: Option<openledger_protocol::Amount>,
    /// The same key gives the same answer and is charged once.
    pub(super) idempotency_key: Option<String>,
}

/// What only one of the endpoints has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`: whether the prompt stands before the answer, and whether token ids are told.
    Text { echo: bool, token_ids: bool },
}

/// What was asked, by whom, of which model.
pub(super) struct Question {
    pub(super) channel: Channel,
    pub(super) offered: Arc<Offered>,
    pub(super) form: Form,
    /// For the backend.
    pub(super) request: CompletionRequest,
    /// How many alternatives to report; `None` reports nothing.
    pub(super) logprobs: Option<usize>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// The request as receipts hash it.
    pub(super) canonical: Value,
    pub(super) extension: Extension,
    /// Whether the request carries the extension at all.
    pub(super) extended: bool,
    /// Members that were ignored.
    pub(super) ignored: Vec<String>,
}

/// What both endpoints share once their bodies are read.
struct Read {
    form: Form,
    request: CompletionRequest,
    logprobs: Option<usize>,
    stream: bool,
    include_usage: bool,
    canonical: Value,
    extension: Option<Value>,
    ignored: Vec<String>,
}

impl Question {
    /// Reads a request of `/v1/chat/completions`.
    pub(super) async fn chat(node: &Node, headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let channel = paying(node, headers).await?;
        let parsed = ChatRequest::parse(&json(body)?)?;
        let asked = parsed.request;
        asked.refuse_beyond_receipts()?;
        let mut request = asked.ask(&node.inner.form, &node.inner.base.tokenizer, node.day())?;
        request.prompt = cut(node, request.prompt, asked.truncate);
        let messages: Vec<Value> = asked.messages.iter().map(message).collect();
        let read = Read {
            form: Form::Chat,
            canonical: canonical(&request, "messages", messages.into()),
            request,
            logprobs: asked.logprobs.then_some(asked.top_logprobs),
            stream: asked.stream,
            include_usage: asked.include_usage,
            extension: asked.extension,
            ignored: parsed.ignored,
        };
        Self::of(node, headers, channel, read).await
    }

    /// Reads a request of `/v1/completions`.
    pub(super) async fn text(node: &Node, headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let channel = paying(node, headers).await?;
        let parsed = CompletionsRequest::parse(&json(body)?)?;
        let asked = parsed.request;
        asked.refuse_beyond_receipts()?;
        let missing = || ApiError::invalid("prompt", "`prompt` is missing");
        let mut request = asked.to_completions(openledger_protocol::ModelId(0)).pop().ok_or_else(missing)?;
        request.prompt = cut(node, request.prompt, asked.truncate);
        let prompt = match &request.prompt {
            Prompt::Text(text) => text.clone().into(),
            Prompt::Ids(ids) => ids.clone().into(),
        };
        let read = Read {
            form: Form::Text { echo: asked.echo, token_ids: asked.token_ids },
            canonical: canonical(&request, "prompt", prompt),
            request,
            logprobs: asked.logprobs,
            stream: asked.stream,
            include_usage: asked.include_usage,
            extension: asked.extension,
            ignored: parsed.ignored,
        };
        Self::of(node, headers, channel, read).await
    }

    async fn of(node: &Node, headers: &HeaderMap, channel: Channel, read: Read) -> Result<Self, Refusal> {
        let extended = read.extension.is_some();
        let mut extension: Extension = match read.extension {
            Some(extension) => {
                serde_json::from_value(extension).map_err(|error| ApiError::invalid("openledger", error.to_string()))?
            }
            None => Extension::default(),
        };
        if let Some(key) = headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok()) {
            extension.idempotency_key.get_or_insert_with(|| key.to_owned());
        }
        let mut request = read.request;
        let offered = node.offered(&request.model).await?;
        request.model_id = offered.id;
        if let Some(limit) = extension.max_price {
            let dearest = node.dearest(&offered, &request)?;
            if dearest > limit {
                let detail = format!("the answer may cost up to {dearest}, more than max_price {limit}");
                return Err(NodeError::refused(Blame::Payment, "over-max-price", detail).into());
            }
        }
        let Read { form, logprobs, stream, include_usage, canonical, ignored, .. } = read;
        let question = Self {
            channel,
            offered,
            form,
            request,
            logprobs,
            stream,
            include_usage,
            canonical,
            extension,
            extended,
            ignored,
        };
        Ok(question)
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.extension.idempotency_key.as_deref()
    }

    /// Whose queue it waits in: that of the channel that pays.
    pub(super) fn tenant(&self) -> Tenant {
        Tenant::new(&self.channel.id.to_string())
    }
}

/// Who pays: looked up before anything is computed for them.
async fn paying(node: &Node, headers: &HeaderMap) -> Result<Channel, NodeError> {
    let missing = "give an API key: `Authorization: Bearer ol_…`";
    let missing = || NodeError::refused(Blame::Permission, "invalid-api-key", missing);
    node.channel_of_key(bearer(headers).ok_or_else(missing)?).await
}

fn json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::invalid("body", format!("the body is not JSON: {error}")))
}

fn cut(node: &Node, prompt: Prompt, kept: Option<usize>) -> Prompt {
    let most = node.inner.base.model.config().max_positions.saturating_sub(1);
    match kept {
        None => prompt,
        Some(kept) => truncated(prompt, kept.min(most), &node.inner.base.tokenizer),
    }
}

fn message(message: &Message) -> Value {
    json!({ "role": message.role.name(), "content": message.content })
}

/// The request as receipts hash it: rates are in thousandths there, so that it has one byte form.
fn canonical(request: &CompletionRequest, what: &str, asked: Value) -> Value {
    let sampling = &request.sampling;
    let mut canonical = json!({
        "model": request.model,
        "max_tokens": sampling.max_tokens,
        "temperature_milli": sampling.temperature_milli,
        "top_p_milli": sampling.top_p_milli,
        "seed": sampling.seed.to_string(),
        "stop": sampling.stop,
    });
    canonical[what] = asked;
    canonical
}
