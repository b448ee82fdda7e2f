//! What can go wrong in the store, and who can do something about it.
//!
//! `node` sorts these into HTTP status and exit code; [`Error::is_retryable`] tells a race from a fault.

use openledger_protocol::AmountError;

use crate::ids::{Address, Amount, BlobHash, ChannelId, RecordRef};

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
    /// The database was written by an earlier release whose schema is not carried over; start that release, or use a
    /// new database.
    #[error("the database has schema version {found}; this release carries over version {oldest} and later")]
    SchemaTooOld {
        /// Version found in the database.
        found: u64,
        /// Oldest version that is carried over.
        oldest: u64,
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
    /// A statement of this transaction failed, or it ended, so that nothing more can be written in it. Nothing was
    /// committed; run it again from the start.
    #[error("the transaction cannot go on: a statement of it failed, or it is over")]
    Broken,
    /// A step that waits for locks and then reads what others committed meanwhile; run it by
    /// [`crate::transact_locked!`].
    #[error("this step needs a transaction that locks rows, begun by `transact_locked`")]
    WrongTransaction,
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
    #[error("{value} is above 9223372036854775807, the largest number that is stored")]
    TooLarge {
        /// The number given.
        value: u64,
    },
    /// A column holds something its type cannot be: the database was changed by other hands or is damaged.
    #[error("column `{column}` does not hold {expected}")]
    Malformed {
        /// The column.
        column: String,
        /// What should be there.
        expected: &'static str,
    },
    /// Rows contradict each other: the database was changed by other hands or is damaged.
    #[error("{noun} {id} is damaged: {problem}")]
    Damaged {
        /// What the row is.
        noun: &'static str,
        /// Its id.
        id: String,
        /// What does not hold.
        problem: String,
    },
    /// A value could not be written as JSON.
    #[error("could not write a value as JSON")]
    Json {
        /// What the converter said.
        source: serde_json::Error,
    },
    /// An amount left 128 bits.
    #[error(transparent)]
    Amount(#[from] AmountError),
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
    /// Another request took the key over after this one's lease ended; drop this one's answer.
    #[error("another request took over idempotency key `{key}`; drop this answer")]
    KeyLost {
        /// The key.
        key: String,
    },
    /// Another holder has the lease; wait until it ends.
    #[error("`{name}` is held by {holder} until {until}")]
    Leased {
        /// What is held.
        name: String,
        /// The node instance that holds it.
        holder: String,
        /// Until when, Unix milliseconds.
        until: u64,
    },
    /// The lease was given back or taken over; stop working under it.
    #[error("the lease on `{name}` was lost (fence {given})")]
    StaleLease {
        /// What was held.
        name: String,
        /// The fencing token of the lease that was lost.
        given: u64,
    },
    /// The channel cannot pay: deposit more, or ask for less.
    #[error("channel {channel} has {free} left, {needed} are needed")]
    Insufficient {
        /// The channel.
        channel: ChannelId,
        /// The amount to be reserved.
        needed: Amount,
        /// What is deposited and neither spent nor reserved.
        free: Amount,
    },
    /// The epoch has no receipt, so there is nothing to close.
    #[error("epoch {epoch} has no receipt")]
    NoReceipts {
        /// The epoch.
        epoch: u64,
    },
    /// The roots given for an epoch are not those of its rows; compute them again.
    #[error("{what} of epoch {epoch}: {given} was given, the rows give {found}")]
    OtherRoots {
        /// The epoch.
        epoch: u64,
        /// Which member differs.
        what: &'static str,
        /// The value given.
        given: String,
        /// The value that the rows give.
        found: String,
    },
    /// The record's text was erased; only its hashes are left.
    #[error("the text of record {}/{} was erased", at.contribution, at.index)]
    Erased {
        /// The record.
        at: RecordRef,
    },
    /// The channel pays one operator and the open epoch is another's, who would be slashed for the receipt; let each
    /// operator have its own database.
    #[error("channel {channel} pays {payee}, the open epoch is of {operator}")]
    OtherOperator {
        /// The channel.
        channel: ChannelId,
        /// The node that it pays.
        payee: Address,
        /// The operator of the open epoch.
        operator: Address,
    },
    /// The payer has asked the channel's deposit back; open another channel.
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
    /// A list of an artifact's files is damaged, or names a file outside its folder; build the artifact again.
    #[error("artifact {hash} is damaged: {problem}")]
    BadArtifact {
        /// The artifact.
        hash: BlobHash,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of the cache, or one to be stored, could not be read or written; look at its path and rights.
    #[error("could not use the file `{path}`")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
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
    /// Whether the same call can succeed unchanged: only when another transaction or holder came first.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Leased { .. })
    }

    /// Sorts an engine's error: a race, a key that exists, or a fault.
    pub(crate) fn from_sqlx(sql: &str, source: sqlx::Error) -> Self {
        let sql = sql.to_owned();
        let Some(database) = source.as_database_error() else {
            return Self::Database { sql, source };
        };
        // Postgres: serialization failure and deadlock. SQLite: busy, in recovery, with a stale snapshot, timed out.
        let raced = matches!(database.code().as_deref(), Some("40001" | "40P01" | "5" | "261" | "517" | "773"));
        if raced {
            Self::Conflict { source }
        } else if database.is_unique_violation() {
            Self::Exists { sql, source }
        } else {
            Self::Database { sql, source }
        }
    }

    /// A step that the row's state does not allow.
    pub(crate) fn state(noun: &'static str, id: impl ToString, found: impl ToString, wanted: impl ToString) -> Self {
        Self::State { noun, id: id.to_string(), found: found.to_string(), wanted: wanted.to_string() }
    }

    /// Rows contradict each other.
    pub(crate) fn damaged(noun: &'static str, id: impl ToString, problem: impl ToString) -> Self {
        Self::Damaged { noun, id: id.to_string(), problem: problem.to_string() }
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
