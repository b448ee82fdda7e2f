//! The client of a node: one typed method for each route that the command line calls.
//!
//! **Invariant:** a call is one request. A caller that repeats a call gives the same idempotency
//! key where the method takes one, so that a repeat does nothing twice.

mod error;
mod events;
mod methods;
mod pages;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::ClientError;
pub use events::JobEvents;
pub use pages::Pages;

/// Longer than a node lets a request take.
const TIMEOUT: Duration = Duration::from_secs(660);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a health check waits.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// The result of a call.
pub type Result<T> = std::result::Result<T, ClientError>;

/// A client of one node. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl Client {
    /// A client of the node at `base`, such as `http://127.0.0.1:7070`, without credentials.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the system has no TLS or resolver for it.
    pub fn new(base: &str) -> Result<Self> {
        let base = base.trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT);
        let http = http.build().map_err(ClientError::unreachable(&base))?;
        Ok(Self { base, token: None, http })
    }

    /// The same client with a bearer token: the operator's, or the API key of a channel.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The node's address, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.read(self.request(Method::GET, path), path).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize, key: &str) -> Result<T> {
        let request = self.request(Method::POST, path).header("Idempotency-Key", key).json(body);
        self.read(request, path).await
    }

    /// Sends a request and reads its whole response.
    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder, path: &str) -> Result<T> {
        let response = self.send(request, path).await?;
        let body = response.bytes().await.map_err(ClientError::unreachable(&self.url(path)))?;
        serde_json::from_slice(&body).map_err(|source| ClientError::Unexpected { path: path.to_owned(), source })
    }

    /// Sends a request; a status of error is the error in its body.
    async fn send(&self, request: RequestBuilder, path: &str) -> Result<Response> {
        let url = self.url(path);
        let response = request.send().await.map_err(ClientError::unreachable(&url))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.map_err(ClientError::unreachable(&url))?;
        Err(ClientError::refused(status.as_u16(), &body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// `text` as one segment of a path.
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte.into());
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_name_with_slashes_and_spaces_stays_one_segment() {
        assert_eq!(segment("org/model é"), "org%2Fmodel%20%C3%A9");
        assert_eq!(segment("demo-1.0_x~"), "demo-1.0_x~");
    }
}
