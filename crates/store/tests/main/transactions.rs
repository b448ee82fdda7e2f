//! Transactions: all or nothing, races, schemas.

use std::time::Duration;

use openledger_store::ids::Address;
use openledger_store::jobs::{JobState, NewJob};
use openledger_store::{BlobsConfig, Error, Store, transact};
use tokio::runtime::Runtime;

use crate::engines::{execute, for_each_engine, for_each_url};

const ONE: Address = Address::repeat_byte(1);

#[test]
fn a_dropped_transaction_leaves_nothing() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        tx.put_handle("river-gauge", ONE).await.unwrap();
        assert_eq!(tx.handle("river-gauge").await.unwrap(), Some(ONE));
        drop(tx);
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.handle("river-gauge").await.unwrap(), None);
        tx.put_handle("river-gauge", ONE).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(store.handle("river-gauge").await.unwrap(), None);
    });
}

#[test]
fn the_store_sees_only_what_is_committed() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        tx.put_handle("river-gauge", ONE).await.unwrap();
        assert_eq!(store.handle("river-gauge").await.unwrap(), None);
        tx.commit().await.unwrap();
        assert_eq!(store.handle("river-gauge").await.unwrap(), Some(ONE));
    });
}

#[test]
fn a_body_that_fails_leaves_nothing_and_one_that_succeeds_is_committed() {
    for_each_engine(|store| async move {
        let name = &String::from("river-gauge");
        let failed: Result<(), Error> = transact!(store, |tx| {
            tx.put_handle(name, ONE).await?;
            Err(Error::NoReceipts { epoch: 1 })
        });
        assert!(matches!(failed, Err(Error::NoReceipts { epoch: 1 })));
        assert_eq!(store.handle(name).await.unwrap(), None);
        let done: Result<u32, Error> = transact!(store, |tx| {
            tx.put_handle(name, ONE).await?;
            Ok(7)
        });
        assert_eq!((done.unwrap(), store.handle(name).await.unwrap()), (7, Some(ONE)));
    });
}

#[test]
fn a_statement_that_failed_takes_its_whole_transaction_back_on_both_engines() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        tx.put_handle("one", ONE).await.unwrap();
        assert!(matches!(tx.put_handle("one", ONE).await, Err(Error::Exists { .. })));
        assert!(matches!(tx.put_handle("two", ONE).await, Err(Error::Broken)));
        assert!(matches!(tx.commit().await, Err(Error::Broken)));
        assert_eq!(store.handles_page(None, 9).await.unwrap(), []);
        store.ready().await.unwrap();
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
                    let job = &NewJob {
                        kind: "k".into(),
                        key: None,
                        order: String::new(),
                        not_before: 0,
                        max_attempts: 1,
                        created: 0,
                    };
                    let made = transact!(store, |tx| tx.enqueue(job).await);
                    got.push(made.unwrap_or_else(|error: Error| panic!("{error}")).0);
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
fn a_connection_that_was_cut_is_replaced() {
    for_each_url(|url| async move {
        let store = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        if url.starts_with("postgres") {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            let mut tx = store.begin().await.unwrap();
            tx.put_handle("lost", ONE).await.unwrap();
            execute(&url, cut).await;
            assert!(tx.commit().await.is_err());
        }
        store.ready().await.unwrap();
        assert_eq!(store.handle("lost").await.unwrap(), None);
        store.close().await;
    });
}

#[test]
fn a_begin_that_is_dropped_at_whatever_moment_leaves_no_connection_in_a_transaction() {
    for_each_url(|url| async move {
        let store = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        let other = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        let job = &NewJob {
            kind: "k".into(),
            key: None,
            order: String::new(),
            not_before: 0,
            max_attempts: 1000,
            created: 0,
        };
        let made: Result<(u64, bool), Error> = transact!(store, |tx| tx.enqueue(job).await);
        let id = made.unwrap().0;
        let fence = store.claim("one", &[], 10, 100).await.unwrap().unwrap().fence;
        let mut lease_until = 1_000;
        for polls in 1..40 {
            let mut beginning = Box::pin(store.begin());
            for _ in 0..polls {
                if futures::poll!(beginning.as_mut()).is_ready() {
                    break;
                }
                // Meanwhile the answer to what was sent arrives; only the next poll reads it.
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            drop(beginning);
            // Each runs as one statement on a connection of the pool: within a transaction that was
            // left open, the other store would not see the change.
            for _ in 0..4 {
                lease_until += 1;
                store.heartbeat(id, fence, lease_until, 0).await.unwrap();
                let seen = other.job(id).await.unwrap().unwrap();
                assert_eq!((seen.state, seen.lease_until), (JobState::Running, lease_until), "after {polls} polls");
            }
        }
        store.close().await;
        other.close().await;
    });
}

#[test]
fn a_reopened_database_keeps_its_rows_and_is_not_migrated_again() {
    for_each_url(|url| async move {
        let store = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.put_handle("river-gauge", ONE).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
        let store = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        assert_eq!(store.handle("river-gauge").await.unwrap(), Some(ONE));
        store.close().await;
    });
}

#[test]
fn a_database_of_another_release_is_refused_by_name() {
    for_each_url(|url| async move {
        Store::open(&url, BlobsConfig::new("memory:")).await.unwrap().close().await;
        execute(&url, "INSERT INTO schema_version (version) VALUES (999)").await;
        let opened = Store::open(&url, BlobsConfig::new("memory:")).await;
        assert!(matches!(opened.err(), Some(Error::SchemaTooNew { found: 999, .. })));
        execute(&url, "DELETE FROM schema_version").await;
        execute(&url, "INSERT INTO schema_version (version) VALUES (4)").await;
        let opened = Store::open(&url, BlobsConfig::new("memory:")).await;
        assert!(matches!(opened.err(), Some(Error::SchemaTooOld { found: 4, oldest: 5 })));
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
        let job = NewJob {
            kind: "k".into(),
            key: None,
            order: String::new(),
            not_before: u64::MAX,
            max_attempts: 1,
            created: 0,
        };
        assert!(matches!(tx.enqueue(&job).await, Err(Error::TooLarge { value: u64::MAX })));
    });
}
