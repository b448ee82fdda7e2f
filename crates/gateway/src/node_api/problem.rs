//! The node's errors as `application/problem+json` (RFC 9457), and in OpenAI's envelope.
//!
//! **Invariant:** what only the operator can repair is logged with its causes, and a response holds
//! a fixed sentence and the request's id instead: causes name files, statements and servers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use openledger_api::{FileProblem, Problem};
use openledger_node::{Blame, NodeError};
use openledger_serving::ServeError;

use crate::refusal::{Refusal, refusal};

/// What a response says of an error that only the operator can repair.
const FAILED: &str = "the node failed; its log has the reason under the request id";
/// What a response says of a fault that passes and whose causes are not told.
const BUSY: &str = "the node cannot do it now; repeat the request";

/// [`FAILED`] with the id of the request that is being answered.
pub(super) fn failed() -> String {
    crate::call::current_id().map_or_else(|| FAILED.to_owned(), |id| format!("{FAILED} {id}"))
}

/// The problem of an error. What the caller is not told is logged with its causes.
fn problem(error: &NodeError) -> Problem {
    let (blame, code) = (error.blame(), error.code());
    // Refusals and errors of serving are worded for callers; other errors quote what failed.
    let worded = match error {
        NodeError::Refused { .. } | NodeError::Malformed { .. } => true,
        NodeError::Serve(error) => !matches!(error, ServeError::Remote { .. }),
        _ => false,
    };
    let detail = match blame {
        Blame::Operator => {
            tracing::error!(code, error = %chain(error), "request failed");
            failed()
        }
        Blame::Retry if !worded => {
            tracing::warn!(code, error = %chain(error), "request failed for now");
            BUSY.to_owned()
        }
        _ => error.to_string(),
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

/// A problem as a response, with the id of the request that is being answered.
pub(super) fn written(problem: Problem) -> Response {
    let problem = Problem { request_id: crate::call::current_id(), ..problem };
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(problem)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    response
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
        let mut response = written(problem(&self.0));
        if self.0.blame() == Blame::Retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged() -> NodeError {
        let source = std::io::Error::other("disk 7 is gone");
        NodeError::File { path: "/secret/place".into(), source }
    }

    #[test]
    fn what_the_operator_must_repair_is_not_told_to_the_caller() {
        let native = problem(&damaged());
        let dialect = Refusal::from(damaged()).error;
        assert_eq!((native.status, native.code.as_str(), dialect.status), (500, "internal", 500));
        for told in [native.detail, dialect.message] {
            assert!(!told.contains("secret") && !told.contains("disk 7"), "{told}");
        }
        let refused = problem(&NodeError::missing("model", "owls"));
        assert!(refused.detail.contains("owls"), "{refused:?}");
    }
}
