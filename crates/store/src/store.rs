//! The store: opening a database, and running transactions until they are committed.
//!
//! SQLite uses WAL and `synchronous = FULL`, so that what was committed survives a power cut.
//!
//! **Invariant:** a transaction's body may run several times, but is committed once or not at all.
//!
//! Not here: statements (`db`), the schema (`migrate`).

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Deref;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tempfile::TempDir;

use crate::blobs::{Blobs, BlobsConfig};
use crate::db::{Db, Isolation, Reads, Tx, begin, change, is_free};
use crate::error::{Error, Result};
use crate::migrate;
use crate::sql::{Row, Value, values};
use crate::transact_locked;

/// Readers beside SQLite's one writer, and connections to Postgres.
const CONNECTIONS: u32 = 8;
/// How long a statement waits for another process that holds SQLite's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a body is run again after a race.
const RETRIES: u64 = 32;

/// Which database is behind a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseEngine {
    /// One file, one machine.
    Sqlite,
    /// A server, many machines.
    Postgres,
}

/// The database and the blobs of one node. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Store {
    reads: Arc<Reads>,
    db: Db,
    blobs: Blobs,
    /// Keeps the folder of `sqlite::memory:` until the last clone is dropped.
    _folder: Option<Arc<TempDir>>,
}

impl Deref for Store {
    type Target = Reads;

    fn deref(&self) -> &Reads {
        &self.reads
    }
}

impl Store {
    /// Opens the database and the blob store, and brings the schema up to date.
    ///
    /// `url` is one of:
    ///
    /// - `sqlite://<file>`, made when missing, with its folders;
    /// - `postgres://…`;
    /// - `sqlite::memory:`, a file in a temporary folder that is removed with the last clone.
    ///
    /// # Errors
    ///
    /// [`Error::DatabaseUrl`] and [`Error::BlobsUrl`] for an unknown kind of address, [`Error::Open`] when the engine
    /// refuses, [`Error::SchemaTooNew`] and [`Error::SchemaTooOld`] when another release wrote the database.
    pub async fn open(url: &str, blobs: BlobsConfig) -> Result<Self> {
        let blobs = Blobs::open(&blobs)?;
        let mut folder = None;
        let db = if url == "sqlite::memory:" {
            let made =
                tempfile::tempdir().map_err(|source| Error::Folder { path: "temporary folder".into(), source })?;
            let db = open_sqlite(&made.path().join("store.db"), SqliteSynchronous::Off).await?;
            folder = Some(Arc::new(made));
            db
        } else if let Some(path) = url.strip_prefix("sqlite://") {
            open_sqlite(Path::new(path), SqliteSynchronous::Full).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url).await?
        } else {
            let scheme = url.split(':').next().unwrap_or_default();
            return Err(Error::DatabaseUrl { scheme: scheme.to_owned() });
        };
        let reads = Arc::new(Reads::committed(db.clone()));
        Ok(Self { reads, db, blobs, _folder: folder })
    }

    /// The blob store.
    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Which database this is.
    #[must_use]
    pub fn engine(&self) -> DatabaseEngine {
        match self.db {
            Db::Sqlite { .. } => DatabaseEngine::Sqlite,
            Db::Postgres(_) => DatabaseEngine::Postgres,
        }
    }

    /// Starts a transaction, `SERIALIZABLE` on Postgres: as if it ran alone. [`transact!`](crate::transact) begins one
    /// and runs it again after a race.
    ///
    /// On SQLite it waits for the one before it, so never hold two in one task.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when no connection is to be had in time.
    pub async fn begin(&self) -> Result<Tx> {
        begin(&self.db, Isolation::Serializable).await
    }

    /// As [`Store::begin`], `READ COMMITTED` on Postgres: for bodies whose methods lock the rows that they decide on
    /// (money, leases, requests, epochs). Concurrent ones wait for each other instead of failing.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    pub async fn begin_locked(&self) -> Result<Tx> {
        begin(&self.db, Isolation::ReadCommitted).await
    }

    /// Writes a row and commits it: whether the database takes writes now.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when it does not: its disk is full, or it cannot be reached.
    pub async fn ready(&self) -> Result<()> {
        let sql = "INSERT INTO readiness (id, checks) VALUES (1, 1) \
                   ON CONFLICT (id) DO UPDATE SET checks = readiness.checks + 1";
        transact_locked!(self, |tx| tx.execute(sql, values![]).await.map(drop))
    }

    /// Ends all connections once running statements are done; later calls fail.
    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }

    /// Runs one changing statement on its own, outside [`Tx`]; on Postgres `READ COMMITTED`.
    pub(crate) async fn change(&self, sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Result<Vec<Row>> {
        change(&self.db, &sql.into(), values).await
    }
}

/// Counts the attempts at one transaction.
#[derive(Debug, Default)]
pub struct Attempts(u64);

impl Attempts {
    /// Whether the transaction is to run again: it lost a race, and attempts are left. Waits a
    /// moment before a yes. Only store errors, also wrapped ones, are looked at.
    pub async fn run_again<T, E: std::error::Error + 'static>(&mut self, outcome: &std::result::Result<T, E>) -> bool {
        self.0 += 1;
        let again = self.0 < RETRIES && outcome.as_ref().is_err_and(|error| is_conflict(error));
        if again {
            tokio::time::sleep(self.pause()).await;
        }
        again
    }

    /// A random pause of at most 128 ms, so that transactions that lost a race together do not
    /// collide again.
    fn pause(&self) -> Duration {
        let chance = RandomState::new().build_hasher().finish();
        Duration::from_micros(chance % (1_000 << self.0.min(7)))
    }
}

/// Runs a body in a transaction and commits it when the body succeeds; after a race it runs the body again from the
/// start, at most 32 times: `transact!(store, |tx| body)`.
///
/// `tx` is a `&mut Tx`, and `body` an expression that may borrow, await and return early with `?`. The macro's value is
/// the body's result, or the error of the commit; the body's error type is made of the store's by `From`. The
/// transaction is `SERIALIZABLE` on Postgres: as if it ran alone. The body must have no effect outside of it.
#[macro_export]
macro_rules! transact {
    ($store:expr, |$tx:ident| $body:expr) => {
        $crate::in_transaction!($store, begin, $tx, $body)
    };
}

/// As [`transact!`](crate::transact), in a transaction of [`Store::begin_locked`]: for bodies whose methods lock the rows
/// that they decide on.
#[macro_export]
macro_rules! transact_locked {
    ($store:expr, |$tx:ident| $body:expr) => {
        $crate::in_transaction!($store, begin_locked, $tx, $body)
    };
}

/// The loop of [`transact!`](crate::transact) and [`transact_locked!`](crate::transact_locked).
#[doc(hidden)]
#[macro_export]
macro_rules! in_transaction {
    ($store:expr, $begin:ident, $tx:ident, $body:expr) => {{
        let mut attempts = $crate::Attempts::default();
        loop {
            let outcome = match $store.$begin().await {
                Ok(mut transaction) => {
                    let $tx = &mut transaction;
                    match async { $body }.await {
                        Ok(value) => match transaction.commit().await {
                            Ok(()) => Ok(value),
                            Err(error) => Err(error.into()),
                        },
                        Err(error) => Err(error),
                    }
                }
                Err(error) => Err(error.into()),
            };
            if !attempts.run_again(&outcome).await {
                break outcome;
            }
        }
    }};
}

/// Whether an error, or the error it wraps, is a race lost to another transaction.
fn is_conflict(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(Error::Conflict { .. })) {
            return true;
        }
        next = error.source();
    }
    false
}

async fn open_postgres(url: &str) -> Result<Db> {
    let open = |source| Error::Open { source };
    let options = PgConnectOptions::from_str(url).map_err(open)?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .before_acquire(|connection, _| Box::pin(async move { Ok(is_free(connection)) }))
        .connect_with(options);
    let db = Db::Postgres(pool.await.map_err(open)?);
    migrate::run(begin(&db, Isolation::ReadCommitted).await?).await?;
    Ok(db)
}

async fn open_sqlite(path: &Path, synchronous: SqliteSynchronous) -> Result<Db> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Folder { path: folder.display().to_string(), source })?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY_TIMEOUT);
    let open = |source| Error::Open { source };
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .before_acquire(|connection, _| Box::pin(async move { Ok(is_free(connection)) }))
        .connect_with(options.clone());
    let writer = writer.await.map_err(open)?;
    // The readers come after the first write: a file that does not exist cannot be opened for reading only.
    let readers = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_lazy_with(options.read_only(true));
    let db = Db::Sqlite { writer, readers };
    migrate::run(begin(&db, Isolation::Serializable).await?).await?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Address;

    async fn in_file() -> (Store, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("store.db").display());
        (Store::open(&url, BlobsConfig::new("memory:")).await.unwrap(), folder)
    }

    async fn put(store: &Store, name: &str) -> Result<()> {
        transact!(store, |tx| tx.put_handle(name, Address::ZERO).await)
    }

    #[tokio::test]
    async fn a_full_database_takes_writes_again_once_there_is_room() {
        let (store, _folder) = in_file().await;
        put(&store, "before").await.unwrap();
        let pages = store.change("PRAGMA page_count", values![]).await.unwrap()[0].get::<u64>(0).unwrap();
        let long = "x".repeat(200_000);
        for _ in 0..3 {
            // The quota belongs to the connection that writes, which may be another after a failure.
            store.change(format!("PRAGMA max_page_count = {}", pages + 8), values![]).await.unwrap();
            let full = put(&store, &long).await;
            assert!(matches!(full, Err(Error::Database { .. })), "{full:?}");
            assert!(store.handle(&long).await.unwrap().is_none());
        }
        put(&store, "small").await.unwrap();
        store.ready().await.unwrap();
        store.change(format!("PRAGMA max_page_count = {}", pages + 800), values![]).await.unwrap();
        put(&store, &long).await.unwrap();
        assert!(store.handle("before").await.unwrap().is_some() && store.handle("small").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_commit_that_fails_leaves_nothing_and_the_next_transaction_works() {
        let (store, _folder) = in_file().await;
        let mut tx = store.begin().await.unwrap();
        tx.execute("PRAGMA defer_foreign_keys = ON", values![]).await.unwrap();
        let body = "INSERT INTO receipt_bodies (receipt, body) VALUES (?, 'orphan')";
        tx.execute(body, values![vec![1u8]]).await.unwrap();
        let failed = tx.commit().await;
        assert!(matches!(failed, Err(Error::Database { .. })), "{failed:?}");
        put(&store, "next").await.unwrap();
        assert_eq!(store.number("SELECT COUNT(*) FROM receipt_bodies", values![]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_transaction_in_which_a_statement_failed_takes_no_other_and_is_not_committed() {
        let (store, _folder) = in_file().await;
        let mut tx = store.begin().await.unwrap();
        tx.put_handle("one", Address::ZERO).await.unwrap();
        assert!(matches!(tx.put_handle("one", Address::ZERO).await, Err(Error::Exists { .. })));
        assert!(matches!(tx.put_handle("two", Address::ZERO).await, Err(Error::Broken)));
        assert!(matches!(tx.handle("one").await, Err(Error::Broken)));
        assert!(matches!(tx.commit().await, Err(Error::Broken)));
        assert!(store.handle("one").await.unwrap().is_none());
        put(&store, "one").await.unwrap();
    }

    #[tokio::test]
    async fn a_transaction_whose_rollback_fails_does_not_stop_the_next() {
        let (store, _folder) = in_file().await;
        let mut tx = store.begin().await.unwrap();
        // As an engine does that took the transaction back by itself.
        tx.execute("ROLLBACK", values![]).await.unwrap();
        drop(tx);
        put(&store, "next").await.unwrap();
        assert!(store.handle("next").await.unwrap().is_some());
    }
}
