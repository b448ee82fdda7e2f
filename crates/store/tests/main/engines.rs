//! Runs a test body on both engines: SQLite in a folder, Postgres in a cluster that this binary starts.

use openledger_store::{BlobsConfig, Store};
use tokio::runtime::Runtime;

use crate::support::postgres;

/// Runs `body` with the address of an empty database on each engine.
pub(crate) fn for_each_url<F: Future<Output = ()>>(body: impl Fn(String) -> F) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(body(format!("sqlite://{}", folder.path().join("deep/store.db").display())));
    if let Some(url) = postgres::database() {
        runtime.block_on(body(url));
    }
}

/// Runs `body` with an empty store on each engine.
pub(crate) fn for_each_engine<F: Future<Output = ()>>(body: impl Fn(Store) -> F) {
    let body = &body;
    for_each_url(|url| async move {
        let store = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        body(store.clone()).await;
        store.close().await;
    });
}

/// Runs one statement of a test on the database at `url`, beside the store.
pub(crate) async fn execute(url: &str, sql: &'static str) {
    if url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(url).await.unwrap();
        sqlx::query(sql).execute(&pool).await.unwrap();
        pool.close().await;
    } else {
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        sqlx::query(sql).execute(&pool).await.unwrap();
        pool.close().await;
    }
}
