//! Errors as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::error::{Blame, NodeError};

/// The problem document of an error. What only the operator can mend is logged, and told without detail.
pub(crate) fn document(error: &NodeError) -> (StatusCode, Value) {
    let blame = error.blame();
    let status = StatusCode::from_u16(blame.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let code = error.code();
    let mut detail = error.to_string();
    if blame == Blame::Operator {
        tracing::error!(code, error = %chain(error), "request failed");
        detail = format!("the node failed: {}", chain(error));
    }
    let mut body = json!({
        "type": format!("https://openledger.invalid/problems/{code}"),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    if let NodeError::Malformed { problems } = error {
        body["problems"] = problems.iter().map(|(line, reason)| json!({ "line": line, "reason": reason })).collect();
    }
    (status, body)
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl IntoResponse for NodeError {
    fn into_response(self) -> Response {
        let (status, body) = document(&self);
        let mut response = (status, Json(body)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        if self.blame() == Blame::Retry {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}
