//! Whole responses of the OpenAI dialect. `N` is the form of the member `openledger`: a node tells
//! the receipt, `openledger serve` something else.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AnswerNote;
use crate::ModelView;

/// Tokens read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "OpenAiUsage")]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub completion_tokens: u32,
    /// Both.
    pub total_tokens: u32,
    /// More about the prompt, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptDetails>,
}

/// What is known of a prompt's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromptDetails {
    /// Tokens that were computed for an earlier request.
    pub cached_tokens: u32,
}

impl Usage {
    /// The same, with `cached` tokens of the prompt computed before.
    #[must_use]
    pub fn cached(self, cached: u32) -> Self {
        Self { prompt_tokens_details: Some(PromptDetails { cached_tokens: cached }), ..self }
    }

    /// With the usage of another answer: a prompt counts once, which `same_prompt` tells.
    #[must_use]
    pub fn and(self, other: Self, same_prompt: bool) -> Self {
        let prompt_tokens =
            if same_prompt { self.prompt_tokens } else { self.prompt_tokens.saturating_add(other.prompt_tokens) };
        let completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
        let cached = |usage: &Self| usage.prompt_tokens_details.map_or(0, |details| details.cached_tokens);
        let sum = Self::from(openledger_protocol::Usage { prompt_tokens, completion_tokens });
        if self.prompt_tokens_details.is_none() && other.prompt_tokens_details.is_none() {
            return sum;
        }
        // Of answers to one prompt the first tells what it found.
        sum.cached(if same_prompt { cached(&self) } else { cached(&self).saturating_add(cached(&other)) })
    }
}

impl From<openledger_protocol::Usage> for Usage {
    fn from(usage: openledger_protocol::Usage) -> Self {
        let (prompt_tokens, completion_tokens) = (usage.prompt_tokens, usage.completion_tokens);
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            prompt_tokens_details: None,
        }
    }
}

/// A likely token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopToken {
    /// Its text, broken characters replaced.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A chosen token and its alternatives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenChoice {
    /// The chosen token.
    #[serde(flatten)]
    pub chosen: TopToken,
    /// The likeliest tokens in its place.
    pub top_logprobs: Vec<TopToken>,
}

/// How likely the tokens of a chat answer were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChatLogprobs {
    /// One entry a token.
    pub content: Vec<TokenChoice>,
    /// Always null: the model refuses nothing.
    pub refusal: Option<Vec<TokenChoice>>,
}

/// The message of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatMessage {
    /// `assistant`.
    pub role: String,
    /// The answer, byte for byte the completion's text.
    pub content: String,
    /// Always null.
    pub refusal: Option<String>,
}

/// One answer of a chat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChatChoice {
    /// The answer's number, from 0.
    pub index: u32,
    /// The answer.
    pub message: ChatMessage,
    /// How likely its tokens were, where the request wants it.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop` or `length`.
    pub finish_reason: String,
}

/// `chat.completion`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ChatResponse")]
pub struct ChatResponse<N = AnswerNote> {
    /// `chatcmpl-…`.
    pub id: String,
    /// `chat.completion`.
    pub object: String,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// The model, as the request named it.
    pub model: String,
    /// The answers.
    pub choices: Vec<ChatChoice>,
    /// Tokens read and written.
    pub usage: Usage,
    /// The numeric mode: the same fingerprint, hashes, request and seed give the same bytes.
    pub system_fingerprint: String,
    /// What OpenLedger adds.
    #[serde(default = "Option::default", skip_serializing_if = "Option::<N>::is_none")]
    pub openledger: Option<N>,
}

impl<N> ChatResponse<N> {
    /// A response that has no answer yet.
    #[must_use]
    pub fn empty(id: &str, created: u64, model: &str, system_fingerprint: String) -> Self {
        Self {
            id: format!("chatcmpl-{id}"),
            object: "chat.completion".into(),
            created,
            model: model.to_owned(),
            choices: Vec::new(),
            usage: Usage::default(),
            system_fingerprint,
            openledger: None,
        }
    }
}

/// How likely tokens were, in the form of `/v1/completions`: four columns of one length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompletionLogprobs {
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// Their log-probabilities; null for the first token of an echoed prompt.
    pub token_logprobs: Vec<Option<f32>>,
    /// The likeliest tokens in their place, by text; null where not measured.
    pub top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// Where each token starts in the text, in characters.
    pub text_offset: Vec<usize>,
}

/// One answer of `/v1/completions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompletionChoice {
    /// The answer's number, from 0.
    pub index: u32,
    /// The text.
    pub text: String,
    /// How likely its tokens were, where the request wants it.
    pub logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`.
    pub finish_reason: String,
    /// The answer's token ids, where the request wants them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
    /// The prompt's token ids, where the request wants them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
}

/// `text_completion`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CompletionResponse")]
pub struct CompletionResponse<N = AnswerNote> {
    /// `cmpl-…`.
    pub id: String,
    /// `text_completion`.
    pub object: String,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// The model, as the request named it.
    pub model: String,
    /// The answers.
    pub choices: Vec<CompletionChoice>,
    /// Tokens read and written.
    pub usage: Usage,
    /// The numeric mode.
    pub system_fingerprint: String,
    /// What OpenLedger adds.
    #[serde(default = "Option::default", skip_serializing_if = "Option::<N>::is_none")]
    pub openledger: Option<N>,
}

impl<N> CompletionResponse<N> {
    /// A response that has no answer yet.
    #[must_use]
    pub fn empty(id: &str, created: u64, model: &str, system_fingerprint: String) -> Self {
        Self {
            id: format!("cmpl-{id}"),
            object: "text_completion".into(),
            created,
            model: model.to_owned(),
            choices: Vec::new(),
            usage: Usage::default(),
            system_fingerprint,
            openledger: None,
        }
    }
}

/// A model of `/v1/models`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ModelEntry")]
pub struct ModelEntry<N = ModelView> {
    /// The name to ask for.
    pub id: String,
    /// `model`.
    pub object: String,
    /// When the server began to offer its models, in Unix seconds; 0 on a node, which keeps no such
    /// time.
    pub created: u64,
    /// Its owner.
    pub owned_by: String,
    /// The hash behind the name.
    pub root: String,
    /// The base's name, for an adapter.
    pub parent: Option<String>,
    /// What OpenLedger adds.
    #[serde(default = "Option::default", skip_serializing_if = "Option::<N>::is_none")]
    pub openledger: Option<N>,
}

/// `GET /v1/models`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ModelList")]
pub struct ModelList<N = ModelView> {
    /// `list`.
    pub object: String,
    /// The models.
    pub data: Vec<ModelEntry<N>>,
}

impl<N> ModelList<N> {
    /// The list of `data`.
    #[must_use]
    pub fn new(data: Vec<ModelEntry<N>>) -> Self {
        Self { object: "list".into(), data }
    }
}

/// What went wrong, in OpenAI's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// What is wrong and what to do.
    pub message: String,
    /// The kind of error, such as `invalid_request_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The member that is wrong.
    pub param: Option<String>,
    /// The stable name of the error, such as `model_not_found`.
    pub code: Option<String>,
}

/// An error, in OpenAI's envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}
