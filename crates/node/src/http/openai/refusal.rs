//! Errors in OpenAI's envelope.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use openledger_serving::ServeError;
use openledger_serving::openai::ApiError;

use crate::error::{Blame, NodeError};

/// Why a request was not answered, as clients of OpenAI's API are told.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: Box<ApiError>,
    retry_after: Option<u64>,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { error: Box::new(error), retry_after: None }
    }
}

impl From<ServeError> for Refusal {
    fn from(error: ServeError) -> Self {
        NodeError::from(error).into()
    }
}

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Self {
        let blame = error.blame();
        // What the engine says of a request is told as `openledger serve` tells it.
        if let (NodeError::Serve(serve), false) = (&error, blame == Blame::Operator) {
            return Self { error: Box::new(serve.into()), retry_after: serve.retry_after() };
        }
        let (status, document) = super::super::problem::document(&error);
        let kind = match blame {
            Blame::Permission => "authentication_error",
            Blame::Payment => "insufficient_quota",
            Blame::Retry => "overloaded",
            Blame::Operator => "server_error",
            _ => "invalid_request_error",
        };
        let code = match blame {
            Blame::Missing => "model_not_found",
            Blame::Permission => "invalid_api_key",
            _ => error.code(),
        };
        let status = if blame == Blame::Permission { 401 } else { status.as_u16() };
        let error = ApiError {
            status,
            message: document["detail"].as_str().unwrap_or_default().to_owned(),
            kind: kind.into(),
            param: (blame == Blame::Missing).then(|| "model".to_owned()),
            code: Some(code.into()),
        };
        Self { error: Box::new(error), retry_after: (blame == Blame::Retry).then_some(1) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.error.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// An endpoint that this node has no form of business for.
fn not_here(code: &str, message: &str) -> Refusal {
    let (kind, message) = ("permission_error".to_owned(), message.to_owned());
    ApiError { status: 403, message, kind, param: None, code: Some(code.to_owned()) }.into()
}

/// `/v1/embeddings`: a receipt commits to a text and to what it rests on; numbers have neither.
pub(super) async fn no_embeddings() -> Refusal {
    not_here(
        "no_receipt_form",
        "this node sells nothing that it cannot give a receipt for, and a receipt commits to an answer's text: embeddings have \
         none. Run `openledger serve` on base and adapter for them",
    )
}

/// `/v1/load_lora_adapter`, `/v1/unload_lora_adapter`: the ledger is the registry.
pub(super) async fn no_loading() -> Refusal {
    not_here(
        "registry_is_the_ledger",
        "which adapters this node answers with is decided on the ledger, not by a request: train one with `openledger model \
         train` and offer it under its title with `openledger model publish`",
    )
}
