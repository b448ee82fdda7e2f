//! OpenLoRA over HTTP: OpenAI's endpoints, vLLM's for adapters and tokens, on one backend.
//!
//! # Place in the flow
//!
//! `openledger serve` mounts [`router`] as it is. The node has routes of its own for answers, which carry receipts there, and
//! shares the wire form ([`crate::openai`]).
//!
//! # Invariants
//!
//! - Every error is OpenAI's envelope with a status that stock clients turn into their typed exceptions; refusals that pass
//!   by themselves carry `Retry-After`.
//! - Headers are sent when an answer has begun, so that whatever is known before its first token is told by the status.
//! - A client that hangs up drops its run; nothing waits for it.
//! - Answers name the adapter that made them: header `x-openledger-adapter`, and the fingerprint.
//!
//! Not here: keys and prices (`node`); who may reach the port is up to who binds it.

mod adapters;
mod answers;
mod ensembles;
mod refusal;
mod streams;
mod texts;

pub use answers::echo;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use openledger_engine::Tokenizer;
use openledger_protocol::{AdapterHash, BaseHash, sha256};

use crate::backend::{Asked, Backend, CompletionRequest, Constraint, Decoding, Prompt, Tenant};
use crate::chat::ChatForm;
use crate::constrain::Grammar;
use crate::error::ServeError;
use crate::events::Events;
use crate::openai::{ResponseFormat, truncated};

/// Largest body of a request.
const BODY_MAX: usize = 16 << 20;
/// Names a request.
const REQUEST_ID: &str = "x-request-id";
/// Names the adapter that answered.
const ADAPTER_HEADER: &str = "x-openledger-adapter";
/// Names the members of a request that were ignored.
const IGNORED_HEADER: &str = "x-openledger-ignored-params";

/// What a [`Server`] is made of.
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
    setup: Setup,
    grammar: OnceLock<Result<Grammar, String>>,
    started: u64,
    /// Answers that began.
    asked: AtomicU64,
    /// Responses of other kinds.
    seen: AtomicU64,
}

impl Server {
    /// The face of `setup`.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let started = (setup.now)();
        Self { setup, grammar: OnceLock::new(), started, asked: AtomicU64::new(0), seen: AtomicU64::new(0) }
    }

    fn backend(&self) -> &dyn Backend {
        &*self.setup.backend
    }

    /// The part of a prompt that its request keeps.
    fn truncated(&self, prompt: Prompt, kept: Option<usize>) -> Prompt {
        match kept {
            None => prompt,
            Some(kept) => {
                let most = self.backend().capabilities().max_tokens.saturating_sub(1);
                truncated(prompt, kept.min(most), &self.setup.tokenizer)
            }
        }
    }

    /// A new answer's id and the time.
    fn stamp(&self) -> (String, u64) {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        (format!("{:x}-{number:x}", self.started), (self.setup.now)())
    }

    /// The rule that answers of `format` keep to.
    fn constraint(&self, format: &ResponseFormat) -> Result<Option<Box<dyn Constraint>>, ServeError> {
        let schema = match format {
            ResponseFormat::Text => return Ok(None),
            ResponseFormat::JsonObject => None,
            ResponseFormat::JsonSchema(schema) => Some(schema),
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
    fn start(
        &self,
        requests: Vec<CompletionRequest>,
        decoding: &Decoding,
        format: &ResponseFormat,
        tenant: &Tenant,
    ) -> Result<Vec<Events>, ServeError> {
        let one = |request| {
            let constraint = if self.backend().takes_formats() { None } else { self.constraint(format)? };
            let (decoding, format) = (decoding.clone(), format.clone());
            let asked = Asked { tenant: tenant.clone(), decoding, constraint, format };
            self.backend().generate(request, asked)
        };
        requests.into_iter().map(one).collect()
    }

    /// What the same request and seed give the same bytes under: numeric mode, base and adapter.
    fn fingerprint(&self, adapter: AdapterHash) -> String {
        let own = self.backend().capabilities();
        fingerprint(own.numeric_mode, own.base, adapter)
    }
}

fn fingerprint(mode: &str, base: BaseHash, adapter: AdapterHash) -> String {
    format!("{mode}.{}.{}", &base.0.to_string()[2..10], &adapter.0.to_string()[2..18])
}

/// Whose queue a request waits in: that of its key, which is told apart but not kept.
fn tenant(headers: &HeaderMap) -> Tenant {
    match headers.get(axum::http::header::AUTHORIZATION) {
        None => Tenant::default(),
        Some(key) => Tenant::new(&sha256(key.as_bytes()).to_string()[2..14]),
    }
}

/// All routes of `server`.
pub fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(answers::chat))
        .route("/v1/completions", post(answers::completions))
        .route("/v1/embeddings", post(texts::embeddings))
        .route("/v1/models", get(adapters::models))
        .route("/v1/models/{*model}", get(adapters::model))
        .route("/v1/load_lora_adapter", post(adapters::load))
        .route("/v1/unload_lora_adapter", post(adapters::unload))
        .route("/v1/lora_adapters", get(adapters::list))
        .route("/v1/ensembles", post(ensembles::load).get(ensembles::list))
        .route("/metrics", get(adapters::metrics))
        .route("/health", get(|| async {}))
        .route("/health/live", get(|| async { "ok\n" }))
        .route("/version", get(|| async { concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}\n") }))
        .fallback(refusal::no_route)
        .method_not_allowed_fallback(refusal::no_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Arc::clone(&server))
        .merge(tokens(Arc::clone(&server), BODY_MAX))
        .layer(middleware::from_fn_with_state(server, signed))
}

/// Names every response, so that client and log can speak of the same one, and how long it took to begin.
async fn signed(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if !headers.contains_key(REQUEST_ID)
        && let Ok(id) =
            HeaderValue::from_str(&format!("{:x}.{:x}", server.started, server.seen.fetch_add(1, Ordering::Relaxed)))
    {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert("openai-processing-ms", u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).into());
    response
}

/// The routes that only turn texts into tokens and back, `/tokenize` and `/detokenize`: for those who answer by routes of
/// their own. Bodies are read up to `body_bytes`.
pub fn tokens(server: Arc<Server>, body_bytes: usize) -> Router {
    Router::new()
        .route("/tokenize", post(texts::tokenize))
        .route("/detokenize", post(texts::detokenize))
        .method_not_allowed_fallback(refusal::no_method)
        .layer(DefaultBodyLimit::max(body_bytes))
        .with_state(server)
}
