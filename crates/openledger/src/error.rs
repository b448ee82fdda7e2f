//! Errors of verbs, and the exit status of each kind.

use std::path::{Path, PathBuf};

use openledger_api::client::ClientError;

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
    /// Something else exists there already.
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
    /// A call of a node.
    #[error(transparent)]
    Node(#[from] ClientError),
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
    /// Lines of a file of records cannot be used; nothing of it was.
    #[error("{}: {source}", path.display())]
    Records {
        /// The file.
        path: PathBuf,
        /// Every bad line.
        source: openledger_datanet::PlainError,
    },
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

impl From<openledger_attribution::evidence::EvidenceError> for CliError {
    fn from(error: openledger_attribution::evidence::EvidenceError) -> Self {
        Self::refused(Exit::Data, error.to_string())
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

    /// For `map_err` after loading from `folder`: the error with the folder's name, and the same
    /// exit status.
    pub(crate) fn folder(folder: &Path, error: impl Into<Self>) -> Self {
        let error = error.into();
        Self::refused(error.exit(), format!("{}: {}", folder.display(), with_causes(&error)))
    }

    /// Whether the node refused with this stable name.
    pub(crate) fn is_code(&self, name: &str) -> bool {
        matches!(self, Self::Node(error) if error.is_code(name))
    }

    /// Whether the same call may succeed a little later, without anything being changed.
    pub(crate) fn is_transient(&self) -> bool {
        use openledger_chain::flow::FlowError;
        match self {
            Self::Node(error) => error.is_transient(),
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
            Self::Node(ClientError::Refused(problem)) => match problem.status {
                422 => Exit::Data,
                400 => Exit::Usage,
                404 => Exit::Missing,
                401 | 403 => Exit::Permission,
                402 => Exit::Payment,
                409 => Exit::Conflict,
                502..=504 => Exit::Unavailable,
                _ => Exit::Failure,
            },
            Self::Node(ClientError::Unreachable { .. }) => Exit::Unavailable,
            Self::Rpc(error) if error.is_transient() => Exit::Unavailable,
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Missing,
            Self::Json { .. } | Self::Records { .. } => Exit::Data,
            Self::Load(_) => Exit::Config,
            Self::Factory(error) => match error {
                FactoryError::BadRecipe { .. } => Exit::Usage,
                FactoryError::BadRecipeFile { .. } | FactoryError::Load(_) => Exit::Config,
                FactoryError::BadRecord { .. } | FactoryError::NoData { .. } => Exit::Data,
                FactoryError::OutputExists { .. } => Exit::Conflict,
                FactoryError::NoGrant { .. } => Exit::Permission,
                FactoryError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Missing,
                _ => Exit::Failure,
            },
            Self::Folder(error) => match error {
                FolderError::Records { .. } | FolderError::Damaged { .. } => Exit::Data,
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

    /// The message for standard error: the error, what caused it, and the lines of a file it is
    /// about. Texts of a node or a file act on no terminal: only their line breaks and tabs stay.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("error: {}", with_causes(self));
        let lines: Vec<String> = match self {
            Self::Node(ClientError::Refused(problem)) => {
                problem.problems.iter().map(|problem| format!("line {}: {}", problem.line, problem.reason)).collect()
            }
            Self::Records { source, .. } => source.lines.iter().map(ToString::to_string).collect(),
            Self::Folder(openledger_attribution::folder::FolderError::Records { records }) => records.clone(),
            _ => Vec::new(),
        };
        for line in lines.iter().take(50) {
            text.push_str(&format!("\n  {line}"));
        }
        let omitted = if let Self::Records { source, .. } = self { source.omitted } else { 0 };
        let more = (lines.len() as u64 + omitted).saturating_sub(50);
        if more > 0 {
            text.push_str(&format!("\n  and {more} more"));
        }
        openledger_datanet::printable_lines(&text)
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
    use openledger_api::{FileProblem, Problem};

    use super::*;

    fn refused(status: u16, code: &str, problems: Vec<FileProblem>) -> CliError {
        let problem = Problem { problems, ..Problem::new(status, code, "the detail") };
        ClientError::Refused(Box::new(problem)).into()
    }

    #[test]
    fn a_problem_becomes_its_exit_status() {
        let exit = |status| refused(status, "some-code", Vec::new()).exit();
        assert_eq!(exit(422), Exit::Data);
        assert_eq!(exit(404), Exit::Missing);
        assert_eq!(exit(403), Exit::Permission);
        assert_eq!(exit(402), Exit::Payment);
        assert_eq!(exit(409), Exit::Conflict);
        assert_eq!(exit(503), Exit::Unavailable);
        assert_eq!(exit(500), Exit::Failure);
    }

    #[test]
    fn refused_lines_are_shown_with_their_numbers() {
        let lines = vec![FileProblem { line: 3, reason: "not JSON".into() }];
        let rendered = refused(422, "malformed-file", lines).render();
        assert!(rendered.contains("line 3: not JSON"), "{rendered}");
    }

    #[test]
    fn what_a_node_writes_moves_no_cursor() {
        let reason = "id `\u{1b}[2J` is taken".to_owned();
        let rendered = refused(422, "malformed-file", vec![FileProblem { line: 3, reason }]).render();
        assert!(rendered.contains("\n  line 3: id `\\u{1b}[2J` is taken"), "{rendered}");
        let problem = Problem::new(409, "some-code", "`\u{9b}2J` is taken");
        let rendered = CliError::from(ClientError::Refused(Box::new(problem))).render();
        assert!(rendered.contains("`\\u{9b}2J` is taken"), "{rendered}");
    }
}
