//! Transactions: all or nothing, and races.

use openledger_store::{BlobsConfig, Error, Store};
use tokio::runtime::Runtime;

use crate::engines::{for_each_engine, for_each_url};

#[test]
fn a_dropped_transaction_leaves_nothing() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        tx.put_kv("clock", b"1").await.unwrap();
        assert_eq!(tx.kv("clock").await.unwrap().as_deref(), Some(&b"1"[..]));
        drop(tx);
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.kv("clock").await.unwrap(), None);
        tx.put_kv("clock", b"2").await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(store.kv("clock").await.unwrap(), None);
    });
}

#[test]
fn the_store_sees_only_what_is_committed() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        tx.put_kv("clock", b"1").await.unwrap();
        assert_eq!(store.kv("clock").await.unwrap(), None);
        tx.commit().await.unwrap();
        assert_eq!(store.kv("clock").await.unwrap().as_deref(), Some(&b"1"[..]));
    });
}

#[test]
fn concurrent_transactions_never_get_one_number_twice() {
    for_each_engine(|store| async move {
        let each = (0..8).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut got = Vec::new();
                for _ in 0..5 {
                    let next = store.transact(|tx| Box::pin(async move { tx.next_sequence("n").await })).await;
                    got.push(next.unwrap_or_else(|error: Error| panic!("{error}")));
                }
                got
            })
        });
        let mut all = Vec::new();
        for task in each.collect::<Vec<_>>() {
            all.extend(task.await.unwrap());
        }
        all.sort_unstable();
        assert_eq!(all, (1..=40).collect::<Vec<u64>>());
    });
}

#[test]
fn a_reopened_database_keeps_its_rows_and_is_not_migrated_again() {
    for_each_url(|url| async move {
        let store = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.put_kv("clock", b"1").await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
        let store = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        assert_eq!(store.kv("clock").await.unwrap().as_deref(), Some(&b"1"[..]));
        store.close().await;
    });
}

#[test]
fn a_database_of_a_newer_release_is_refused() {
    for_each_url(|url| async move {
        Store::open(&url, BlobsConfig::new("memory:")).await.unwrap().close().await;
        let insert = "INSERT INTO schema_version (version) VALUES (999)";
        if url.starts_with("sqlite") {
            let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
            sqlx::query(insert).execute(&pool).await.unwrap();
            pool.close().await;
        } else {
            let pool = sqlx::PgPool::connect(&url).await.unwrap();
            sqlx::query(insert).execute(&pool).await.unwrap();
            pool.close().await;
        }
        let opened = Store::open(&url, BlobsConfig::new("memory:")).await;
        assert!(matches!(opened.err(), Some(Error::SchemaTooNew { found: 999, .. })));
    });
}

#[test]
fn an_address_of_another_kind_is_refused_without_its_password() {
    Runtime::new().unwrap().block_on(async {
        let opened = Store::open("mysql://root:secret@host/db", BlobsConfig::new("memory:")).await;
        let said = opened.err().unwrap().to_string();
        assert!(said.contains("mysql") && !said.contains("secret"), "{said}");
    });
}

#[test]
fn a_number_beyond_63_bits_is_refused_by_name() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        let job = openledger_store::jobs::NewJob {
            kind: "k".into(),
            payload: serde_json::Value::Null,
            not_before: u64::MAX,
            max_attempts: 1,
        };
        assert!(matches!(tx.enqueue(&job).await, Err(Error::TooLarge { value: u64::MAX })));
    });
}
