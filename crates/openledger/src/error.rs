//! What went wrong, and the exit status that says who can mend it.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Exit statuses: one a kind of fault, so that scripts need not read messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It failed, or a check found a fault.
    Failure = 1,
    /// The arguments make no sense together.
    Usage = 2,
    /// There is no such thing.
    Missing = 3,
    /// Not allowed.
    Permission = 4,
    /// Not paid for.
    Payment = 5,
    /// Something else stands there already.
    Conflict = 6,
    /// The data is malformed.
    Data = 65,
    /// Nothing answers, or this version cannot do it.
    Unavailable = 69,
    /// The set-up is wrong: a folder or key that is missing or not what it should be.
    Config = 78,
}

/// Why a verb did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The node refused; it says why.
    #[error("{detail} (the node answered {status} {code})")]
    Node {
        /// HTTP status.
        status: u16,
        /// Stable name of the error.
        code: String,
        /// What is wrong and what to do.
        detail: String,
        /// Lines of a refused file with their reasons.
        problems: Vec<(u64, String)>,
    },
    /// No answer, or half of one.
    #[error("the node at {url} does not answer; is it running?")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the HTTP client said.
        source: reqwest::Error,
    },
    /// An answer lacks what `docs/api.md` says it has: another program or version listens there.
    #[error("the answer of {what} lacks `{field}`; is another program or version listening there?")]
    Answer {
        /// The call.
        what: String,
        /// What is missing.
        field: String,
    },
    /// The node of the demonstration ended by itself.
    #[error("the node ended ({status}); the end of its log {}:\n{tail}", log.display())]
    NodeDied {
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// A chain transaction or view failed.
    #[error(transparent)]
    Flow(Box<openledger_chain::flow::FlowError>),
    /// A chain transaction failed.
    #[error(transparent)]
    Send(Box<openledger_chain::sender::SendError>),
    /// The chain did not answer.
    #[error(transparent)]
    Rpc(#[from] openledger_chain::rpc::RpcError),
    /// A recipe, its data or a training run.
    #[error(transparent)]
    Factory(#[from] openledger_factory::FactoryError),
    /// A base, adapter or tokenizer cannot be loaded.
    #[error(transparent)]
    Load(#[from] openledger_engine::LoadError),
    /// A model cannot be run on an input.
    #[error(transparent)]
    Run(#[from] openledger_engine::RunError),
    /// Spans or influence on plain files.
    #[error(transparent)]
    Folder(#[from] openledger_attribution::folder::FolderError),
    /// An index of spans.
    #[error(transparent)]
    Spans(#[from] openledger_attribution::spans::SpanError),
    /// Influence.
    #[error(transparent)]
    Influence(#[from] openledger_attribution::influence::InfluenceError),
    /// Answering.
    #[error(transparent)]
    Serve(#[from] openledger_serving::ServeError),
    /// A value has no canonical form.
    #[error(transparent)]
    Canonical(#[from] openledger_protocol::CanonicalError),
    /// An amount is out of range.
    #[error(transparent)]
    Amount(#[from] openledger_protocol::AmountError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not the JSON it should be.
    #[error("{} is not {what}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Where it fails.
        source: serde_json::Error,
    },
    /// A value could not be written as JSON; a defect of this program, worth reporting.
    #[error("could not write JSON")]
    Encode(#[from] serde_json::Error),
    /// Something this program checked itself; the message says what and what to do.
    #[error("{message}")]
    Refused {
        /// The status.
        exit: Exit,
        /// What is wrong and what to do.
        message: String,
    },
}

/// The result of a verb.
pub(crate) type Result<T> = std::result::Result<T, CliError>;

impl From<openledger_chain::flow::FlowError> for CliError {
    fn from(error: openledger_chain::flow::FlowError) -> Self {
        Self::Flow(Box::new(error))
    }
}

impl From<openledger_node::NodeError> for CliError {
    fn from(error: openledger_node::NodeError) -> Self {
        Self::refused(Exit::Failure, error.to_string())
    }
}

impl From<openledger_attribution::credit::CreditError> for CliError {
    fn from(error: openledger_attribution::credit::CreditError) -> Self {
        Self::refused(Exit::Failure, error.to_string())
    }
}

impl From<openledger_chain::sender::SendError> for CliError {
    fn from(error: openledger_chain::sender::SendError) -> Self {
        Self::Send(Box::new(error))
    }
}

impl CliError {
    /// A refusal of this program's own.
    pub(crate) fn refused(exit: Exit, message: impl Into<String>) -> Self {
        Self::Refused { exit, message: message.into() }
    }

    /// For `map_err` after a file operation.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// A field that the answer of `what` lacks.
    pub(crate) fn lacks(what: &str, field: &str) -> Self {
        Self::Answer { what: what.to_owned(), field: field.to_owned() }
    }

    /// The error of an HTTP answer: `application/problem+json`, or the OpenAI dialect's `error` object.
    pub(crate) fn of_answer(status: u16, body: &str) -> Self {
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let inner = &value["error"];
        let code = text(&value["code"]).or_else(|| text(&inner["code"])).or_else(|| text(&inner["type"]));
        let detail = text(&value["detail"]).or_else(|| text(&inner["message"]));
        let problems = value["problems"].as_array().into_iter().flatten();
        let problems = problems
            .map(|p| (p["line"].as_u64().unwrap_or(0), p["reason"].as_str().unwrap_or_default().to_owned()))
            .collect();
        Self::Node {
            status,
            code: code.unwrap_or_else(|| "error".to_owned()),
            detail: detail.unwrap_or_else(|| body.chars().take(400).collect()),
            problems,
        }
    }

    /// Whether the node refused with this stable name.
    pub(crate) fn is_code(&self, name: &str) -> bool {
        matches!(self, Self::Node { code, .. } if code == name)
    }

    /// Whether the same call may succeed a little later, without anything being changed.
    pub(crate) fn is_transient(&self) -> bool {
        use openledger_chain::flow::FlowError;
        match self {
            Self::Unreachable { .. } => true,
            Self::Node { status, .. } => *status == 503,
            Self::Flow(error) => match error.as_ref() {
                FlowError::Send(error) => error.is_transient(),
                FlowError::Rpc(error) => error.is_transient(),
                _ => false,
            },
            Self::Send(error) => error.is_transient(),
            Self::Rpc(error) => error.is_transient(),
            _ => false,
        }
    }

    /// The exit status.
    pub(crate) fn exit(&self) -> Exit {
        use openledger_attribution::folder::FolderError;
        use openledger_attribution::influence::InfluenceError;
        use openledger_attribution::spans::SpanError;
        use openledger_factory::FactoryError;
        use openledger_serving::ServeError;
        match self {
            Self::Node { status, code, .. } => match (status, code.as_str()) {
                (_, "malformed-file") | (422, _) => Exit::Data,
                (400, _) => Exit::Usage,
                (404, _) => Exit::Missing,
                (401 | 403, _) => Exit::Permission,
                (402, _) => Exit::Payment,
                (409, _) => Exit::Conflict,
                (502..=504, _) => Exit::Unavailable,
                _ => Exit::Failure,
            },
            Self::Unreachable { .. } => Exit::Unavailable,
            Self::Rpc(error) if error.is_transient() => Exit::Unavailable,
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Missing,
            Self::Json { .. } => Exit::Data,
            Self::Load(_) => Exit::Config,
            Self::Factory(error) => match error {
                FactoryError::BadRecipe { .. } => Exit::Usage,
                FactoryError::BadRecipeFile { .. } | FactoryError::Load(_) => Exit::Config,
                FactoryError::BadLines { .. } | FactoryError::BadRecord { .. } | FactoryError::NoData { .. } => {
                    Exit::Data
                }
                FactoryError::OutputExists { .. } => Exit::Conflict,
                FactoryError::NoGrant { .. } => Exit::Permission,
                FactoryError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Missing,
                _ => Exit::Failure,
            },
            Self::Folder(error) => match error {
                FolderError::Lines { .. } => Exit::Data,
                FolderError::Changed { .. } => Exit::Conflict,
                FolderError::Load(_) => Exit::Config,
                FolderError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Missing,
                FolderError::Spans(SpanError::Malformed { .. })
                | FolderError::Influence(InfluenceError::Malformed { .. }) => Exit::Data,
                FolderError::Spans(SpanError::Io { source, .. })
                | FolderError::Influence(InfluenceError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    Exit::Missing
                }
                _ => Exit::Failure,
            },
            Self::Serve(ServeError::NotFound { .. }) => Exit::Missing,
            Self::Serve(ServeError::Load(_)) => Exit::Config,
            Self::Refused { exit, .. } => *exit,
            _ => Exit::Failure,
        }
    }

    /// The message for standard error: the error, what caused it, and the lines of a file it is about.
    pub(crate) fn told(&self) -> String {
        let mut text = format!("error: {}", with_causes(self));
        let lines: Vec<(u64, &str)> = match self {
            Self::Node { problems, .. } => problems.iter().map(|(line, reason)| (*line, reason.as_str())).collect(),
            Self::Factory(openledger_factory::FactoryError::BadLines { lines, .. }) => {
                lines.iter().map(|(line, reason)| (*line as u64, reason.as_str())).collect()
            }
            Self::Folder(openledger_attribution::folder::FolderError::Lines { lines, .. }) => {
                lines.iter().map(|(line, reason)| (*line as u64, reason.as_str())).collect()
            }
            _ => Vec::new(),
        };
        for (line, reason) in lines.iter().take(50) {
            text.push_str(&format!("\n  line {line}: {reason}"));
        }
        if lines.len() > 50 {
            text.push_str(&format!("\n  and {} more", lines.len() - 50));
        }
        text
    }
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_becomes_its_exit_status() {
        let exit = |status, body: &str| CliError::of_answer(status, body).exit();
        assert_eq!(exit(422, r#"{"code":"malformed-file","problems":[]}"#), Exit::Data);
        assert_eq!(exit(404, r#"{"code":"not-found"}"#), Exit::Missing);
        assert_eq!(exit(403, r#"{"code":"no-grant"}"#), Exit::Permission);
        assert_eq!(exit(402, r#"{"error":{"code":"insufficient-funds","message":"top up"}}"#), Exit::Payment);
        assert_eq!(exit(409, "{}"), Exit::Conflict);
        assert_eq!(exit(503, "gone"), Exit::Unavailable);
        assert_eq!(exit(500, "{}"), Exit::Failure);
    }

    #[test]
    fn refused_lines_are_told_with_their_numbers() {
        let body =
            r#"{"code":"malformed-file","detail":"the file is malformed","problems":[{"line":3,"reason":"not JSON"}]}"#;
        let told = CliError::of_answer(422, body).told();
        assert!(told.contains("line 3: not JSON"), "{told}");
    }
}
