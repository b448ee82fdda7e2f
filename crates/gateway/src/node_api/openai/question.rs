//! A request of `/v1` as one question: who asks which model what, whichever endpoint it came by.

use axum::http::HeaderMap;
use openledger_api::openai::{AttributionLevel, Extension};
use openledger_api::policy::Principal;
use openledger_node::{Ask, Blame, Node, NodeError, Viewer};
use openledger_protocol::{Address, ChannelId};
use openledger_serving::{CompletionRequest, Message, Prompt};
use serde_json::{Value, json};

use crate::node_api::repeats::IDEMPOTENCY_KEY;
use crate::openai::{ApiError, ChatRequest, CompletionsRequest, truncated};
use crate::refusal::Refusal;

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
    /// What the node is asked, and which channel pays.
    pub(super) ask: Ask,
    /// The payer.
    pub(super) payer: Address,
    pub(super) form: Form,
    /// How many alternatives to report; `None` reports nothing.
    pub(super) logprobs: Option<usize>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// How much of the attribution is told.
    pub(super) attribution: AttributionLevel,
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
    pub(super) async fn chat(node: &Node, viewer: &Viewer, headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let base = node.answering.base();
        let parsed = ChatRequest::parse(&json(body)?)?;
        let asked = parsed.request;
        asked.refuse_beyond_receipts()?;
        let mut request = asked.ask(base.form(), base.tokenizer(), node.answering.prompt_time())?;
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
        Self::of(node, viewer, headers, read).await
    }

    /// Reads a request of `/v1/completions`.
    pub(super) async fn text(node: &Node, viewer: &Viewer, headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
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
        Self::of(node, viewer, headers, read).await
    }

    async fn of(node: &Node, viewer: &Viewer, headers: &HeaderMap, read: Read) -> Result<Self, Refusal> {
        let (payer, channel) = paying(viewer)?;
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
        let model = node.answering.model(&request.model).await?;
        request.model_id = model.id();
        let Extension { attribution, max_price, idempotency_key: key } = extension;
        let attribution = attribution.unwrap_or_default();
        let ask = Ask { channel, model, request, canonical: read.canonical, key, max_price };
        let Read { form, logprobs, stream, include_usage, ignored, .. } = read;
        Ok(Self { ask, payer, form, logprobs, stream, include_usage, attribution, extended, ignored })
    }
}

/// Who pays, and from which channel.
fn paying(viewer: &Viewer) -> Result<(Address, ChannelId), NodeError> {
    match *viewer.principal() {
        Principal::Payer { account, channel } => Ok((account, channel)),
        _ => {
            let detail = "give the API key of a channel: `Authorization: Bearer ol_…`";
            Err(NodeError::refused(Blame::Unauthenticated, "invalid-api-key", detail))
        }
    }
}

fn json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::invalid("body", format!("the body is not JSON: {error}")))
}

fn cut(node: &Node, prompt: Prompt, kept: Option<usize>) -> Prompt {
    let most = node.answering.base().max_positions().saturating_sub(1);
    match kept {
        None => prompt,
        Some(kept) => truncated(prompt, kept.min(most), node.answering.base().tokenizer()),
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
