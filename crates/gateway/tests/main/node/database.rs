//! The databases that a node's facts are stated on.

use std::path::Path;

use openledger_store::{BlobsConfig, Store};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::support::postgres;

/// Where a node keeps its rows.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    /// In a file of its folder.
    Sqlite,
    /// In a Postgres database at this address.
    Postgres(String),
}

impl Database {
    /// A new database of the Postgres server; `None`, told aloud, where Postgres is not installed.
    pub(crate) fn postgres() -> Option<Self> {
        postgres::database().map(Self::Postgres)
    }

    /// The address as a node takes it; none for the file in its folder.
    pub(crate) fn configured(&self) -> Option<String> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(url) => Some(url.clone()),
        }
    }

    /// The database of a copy of the node's folder. No node may run on this one.
    pub(crate) fn copied(&self) -> Self {
        match self {
            Self::Sqlite => Self::Sqlite,
            Self::Postgres(url) => Self::Postgres(postgres::copy_of(url)),
        }
    }

    /// The store of the node of a folder.
    pub(crate) async fn store(&self, data: &Path) -> Store {
        let blobs = BlobsConfig::new(format!("file://{}", data.join("blobs").display()));
        Store::open(&self.configured().unwrap_or_else(|| file(data)), blobs).await.unwrap()
    }

    /// The rows of the node of a folder, to be changed behind its back.
    pub(crate) async fn rows(&self, data: &Path) -> Rows {
        match self {
            Self::Sqlite => Rows::Sqlite(SqliteConnection::connect(&file(data)).await.unwrap()),
            Self::Postgres(url) => Rows::Postgres(PgConnection::connect(url).await.unwrap()),
        }
    }
}

fn file(data: &Path) -> String {
    format!("sqlite://{}", data.join("openledger.db").display())
}

/// A connection beside the node's.
pub(crate) enum Rows {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The one row of a query on either engine. Its places are Postgres' `$1`, which SQLite takes too.
macro_rules! query {
    ($rows:expr, $query:expr) => {
        match $rows {
            Rows::Sqlite(connection) => $query.fetch_one(connection).await.unwrap(),
            Rows::Postgres(connection) => $query.fetch_one(connection).await.unwrap(),
        }
    };
}

impl Rows {
    /// The bundle of a receipt as it is kept.
    pub(crate) async fn body(&mut self, receipt: &[u8]) -> String {
        let sql = "SELECT body FROM receipt_bodies WHERE receipt = $1";
        let (body,): (String,) = query!(self, sqlx::query_as(sql).bind(receipt.to_vec()));
        body
    }

    /// Puts another bundle in its place.
    pub(crate) async fn write_body(&mut self, receipt: &[u8], body: &str) {
        let sql = "UPDATE receipt_bodies SET body = $1 WHERE receipt = $2 RETURNING receipt";
        let (written,): (Vec<u8>,) = query!(self, sqlx::query_as(sql).bind(body.to_owned()).bind(receipt.to_vec()));
        assert_eq!(written, receipt);
    }

    /// Writes another amount into a line of a receipt.
    pub(crate) async fn write_amount(&mut self, receipt: &[u8], line: i64, amount: u128) {
        let sql = "UPDATE entries SET amount = $1 WHERE receipt = $2 AND line = $3 RETURNING line";
        let amount = amount.to_be_bytes().to_vec();
        let (written,): (i64,) = query!(self, sqlx::query_as(sql).bind(amount).bind(receipt.to_vec()).bind(line));
        assert_eq!(written, line);
    }
}
