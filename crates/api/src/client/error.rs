//! Errors of calls: the node's problem, no response, or a response of another form.

use crate::Problem;
use crate::openai::ErrorBody;

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The node refused the request.
    #[error("{} (the node answered {} {})", .0.detail, .0.status, .0.code)]
    Refused(Box<Problem>),
    /// No response, or a part of one.
    #[error("the node at {url} does not answer; is it running?")]
    Unreachable {
        /// The address.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The response has another form: another program or version listens there.
    #[error("the response of {path} has another form; is another program or version listening there?")]
    Unexpected {
        /// The path.
        path: String,
        /// The member that differs.
        source: serde_json::Error,
    },
}

impl ClientError {
    pub(super) fn unreachable(url: &str) -> impl FnOnce(reqwest::Error) -> Self {
        let url = url.to_owned();
        move |source| Self::Unreachable { url, source }
    }

    /// The error of a response: a problem, or the error of the OpenAI dialect, each with what to
    /// do. Another body is quoted; what to do about it is not known.
    pub(super) fn refused(status: u16, body: &str) -> Self {
        if let Ok(problem) = serde_json::from_str::<Problem>(body) {
            return Self::Refused(Box::new(Problem { status, ..problem }));
        }
        let problem = match serde_json::from_str::<ErrorBody>(body) {
            Ok(ErrorBody { error }) => Problem::new(status, &error.code.unwrap_or(error.kind), error.message),
            Err(_) => {
                let quoted = body.chars().take(400).collect::<String>();
                Problem { what_to_do: String::new(), ..Problem::new(status, "error", quoted) }
            }
        };
        Self::Refused(Box::new(problem))
    }

    /// The node's problem, where it sent one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether the node refused with this stable name.
    #[must_use]
    pub fn is_code(&self, code: &str) -> bool {
        self.problem().is_some_and(|problem| problem.code == code)
    }

    /// Whether the same call may succeed a little later, without a change.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.status == 503,
            Self::Unreachable { .. } => true,
            Self::Unexpected { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ClientError;

    #[test]
    fn problems_of_both_dialects_keep_code_and_detail_and_what_to_do() {
        let native = r#"{"type":"/problems/no-grant","title":"t","status":403,"code":"no-grant",
            "detail":"no grant","what_to_do":"ask","problems":[{"line":2,"reason":"r"}]}"#;
        let error = ClientError::refused(403, native);
        assert!(error.is_code("no-grant"));
        assert_eq!(error.problem().unwrap().problems[0].line, 2);
        assert_eq!(error.problem().unwrap().what_to_do, "ask");
        let openai = r#"{"error":{"message":"no such model","type":"invalid_request_error",
            "param":"model","code":"model_not_found"}}"#;
        let error = ClientError::refused(404, openai);
        assert!(error.is_code("model_not_found"));
        assert_eq!(error.problem().unwrap().detail, "no such model");
        assert_eq!(error.problem().unwrap().what_to_do, "Check the id or name.");
        let unpaid = r#"{"error":{"message":"too small","type":"insufficient_quota","param":null,
            "code":"insufficient-deposit"}}"#;
        let error = ClientError::refused(402, unpaid);
        assert_eq!(error.problem().unwrap().what_to_do, "Deposit more, or lower `max_tokens`.");
    }

    #[test]
    fn a_body_of_another_form_is_quoted() {
        let error = ClientError::refused(502, "<html>bad gateway</html>");
        assert_eq!(error.problem().unwrap().detail, "<html>bad gateway</html>");
        assert_eq!(error.problem().unwrap().what_to_do, "");
        assert!(!error.is_transient());
        assert!(ClientError::refused(503, "").is_transient());
    }
}
