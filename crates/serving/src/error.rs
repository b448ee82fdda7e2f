//! Why a request was not answered: one enum, sorted by the party that can resolve the error.

use std::path::PathBuf;

use openledger_engine::{LoadError, RunError};
use openledger_protocol::AdapterHash;

/// The party that can resolve an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The caller: another request may succeed.
    Caller,
    /// The operator: files or configuration are wrong.
    Operator,
    /// None: the same request may succeed later.
    Retry,
}

/// Why a request was not answered or an adapter not taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// No model, alias or adapter of this name is known here. The base never answers in its place.
    #[error("the model `{model}` does not exist")]
    NotFound {
        /// The name or hash as it was asked for.
        model: String,
    },
    /// A setting of the request is out of range or not understood.
    #[error("`{param}` {reason}")]
    BadRequest {
        /// The member of the request.
        param: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The prompt leaves no room for an answer; shorten it.
    #[error("the prompt has {tokens} tokens, the model reads at most {limit}")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions of the model.
        limit: usize,
    },
    /// The prompt's text cannot be read whatever its tokens are; shorten it.
    #[error("the prompt has {bytes} bytes of text, the longest text that the model reads has {limit}")]
    TextTooLong {
        /// Bytes of the text.
        bytes: usize,
        /// Positions of the model times the bytes of its longest token.
        limit: usize,
    },
    /// The files of a registered adapter are not the ones that were registered; register them again
    /// under their new hash.
    #[error("the adapter files in `{path}` now have hash {found}, registered was {expected}")]
    Changed {
        /// The folder.
        path: PathBuf,
        /// The hash that was registered.
        expected: AdapterHash,
        /// The hash of its files now.
        found: AdapterHash,
    },
    /// An ensemble is made of this adapter; forget the ensemble first.
    #[error("{ensembles} ensembles are made of adapter {adapter}; unload them first")]
    Needed {
        /// The adapter.
        adapter: AdapterHash,
        /// How many ensembles name it.
        ensembles: usize,
    },
    /// An alias moved meanwhile: it is not at the generation that the caller expected.
    #[error("alias `{alias}` is at generation {found}, not {expected}")]
    AliasMoved {
        /// The alias.
        alias: String,
        /// The generation the caller expected; 0 is "does not exist".
        expected: u64,
        /// The generation it is at.
        found: u64,
    },
    /// The base asks for a chat form that this crate does not know; send completions with a prompt
    /// of your own.
    #[error("the chat template of the base is not one this server can apply")]
    UnknownChatTemplate,
    /// The tenant has as many requests waiting as it may; send this one again later.
    #[error("{waiting} requests of this tenant are waiting already, try again in {retry_after} s")]
    QueueFull {
        /// Requests of the tenant that wait.
        waiting: usize,
        /// Estimated seconds until there is room.
        retry_after: u64,
    },
    /// As many requests wait as the server holds; send this one again later.
    #[error("{waiting} requests are waiting already, try again in {retry_after} s")]
    Overloaded {
        /// Requests that wait.
        waiting: usize,
        /// Estimated seconds until there is room.
        retry_after: u64,
    },
    /// The request would not fit into this server's memory even if nothing else ran; ask for fewer
    /// tokens.
    #[error("the request needs {needed} bytes of memory, this server has {budget}")]
    TooLarge {
        /// Bytes of adapter, prompt and the longest answer.
        needed: usize,
        /// Bytes that there are.
        budget: usize,
    },
    /// The adapters in use fill the memory; try again when an answer has ended.
    #[error("no memory for an adapter of {needed} bytes: {used} of {budget} are in use")]
    NoRoom {
        /// Bytes of the adapter.
        needed: usize,
        /// Bytes in use.
        used: usize,
        /// Bytes that there are.
        budget: usize,
    },
    /// The server is shutting down or its engine has failed; ask another one.
    #[error("the server has stopped answering")]
    Stopped,
    /// A peer that answers for this server failed; nothing of the answer was lost that had been
    /// shown.
    #[error("the remote server failed: {reason}")]
    Remote {
        /// What happened.
        reason: String,
    },
    /// An adapter, base or tokenizer could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The engine refused the request.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl ServeError {
    /// The party that can resolve it.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::NotFound { .. }
            | Self::BadRequest { .. }
            | Self::PromptTooLong { .. }
            | Self::TextTooLong { .. }
            | Self::AliasMoved { .. }
            | Self::Needed { .. }
            | Self::UnknownChatTemplate
            | Self::Run(_) => Blame::Caller,
            Self::TooLarge { .. } => Blame::Caller,
            Self::Changed { .. } | Self::Load(_) => Blame::Operator,
            Self::QueueFull { .. }
            | Self::Overloaded { .. }
            | Self::NoRoom { .. }
            | Self::Stopped
            | Self::Remote { .. } => Blame::Retry,
        }
    }

    /// Seconds after which the same request is worth another try, where waiting helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::QueueFull { retry_after, .. } | Self::Overloaded { retry_after, .. } => Some(*retry_after),
            Self::NoRoom { .. } | Self::Stopped | Self::Remote { .. } => Some(1),
            _ => None,
        }
    }
}
