//! Errors in OpenAI's shape.

use openledger_api::openai::{ErrorBody, ErrorDetail};
use openledger_serving::{Blame, ServeError};
use serde_json::Value;

/// An error as clients of OpenAI's API read it, with its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub message: String,
    /// Its class, such as `invalid_request_error`.
    pub kind: String,
    /// The member of the request that is to blame.
    pub param: Option<String>,
    /// A word for programs, such as `model_not_found`.
    pub code: Option<String>,
}

impl ApiError {
    /// A request that cannot be honoured because of `param`: 400.
    #[must_use]
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            message: message.into(),
            kind: "invalid_request_error".into(),
            param: Some(param.into()),
            code: None,
        }
    }

    /// A known member that this server does not implement: 400, code `unsupported_parameter`.
    #[must_use]
    pub fn unsupported(param: &str, value: &Value) -> Self {
        let mut text = value.to_string();
        if text.len() > 80 {
            let end = (0..=80).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        let message = format!("`{param}` = {text} is not supported by this server; leave it out");
        Self { code: Some("unsupported_parameter".into()), ..Self::invalid(param, message) }
    }

    /// The body: `{"error": {…}}`.
    #[must_use]
    pub fn wire(&self) -> ErrorBody {
        let Self { message, kind, param, code, .. } = self.clone();
        ErrorBody { error: ErrorDetail { message, kind, param, code } }
    }
}

impl From<&ServeError> for ApiError {
    fn from(error: &ServeError) -> Self {
        let message = error.to_string();
        let caller = |status, param: Option<&str>, code: Option<&str>| Self {
            status,
            message: message.clone(),
            kind: "invalid_request_error".into(),
            param: param.map(str::to_owned),
            code: code.map(str::to_owned),
        };
        match error {
            ServeError::NotFound { .. } => caller(404, Some("model"), Some("model_not_found")),
            ServeError::BadRequest { param, .. } => caller(400, Some(param), None),
            ServeError::PromptTooLong { .. } | ServeError::TextTooLong { .. } => {
                caller(400, Some("messages"), Some("context_length_exceeded"))
            }
            ServeError::AliasMoved { .. } => caller(409, Some("alias"), Some("alias_moved")),
            ServeError::Needed { .. } => caller(409, Some("lora_name"), Some("adapter_needed")),
            ServeError::UnknownChatTemplate => caller(400, Some("messages"), Some("unknown_chat_template")),
            error => match error.blame() {
                Blame::Caller => caller(400, None, None),
                // Only a tenant's own queue is that tenant's doing.
                Blame::Retry if matches!(error, ServeError::QueueFull { .. }) => Self {
                    status: 429,
                    message: message.clone(),
                    kind: "rate_limit_error".into(),
                    param: None,
                    code: Some("rate_limit_exceeded".into()),
                },
                Blame::Retry => Self {
                    status: 503,
                    message: match error {
                        // Where the peer is, and what it said, is between it and the operator.
                        ServeError::Remote { .. } => "the server that computes answers failed; try again".into(),
                        _ => message.clone(),
                    },
                    kind: "server_error".into(),
                    param: None,
                    code: Some("overloaded".into()),
                },
                // What lies on the operator's disk is not the caller's business.
                Blame::Operator => Self {
                    status: 500,
                    message: "the model could not be loaded; the operator finds the reason in the log".into(),
                    kind: "server_error".into(),
                    param: None,
                    code: Some("model_unavailable".into()),
                },
            },
        }
    }
}
