//! Errors in OpenAI's envelope as responses, and blocking work beside the threads that serve I/O.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use openledger_serving::ServeError;
use serde_json::Value;

use crate::openai::ApiError;

/// Why a request was not answered, as the client reads it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Box<ApiError>,
    pub(crate) retry_after: Option<u64>,
    /// The fault of files; sent to a client only if its request named them.
    pub(crate) cause: Option<String>,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { error: Box::new(error), retry_after: None, cause: None }
    }
}

impl From<ServeError> for Refusal {
    fn from(error: ServeError) -> Self {
        let told = ApiError::from(&error);
        if told.status >= 500 && (error.retry_after().is_none() || matches!(error, ServeError::Remote { .. })) {
            // The response has no cause of it; the log has them all.
            let mut causes = Vec::new();
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                causes.push(inner.to_string());
                cause = inner.source();
            }
            tracing::error!(%error, ?causes, "request failed");
        }
        let files = matches!(error, ServeError::Load(_) | ServeError::Changed { .. });
        Self { error: Box::new(told), retry_after: error.retry_after(), cause: files.then(|| error.to_string()) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.error.wire())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A refusal of the server's own.
pub(crate) fn refusal(status: u16, kind: &str, param: Option<&str>, code: &str, message: String) -> Refusal {
    let (kind, param) = (kind.to_owned(), param.map(str::to_owned));
    ApiError { status, message, kind, param, code: Some(code.to_owned()) }.into()
}

/// A body as JSON. A member that appears twice is refused: another reader of the same body, a proxy
/// with a limit say, could take the other one.
pub(crate) fn json(body: Result<Bytes, BytesRejection>) -> Result<Value, Refusal> {
    let body = body.map_err(|rejected| {
        let status = rejected.status().as_u16();
        refusal(status, "invalid_request_error", None, "unreadable_body", rejected.body_text())
    })?;
    openledger_protocol::read_body(&body)
        .map_err(|error| ApiError::invalid("body", format!("the body cannot be read as JSON: {error}")).into())
}

/// The media type of a request's body, without parameters.
#[cfg(feature = "node")]
pub(crate) fn media(headers: &axum::http::HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Runs `work` off the threads that serve I/O.
pub(crate) async fn blocking<T: Send + 'static, E: Into<Refusal> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(error) => {
            tracing::error!(%error, "a request broke off");
            Err(refusal(500, "server_error", None, "broken_off", "the request broke off; send it again".to_owned()))
        }
    }
}

pub(crate) async fn no_route(uri: Uri) -> Refusal {
    let message = format!("`{}` is no path of this server", uri.path());
    refusal(404, "invalid_request_error", None, "unknown_url", message)
}

pub(crate) async fn no_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("`{}` does not take {method}", uri.path());
    refusal(405, "invalid_request_error", None, "method_not_supported", message)
}

impl Refusal {
    /// The refusal of a request that named the files itself: 400 about `param` with the fault of
    /// the files, instead of a server's error without it.
    pub(crate) fn or_unreadable(self, param: &str) -> Self {
        match self.cause {
            Some(reason) => refusal(400, "invalid_request_error", Some(param), "invalid_adapter", reason),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_with_a_repeated_member_is_refused_with_its_path() {
        let read = |body: &'static str| json(Ok(Bytes::from_static(body.as_bytes())));
        assert_eq!(read(r#"{"n":1,"of":{"n":-2.5,"t":[null,true,"x"]}}"#).ok().unwrap()["of"]["t"][2], "x");
        for (body, place) in [
            (r#"{"max_tokens":2,"max_tokens":90}"#, "body.max_tokens"),
            (r#"{"openledger":{"max_price":"1","max_price":"9"}}"#, "body.openledger.max_price"),
            (r#"{"messages":[{"content":"a","c\u006fntent":"b"}]}"#, "body.messages[0].content"),
        ] {
            let refused = read(body).unwrap_err().error;
            assert_eq!(refused.status, 400);
            assert!(refused.message.contains(place), "{}", refused.message);
        }
    }
}
