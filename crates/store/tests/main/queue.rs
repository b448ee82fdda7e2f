//! Jobs and idempotency: each thing done once.

use std::collections::BTreeSet;

use openledger_store::idempotency::{Begun, RequestKey, Response};
use openledger_store::ids::B256;
use openledger_store::jobs::{JobState, NewJob};
use openledger_store::{Error, Store};
use serde_json::json;

use crate::engines::for_each_engine;

async fn enqueue(store: &Store, count: u64, max_attempts: u32) {
    let mut tx = store.begin().await.unwrap();
    for n in 0..count {
        let job = NewJob { kind: "train".into(), payload: json!({ "n": n }), not_before: 10, max_attempts };
        assert_eq!(tx.enqueue(&job).await.unwrap(), n + 1);
    }
    tx.commit().await.unwrap();
}

#[test]
fn eight_workers_never_get_one_job_twice() {
    for_each_engine(|store| async move {
        enqueue(&store, 60, 3).await;
        let workers = (0..8).map(|worker| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut got = Vec::new();
                while let Some(job) = store.claim(&format!("w{worker}"), &["train"], 10, 1_000).await.unwrap() {
                    got.push(job.id);
                }
                got
            })
        });
        let mut all = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            all.extend(worker.await.unwrap());
        }
        // A worker may find every free row locked and leave early; what it left is still there.
        while let Some(job) = store.claim("last", &[], 10, 1_000).await.unwrap() {
            all.push(job.id);
        }
        assert_eq!(all.len(), 60);
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), (1..=60).collect());
    });
}

#[test]
fn a_job_is_handed_out_only_when_due_and_of_a_kind_asked_for() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 1).await;
        assert_eq!(store.claim("w", &["train"], 9, 5).await.unwrap(), None);
        assert_eq!(store.claim("w", &["serve", "close"], 10, 5).await.unwrap(), None);
        let job = store.claim("w", &["serve", "train"], 10, 5).await.unwrap().unwrap();
        assert_eq!((job.payload, job.state, job.lease_until), (json!({ "n": 0 }), JobState::Running, 15));
    });
}

#[test]
fn an_expired_lease_is_handed_on_with_a_higher_fence_and_the_old_one_is_refused() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 3).await;
        let first = store.claim("slow", &[], 10, 100).await.unwrap().unwrap();
        store.heartbeat(first.id, first.fence, 50, 100).await.unwrap();
        assert_eq!(store.claim("quick", &[], 149, 100).await.unwrap(), None);
        let second = store.claim("quick", &[], 150, 100).await.unwrap().unwrap();
        assert!(second.id == first.id && second.fence > first.fence);

        let stale = |outcome| match outcome {
            Err(Error::StaleFence { given, current, .. }) => (given, current) == (first.fence, second.fence),
            _ => false,
        };
        assert!(stale(store.heartbeat(first.id, first.fence, 151, 100).await));
        let mut tx = store.begin().await.unwrap();
        assert!(stale(tx.complete(first.id, first.fence, &json!("late")).await));
        assert!(stale(tx.fail(first.id, first.fence, "late", 151).await.map(drop)));
        tx.complete(second.id, second.fence, &json!("in time")).await.unwrap();
        tx.commit().await.unwrap();
        let done = store.job(first.id).await.unwrap().unwrap();
        assert_eq!((done.state, done.result), (JobState::Done, Some(json!("in time"))));
    });
}

#[test]
fn a_job_completed_in_a_transaction_that_is_taken_back_is_not_done() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 3).await;
        let job = store.claim("w", &[], 10, 100).await.unwrap().unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.complete(job.id, job.fence, &json!(1)).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(store.job(job.id).await.unwrap().unwrap().state, JobState::Running);
    });
}

#[test]
fn a_failed_job_waits_and_is_given_up_after_its_last_attempt() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 2).await;
        for (now, state) in [(10, JobState::Queued), (1_010, JobState::Failed)] {
            assert_eq!(store.claim("w", &[], now - 1, 100).await.unwrap(), None);
            let job = store.claim("w", &[], now, 100).await.unwrap().unwrap();
            let mut tx = store.begin().await.unwrap();
            assert_eq!(tx.fail(job.id, job.fence, "no disk", now).await.unwrap(), state);
            tx.commit().await.unwrap();
        }
        assert_eq!(store.claim("w", &[], 1_000_000, 100).await.unwrap(), None);
        assert_eq!(store.jobs(JobState::Failed, 9).await.unwrap()[0].result, Some(json!("no disk")));
    });
}

#[test]
fn a_job_that_kills_its_workers_is_given_up() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 1).await;
        store.claim("w", &[], 10, 5).await.unwrap().unwrap();
        assert_eq!(store.claim("w", &[], 15, 5).await.unwrap(), None);
        assert_eq!(store.job(1).await.unwrap().unwrap().state, JobState::Failed);
    });
}

fn request(body: u8, held_until: u64) -> RequestKey {
    RequestKey { scope: "acct POST /pay".into(), key: "k1".into(), body: B256::repeat_byte(body), held_until }
}

#[test]
fn a_request_with_a_key_takes_effect_once_and_its_answer_is_given_again() {
    for_each_engine(|store| async move {
        let answer = Response { status: 201, body: b"{}".to_vec() };
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.idempotency_begin(&request(1, 100), 0).await.unwrap(), Begun::Fresh);
        assert!(matches!(tx.idempotency_begin(&request(1, 150), 50).await, Err(Error::KeyInFlight { .. })));
        assert!(matches!(tx.idempotency_begin(&request(2, 150), 50).await, Err(Error::KeyReused { .. })));
        tx.idempotency_end(&request(1, 100), &answer).await.unwrap();
        assert_eq!(tx.idempotency_begin(&request(1, 150), 50).await.unwrap(), Begun::Replay(answer));
        assert_eq!(tx.idempotency_prune(100).await.unwrap(), 0);
        assert_eq!(tx.idempotency_prune(101).await.unwrap(), 1);
        assert_eq!(tx.idempotency_begin(&request(2, 300), 200).await.unwrap(), Begun::Fresh);
        tx.idempotency_forget(&request(2, 300)).await.unwrap();
        assert_eq!(tx.idempotency_begin(&request(3, 300), 200).await.unwrap(), Begun::Fresh);
    });
}

#[test]
fn a_request_that_lost_its_key_cannot_end() {
    for_each_engine(|store| async move {
        let answer = Response { status: 200, body: vec![] };
        let mut tx = store.begin().await.unwrap();
        tx.idempotency_begin(&request(1, 100), 0).await.unwrap();
        assert_eq!(tx.idempotency_begin(&request(1, 200), 100).await.unwrap(), Begun::Fresh);
        assert!(matches!(tx.idempotency_end(&request(1, 100), &answer).await, Err(Error::KeyInFlight { .. })));
        tx.idempotency_end(&request(1, 200), &answer).await.unwrap();
    });
}
