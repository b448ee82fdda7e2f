//! The two engines behind one face: opening, reading, and transactions.
//!
//! SQLite: one writer connection, so `BEGIN IMMEDIATE` queues instead of failing, and a pool of readers; WAL and
//! `synchronous = FULL`, so that what was committed survives a power cut. Postgres: one pool; transactions are
//! `SERIALIZABLE`, so a race shows as [`Error::Conflict`] and is run again.
//!
//! Not here: any noun's statements; they stand in the noun's module as methods of [`Reads`] and [`Tx`].

use std::borrow::Cow;
use std::ops::Deref;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::blobs::{Blobs, BlobsConfig};
use crate::error::{Error, Result};
use crate::migrate;
use crate::sql::{ROWS_PER_INSERT, Row, Value, bind_all, insert_many, render};

/// Readers beside SQLite's one writer, and connections to Postgres.
const CONNECTIONS: u32 = 8;
/// How long a statement waits for another process that holds SQLite's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often [`Store::transact`] runs a body again after a race.
const RETRIES: usize = 32;

/// Which database is behind a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// One file, one machine.
    Sqlite,
    /// A server, many machines.
    Postgres,
}

/// Connections to one of the engines.
#[derive(Clone)]
enum Db {
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres(PgPool),
}

/// The connection of one transaction.
enum Connection {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// Where a statement runs.
enum Source {
    Committed(Db),
    Transaction(Mutex<Connection>),
}

/// Everything that can be read; [`Store`] and [`Tx`] deref to it.
///
/// Through a store it sees what is committed, through a transaction also what that transaction wrote.
pub struct Reads(Source);

/// The database and the blobs of one node. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Store {
    reads: Arc<Reads>,
    db: Db,
    blobs: Blobs,
    /// Keeps the folder of `sqlite::memory:` until the last clone is dropped.
    _folder: Option<Arc<TempDir>>,
}

/// A transaction. Dropped without [`Tx::commit`], it leaves nothing behind.
///
/// After any error but those that say "not changed" drop it: Postgres refuses all that follows a failed statement.
pub struct Tx(Reads);

impl Store {
    /// Opens the database and the blob store, and brings the schema up to date.
    ///
    /// `url` is `sqlite://<file>` (made when missing, with its folders), `postgres://…` or `sqlite::memory:`, which is
    /// a file in a temporary folder that goes away with the last clone; so it behaves as a file does.
    ///
    /// # Errors
    ///
    /// [`Error::DatabaseUrl`] and [`Error::BlobsUrl`] for an unknown kind of address, [`Error::Open`] when the engine
    /// refuses, [`Error::SchemaTooNew`] when a newer release wrote the database.
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
            let options = PgConnectOptions::from_str(url).map_err(|source| Error::Open { source })?;
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
            let pool = pool.map_err(|source| Error::Open { source })?;
            migrate::run(begin_postgres(&pool, "BEGIN").await?).await?;
            Db::Postgres(pool)
        } else {
            let scheme = url.split(':').next().unwrap_or_default();
            return Err(Error::DatabaseUrl { scheme: scheme.to_owned() });
        };
        let reads = Arc::new(Reads(Source::Committed(db.clone())));
        Ok(Self { reads, db, blobs, _folder: folder })
    }

    /// The blob store.
    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Which database this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.db {
            Db::Sqlite { .. } => Engine::Sqlite,
            Db::Postgres(_) => Engine::Postgres,
        }
    }

    /// Starts a transaction. On SQLite it waits for the one before it, so never hold two in one task.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when no connection is to be had in time.
    pub async fn begin(&self) -> Result<Tx> {
        match &self.db {
            Db::Sqlite { writer, .. } => begin_sqlite(writer).await,
            Db::Postgres(pool) => begin_postgres(pool, "BEGIN ISOLATION LEVEL SERIALIZABLE").await,
        }
    }

    /// Runs `body` in a transaction and commits it; after a race it runs again from the start, up to 32 times.
    ///
    /// `body` must have no effect outside the transaction. Only its store errors are looked at for a race.
    ///
    /// # Errors
    ///
    /// What `body` returned, or [`Error::Conflict`] when others always came first.
    pub async fn transact<T, E>(
        &self,
        body: impl for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, std::result::Result<T, E>>,
    ) -> std::result::Result<T, E>
    where
        E: From<Error> + std::error::Error + 'static,
    {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let outcome = async {
                let mut tx = self.begin().await?;
                let value = body(&mut tx).await?;
                tx.commit().await?;
                Ok(value)
            };
            match outcome.await {
                Err(error) if attempt < RETRIES && is_conflict(&error) => tokio::task::yield_now().await,
                outcome => return outcome,
            }
        }
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
        let sql = sql.into();
        match &self.db {
            Db::Sqlite { writer, .. } => sqlite_rows(writer, &sql, values).await,
            Db::Postgres(pool) => postgres_rows(pool, &sql, values).await,
        }
    }
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

impl Deref for Store {
    type Target = Reads;

    fn deref(&self) -> &Reads {
        &self.reads
    }
}

impl Deref for Tx {
    type Target = Reads;

    fn deref(&self) -> &Reads {
        &self.0
    }
}

impl Reads {
    /// The rows a statement answers with.
    pub(crate) async fn rows(&self, sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Result<Vec<Row>> {
        let sql = sql.into();
        match &self.0 {
            Source::Committed(Db::Sqlite { readers, .. }) => sqlite_rows(readers, &sql, values).await,
            Source::Committed(Db::Postgres(pool)) => postgres_rows(pool, &sql, values).await,
            Source::Transaction(connection) => match &mut *connection.lock().await {
                Connection::Sqlite(connection) => sqlite_rows(&mut **connection, &sql, values).await,
                Connection::Postgres(connection) => postgres_rows(&mut **connection, &sql, values).await,
            },
        }
    }

    /// The first row a statement answers with, if any.
    pub(crate) async fn row(&self, sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Result<Option<Row>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// The rows a statement answers with, each read by `read`.
    pub(crate) async fn list<T>(
        &self,
        sql: impl Into<Cow<'static, str>>,
        values: Vec<Value>,
        read: fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.rows(sql, values).await?.iter().map(read).collect()
    }

    /// The first row a statement answers with, read by `read`.
    pub(crate) async fn one<T>(
        &self,
        sql: impl Into<Cow<'static, str>>,
        values: Vec<Value>,
        read: fn(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        self.row(sql, values).await?.as_ref().map(read).transpose()
    }

    /// The single number a counting statement answers with.
    pub(crate) async fn number(&self, sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Result<u64> {
        let row = self.row(sql, values).await?.ok_or(Error::Malformed { column: 0, expected: "a number" })?;
        row.get(0)
    }
}

impl Tx {
    /// Makes everything written so far last.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when another transaction came first; then nothing was written.
    pub async fn commit(self) -> Result<()> {
        let Source::Transaction(connection) = self.0.0 else { return Ok(()) };
        let done = match connection.into_inner() {
            Connection::Sqlite(connection) => connection.commit().await,
            Connection::Postgres(connection) => connection.commit().await,
        };
        done.map_err(|source| Error::from_sqlx("COMMIT", source))
    }

    /// Takes back everything written so far. Dropping the transaction does the same, a little later.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] when the connection is gone, which also takes it back.
    pub async fn rollback(self) -> Result<()> {
        let Source::Transaction(connection) = self.0.0 else { return Ok(()) };
        let done = match connection.into_inner() {
            Connection::Sqlite(connection) => connection.rollback().await,
            Connection::Postgres(connection) => connection.rollback().await,
        };
        done.map_err(|source| Error::from_sqlx("ROLLBACK", source))
    }

    /// Runs a changing statement and says how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Result<u64> {
        let sql = sql.into();
        let Source::Transaction(connection) = &mut self.0.0 else { return Ok(0) };
        let done = match connection.get_mut() {
            Connection::Sqlite(connection) => {
                let query = sqlx::query::<Sqlite>(AssertSqlSafe(render(&sql, false)));
                bind_all!(query, values).execute(&mut **connection).await.map(|done| done.rows_affected())
            }
            Connection::Postgres(connection) => {
                let query = sqlx::query::<Postgres>(AssertSqlSafe(render(&sql, true)));
                bind_all!(query, values).execute(&mut **connection).await.map(|done| done.rows_affected())
            }
        };
        done.map_err(|source| Error::from_sqlx(&sql, source))
    }

    /// Inserts many rows into `head` (`table (column, …)`), some hundred per statement.
    pub(crate) async fn insert_all(&mut self, head: &str, rows: Vec<Vec<Value>>) -> Result<()> {
        let Some(columns) = rows.first().map(Vec::len) else { return Ok(()) };
        let mut rows = rows.into_iter();
        loop {
            let chunk: Vec<Vec<Value>> = rows.by_ref().take(ROWS_PER_INSERT).collect();
            if chunk.is_empty() {
                return Ok(());
            }
            let sql = insert_many(head, columns, chunk.len());
            self.execute(sql, chunk.into_iter().flatten().collect()).await?;
        }
    }

    /// Whether the transaction runs on Postgres; only migrations may ask.
    pub(crate) fn is_postgres(&mut self) -> bool {
        match &mut self.0.0 {
            Source::Transaction(connection) => matches!(connection.get_mut(), Connection::Postgres(_)),
            Source::Committed(_) => false,
        }
    }
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
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(open)?;
    migrate::run(begin_sqlite(&writer).await?).await?;
    let readers = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options.read_only(true)).await;
    Ok(Db::Sqlite { writer, readers: readers.map_err(open)? })
}

async fn begin_sqlite(writer: &SqlitePool) -> Result<Tx> {
    let begun = writer.begin_with("BEGIN IMMEDIATE").await;
    let connection = begun.map_err(|source| Error::from_sqlx("BEGIN IMMEDIATE", source))?;
    Ok(Tx(Reads(Source::Transaction(Mutex::new(Connection::Sqlite(connection))))))
}

async fn begin_postgres(pool: &PgPool, begin: &'static str) -> Result<Tx> {
    let begun = pool.begin_with(begin).await;
    let connection = begun.map_err(|source| Error::from_sqlx(begin, source))?;
    Ok(Tx(Reads(Source::Transaction(Mutex::new(Connection::Postgres(connection))))))
}

async fn sqlite_rows<'c>(
    on: impl sqlx::Executor<'c, Database = Sqlite>,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<Row>> {
    let query = sqlx::query::<Sqlite>(AssertSqlSafe(render(sql, false)));
    let rows = bind_all!(query, values).fetch_all(on).await.map_err(|source| Error::from_sqlx(sql, source))?;
    Ok(rows.into_iter().map(Row::Sqlite).collect())
}

async fn postgres_rows<'c>(
    on: impl sqlx::Executor<'c, Database = Postgres>,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<Row>> {
    let query = sqlx::query::<Postgres>(AssertSqlSafe(render(sql, true)));
    let rows = bind_all!(query, values).fetch_all(on).await.map_err(|source| Error::from_sqlx(sql, source))?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}
