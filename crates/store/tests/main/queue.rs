//! Jobs, leases and requests: each thing done once.

use std::collections::BTreeSet;

use openledger_store::ids::B256;
use openledger_store::job_events::{JobEventKind, Level};
use openledger_store::jobs::{Beat, Job, JobState, NewJob};
use openledger_store::requests::{Begun, KeyHold, RequestKey, Response};
use openledger_store::{Error, Store, transact, transact_locked};

use crate::engines::for_each_engine;

fn job(order: &str, max_attempts: u32) -> NewJob {
    NewJob { kind: "train".into(), key: None, order: order.into(), not_before: 10, max_attempts, created: 5 }
}

async fn enqueue(store: &Store, count: u64, max_attempts: u32) {
    let mut tx = store.begin().await.unwrap();
    for n in 0..count {
        assert_eq!(tx.enqueue(&job(&n.to_string(), max_attempts)).await.unwrap(), (n + 1, true));
    }
    tx.commit().await.unwrap();
}

async fn claim(store: &Store, now: u64) -> Option<Job> {
    store.claim("w", &[], now, 100).await.unwrap()
}

/// Runs one step of a job in a transaction of its own.
macro_rules! step {
    ($store:expr, |$tx:ident| $body:expr) => {{
        let mut $tx = $store.begin().await.unwrap();
        let done = $body.await;
        $tx.commit().await.unwrap();
        done
    }};
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
        while let Some(job) = claim(&store, 10).await {
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
        assert_eq!((job.order.as_str(), job.state, job.lease_until), ("0", JobState::Running, 15));
        assert_eq!((job.worker.as_deref(), job.created, job.updated), (Some("w"), 5, 10));
    });
}

#[test]
fn an_expired_lease_is_handed_on_with_a_higher_fence_and_the_old_one_is_refused() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 3).await;
        let first = store.claim("slow", &[], 10, 100).await.unwrap().unwrap();
        assert_eq!(store.heartbeat(first.id, first.fence, 50, 100).await.unwrap(), Beat::Go);
        assert_eq!(store.claim("quick", &[], 149, 100).await.unwrap(), None);
        let second = store.claim("quick", &[], 150, 100).await.unwrap().unwrap();
        assert!(second.id == first.id && second.fence > first.fence);

        let stale = |outcome| match outcome {
            Err(Error::StaleFence { given, current, .. }) => (given, current) == (first.fence, second.fence),
            _ => false,
        };
        assert!(stale(store.heartbeat(first.id, first.fence, 151, 100).await.map(drop)));
        let mut tx = store.begin().await.unwrap();
        let (id, fence) = (first.id, first.fence);
        assert!(stale(tx.complete(id, fence, "late", 151).await));
        assert!(stale(tx.fail(id, fence, "late", 151).await.map(drop)));
        assert!(stale(tx.give_up(id, fence, "late", 151).await));
        assert!(stale(tx.cancelled(id, fence, 151).await));
        assert!(stale(tx.report(id, fence, "late", 151).await));
        assert!(stale(tx.job_log(id, fence, Level::Info, "late", 151).await.map(drop)));
        tx.complete(second.id, second.fence, "in time", 152).await.unwrap();
        tx.commit().await.unwrap();
        let done = store.job(first.id).await.unwrap().unwrap();
        assert_eq!((done.state, done.outcome.as_deref()), (JobState::Done, Some("in time")));
    });
}

#[test]
fn a_job_completed_in_a_transaction_that_is_taken_back_is_not_done() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 3).await;
        let job = claim(&store, 10).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.complete(job.id, job.fence, "1", 11).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(store.job(job.id).await.unwrap().unwrap().state, JobState::Running);
    });
}

#[test]
fn a_failed_job_waits_and_is_given_up_after_its_last_attempt() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 2).await;
        for (now, state) in [(10, JobState::Queued), (1_010, JobState::Failed)] {
            assert_eq!(claim(&store, now - 1).await, None);
            let job = claim(&store, now).await.unwrap();
            assert_eq!(step!(store, |tx| tx.fail(job.id, job.fence, "no disk", now)).unwrap(), state);
        }
        assert_eq!(claim(&store, 1_000_000).await, None);
        let failed = store.jobs(Some(JobState::Failed), None, 9).await.unwrap();
        assert_eq!((failed[0].cause.as_deref(), failed[0].outcome.as_deref()), (Some("no disk"), None));
    });
}

#[test]
fn a_job_that_would_fail_again_is_stored_as_failed_and_a_person_can_retry_it() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 1_000).await;
        let job = claim(&store, 10).await.unwrap();
        step!(store, |tx| tx.give_up(job.id, job.fence, "no grant", 20)).unwrap();
        let failed = store.job(1).await.unwrap().unwrap();
        assert_eq!((failed.state, failed.cause.as_deref()), (JobState::Failed, Some("no grant")));
        assert_eq!(claim(&store, 30).await, None);
        step!(store, |tx| tx.retry(1, 40)).unwrap();
        let again = claim(&store, 40).await.unwrap();
        assert_eq!((again.attempts, again.cause), (1, None));
        step!(store, |tx| tx.complete(1, again.fence, "done", 50)).unwrap();
        assert!(matches!(step!(store, |tx| tx.retry(1, 60)), Err(Error::State { .. })));
    });
}

#[test]
fn a_job_that_kills_its_workers_is_given_up() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 1).await;
        store.claim("w", &[], 10, 5).await.unwrap().unwrap();
        assert_eq!(store.claim("w", &[], 15, 5).await.unwrap(), None);
        let job = store.job(1).await.unwrap().unwrap();
        assert_eq!((job.state, job.cause.is_some()), (JobState::Failed, true));
    });
}

#[test]
fn a_worker_that_starts_anew_gives_its_jobs_back_at_once_and_no_others() {
    for_each_engine(|store| async move {
        enqueue(&store, 2, 3).await;
        store.claim("one", &[], 10, 1_000_000).await.unwrap().unwrap();
        store.claim("other", &[], 10, 1_000_000).await.unwrap().unwrap();
        assert_eq!(store.free_jobs_of("one").await.unwrap(), 1);
        assert_eq!(store.claim("one", &[], 11, 100).await.unwrap().unwrap().id, 1);
        assert_eq!(store.claim("one", &[], 11, 100).await.unwrap(), None);
    });
}

#[test]
fn the_history_names_every_state_with_its_reason_and_a_request_to_cancel_as_a_line() {
    for_each_engine(|store| async move {
        enqueue(&store, 1, 2).await;
        let (id, first) = (1, claim(&store, 10).await.unwrap());
        step!(store, |tx| tx.fail(id, first.fence, "no disk", 11)).unwrap();
        let second = claim(&store, 2_000).await.unwrap();
        step!(store, |tx| tx.give_up(id, second.fence, "no grant", 2_001)).unwrap();
        step!(store, |tx| tx.retry(id, 2_002)).unwrap();
        let third = claim(&store, 2_003).await.unwrap();
        step!(store, |tx| tx.request_cancel(id, 2_004)).unwrap();
        step!(store, |tx| tx.cancelled(id, third.fence, 2_005)).unwrap();
        let events = store.job_events(id, 0, 99).await.unwrap();
        let of = |kind: JobEventKind| {
            events.iter().filter(move |e| e.kind == kind).map(|e| e.body.as_str()).collect::<Vec<_>>()
        };
        let states = [
            "queued",
            "running",
            "queued\nno disk",
            "running",
            "failed\nno grant",
            "queued\nit was queued again",
            "running",
            "cancelled",
        ];
        assert_eq!(of(JobEventKind::State), states);
        assert_eq!(of(JobEventKind::Log), ["no disk", "no grant", "cancellation was requested"]);
    });
}

#[test]
fn a_waiting_job_is_cancelled_at_once_and_a_running_one_by_its_worker() {
    for_each_engine(|store| async move {
        enqueue(&store, 3, 3).await;
        let running = claim(&store, 10).await.unwrap();
        assert_eq!(step!(store, |tx| tx.request_cancel(2, 11)).unwrap(), JobState::Cancelled);
        assert_eq!(step!(store, |tx| tx.request_cancel(1, 11)).unwrap(), JobState::Running);
        assert_eq!(store.heartbeat(1, running.fence, 12, 100).await.unwrap(), Beat::Cancel);
        step!(store, |tx| tx.cancelled(1, running.fence, 13)).unwrap();
        assert_eq!(store.job(1).await.unwrap().unwrap().state, JobState::Cancelled);
        assert!(matches!(step!(store, |tx| tx.request_cancel(1, 14)), Err(Error::State { .. })));
        assert!(matches!(step!(store, |tx| tx.request_cancel(9, 14)), Err(Error::Missing { .. })));

        // A worker that died before it learned of it: the job is not begun again.
        let third = claim(&store, 20).await.unwrap();
        assert_eq!(third.id, 3);
        step!(store, |tx| tx.request_cancel(3, 21)).unwrap();
        assert_eq!(claim(&store, 1_000).await, None);
        assert_eq!(store.job(3).await.unwrap().unwrap().state, JobState::Cancelled);
        step!(store, |tx| tx.retry(3, 1_001)).unwrap();
        assert_eq!(claim(&store, 1_001).await.map(|job| (job.id, job.cancel)), Some((3, false)));
    });
}

#[test]
fn one_order_is_one_job_until_it_failed() {
    for_each_engine(|store| async move {
        let keyed = &NewJob { key: Some("adapter of tides".into()), ..job("o", 1) };
        let order = || async { transact!(store, |tx| tx.enqueue(keyed).await) };
        let unwrapped = |made: Result<(u64, bool), Error>| made.unwrap_or_else(|error| panic!("{error}"));
        let (one, other) = tokio::join!(order(), order());
        let ids = [unwrapped(one), unwrapped(other)];
        assert!(ids[0].0 == ids[1].0 && ids[0].1 != ids[1].1, "{ids:?}");
        let held = claim(&store, 10).await.unwrap();
        step!(store, |tx| tx.give_up(held.id, held.fence, "no grant", 11)).unwrap();
        let (anew, new) = unwrapped(order().await);
        assert!(new && anew > held.id);
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.retry(held.id, 12).await, Err(Error::Exists { .. })), "the new one has its place");
    });
}

#[test]
fn a_job_has_a_history_that_is_read_by_number() {
    for_each_engine(|store| async move {
        enqueue(&store, 2, 2).await;
        let held = claim(&store, 10).await.unwrap();
        let (id, fence) = (held.id, held.fence);
        step!(store, |tx| tx.report(id, fence, "{\"step\":1}", 11)).unwrap();
        assert_eq!(step!(store, |tx| tx.job_log(id, fence, Level::Warn, "slow disk", 12)).unwrap(), 4);
        step!(store, |tx| tx.complete(id, fence, "adapter", 13)).unwrap();
        let told: Vec<_> = store.job_events(id, 0, 99).await.unwrap();
        let told: Vec<_> = told.iter().map(|e| (e.seq, e.at, e.kind, e.level, e.body.as_str())).collect();
        let (state, info) = (JobEventKind::State, Level::Info);
        let expected = [
            (1, 5, state, info, "queued"),
            (2, 10, state, info, "running"),
            (3, 11, JobEventKind::Progress, info, "{\"step\":1}"),
            (4, 12, JobEventKind::Log, Level::Warn, "slow disk"),
            (5, 13, state, info, "done"),
        ];
        assert_eq!(told, expected);
        assert_eq!(store.job_events(id, 2, 1).await.unwrap()[0].seq, 3);
        assert_eq!(store.job_events(2, 0, 9).await.unwrap().len(), 1);
        assert_eq!(store.job(id).await.unwrap().unwrap().progress.as_deref(), Some("{\"step\":1}"));
    });
}

#[test]
fn jobs_come_by_page_newest_first() {
    for_each_engine(|store| async move {
        enqueue(&store, 5, 1).await;
        let ids = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
        assert_eq!(ids(store.jobs(None, None, 2).await.unwrap()), [5, 4]);
        assert_eq!(ids(store.jobs(None, Some(4), 9).await.unwrap()), [3, 2, 1]);
        claim(&store, 10).await.unwrap();
        assert_eq!(ids(store.jobs(Some(JobState::Queued), None, 9).await.unwrap()), [5, 4, 3, 2]);
        assert_eq!(ids(store.jobs(Some(JobState::Running), None, 9).await.unwrap()), [1]);
        assert_eq!(ids(store.jobs(Some(JobState::Done), None, 9).await.unwrap()), [] as [u64; 0]);
    });
}

#[test]
fn a_lease_has_one_holder_and_a_lost_one_stops_its_writes() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        let first = tx.acquire_lease("settlement", "one", 0, 100).await.unwrap();
        let refused = tx.acquire_lease("settlement", "other", 99, 200).await;
        assert!(matches!(refused, Err(Error::Leased { holder, until: 100, .. }) if holder == "one"));
        tx.extend_lease(&first, 150).await.unwrap();
        assert!(matches!(tx.acquire_lease("settlement", "other", 149, 300).await, Err(Error::Leased { .. })));
        let second = tx.acquire_lease("settlement", "other", 150, 300).await.unwrap();
        assert!(second.fence > first.fence);
        for lost in [tx.check_lease(&first).await, tx.extend_lease(&first, 400).await] {
            assert!(matches!(lost, Err(Error::StaleLease { .. })));
        }
        tx.release_lease(&first).await.unwrap();
        tx.check_lease(&second).await.unwrap();
        tx.release_lease(&second).await.unwrap();
        assert!(matches!(tx.check_lease(&second).await, Err(Error::StaleLease { .. })));
        let third = tx.acquire_lease("settlement", "one", 151, 300).await.unwrap();
        // After a restart a holder does not wait for its own lease.
        let fourth = tx.acquire_lease("settlement", "one", 152, 300).await.unwrap();
        assert!(fourth.fence > third.fence && third.fence > second.fence);
        assert!(matches!(tx.check_lease(&third).await, Err(Error::StaleLease { .. })));
        tx.commit().await.unwrap();
    });
}

#[test]
fn of_eight_instances_that_want_a_lease_one_gets_it() {
    for_each_engine(|store| async move {
        let each = (0..8).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let holder = &format!("node {n}");
                transact_locked!(store, |tx| tx.acquire_lease("sync", holder, 0, 10).await)
            })
        });
        let mut won = 0;
        for task in each.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert!(matches!(error, Error::Leased { .. }), "{error}"),
            }
        }
        assert_eq!(won, 1);
    });
}

fn key() -> RequestKey {
    RequestKey { principal: "account:0x01".into(), key: "k1".into() }
}

async fn begin(store: &Store, request: u8, now: u64, until: u64) -> Begun {
    let (key, request) = (&key(), B256::repeat_byte(request));
    let begun = transact_locked!(store, |tx| tx.begin_request(key, request, "n", now, until).await);
    begun.unwrap_or_else(|error: Error| panic!("{error}"))
}

fn hold(begun: Begun) -> KeyHold {
    match begun {
        Begun::Fresh(hold) => hold,
        other => panic!("{other:?}"),
    }
}

fn answer() -> Response {
    let headers = vec![("content-type".into(), "application/json".into()), ("x-id".into(), "\"7\"".into())];
    Response { status: 201, headers, body: vec![0, 255, b'{'] }
}

#[test]
fn a_request_with_a_key_takes_effect_once_and_its_answer_is_given_again() {
    for_each_engine(|store| async move {
        let first = hold(begin(&store, 1, 0, 100).await);
        assert_eq!(begin(&store, 1, 50, 150).await, Begun::InProgress { until: 100 });
        assert_eq!(begin(&store, 2, 50, 150).await, Begun::Mismatch);
        step!(store, |tx| tx.finish_request(&first, &answer(), 1_000)).unwrap();
        assert_eq!(begin(&store, 1, 200, 300).await, Begun::Done(answer()));
        assert_eq!(begin(&store, 2, 200, 300).await, Begun::Mismatch);
        assert_eq!(step!(store, |tx| tx.prune_requests(999)).unwrap(), 0);
        assert_eq!(step!(store, |tx| tx.prune_requests(1_000)).unwrap(), 1);
        let again = hold(begin(&store, 2, 1_001, 1_100).await);
        step!(store, |tx| tx.abandon_request(&again)).unwrap();
        hold(begin(&store, 3, 1_002, 1_100).await);
    });
}

#[test]
fn an_expired_answer_is_forgotten_also_before_it_is_pruned() {
    for_each_engine(|store| async move {
        let first = hold(begin(&store, 1, 0, 100).await);
        step!(store, |tx| tx.finish_request(&first, &answer(), 1_000)).unwrap();
        let second = hold(begin(&store, 2, 1_000, 1_100).await);
        assert_ne!(first, second);
        assert_eq!(begin(&store, 2, 1_001, 1_100).await, Begun::InProgress { until: 1_100 });
    });
}

#[test]
fn a_request_that_lost_its_key_cannot_finish() {
    for_each_engine(|store| async move {
        let first = hold(begin(&store, 1, 0, 100).await);
        step!(store, |tx| tx.extend_request(&first, 150)).unwrap();
        assert_eq!(begin(&store, 1, 149, 300).await, Begun::InProgress { until: 150 });
        let second = hold(begin(&store, 1, 150, 300).await);
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.finish_request(&first, &answer(), 9).await, Err(Error::KeyLost { .. })));
        assert!(matches!(tx.extend_request(&first, 400).await, Err(Error::KeyLost { .. })));
        tx.abandon_request(&first).await.unwrap();
        tx.finish_request(&second, &answer(), 1_000).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(begin(&store, 1, 200, 300).await, Begun::Done(answer()));
    });
}

#[test]
fn of_many_equal_requests_at_once_one_is_fresh() {
    for_each_engine(|store| async move {
        let each = (0..20).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { begin(&store, 1, 0, 100).await })
        });
        let mut fresh = 0;
        for task in each.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Begun::Fresh(_) => fresh += 1,
                other => assert_eq!(other, Begun::InProgress { until: 100 }),
            }
        }
        assert_eq!(fresh, 1);
        assert_eq!(step!(store, |tx| tx.abandon_requests_of("n")).unwrap(), 1);
        hold(begin(&store, 2, 1, 100).await);
    });
}
