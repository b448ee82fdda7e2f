//! JSON-RPC over HTTP: any Ethereum network by its URL.
//!
//! Reads are tried again when the connection failed; `eth_sendRawTransaction` is not, because the
//! sender decides about that with its outbox.

use std::time::Duration;

use alloy_primitives::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ChainRpc, RpcError, RpcFuture};

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts of a read.
const ATTEMPTS: u32 = 4;
/// Pause after the first failed attempt; doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// Largest answer taken, in bytes.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;

/// An Ethereum network behind a URL.
#[derive(Clone)]
pub struct HttpRpc {
    url: String,
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Reply {
    result: Option<Value>,
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    code: i64,
    message: String,
    data: Option<Value>,
}

impl HttpRpc {
    /// A client of the network at `url` (`http://` or, where the build has TLS, `https://`).
    /// Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`RpcError::Transport`] when the HTTP client cannot be set up on this machine.
    pub fn new(url: impl Into<String>) -> Result<Self, RpcError> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|source| RpcError::Transport { method: "set-up".to_owned(), source })?;
        Ok(Self { url: url.into(), client })
    }

    async fn attempt(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        // The URL may carry an access key, so it is taken out of every error.
        let transport =
            |error: reqwest::Error| RpcError::Transport { method: method.to_owned(), source: error.without_url() };
        let malformed = |what: String| RpcError::Malformed { method: method.to_owned(), what };
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut response = self.client.post(&self.url).json(&request).send().await.map_err(transport)?;
        let status = response.status();
        // An overloaded or restarting network is as good as no answer; other statuses may still
        // carry a JSON-RPC error.
        if status.is_server_error() || status.as_u16() == 429 {
            return match response.error_for_status() {
                Err(error) => Err(transport(error)),
                Ok(_) => Err(malformed(format!("HTTP status {status}"))),
            };
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if (body.len() + chunk.len()) as u64 > ANSWER_MAX {
                return Err(malformed(format!("more than {ANSWER_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let reply: Reply =
            serde_json::from_slice(&body).map_err(|error| malformed(format!("HTTP status {status}, {error}")))?;
        match reply.error {
            None => Ok(reply.result.unwrap_or_default()),
            Some(ReplyError { code, message, data }) => {
                // Some networks put the revert data one level deeper.
                let data = data.and_then(|data| match data {
                    Value::String(data) => data.parse::<Bytes>().ok(),
                    Value::Object(inner) => inner.get("data")?.as_str()?.parse().ok(),
                    _ => None,
                });
                Err(RpcError::Refused { code, message, data })
            }
        }
    }
}

impl ChainRpc for HttpRpc {
    fn call<'a>(&'a self, method: &'a str, params: Value) -> RpcFuture<'a, Value> {
        Box::pin(async move {
            let attempts = if method == "eth_sendRawTransaction" { 1 } else { ATTEMPTS };
            let mut pause = PAUSE;
            for _ in 1..attempts {
                match self.attempt(method, &params).await {
                    Err(error) if error.is_transient() => tracing::debug!(%error, "trying again"),
                    done => return done,
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            self.attempt(method, &params).await
        })
    }
}
