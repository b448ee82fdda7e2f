//! One backend with what its HTTP face needs beside it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, header};
use openledger_engine::Tokenizer;
use openledger_protocol::{AdapterHash, BaseHash, sha256};
use openledger_serving::{
    AnswerFormat, Backend, ChatForm, CompletionRequest, Constraint, Decoding, Events, Grammar, Prompt, RequestOptions,
    ServeError, Tenant,
};

use super::scoring::Scoring;
use crate::openai::truncated;

/// The parts of a [`Server`].
pub struct Setup {
    /// What answers.
    pub backend: Arc<dyn Backend>,
    /// The base's tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// How the base is asked.
    pub form: ChatForm,
    /// Ids that end an answer.
    pub eos: Vec<u32>,
    /// The folder that adapters may be loaded from; without one none are.
    pub adapters: Option<PathBuf>,
    /// What `/metrics` tells beside the server's own counts.
    pub metrics: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    /// The time, in Unix seconds.
    pub now: fn() -> u64,
}

/// One backend's HTTP face.
pub struct Server {
    pub(super) setup: Setup,
    grammar: OnceLock<Result<Grammar, String>>,
    /// When it was made, in Unix seconds.
    pub(super) started: u64,
    /// Requests for answers so far.
    pub(super) asked: AtomicU64,
    /// Turns for scoring prompts.
    pub(super) scoring: Scoring,
}

impl Server {
    /// The face of `setup`.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let started = (setup.now)();
        Self { setup, grammar: OnceLock::new(), started, asked: AtomicU64::new(0), scoring: Scoring::default() }
    }

    pub(super) fn backend(&self) -> &dyn Backend {
        &*self.setup.backend
    }

    /// The part of a prompt that its request keeps.
    pub(super) fn truncated(&self, prompt: Prompt, kept: Option<usize>) -> Prompt {
        match kept {
            None => prompt,
            Some(kept) => {
                let most = self.backend().capabilities().max_tokens.saturating_sub(1);
                truncated(prompt, kept.min(most), &self.setup.tokenizer)
            }
        }
    }

    /// A new answer's id and the time.
    pub(super) fn stamp(&self) -> (String, u64) {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        (format!("{:x}-{number:x}", self.started), (self.setup.now)())
    }

    /// The rule that answers of `format` keep to.
    fn constraint(&self, format: &AnswerFormat) -> Result<Option<Box<dyn Constraint>>, ServeError> {
        let schema = match format {
            AnswerFormat::Text => return Ok(None),
            AnswerFormat::JsonObject => None,
            AnswerFormat::JsonSchema(schema) => Some(schema),
        };
        let grammar = self.grammar.get_or_init(|| {
            let vocab = self.backend().capabilities().vocab;
            Grammar::new(&self.setup.tokenizer, vocab, &self.setup.eos).map_err(|error| error.to_string())
        });
        match grammar {
            Ok(grammar) => grammar.json(schema).map(Some),
            Err(reason) => Err(ServeError::BadRequest { param: "response_format", reason: reason.clone() }),
        }
    }

    /// Starts an answer to each of `requests`.
    pub(super) fn start(
        &self,
        requests: Vec<CompletionRequest>,
        decoding: &Decoding,
        format: &AnswerFormat,
        tenant: &Tenant,
    ) -> Result<Vec<Events>, ServeError> {
        let one = |request| {
            let constraint = if self.backend().takes_formats() { None } else { self.constraint(format)? };
            let (decoding, format) = (decoding.clone(), format.clone());
            let options = RequestOptions { tenant: tenant.clone(), decoding, constraint, format };
            self.backend().generate(request, options)
        };
        requests.into_iter().map(one).collect()
    }

    /// What the same request and seed give the same bytes under: numeric mode, base and adapter.
    pub(super) fn fingerprint(&self, adapter: AdapterHash) -> String {
        let own = self.backend().capabilities();
        fingerprint(own.numeric_mode, own.base, adapter)
    }
}

fn fingerprint(mode: &str, base: BaseHash, adapter: AdapterHash) -> String {
    format!("{mode}.{}.{}", &base.0.to_string()[2..10], &adapter.0.to_string()[2..18])
}

/// Tenant of a request: a hash of its API key; the key itself is not stored.
pub(super) fn tenant(headers: &HeaderMap) -> Tenant {
    match headers.get(header::AUTHORIZATION) {
        None => Tenant::default(),
        Some(key) => Tenant::new(&sha256(key.as_bytes()).to_string()[2..14]),
    }
}
