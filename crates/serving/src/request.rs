//! A request: the prompt, how tokens are chosen, the form of the answer, and the tenant.

use std::sync::Arc;

use openledger_protocol::{ModelId, Sampling};
use serde_json::Value;

use crate::error::ServeError;

/// The prompt of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text; the start token is put before it.
    Text(String),
    /// Ids, taken as they are.
    Ids(Vec<u32>),
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionRequest {
    /// The model's title, copied into the completion; 0 where there is no chain.
    pub model_id: ModelId,
    /// Which model answers: the base's name, an alias, `base:alias`, `sha256:<hex>` or `0x<hex>`.
    pub model: String,
    /// Its prompt.
    pub prompt: Prompt,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How many of the likeliest tokens to report beside each chosen one, 0 to 20.
    pub top_logprobs: usize,
}

/// A tenant: its requests wait behind each other, and tenants take turns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(pub Arc<str>);

impl Tenant {
    /// The tenant of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

impl Default for Tenant {
    /// The tenant of all requests without a key.
    fn default() -> Self {
        Self::new("default")
    }
}

/// How tokens are chosen beyond a receipt's [`Sampling`].
///
/// The default changes nothing. An answer made with anything else is repeatable as well, but not
/// from its [`Completion`](openledger_protocol::Completion) alone, which does not carry these
/// settings: an answer with a receipt must leave them at their default.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoding {
    /// Keeps only the likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps tokens at least this part as likely as the likeliest, 0 to 1; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens of prompt and answer; 1 changes
    /// nothing.
    pub repetition_penalty: f32,
    /// Taken from the logits of tokens that the answer holds already, -2 to 2.
    pub presence_penalty: f32,
    /// Taken from a token's logit once for each time the answer holds it already, -2 to 2.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens, -100 to 100.
    pub logit_bias: Vec<(u32, f32)>,
    /// No stop id and no stop text ends the answer before it has that many tokens.
    pub min_tokens: u32,
    /// Whether the base's end tokens are tokens like others.
    pub ignore_eos: bool,
    /// Further ids that end the answer.
    pub stop_ids: Vec<u32>,
    /// Whether the stop text that ended the answer stays in it.
    pub include_stop: bool,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            min_tokens: 0,
            ignore_eos: false,
            stop_ids: Vec::new(),
            include_stop: false,
        }
    }
}

impl Decoding {
    /// Refuses ids that a base of `vocab` ids does not have: a bias on them could not be kept to.
    pub(crate) fn check(&self, vocab: usize) -> Result<(), ServeError> {
        let biased = self.logit_bias.iter().map(|(id, _)| ("logit_bias", *id));
        let stops = self.stop_ids.iter().map(|id| ("stop_token_ids", *id));
        match biased.chain(stops).find(|(_, id)| *id as usize >= vocab) {
            None => Ok(()),
            Some((param, id)) => Err(ServeError::BadRequest {
                param,
                reason: format!("names the token id {id}; this base has {vocab} ids"),
            }),
        }
    }
}

/// The form that an answer must have.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum AnswerFormat {
    /// Any text.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// A JSON value of this schema. A JSON schema is free-form JSON, so it is kept as it came.
    JsonSchema(Value),
}

/// A rule on the answer's tokens, such as a grammar; asked once before each token.
pub trait Constraint: Send {
    /// Sets the logits of tokens that may not come next to minus infinity. `logits` has one value
    /// per token id.
    ///
    /// # Errors
    /// [`ServeError::BadRequest`] when nothing may come next; the answer then ends in that error.
    fn mask(&mut self, logits: &mut [f32]) -> Result<(), ServeError>;

    /// Takes note of the token that was chosen; `true` when the answer is complete with it.
    fn accept(&mut self, id: u32) -> bool;
}

/// What comes with a request: the tenant, and how the answer is decoded.
#[derive(Default)]
pub struct RequestOptions {
    /// The tenant.
    pub tenant: Tenant,
    /// How tokens are chosen beyond the request's sampling.
    pub decoding: Decoding,
    /// A rule that the answer keeps to.
    pub constraint: Option<Box<dyn Constraint>>,
    /// The form that such a rule was made from: for backends whose peer makes its own.
    pub format: AnswerFormat,
}
