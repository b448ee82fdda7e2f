//! The client of a node's HTTP API (`docs/api.md`).
//!
//! **Invariant:** a call is one request; whoever repeats it gives the same idempotency key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::error::{CliError, Exit, Result};

/// Longer than the node lets a call take.
const TIMEOUT: Duration = Duration::from_secs(660);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the node is and how to speak to it.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeArgs {
    /// The node's address.
    #[arg(long, env = "OPENLEDGER_NODE", default_value = "http://127.0.0.1:7070")]
    pub(crate) node: String,
    /// File with the operator's token, `<data>/operator.token` of the node; asked for by calls that change something.
    #[arg(long, env = "OPENLEDGER_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl NodeArgs {
    /// The client; reads the token's file if one is named.
    pub(crate) fn api(&self) -> Result<Api> {
        let api = Api::new(&self.node)?;
        match &self.token_file {
            Some(file) => api.with_token_of(file),
            None => Ok(api),
        }
    }
}

/// A client of one node.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    token: Option<String>,
    client: reqwest::Client,
}

impl Api {
    /// A client of the node at `base`, such as `http://127.0.0.1:7070`.
    pub(crate) fn new(base: &str) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).build();
        let client = client.map_err(|source| CliError::Unreachable { url: base.to_owned(), source })?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), token: None, client })
    }

    /// Speaks as the operator whose token is in `file`.
    pub(crate) fn with_token_of(mut self, file: &Path) -> Result<Self> {
        let token = std::fs::read_to_string(file).map_err(CliError::file(file))?;
        let token = token.trim();
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err(CliError::refused(Exit::Config, format!("{} does not hold a token", file.display())));
        }
        self.token = Some(token.to_owned());
        Ok(self)
    }

    /// The node's address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Reads `path`, such as `/api/v1/network`.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.send(self.client.get(self.url(path)), path).await
    }

    /// Posts JSON; `key` names the call, so that a repeat does nothing twice.
    pub(crate) async fn post(&self, path: &str, body: &Value, key: &str) -> Result<Value> {
        let request = self.client.post(self.url(path)).header("Idempotency-Key", key).json(body);
        self.send(self.authorized(request), path).await
    }

    /// Posts a JSONL file.
    pub(crate) async fn post_file(&self, path: &str, file: Vec<u8>, key: &str) -> Result<Value> {
        let request = self.client.post(self.url(path)).header("Idempotency-Key", key);
        let request = request.header("Content-Type", "application/jsonl").body(file);
        self.send(self.authorized(request), path).await
    }

    /// Asks a model in the OpenAI dialect, paid by the channel of `api_key`.
    pub(crate) async fn chat(&self, api_key: &str, body: &Value, key: &str) -> Result<Value> {
        let path = "/v1/chat/completions";
        let request = self.client.post(self.url(path)).header("Idempotency-Key", key);
        self.send(request.bearer_auth(api_key).json(body), path).await
    }

    /// Whether the node says that it is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        let request = self.client.get(self.url("/health/ready")).timeout(Duration::from_secs(5));
        request.send().await.is_ok_and(|answer| answer.status().is_success())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder, path: &str) -> Result<Value> {
        let unreachable = |source| CliError::Unreachable { url: self.url(path), source };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.text().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(CliError::of_answer(status.as_u16(), &body));
        }
        serde_json::from_str(&body).map_err(|_| CliError::lacks(path, "a JSON body"))
    }
}

/// The field `name` of an answer as the type the caller expects.
pub(crate) fn field<T: serde::de::DeserializeOwned>(answer: &Value, what: &str, name: &str) -> Result<T> {
    let value = answer.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).map_err(|_| CliError::lacks(what, name))
}
