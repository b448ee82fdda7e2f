//! What can go wrong in the store, and who can do something about it.
//!
//! `node` sorts these into HTTP status and exit code; [`Error::is_retryable`] tells a race from a fault.

use crate::ids::{Amount, BlobHash, ChannelId};

/// The store's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database's address is of no kind we know; correct the configuration.
    #[error(
        "cannot open a database of kind `{scheme}`: use `sqlite://<file>`, `sqlite::memory:` or `postgres://<host>/<name>`"
    )]
    DatabaseUrl {
        /// The address up to its first colon; the rest may hold a password.
        scheme: String,
    },
    /// The blob store's address is of no kind we know; correct the configuration.
    #[error("cannot open blob store `{url}`: use `file:///<folder>`, `s3://<bucket>/<prefix>` or `memory:`")]
    BlobsUrl {
        /// The address as given.
        url: String,
    },
    /// The database could not be opened; its folder, server or rights need the operator.
    #[error("could not open the database")]
    Open {
        /// What the engine said.
        source: sqlx::Error,
    },
    /// A file or folder of the store could not be made; look at its path and rights.
    #[error("could not prepare `{path}`")]
    Folder {
        /// The folder that was to be made.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database was written by a newer release; start that release, or restore a backup of this one.
    #[error("the database has schema version {found}, this release knows up to {known}")]
    SchemaTooNew {
        /// Version found in the database.
        found: u64,
        /// Newest version this release knows.
        known: u64,
    },
    /// A statement failed: disk full, connection lost, or a fault of ours. Nothing was committed.
    #[error("the database refused `{sql}`")]
    Database {
        /// The statement, without its values.
        sql: String,
        /// What the engine said.
        source: sqlx::Error,
    },
    /// Another transaction touched the same rows first. Nothing was committed; run the transaction again.
    #[error("another transaction came first; run this one again")]
    Conflict {
        /// What the engine said.
        source: sqlx::Error,
    },
    /// A row with this key is there already; the write was not made.
    #[error("a row with the key given to `{sql}` exists already")]
    Exists {
        /// The statement, without its values.
        sql: String,
        /// What the engine said, naming the constraint.
        source: sqlx::Error,
    },
    /// The row named does not exist; check the id.
    #[error("there is no {noun} {id}")]
    Missing {
        /// What was looked for.
        noun: &'static str,
        /// The id given.
        id: String,
    },
    /// A number does not fit a column (2⁶³ − 1); the value is wrong.
    #[error("{value} does not fit into a database integer")]
    TooLarge {
        /// The number given.
        value: u64,
    },
    /// A column holds something its type cannot be: the database was changed by other hands or is damaged.
    #[error("column {column} does not hold {expected}")]
    Malformed {
        /// Position of the column in the answer, from 0.
        column: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// A value could not be written as JSON, or a JSON column could not be read into its type.
    #[error("could not convert a JSON column")]
    Json {
        /// What the converter said.
        source: serde_json::Error,
    },
    /// The job was handed to another worker, finished or cancelled meanwhile; drop this worker's result.
    #[error("fence {given} of job {job} is stale (now {current}); its lease was lost, drop the result")]
    StaleFence {
        /// The job.
        job: u64,
        /// The fencing token the worker holds.
        given: u64,
        /// The job's fencing token now.
        current: u64,
    },
    /// The idempotency key was used before with a different body; use a new key.
    #[error("idempotency key `{key}` was used with a different request")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// A request with this key is running; wait for it, then ask again.
    #[error("a request with idempotency key `{key}` is still running")]
    KeyInFlight {
        /// The key.
        key: String,
    },
    /// The channel moved on since it was read; read it again.
    #[error("channel {channel} stands at nonce {found}, not {expected}; read it again")]
    ChannelMoved {
        /// The channel.
        channel: ChannelId,
        /// The nonce the caller saw.
        expected: u64,
        /// The nonce now.
        found: u64,
    },
    /// The channel is closing or closed; open another.
    #[error("channel {channel} is no longer open")]
    ChannelClosed {
        /// The channel.
        channel: ChannelId,
    },
    /// A voucher or payment would go back, or beyond what was deposited; nothing was changed.
    #[error("{given} is outside {least}..={most} for {subject}")]
    OutOfBounds {
        /// What the amount was for.
        subject: String,
        /// The amount given.
        given: Amount,
        /// The least that is allowed.
        least: Amount,
        /// The most that is allowed.
        most: Amount,
    },
    /// A step that the row's state does not allow, such as finalizing an open epoch; read the row again.
    #[error("{noun} {id} is `{found}`, so it cannot become `{wanted}`")]
    State {
        /// What the row is.
        noun: &'static str,
        /// Its id.
        id: String,
        /// Its state now.
        found: String,
        /// The state asked for.
        wanted: String,
    },
    /// The block does not follow the last one indexed: blocks were left out or the chain reorganised. Roll back to
    /// A range of blocks does not follow the last one indexed; read on from the cursor.
    #[error("blocks {from} to {to} do not follow block {last}, the last one indexed")]
    NotNextBlock {
        /// First block given.
        from: u64,
        /// Last block given.
        to: u64,
        /// Number of the last block indexed.
        last: u64,
    },
    /// No blob has this hash.
    #[error("there is no blob {hash}")]
    BlobMissing {
        /// The hash asked for.
        hash: BlobHash,
    },
    /// The bytes under this hash are not the ones that were put there; restore the blob from a copy.
    #[error("blob {hash} is corrupt: its bytes hash to {found}")]
    Corrupt {
        /// The hash asked for.
        hash: BlobHash,
        /// The hash of what is there.
        found: BlobHash,
    },
    /// The blob store failed; its disk, network or credentials need the operator.
    #[error("the blob store failed at {what}")]
    Blob {
        /// The blob or setting concerned.
        what: String,
        /// What the blob store said.
        source: object_store::Error,
    },
}

impl Error {
    /// Whether the same call can succeed unchanged: only when another transaction or request came first.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::KeyInFlight { .. })
    }

    /// Sorts an engine's error: a race, a key that exists, or a fault.
    pub(crate) fn from_sqlx(sql: &str, source: sqlx::Error) -> Self {
        let sql = sql.to_owned();
        let Some(database) = source.as_database_error() else {
            return Self::Database { sql, source };
        };
        // Postgres: serialization failure and deadlock. SQLite: busy and busy-snapshot.
        let raced = matches!(database.code().as_deref(), Some("40001" | "40P01" | "5" | "517"));
        if raced {
            Self::Conflict { source }
        } else if database.is_unique_violation() {
            Self::Exists { sql, source }
        } else {
            Self::Database { sql, source }
        }
    }

    /// The row named does not exist.
    pub(crate) fn missing(noun: &'static str, id: impl ToString) -> Self {
        Self::Missing { noun, id: id.to_string() }
    }
}

impl From<serde_json::Error> for Error {
    fn from(source: serde_json::Error) -> Self {
        Self::Json { source }
    }
}
