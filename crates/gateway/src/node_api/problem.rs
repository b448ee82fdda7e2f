//! The node's errors as `application/problem+json` (RFC 9457), and in OpenAI's envelope.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use openledger_api::{FileProblem, Problem};
use openledger_node::{Blame, NodeError};

use crate::refusal::{Refusal, refusal};

/// The problem of an error. What only the operator can repair is logged with its causes.
pub(crate) fn problem(error: &NodeError) -> Problem {
    let (blame, code) = (error.blame(), error.code());
    let detail = if blame == Blame::Operator {
        tracing::error!(code, error = %chain(error), "request failed");
        format!("the node failed: {}", chain(error))
    } else {
        error.to_string()
    };
    let mut problem = Problem::new(blame.status(), code, detail);
    if let NodeError::Malformed { problems } = error {
        problem.problems =
            problems.iter().map(|(line, reason)| FileProblem { line: *line, reason: reason.clone() }).collect();
    }
    problem
}

/// An error and its causes, in one line.
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

/// An error of the node as a response.
#[derive(Debug)]
pub(crate) struct ProblemResponse(Box<NodeError>);

/// The result of a handler of the native API.
pub(super) type Result<T, E = ProblemResponse> = std::result::Result<T, E>;

impl From<NodeError> for ProblemResponse {
    fn from(error: NodeError) -> Self {
        Self(Box::new(error))
    }
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let mut problem = problem(&self.0);
        problem.request_id = crate::call::current_id();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
        if self.0.blame() == Blame::Retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Self {
        let error = match error {
            NodeError::Serve(serve) => return serve.into(),
            error => error,
        };
        let blame = error.blame();
        let document = problem(&error);
        let kind = match blame {
            Blame::Unauthenticated => "authentication_error",
            Blame::Permission => "permission_error",
            Blame::Payment => "insufficient_quota",
            Blame::Retry => "overloaded",
            Blame::Operator => "server_error",
            _ => "invalid_request_error",
        };
        let code = match blame {
            Blame::Missing => "model_not_found",
            Blame::Unauthenticated => "invalid_api_key",
            _ => error.code(),
        };
        let param = (blame == Blame::Missing).then_some("model");
        let told = refusal(document.status, kind, param, code, document.detail);
        Self { retry_after: (blame == Blame::Retry).then_some(1), ..told }
    }
}
