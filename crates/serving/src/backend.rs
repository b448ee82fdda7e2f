//! What serving promises, whoever computes: the request, the answer, the trait.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use openledger_protocol::{AdapterHash, BaseHash, Completion, ModelId, Sampling};

use crate::adapters::Alias;
use crate::ensemble::{Ensemble, Weight};
use crate::error::ServeError;
use crate::events::Events;
use crate::openai::ResponseFormat;

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

/// Who asks: requests of one tenant wait behind each other, tenants take turns.
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
    /// Everyone who is not told apart.
    fn default() -> Self {
        Self::new("default")
    }
}

/// How tokens are chosen beyond what a receipt's [`Sampling`] says.
///
/// The default changes nothing. An answer made with anything else is repeatable as well, but not from its [`Completion`]
/// alone, which does not carry these settings: what goes into receipts must leave them at their default.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoding {
    /// Keeps only the likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps tokens at least this part as likely as the likeliest, 0 to 1; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens of prompt and answer; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Taken from the logits of tokens that the answer holds already, -2 to 2.
    pub presence_penalty: f32,
    /// Taken from a token's logit once for each time the answer holds it already, -2 to 2.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens, -100 to 100.
    pub logit_bias: Vec<(u32, f32)>,
    /// The answer does not end by a stop id before it has that many tokens.
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

/// A rule on the answer's tokens, such as a grammar; asked once before each token.
pub trait Constraint: Send {
    /// Sets the logits of tokens that may not come next to minus infinity. `logits` has one value per token id.
    ///
    /// # Errors
    /// [`ServeError::BadRequest`] when nothing may come next; the answer then ends in that error.
    fn mask(&mut self, logits: &mut [f32]) -> Result<(), ServeError>;

    /// Takes note of the token that was chosen; `true` when the answer is complete with it.
    fn accept(&mut self, id: u32) -> bool;
}

/// A request with who asks it and how.
#[derive(Default)]
pub struct Asked {
    /// Who asks.
    pub tenant: Tenant,
    /// How tokens are chosen beyond the request's sampling.
    pub decoding: Decoding,
    /// A rule that the answer keeps to.
    pub constraint: Option<Box<dyn Constraint>>,
    /// The form that such a rule was made from: for backends whose peer makes its own ([`Backend::takes_formats`]).
    pub format: ResponseFormat,
}

/// A model that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The name to ask for.
    pub name: String,
    /// The adapter behind it; `None` is the base.
    pub adapter: Option<AdapterHash>,
    /// How often the name was pointed to something: from 1; 0 is the base.
    pub generation: u64,
    /// Whether its weights are in memory.
    pub resident: bool,
}

impl From<Alias> for Served {
    fn from(alias: Alias) -> Self {
        let Alias { name, generation, adapter, resident } = alias;
        Self { name, adapter: Some(adapter), generation, resident }
    }
}

/// An adapter to take in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadAdapter {
    /// The name it is asked for by; without one only its hash names it.
    pub name: Option<String>,
    /// Its PEFT folder.
    pub path: PathBuf,
    /// The hash that it must have, where the caller knows it.
    pub expected: Option<AdapterHash>,
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

    /// Starts an answer to `request`: its tokens come as events while others are answered beside it.
    ///
    /// Dropping the events ends the run.
    ///
    /// # Errors
    /// What is known before a token is made: [`ServeError::NotFound`], [`ServeError::BadRequest`],
    /// [`ServeError::PromptTooLong`], and [`ServeError::QueueFull`] or [`ServeError::Overloaded`] when it cannot wait its
    /// turn. What fails later is the last event.
    fn generate(&self, request: CompletionRequest, asked: Asked) -> Result<Events, ServeError>;

    /// What can be asked for: the base, then each name in order.
    fn served(&self) -> Vec<Served>;

    /// What can be asked for by that name, the base or an alias; where there are many, without listing them.
    fn find(&self, name: &str) -> Option<Served> {
        self.served().into_iter().find(|served| served.name == name)
    }

    /// Takes in an adapter and gives its hash.
    ///
    /// # Errors
    /// [`ServeError::Load`] when the folder is not a whole adapter for this base, [`ServeError::Changed`] when it is not the
    /// expected one, [`ServeError::BadRequest`] for a name that cannot be one.
    fn load_adapter(&self, adapter: &LoadAdapter) -> Result<AdapterHash, ServeError>;

    /// Takes in the ensemble of what `members` name, points `name` to it and gives its hash. Its members cannot be unloaded
    /// before it.
    ///
    /// # Errors
    /// [`ServeError::NotFound`] for an unknown member, [`ServeError::BadRequest`] when members do not go together or the
    /// backend has no ensembles.
    fn load_ensemble(&self, name: &str, members: &[(String, Weight)]) -> Result<AdapterHash, ServeError> {
        let _ = (name, members);
        Err(ServeError::BadRequest {
            param: "members",
            reason: "cannot be honoured: this backend has no ensembles".into(),
        })
    }

    /// The members of the ensemble of that hash, if it is one.
    fn ensemble(&self, adapter: AdapterHash) -> Option<Ensemble> {
        let _ = adapter;
        None
    }

    /// Forgets the adapter or ensemble that `model` names, with all its names and its memory; running requests end with it.
    ///
    /// # Errors
    /// [`ServeError::NotFound`], [`ServeError::Needed`] when an ensemble is made of it.
    fn unload_adapter(&self, model: &str) -> Result<AdapterHash, ServeError>;

    /// Mean final hidden state of `ids` under `model`, one value per hidden dimension.
    ///
    /// # Errors
    /// As [`Backend::score`].
    fn embed(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError>;

    /// Log-probability (nats) of each of `ids[1..]` under `model`.
    ///
    /// # Errors
    /// [`ServeError::NotFound`], or [`ServeError::Run`] when the ids cannot be run.
    fn score(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError>;

    /// How likely each of `ids` was under `model` after those before it, and the `top` likeliest in its place; the first has
    /// nothing before it. A backend that knows no alternatives reports none.
    ///
    /// # Errors
    /// As [`Backend::score`].
    fn prompt_logprobs(&self, model: &str, ids: &[u32], top: usize) -> Result<Vec<Option<TokenLogprob>>, ServeError> {
        let _ = top;
        let scores = self.score(model, ids)?;
        let own = |(id, logprob): (&u32, f32)| TokenLogprob { id: *id, bytes: Vec::new(), logprob, top: Vec::new() };
        let scored = ids.iter().skip(1).zip(scores).map(|pair| Some(own(pair)));
        Ok(std::iter::once(None).chain(scored).take(ids.len()).collect())
    }

    /// Whether it honours [`Asked::format`] itself; others need the constraint made from it.
    fn takes_formats(&self) -> bool {
        false
    }

    /// What this backend can do.
    fn capabilities(&self) -> Capabilities;
}
