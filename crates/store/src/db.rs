//! The two engines behind one face: statements, reads and transactions.
//!
//! SQLite: one writer connection, so `BEGIN IMMEDIATE` queues instead of failing, and a pool of readers. Postgres: one
//! pool; a race between transactions shows as [`Error::Conflict`] and is run again by [`crate::Store`].
//!
//! **Invariants:** a transaction in which a statement failed cannot be committed; a connection whose transaction could
//! not be ended is dropped, so that the next one does not inherit it.
//!
//! Not here: opening, retries (`store`); any noun's statements, which stand in the noun's module.

use std::borrow::Cow;
use std::ops::Deref;

use sqlx::{AssertSqlSafe, PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use tokio::sync::Mutex;

use crate::error::{Error, Result};
use crate::sql::{ROWS_PER_INSERT, Row, Value, bind_all, insert_many, render};

/// Connections to one of the engines.
#[derive(Clone)]
pub(crate) enum Db {
    /// One connection that writes, and a pool of readers.
    Sqlite {
        /// The writer.
        writer: SqlitePool,
        /// The readers.
        readers: SqlitePool,
    },
    /// A pool.
    Postgres(PgPool),
}

/// What a Postgres transaction sees of others; on SQLite, which has one writer, both are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// As if it ran alone; a race is an error.
    Serializable,
    /// Each statement sees what is committed by then; rows that are locked are waited for.
    ReadCommitted,
}

/// The connection of one transaction.
enum Connection {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A transaction that runs.
struct Running {
    connection: Connection,
    isolation: Isolation,
    /// Whether a statement failed: then nothing that follows may count.
    broken: bool,
}

/// Where a statement runs.
enum Source {
    Committed(Db),
    Transaction(Mutex<Running>),
}

/// Everything that can be read; [`crate::Store`] and [`Tx`] deref to it.
///
/// Through a store it sees what is committed, through a transaction also what that transaction wrote.
pub struct Reads(Source);

/// A transaction. Dropped without [`Tx::commit`], it leaves nothing behind.
///
/// After any error but those that say "not changed" drop it: a transaction in which a statement failed takes no other,
/// and cannot be committed.
pub struct Tx(Reads);

impl Deref for Tx {
    type Target = Reads;

    fn deref(&self) -> &Reads {
        &self.0
    }
}

/// Runs a statement on the connection of a transaction; `$run` is `fetch_all` or `execute`.
macro_rules! on_connection {
    ($running:expr, $sql:expr, $values:expr, $sqlite:expr, $postgres:expr) => {{
        let running: &mut Running = $running;
        if running.broken {
            return Err(Error::Broken);
        }
        let done = match &mut running.connection {
            Connection::Sqlite(connection) => $sqlite(&mut **connection, $sql, $values).await,
            Connection::Postgres(connection) => $postgres(&mut **connection, $sql, $values).await,
        };
        running.broken = done.is_err();
        done
    }};
}

impl Reads {
    /// Reads of what is committed.
    pub(crate) fn committed(db: Db) -> Self {
        Self(Source::Committed(db))
    }

    /// The rows a statement answers with.
    pub(crate) async fn rows(&self, sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Result<Vec<Row>> {
        let sql = sql.into();
        match &self.0 {
            Source::Committed(Db::Sqlite { readers, .. }) => sqlite_rows(readers, &sql, values).await,
            Source::Committed(Db::Postgres(pool)) => postgres_rows(pool, &sql, values).await,
            Source::Transaction(running) => {
                on_connection!(&mut *running.lock().await, &sql, values, sqlite_rows, postgres_rows)
            }
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
        let row = self.row(sql, values).await?;
        row.ok_or(Error::Malformed { column: "count".into(), expected: "a number" })?.get(0)
    }
}

impl Tx {
    /// Makes everything written so far last.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when another transaction came first, [`Error::Broken`] when a statement of this one failed,
    /// [`Error::Database`] when the engine could not keep it. Nothing was written then, except when the connection
    /// was lost while the engine committed: then look whether it was.
    pub async fn commit(self) -> Result<()> {
        let Source::Transaction(running) = self.0.0 else { return Err(Error::Broken) };
        let Running { connection, broken, .. } = running.into_inner();
        if broken {
            connection.rollback().await?;
            return Err(Error::Broken);
        }
        let done = match connection {
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
        let Source::Transaction(running) = self.0.0 else { return Err(Error::Broken) };
        running.into_inner().connection.rollback().await
    }

    /// Runs a changing statement and says how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Result<u64> {
        let sql = sql.into();
        let Source::Transaction(running) = &self.0.0 else { return Err(Error::Broken) };
        on_connection!(&mut *running.lock().await, &sql, values, sqlite_execute, postgres_execute)
    }

    /// Inserts many rows into `head` (`table (column, …)`), some hundred per statement.
    pub(crate) async fn insert_all(&mut self, head: &str, rows: Vec<Vec<Value>>) -> Result<()> {
        self.insert_all_or(head, "", rows).await.map(drop)
    }

    /// As [`Tx::insert_all`], with a conflict clause after the rows; says how many rows were changed.
    pub(crate) async fn insert_all_or(&mut self, head: &str, conflict: &str, rows: Vec<Vec<Value>>) -> Result<u64> {
        let Some(columns) = rows.first().map(Vec::len) else { return Ok(0) };
        let (mut rows, mut changed) = (rows.into_iter(), 0);
        loop {
            let chunk: Vec<Vec<Value>> = rows.by_ref().take(ROWS_PER_INSERT).collect();
            if chunk.is_empty() {
                return Ok(changed);
            }
            let sql = format!("{} {conflict}", insert_many(head, columns, chunk.len()));
            changed += self.execute(sql, chunk.into_iter().flatten().collect()).await?;
        }
    }

    /// Refuses a transaction that does not see what was committed while it waited for a lock.
    pub(crate) async fn must_see_committed(&self) -> Result<()> {
        let Source::Transaction(running) = &self.0.0 else { return Err(Error::Broken) };
        match running.lock().await.isolation {
            Isolation::ReadCommitted => Ok(()),
            Isolation::Serializable => Err(Error::WrongTransaction),
        }
    }

    /// Whether the transaction runs on Postgres. For migrations only.
    pub(crate) async fn is_postgres(&self) -> bool {
        let Source::Transaction(running) = &self.0.0 else { return false };
        matches!(running.lock().await.connection, Connection::Postgres(_))
    }
}

impl Connection {
    async fn rollback(self) -> Result<()> {
        let done = match self {
            Self::Sqlite(connection) => connection.rollback().await,
            Self::Postgres(connection) => connection.rollback().await,
        };
        done.map_err(|source| Error::from_sqlx("ROLLBACK", source))
    }
}

/// Starts a transaction that writes. Dropped at whatever moment, it leaves no transaction behind.
pub(crate) async fn begin(db: &Db, isolation: Isolation) -> Result<Tx> {
    let connection = match (db, isolation) {
        (Db::Sqlite { writer, .. }, _) => {
            let begin = "BEGIN IMMEDIATE";
            let begun = writer.begin_with(begin).await;
            Connection::Sqlite(begun.map_err(|source| Error::from_sqlx(begin, source))?)
        }
        (Db::Postgres(pool), isolation) => {
            let begin = match isolation {
                Isolation::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE",
                Isolation::ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED",
            };
            // The driver counts a transaction only once `BEGIN` was answered. A caller that goes
            // away before would return a connection to the pool inside an open transaction. A task
            // of its own is not interrupted: its result is dropped, which rolls back.
            let pool = pool.clone();
            let begun = tokio::spawn(async move { pool.begin_with(begin).await }).await;
            let begun = begun.unwrap_or_else(|ended| Err(sqlx::Error::Io(std::io::Error::other(ended))));
            Connection::Postgres(begun.map_err(|source| Error::from_sqlx(begin, source))?)
        }
    };
    let running = Running { connection, isolation, broken: false };
    Ok(Tx(Reads(Source::Transaction(Mutex::new(running)))))
}

/// Whether a pool may hand this connection out: not when a transaction on it could not be ended.
pub(crate) fn is_free(connection: &impl sqlx::Connection) -> bool {
    !connection.is_in_transaction()
}

/// Runs one changing statement on its own and gives its rows; on Postgres `READ COMMITTED`.
pub(crate) async fn change(db: &Db, sql: &str, values: Vec<Value>) -> Result<Vec<Row>> {
    match db {
        Db::Sqlite { writer, .. } => sqlite_rows(writer, sql, values).await,
        Db::Postgres(pool) => postgres_rows(pool, sql, values).await,
    }
}

/// The rows that a statement gives on one engine, and the rows that it changes.
macro_rules! engine {
    ($rows:ident, $execute:ident, $database:ident, $row:path, $postgres:literal) => {
        async fn $rows<'c>(
            on: impl sqlx::Executor<'c, Database = $database>,
            sql: &str,
            values: Vec<Value>,
        ) -> Result<Vec<Row>> {
            let query = sqlx::query::<$database>(AssertSqlSafe(render(sql, $postgres)));
            let rows = bind_all!(query, values).fetch_all(on).await.map_err(|source| Error::from_sqlx(sql, source))?;
            Ok(rows.into_iter().map($row).collect())
        }

        async fn $execute<'c>(
            on: impl sqlx::Executor<'c, Database = $database>,
            sql: &str,
            values: Vec<Value>,
        ) -> Result<u64> {
            let query = sqlx::query::<$database>(AssertSqlSafe(render(sql, $postgres)));
            let done = bind_all!(query, values).execute(on).await.map_err(|source| Error::from_sqlx(sql, source))?;
            Ok(done.rows_affected())
        }
    };
}
engine!(sqlite_rows, sqlite_execute, Sqlite, Row::Sqlite, false);
engine!(postgres_rows, postgres_execute, Postgres, Row::Postgres, true);
