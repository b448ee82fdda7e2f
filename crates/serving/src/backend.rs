//! What serving promises, whoever computes: the request, the answer, the trait.

use std::ops::ControlFlow;

use openledger_protocol::{BaseHash, Completion, ModelId, Sampling};

use crate::error::ServeError;

/// What the model is given.
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
    /// What it continues.
    pub prompt: Prompt,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How many of the likeliest tokens to report beside each chosen one, 0 to 20.
    pub top_logprobs: usize,
}

/// A token as it is chosen, while the answer is being written.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEvent<'a> {
    /// The token.
    pub id: u32,
    /// The text that became certain with it: empty while a character is incomplete or a stop text may be under way.
    pub text: &'a str,
}

/// How likely a token was.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub id: u32,
    /// Its raw bytes.
    pub bytes: Vec<u8>,
    /// Log-probability in nats under the unmodified softmax.
    pub logprob: f32,
    /// The likeliest tokens in its place with theirs, likeliest first.
    pub top: Vec<(u32, Vec<u8>, f32)>,
}

/// An answer and what was measured on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The answer.
    pub completion: Completion,
    /// For each output token, how likely it was.
    pub logprobs: Vec<TokenLogprob>,
    /// Whether the caller ended it. Then `completion.sampling.max_tokens` is what was produced, so that the completion is
    /// a whole answer to a smaller request: it can be charged, credited and checked like any other.
    pub cancelled: bool,
}

/// What a backend can do and under which hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether the same request gives the same bytes.
    pub deterministic: bool,
    /// The numeric mode that answers name.
    pub numeric_mode: &'static str,
    /// The base.
    pub base: BaseHash,
    /// The base's name.
    pub base_name: String,
    /// Largest number of tokens of prompt and answer together.
    pub max_tokens: usize,
    /// Number of token ids.
    pub vocab: usize,
}

/// Something that answers requests: the embedded engine, or a remote one.
///
/// Calls block; they may come from many threads at once.
pub trait Backend: Send + Sync {
    /// Answers `request`; `on_token` sees each token and may end the answer.
    ///
    /// The texts of all events, joined, are the start of the answer's text; what a stop text or an incomplete character
    /// held back at the end comes in no event.
    ///
    /// # Errors
    /// [`ServeError::NotFound`] for an unknown model; [`ServeError::BadRequest`], [`ServeError::PromptTooLong`] before the
    /// first token.
    fn complete(
        &self,
        request: &CompletionRequest,
        on_token: &mut dyn FnMut(TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Answer, ServeError>;

    /// Log-probability (nats) of each of `ids[1..]` under `model`.
    ///
    /// # Errors
    /// [`ServeError::NotFound`], or [`ServeError::Run`] when the ids cannot be run.
    fn score(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError>;

    /// What this backend can do.
    fn capabilities(&self) -> Capabilities;
}
