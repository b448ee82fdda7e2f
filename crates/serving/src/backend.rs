//! What every backend promises, embedded or remote.

use std::ops::ControlFlow;
use std::path::PathBuf;

use openledger_protocol::{AdapterHash, BaseHash};

use crate::adapters::Alias;
use crate::answer::{Answer, TokenEvent, TokenLogprob};
use crate::ensemble::{Ensemble, Weight};
use crate::error::ServeError;
use crate::events::Events;
use crate::request::{CompletionRequest, RequestOptions};

/// A model that requests can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The name in requests.
    pub name: String,
    /// The adapter behind it; `None` is the base.
    pub adapter: Option<AdapterHash>,
    /// Generation of the name, from 1; 0 is the base.
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

/// An adapter to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadAdapter {
    /// Its name in requests; without one only its hash names it.
    pub name: Option<String>,
    /// Its PEFT folder.
    pub path: PathBuf,
    /// The hash that it must have, where the caller knows it.
    pub expected: Option<AdapterHash>,
}

/// A backend's abilities and hashes.
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

/// A backend that answers requests: the embedded engine, or a remote one.
///
/// Calls block; they may come from many threads at once.
pub trait Backend: Send + Sync {
    /// Answers `request`; `on_token` sees each token and may end the answer.
    ///
    /// The texts of all events, joined, are the start of the answer's text; what a stop text or an
    /// incomplete character held back at the end comes in no event.
    ///
    /// # Errors
    /// [`ServeError::NotFound`] for an unknown model; [`ServeError::BadRequest`],
    /// [`ServeError::PromptTooLong`] before the first token.
    fn complete(
        &self,
        request: &CompletionRequest,
        on_token: &mut dyn FnMut(TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Answer, ServeError>;

    /// Starts an answer to `request`: its tokens come as events while others are answered beside
    /// it.
    ///
    /// Dropping the events ends the run.
    ///
    /// # Errors
    /// What is known before a token is made: [`ServeError::NotFound`], [`ServeError::BadRequest`],
    /// [`ServeError::PromptTooLong`], and [`ServeError::QueueFull`] or [`ServeError::Overloaded`]
    /// when it cannot wait its turn. What fails later is the last event.
    fn generate(&self, request: CompletionRequest, options: RequestOptions) -> Result<Events, ServeError>;

    /// All models that requests can name: the base, then each name in order.
    fn served(&self) -> Vec<Served>;

    /// The model of that name, the base or an alias; without listing all where there are many.
    fn find(&self, name: &str) -> Option<Served> {
        self.served().into_iter().find(|served| served.name == name)
    }

    /// Registers an adapter and gives its hash.
    ///
    /// # Errors
    /// [`ServeError::Load`] when the folder is not a whole adapter for this base,
    /// [`ServeError::Changed`] when it is not the expected one, [`ServeError::BadRequest`] for a
    /// name that cannot be one.
    fn load_adapter(&self, adapter: &LoadAdapter) -> Result<AdapterHash, ServeError>;

    /// Takes in the ensemble of what `members` name, points `name` to it and gives its hash. Its
    /// members cannot be unloaded before it.
    ///
    /// # Errors
    /// [`ServeError::NotFound`] for an unknown member, [`ServeError::BadRequest`] when members do
    /// not go together or the backend has no ensembles.
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

    /// Forgets the adapter or ensemble that `model` names, with all its names and its memory;
    /// running requests end with it.
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

    /// How likely each of `ids` was under `model` after those before it, and the `top` likeliest in
    /// its place; the first has nothing before it. A backend that knows no alternatives reports
    /// none.
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

    /// Whether it keeps to [`RequestOptions::format`] itself; others need the constraint made from
    /// it.
    fn takes_formats(&self) -> bool {
        false
    }

    /// Its abilities and hashes.
    fn capabilities(&self) -> Capabilities;
}
