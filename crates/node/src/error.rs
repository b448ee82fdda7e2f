//! The node's errors, sorted once: whose fault it is gives HTTP status, problem code and exit status alike.

use openledger_chain::contracts::DeployError;
use openledger_chain::flow::FlowError;
use openledger_chain::indexer::IndexError;
use openledger_protocol::{AmountError, CanonicalError, SignatureError};

/// Who can do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller sent something that will never work as it is.
    Request,
    /// The caller's data is malformed.
    Data,
    /// There is no such thing.
    Missing,
    /// The caller is not known.
    Unauthenticated,
    /// The caller may not.
    Permission,
    /// The caller has not paid enough.
    Payment,
    /// Something else stands there already.
    Conflict,
    /// The path has no such method.
    Method,
    /// The body is too large.
    TooLarge,
    /// The body's media type is not supported.
    Media,
    /// The same call may succeed later.
    Retry,
    /// The operator has to look.
    Operator,
}

impl Blame {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Request => 400,
            Self::Data => 422,
            Self::Missing => 404,
            Self::Unauthenticated => 401,
            Self::Permission => 403,
            Self::Payment => 402,
            Self::Conflict => 409,
            Self::Method => 405,
            Self::TooLarge => 413,
            Self::Media => 415,
            Self::Retry => 503,
            Self::Operator => 500,
        }
    }
}

/// Why the node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The node refuses the request; `detail` says what to change.
    #[error("{detail}")]
    Refused {
        /// Who can mend it.
        blame: Blame,
        /// A stable name, such as `unknown-model`.
        code: &'static str,
        /// What is wrong and what to do.
        detail: String,
    },
    /// A file is malformed; nothing of it was taken.
    #[error("the file is malformed in {} places; nothing of it was taken", problems.len())]
    Malformed {
        /// Line (from 1) and reason of each.
        problems: Vec<(u64, String)>,
    },
    /// The database or blob store. Not transparent: a transaction's loop looks for a lost race among
    /// the sources of its body's error.
    #[error("{0}")]
    Store(#[from] openledger_store::Error),
    /// A chain call.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// A chain transaction.
    #[error(transparent)]
    Send(#[from] openledger_chain::sender::SendError),
    /// The chain's RPC.
    #[error(transparent)]
    Rpc(#[from] openledger_chain::rpc::RpcError),
    /// The embedded chain.
    #[error(transparent)]
    Chain(#[from] openledger_chain::embedded::EmbeddedError),
    /// Deployment of the contracts.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// Reading the chain's events.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// An amount.
    #[error(transparent)]
    Sum(#[from] AmountError),
    /// A value without canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// A batch that cannot become a contribution.
    #[error(transparent)]
    Prepare(#[from] openledger_datanet::PrepareError),
    /// Crediting an answer.
    #[error(transparent)]
    Credit(#[from] openledger_attribution::credit::CreditError),
    /// Evidence of attribution.
    #[error(transparent)]
    Evidence(#[from] openledger_attribution::evidence::EvidenceError),
    /// The influence of records.
    #[error(transparent)]
    Influence(#[from] openledger_attribution::influence::InfluenceError),
    /// The index of spans.
    #[error(transparent)]
    Spans(#[from] openledger_attribution::spans::SpanError),
    /// The split of a price.
    #[error(transparent)]
    Split(#[from] openledger_ledger::SplitError),
    /// The lines of a receipt that defers its credits.
    #[error(transparent)]
    Deferred(#[from] openledger_ledger::DeferredError),
    /// Closing an epoch.
    #[error(transparent)]
    Epoch(#[from] openledger_ledger::EpochError),
    /// Loading a base or adapter.
    #[error(transparent)]
    Load(#[from] openledger_engine::LoadError),
    /// Training.
    #[error(transparent)]
    Train(#[from] openledger_factory::FactoryError),
    /// Answering.
    #[error(transparent)]
    Serve(#[from] openledger_serving::ServeError),
    /// A split rule out of bounds.
    #[error(transparent)]
    Rule(#[from] openledger_ledger::RuleError),
    /// The native supply cannot be summed.
    #[error(transparent)]
    Supply(#[from] openledger_ledger::SupplyError),
    /// A file of the node's own.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// JSON of the node's own is damaged.
    #[error("stored JSON is damaged")]
    Json(#[from] serde_json::Error),
    /// A task of the process was cancelled or panicked.
    #[error("a background task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl NodeError {
    /// A refusal of the node's own: `code` is a stable name, `detail` says what is wrong and what to do.
    pub fn refused(blame: Blame, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused { blame, code, detail: detail.into() }
    }

    /// There is no `what` called `name`: code `not-found`.
    pub fn missing(what: &str, name: impl std::fmt::Display) -> Self {
        Self::refused(Blame::Missing, "not-found", format!("there is no {what} `{name}`"))
    }

    /// A row that another row names is not there: code `damaged-data`.
    pub(crate) fn lost(what: &str, name: impl std::fmt::Display) -> Self {
        Self::refused(Blame::Operator, "damaged-data", format!("the stored {what} `{name}` is not there"))
    }

    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { path, source }
    }

    /// Who can do something about it.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Refused { blame, .. } => *blame,
            Self::Malformed { .. } => Blame::Data,
            Self::Signature(_) => Blame::Permission,
            Self::Canonical(_) => Blame::Request,
            Self::Store(error) if error.is_retryable() => Blame::Retry,
            // Another holder came first. A repeat takes the lease, or finds the key's response.
            Self::Store(openledger_store::Error::StaleLease { .. } | openledger_store::Error::KeyLost { .. }) => {
                Blame::Retry
            }
            // Ids and cursors of a request; the node's own numbers are counted from rows and fit.
            Self::Store(openledger_store::Error::TooLarge { .. }) => Blame::Request,
            Self::Send(error) | Self::Flow(FlowError::Send(error)) | Self::Deploy(DeployError::Send(error))
                if error.is_transient() =>
            {
                Blame::Retry
            }
            Self::Rpc(error)
            | Self::Flow(FlowError::Rpc(error))
            | Self::Deploy(DeployError::Rpc(error))
            | Self::Index(IndexError::Rpc(error))
                if error.is_transient() =>
            {
                Blame::Retry
            }
            Self::Index(IndexError::Sink(_)) => Blame::Retry,
            Self::Serve(openledger_serving::ServeError::NotFound { .. }) => Blame::Missing,
            Self::Serve(error) if error.blame() == openledger_serving::Blame::Caller => Blame::Request,
            Self::Serve(error) if error.blame() == openledger_serving::Blame::Retry => Blame::Retry,
            _ => Blame::Operator,
        }
    }

    /// The stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Malformed { .. } => "malformed-file",
            Self::Store(openledger_store::Error::TooLarge { .. }) => "bad-parameter",
            Self::Signature(_) => "bad-signature",
            Self::Canonical(_) => "not-canonical",
            _ => match self.blame() {
                Blame::Missing => "not-found",
                Blame::Request => "bad-request",
                Blame::Retry => "try-again",
                _ => "internal",
            },
        }
    }
}

/// The node's result.
pub type Result<T, E = NodeError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use openledger_chain::rpc::{Client, HttpRpc, RpcError};

    use super::*;

    #[test]
    fn numbers_beyond_the_database_are_the_callers_and_lost_rows_the_operators() {
        let large = NodeError::from(openledger_store::Error::TooLarge { value: u64::MAX });
        assert_eq!((large.blame(), large.code()), (Blame::Request, "bad-parameter"));
        assert_eq!(NodeError::lost("reservation", 3).blame().status(), 500);
    }

    #[test]
    fn a_lease_or_key_that_another_holder_took_is_tried_again() {
        let lease = openledger_store::Error::StaleLease { name: "settlement".to_owned(), given: 3 };
        let key = openledger_store::Error::KeyLost { key: "key".to_owned() };
        for error in [NodeError::from(lease), NodeError::from(key)] {
            assert_eq!((error.blame(), error.code()), (Blame::Retry, "try-again"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_transaction_of_the_node_that_lost_a_race_is_run_again() {
        let blobs = openledger_store::BlobsConfig::new("memory:");
        let store = openledger_store::Store::open("sqlite::memory:", blobs).await.unwrap();
        let mut runs = 0;
        let done: Result<u32> = openledger_store::transact!(store, |_tx| {
            runs += 1;
            match runs {
                1 => Err(openledger_store::Error::Conflict { source: sqlx::Error::RowNotFound })?,
                _ => Ok(runs),
            }
        });
        assert_eq!(done.unwrap(), 2);
    }

    #[test]
    fn what_a_chain_refuses_is_not_tried_again_however_deep_it_lies() {
        let refused = || RpcError::Refused { code: 3, message: "execution reverted".to_owned(), data: None };
        for error in [
            NodeError::Rpc(refused()),
            NodeError::Flow(FlowError::Rpc(refused())),
            NodeError::Index(IndexError::Rpc(refused())),
            NodeError::Deploy(DeployError::Rpc(refused())),
        ] {
            assert_eq!(error.blame(), Blame::Operator, "{error}");
        }
    }

    #[tokio::test]
    async fn a_chain_that_does_not_answer_is_tried_again_however_deep_the_fault_lies() {
        let nobody = Client::new(Arc::new(HttpRpc::new("http://127.0.0.1:1/").unwrap()));
        let silent = async || nobody.block_number().await.unwrap_err();
        for error in [
            NodeError::Rpc(silent().await),
            NodeError::Flow(FlowError::Rpc(silent().await)),
            NodeError::Flow(FlowError::Send(silent().await.into())),
            NodeError::Index(IndexError::Rpc(silent().await)),
            NodeError::Deploy(DeployError::Rpc(silent().await)),
        ] {
            assert_eq!(error.blame(), Blame::Retry, "{error}");
        }
    }
}
