//! Responses, field by field as OpenAI writes them.

use std::collections::BTreeMap;

use openledger_protocol::FinishReason;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backend::{Answer, TokenLogprob};

/// Tokens read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptDetails {
    /// Tokens that had been read for an earlier request.
    pub cached_tokens: u32,
}

impl Usage {
    /// The same, with `cached` tokens of the prompt read before.
    #[must_use]
    pub fn cached(self, cached: u32) -> Self {
        Self { prompt_tokens_details: Some(PromptDetails { cached_tokens: cached }), ..self }
    }

    /// With the usage of another answer: prompts count once a prompt, which `same_prompt` tells.
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

/// `stop` or `length`.
#[must_use]
pub fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// A likely token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopToken {
    /// Its text, broken characters replaced.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A chosen token and its alternatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenChoice {
    /// The chosen one.
    #[serde(flatten)]
    pub chosen: TopToken,
    /// The likeliest in its place.
    pub top_logprobs: Vec<TopToken>,
}

/// How likely the tokens of a chat answer were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatLogprobs {
    /// One entry a token.
    pub content: Vec<TokenChoice>,
    /// Always null: nothing is refused by the model.
    pub refusal: Option<Vec<TokenChoice>>,
}

impl ChatLogprobs {
    /// From what a backend measured.
    #[must_use]
    pub fn new(logprobs: &[TokenLogprob]) -> Self {
        let token = |bytes: &[u8], logprob: f32| TopToken {
            token: String::from_utf8_lossy(bytes).into_owned(),
            logprob,
            bytes: bytes.to_vec(),
        };
        let content = logprobs.iter().map(|l| TokenChoice {
            chosen: token(&l.bytes, l.logprob),
            top_logprobs: l.top.iter().map(|(_, bytes, logprob)| token(bytes, *logprob)).collect(),
        });
        Self { content: content.collect(), refusal: None }
    }
}

/// The message of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `assistant`.
    pub role: String,
    /// The answer, byte for byte the completion's text.
    pub content: String,
    /// Always null.
    pub refusal: Option<String>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatChoice {
    /// Which answer, from 0.
    pub index: u32,
    /// The answer.
    pub message: ChatMessage,
    /// How likely its tokens were, if asked.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop` or `length`.
    pub finish_reason: String,
}

/// `chat.completion`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatResponse {
    /// `chatcmpl-…`.
    pub id: String,
    /// `chat.completion`.
    pub object: String,
    /// Unix seconds.
    pub created: u64,
    /// The model as it was asked for.
    pub model: String,
    /// The answers.
    pub choices: Vec<ChatChoice>,
    /// Tokens read and written.
    pub usage: Usage,
    /// The numeric mode: the same fingerprint, hashes, request and seed give the same bytes.
    pub system_fingerprint: String,
    /// What the node adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openledger: Option<Value>,
}

impl ChatResponse {
    /// The response for `answer`; `id` and `created` are the caller's, `logprobs` says whether to report them.
    #[must_use]
    pub fn new(id: &str, created: u64, model: &str, answer: &Answer, logprobs: bool) -> Self {
        let fingerprint = answer.completion.numeric_mode.clone();
        let mut response = Self::empty(id, created, model, fingerprint);
        response.push(answer, logprobs, answer.completion.usage.into());
        response
    }

    /// A response that has no answer yet.
    #[must_use]
    pub fn empty(id: &str, created: u64, model: &str, system_fingerprint: String) -> Self {
        Self {
            id: format!("chatcmpl-{id}"),
            object: "chat.completion".into(),
            created,
            model: model.to_owned(),
            choices: Vec::new(),
            usage: openledger_protocol::Usage::default().into(),
            system_fingerprint,
            openledger: None,
        }
    }

    /// Adds the next answer to the same prompt, with what it used.
    pub fn push(&mut self, answer: &Answer, logprobs: bool, usage: Usage) {
        let completion = &answer.completion;
        let index = u32::try_from(self.choices.len()).unwrap_or(u32::MAX);
        self.usage = if index == 0 { usage } else { self.usage.and(usage, true) };
        self.choices.push(ChatChoice {
            index,
            message: ChatMessage { role: "assistant".into(), content: completion.text.clone(), refusal: None },
            logprobs: logprobs.then(|| ChatLogprobs::new(&answer.logprobs)),
            finish_reason: finish_reason(completion.finish_reason).into(),
        });
    }
}

/// How likely tokens were, in the form of `/v1/completions`: four columns of one length.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CompletionsLogprobs {
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// Their log-probabilities; null for the first token of an echoed prompt, which has nothing before it.
    pub token_logprobs: Vec<Option<f32>>,
    /// The likeliest in their place, by text; null where not measured.
    pub top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// Where each token starts in the text, in characters.
    pub text_offset: Vec<usize>,
}

impl CompletionsLogprobs {
    /// Adds a token.
    pub fn push(&mut self, token: &[u8], logprob: Option<f32>, top: Option<BTreeMap<String, f32>>, offset: usize) {
        self.tokens.push(String::from_utf8_lossy(token).into_owned());
        self.token_logprobs.push(logprob);
        self.top_logprobs.push(top);
        self.text_offset.push(offset);
    }

    /// Adds an answer's tokens, the answer starting `before` characters into the text.
    pub fn extend(&mut self, answer: &Answer, before: usize) {
        let text = &answer.completion.text;
        for (logprob, (start, _)) in answer.logprobs.iter().zip(&answer.completion.offsets) {
            let offset = before + text.get(..*start as usize).map_or(0, |head| head.chars().count());
            self.push(&logprob.bytes, Some(logprob.logprob), Some(alternatives(logprob)), offset);
        }
    }

    /// The columns of a piece of an answer, which starts `at` characters into it.
    #[must_use]
    pub fn of_tokens(tokens: &[TokenLogprob], at: usize) -> Self {
        let (mut columns, mut bytes) = (Self::default(), Vec::new());
        for token in tokens {
            let place = at + String::from_utf8_lossy(&bytes).chars().count();
            columns.push(&token.bytes, Some(token.logprob), Some(alternatives(token)), place);
            bytes.extend_from_slice(&token.bytes);
        }
        columns
    }
}

/// The likeliest tokens in the place of one, by text; where any were asked for, it is among them itself.
fn alternatives(token: &TokenLogprob) -> BTreeMap<String, f32> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut all: BTreeMap<String, f32> = token.top.iter().map(|(_, bytes, l)| (text(bytes), *l)).collect();
    if !all.is_empty() {
        all.insert(text(&token.bytes), token.logprob);
    }
    all
}

/// A token of an echoed prompt: its bytes and how likely it was; the first one has nothing before it.
pub type EchoToken = (Vec<u8>, Option<TokenLogprob>);

/// One answer of `/v1/completions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompletionsChoice {
    /// Which answer, from 0.
    pub index: u32,
    /// The text.
    pub text: String,
    /// How likely its tokens were, if asked.
    pub logprobs: Option<CompletionsLogprobs>,
    /// `stop` or `length`.
    pub finish_reason: String,
    /// The answer's token ids, if asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
    /// The prompt's token ids, if asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
}

/// `text_completion`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompletionsResponse {
    /// `cmpl-…`.
    pub id: String,
    /// `text_completion`.
    pub object: String,
    /// Unix seconds.
    pub created: u64,
    /// The model as it was asked for.
    pub model: String,
    /// The answers.
    pub choices: Vec<CompletionsChoice>,
    /// Tokens read and written.
    pub usage: Usage,
    /// The numeric mode.
    pub system_fingerprint: String,
    /// What the node adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openledger: Option<Value>,
}

impl CompletionsResponse {
    /// The response for `answer`. `logprobs` are reported when asked. `echo` holds the prompt's tokens (bytes and
    /// log-probability) when the prompt is to stand before the answer: [`crate::http::echo`] gives them.
    #[must_use]
    pub fn new(
        id: &str,
        created: u64,
        model: &str,
        answer: &Answer,
        logprobs: bool,
        echo: Option<&[EchoToken]>,
    ) -> Self {
        let fingerprint = answer.completion.numeric_mode.clone();
        let mut response = Self::empty(id, created, model, fingerprint);
        response.push(answer, logprobs, echo, answer.completion.usage.into(), false);
        response
    }

    /// A response that has no answer yet.
    #[must_use]
    pub fn empty(id: &str, created: u64, model: &str, system_fingerprint: String) -> Self {
        Self {
            id: format!("cmpl-{id}"),
            object: "text_completion".into(),
            created,
            model: model.to_owned(),
            choices: Vec::new(),
            usage: openledger_protocol::Usage::default().into(),
            system_fingerprint,
            openledger: None,
        }
    }

    /// Adds the next answer, with what it used; `same_prompt` says whether the one before had the same prompt.
    pub fn push(
        &mut self,
        answer: &Answer,
        logprobs: bool,
        echo: Option<&[EchoToken]>,
        usage: Usage,
        same_prompt: bool,
    ) {
        let completion = &answer.completion;
        let mut columns = CompletionsLogprobs::default();
        let mut text = String::new();
        if let Some(tokens) = echo {
            let mut bytes = Vec::new();
            for (token, scored) in tokens {
                let place = String::from_utf8_lossy(&bytes).chars().count();
                columns.push(token, scored.as_ref().map(|s| s.logprob), scored.as_ref().map(alternatives), place);
                bytes.extend_from_slice(token);
            }
            text.push_str(&completion.prompt);
        }
        columns.extend(answer, text.chars().count());
        text.push_str(&completion.text);
        let index = u32::try_from(self.choices.len()).unwrap_or(u32::MAX);
        self.usage = if index == 0 { usage } else { self.usage.and(usage, same_prompt) };
        self.choices.push(CompletionsChoice {
            index,
            text,
            logprobs: logprobs.then_some(columns),
            finish_reason: finish_reason(completion.finish_reason).into(),
            token_ids: None,
            prompt_token_ids: None,
        });
    }
}

/// A model of `/v1/models`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// The name to ask for.
    pub id: String,
    /// `model`.
    pub object: String,
    /// Unix seconds.
    pub created: u64,
    /// Its owner.
    pub owned_by: String,
    /// The hash behind the name.
    pub root: String,
    /// The base's name, for an adapter.
    pub parent: Option<String>,
    /// What the node adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openledger: Option<Value>,
}

/// `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelList {
    /// `list`.
    pub object: String,
    /// The models.
    pub data: Vec<ModelEntry>,
}

impl ModelList {
    /// The list of `data`.
    #[must_use]
    pub fn new(data: Vec<ModelEntry>) -> Self {
        Self { object: "list".into(), data }
    }
}
