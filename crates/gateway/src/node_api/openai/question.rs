//! A request of `/v1` as one question: who asks which model what, whichever endpoint it came by.
//!
//! **Invariant:** the canonical request determines the prompt: requests whose prompts differ never
//! share a request hash. Not here: what a chat template writes of the time of the request.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use openledger_api::openai::{AttributionLevel, Extension};
use openledger_api::policy::Principal;
use openledger_node::{Ask, Blame, Node, NodeError, Viewer};
use openledger_protocol::{Address, ChannelId, ModelId};
use openledger_serving::{CompletionRequest, Prompt};
use serde_json::{Value, json};

use super::prompts::PromptReader;
use crate::node_api::repeats::{checked_key, header_key};
use crate::openai::{ApiError, ChatRequest, CompletionsRequest, beyond_receipt};
use crate::refusal::{Refusal, blocking, json as read_json};

/// A body as it came.
pub(super) type Body = Result<Bytes, BytesRejection>;

/// What only one of the endpoints has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`: whether the prompt stands before the answer, and whether the response has
    /// token ids.
    Text { echo: bool, token_ids: bool },
}

/// What was asked, by whom, of which model.
pub(super) struct Question {
    /// What the node is asked, and which channel pays.
    pub(super) ask: Ask,
    /// The payer.
    pub(super) payer: Address,
    pub(super) form: Form,
    /// Whether to report how likely tokens were.
    pub(super) logprobs: bool,
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
    logprobs: bool,
    stream: bool,
    include_usage: bool,
    canonical: Value,
    extension: Option<Value>,
    ignored: Vec<String>,
}

impl Question {
    /// Reads a request of `/v1/chat/completions`.
    pub(super) async fn chat(
        node: &Node,
        reader: PromptReader,
        viewer: &Viewer,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, Refusal> {
        let now = node.answering.prompt_time();
        let read = blocking(move || Read::chat(&reader, body, now)).await?;
        Self::of(node, viewer, headers, read).await
    }

    /// Reads a request of `/v1/completions`.
    pub(super) async fn text(
        node: &Node,
        reader: PromptReader,
        viewer: &Viewer,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, Refusal> {
        let read = blocking(move || Read::text(&reader, body)).await?;
        Self::of(node, viewer, headers, read).await
    }

    async fn of(node: &Node, viewer: &Viewer, headers: &HeaderMap, read: Read) -> Result<Self, Refusal> {
        let (payer, channel) = paying(viewer)?;
        let extended = read.extension.is_some();
        let extension: Extension = match read.extension {
            Some(extension) => {
                serde_json::from_value(extension).map_err(|error| ApiError::invalid("openledger", error.to_string()))?
            }
            None => Extension::default(),
        };
        let Extension { attribution, max_price, idempotency_key } = extension;
        let key = key(idempotency_key.as_deref(), headers)?;
        if key.is_some() && read.logprobs {
            // They are not kept, so that a repeat could not tell them again.
            let message = "`logprobs` cannot be given again under an idempotency key; leave one of them out";
            return Err(ApiError { message: message.into(), ..beyond_receipt("logprobs") }.into());
        }
        let mut request = read.request;
        let model = node.answering.model(&request.model).await?;
        request.model_id = model.id();
        let attribution = attribution.unwrap_or_default();
        let ask = Ask { channel, model, request, canonical: read.canonical, key, max_price };
        let Read { form, logprobs, stream, include_usage, ignored, .. } = read;
        Ok(Self { ask, payer, form, logprobs, stream, include_usage, attribution, extended, ignored })
    }
}

impl Read {
    /// Reads and tokenizes a chat, as of `now` (Unix seconds); blocks.
    fn chat(reader: &PromptReader, body: Body, now: u64) -> Result<Self, Refusal> {
        let parsed = ChatRequest::parse(&read_json(body)?)?;
        let mut asked = parsed.request;
        asked.refuse_beyond_receipts()?;
        asked.keep_plain_messages();
        let mut request = asked.ask_within(&reader.form, &reader.tokenizer, now, reader.text_max)?;
        request.prompt = reader.fitted(request.prompt, asked.truncate)?;
        let mut canonical = canonical(&request, "messages", asked.conversation.into());
        if let Some(kept) = asked.truncate {
            // All that fits is -1, as callers write it.
            canonical["truncate_prompt_tokens"] = if kept == usize::MAX { json!(-1) } else { json!(kept) };
        }
        Ok(Self {
            form: Form::Chat,
            canonical,
            request,
            logprobs: asked.logprobs,
            stream: asked.stream,
            include_usage: asked.include_usage,
            extension: asked.extension,
            ignored: parsed.ignored,
        })
    }

    /// Reads and tokenizes a text to go on with; blocks.
    fn text(reader: &PromptReader, body: Body) -> Result<Self, Refusal> {
        let parsed = CompletionsRequest::parse(&read_json(body)?)?;
        let asked = parsed.request;
        asked.refuse_beyond_receipts()?;
        let missing = || ApiError::invalid("prompt", "`prompt` is missing");
        let mut request = asked.to_completions(ModelId(0)).pop().ok_or_else(missing)?;
        request.prompt = reader.fitted(request.prompt, asked.truncate)?;
        // The prompt that is left says where it was cut.
        let prompt = match &request.prompt {
            Prompt::Text(text) => text.clone().into(),
            Prompt::Ids(ids) => ids.clone().into(),
        };
        Ok(Self {
            form: Form::Text { echo: asked.echo, token_ids: asked.token_ids },
            canonical: canonical(&request, "prompt", prompt),
            request,
            logprobs: asked.logprobs.is_some(),
            stream: asked.stream,
            include_usage: asked.include_usage,
            extension: asked.extension,
            ignored: parsed.ignored,
        })
    }
}

/// The key that names the request, from its member or else from its header. Both are checked.
fn key(member: Option<&str>, headers: &HeaderMap) -> Result<Option<String>, NodeError> {
    let header = header_key(headers)?;
    let member = member.map(checked_key).transpose()?;
    Ok(member.or(header).map(str::to_owned))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use openledger_engine::Tokenizer;
    use openledger_serving::{ChatForm, SpecialTokens};

    use super::*;

    fn reader() -> PromptReader {
        let tokenizer = Tokenizer::train_bpe(["the owl sat"].iter(), 280, &["<|end|>"]).unwrap();
        let source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
        let form = ChatForm::of_source(source, SpecialTokens::default());
        PromptReader::new(Arc::new(tokenizer), form, 64)
    }

    fn chat(more: Value) -> Result<Read, Refusal> {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "owl" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Read::chat(&reader(), Ok(body.to_string().into()), 0)
    }

    #[test]
    fn requests_whose_prompts_differ_have_different_canonical_forms() {
        let say =
            |role: &str| json!({ "messages": [{ "role": role, "content": "a" }, { "role": "user", "content": "b" }] });
        let asked = [
            json!({}),
            say("system"),
            say("assistant"),
            json!({ "truncate_prompt_tokens": 3 }),
            json!({ "truncate_prompt_tokens": 4 }),
        ];
        let read: Vec<Read> = asked.into_iter().map(|more| chat(more).unwrap()).collect();
        for (at, one) in read.iter().enumerate() {
            for other in &read[..at] {
                assert_ne!(one.request.prompt, other.request.prompt);
                assert_ne!(one.canonical, other.canonical);
            }
        }
    }

    #[test]
    fn messages_that_a_receipt_does_not_hold_are_refused_by_place() {
        let call = json!([{ "function": { "name": "f", "arguments": "{}" } }]);
        for (message, param) in [
            (json!({ "role": "assistant", "content": "a", "tool_calls": call }), "messages[0].tool_calls"),
            (json!({ "role": "tool", "content": "a", "tool_call_id": "1" }), "messages[0].role"),
            (json!({ "role": "user", "content": "a", "name": "Ann" }), "messages[0].name"),
        ] {
            let refused = chat(json!({ "messages": [message, { "role": "user", "content": "b" }] })).err().unwrap();
            assert_eq!((refused.error.status, refused.error.param.as_deref()), (400, Some(param)));
        }
        // What clients send back of an answer of ours says nothing more.
        let back = json!({ "role": "assistant", "content": "a", "refusal": null, "annotations": [] });
        assert!(chat(json!({ "messages": [back, { "role": "user", "content": "b" }] })).is_ok());
    }

    #[test]
    fn a_header_and_a_member_are_keys_of_the_same_form() {
        let mut headers = HeaderMap::new();
        assert_eq!(key(Some("a"), &headers).unwrap().as_deref(), Some("a"));
        headers.insert("idempotency-key", "b".parse().unwrap());
        assert_eq!(key(None, &headers).unwrap().as_deref(), Some("b"));
        assert_eq!(key(Some("a"), &headers).unwrap().as_deref(), Some("a"));
        assert_eq!(key(Some("ä"), &headers).unwrap_err().code(), "bad-idempotency-key");
    }
}
