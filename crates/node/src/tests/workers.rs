//! Workers: each job done once, in order, by whichever instance holds its lease.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use openledger_api::{Job, JobEventKind, JobKind, JobProgress, JobResult, JobState, LogLevel, TrainResult};
use openledger_protocol::{AdapterHash, B256, BlobHash};
use openledger_store::Store;
use tokio::sync::Semaphore;

use super::{ManualTime, START_MS, eventually, instance, store};
use crate::error::{Blame, NodeError, Result};
use crate::jobs::worker::LEASE_MS;
use crate::jobs::{JobHandle, Jobs, Work, Worker};
use crate::owned_task::OwnedTask;

/// A kind of work that does what the test says, and notes which jobs have ended.
struct Scripted<F>(F, Done);

impl<F, R> Work for Scripted<F>
where
    F: Fn(String, JobHandle) -> R + Send + Sync + 'static,
    R: Future<Output = Result<JobResult>> + Send + 'static,
{
    fn kind(&self) -> JobKind {
        JobKind::Train
    }

    fn run<'a>(&'a self, order: &'a str, job: &'a JobHandle) -> BoxFuture<'a, Result<JobResult>> {
        Box::pin((self.0)(order.to_owned(), job.clone()))
    }

    fn ended(&self, job: u64) {
        self.1.add(&format!("job {job} ended"));
    }
}

struct World {
    time: ManualTime,
    store: Store,
    jobs: Jobs,
    ended: Done,
}

impl World {
    async fn new() -> Self {
        let (time, store) = (ManualTime::default(), store().await);
        let jobs = Jobs::new(store.clone(), time.clock());
        Self { time, store, jobs, ended: Done::default() }
    }

    /// A worker of the node instance `name`; it stops when it is dropped, as if its process ended.
    fn worker<F, R>(&self, name: &str, run: F) -> OwnedTask
    where
        F: Fn(String, JobHandle) -> R + Send + Sync + 'static,
        R: Future<Output = Result<JobResult>> + Send + 'static,
    {
        let kinds: Vec<Arc<dyn Work>> = vec![Arc::new(Scripted(run, self.ended.clone()))];
        OwnedTask::spawn(Worker::new(self.store.clone(), self.time.clock(), instance(name), kinds).work())
    }

    async fn order(&self, order: &str) -> u64 {
        self.jobs.enqueue(JobKind::Train, order.to_owned()).await.unwrap()
    }

    /// Waits until a job is in a state.
    async fn until(&self, id: u64, state: JobState) -> Job {
        eventually("the job's state", async || self.jobs.get(id).await.unwrap().state == state).await;
        self.jobs.get(id).await.unwrap()
    }

    async fn events(&self, id: u64, after: u64) -> Vec<JobEventKind> {
        self.jobs.events(id, after).await.unwrap().into_iter().map(|event| event.event).collect()
    }
}

/// What was done, in order, by all workers of a test.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<Vec<String>>>);

impl Done {
    fn add(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A result that is told apart by its number of steps.
fn result(steps: u64) -> JobResult {
    JobResult::Train(TrainResult {
        adapter: AdapterHash(B256::ZERO),
        manifest_hash: B256::ZERO,
        artifact: BlobHash(B256::ZERO),
        held_out_loss: (0, 0).into(),
        held_out_records: 0,
        records: 0,
        tokens: 0,
        steps,
        first_loss_micro: None,
        last_loss_micro: None,
        tokens_per_s: 0,
    })
}

fn state(state: JobState) -> JobEventKind {
    JobEventKind::State { state, cause: None }
}

fn because(state: JobState, cause: &str) -> JobEventKind {
    JobEventKind::State { state, cause: Some(cause.to_owned()) }
}

fn log(level: LogLevel, line: &str) -> JobEventKind {
    JobEventKind::Log { level, line: line.to_owned() }
}

fn step(step: u64) -> JobProgress {
    JobProgress { step, steps: 2, ..JobProgress::default() }
}

#[tokio::test]
async fn jobs_are_done_in_the_order_in_which_they_were_ordered() {
    let (world, done) = (World::new().await, Done::default());
    for order in ["a", "b", "c"] {
        world.order(order).await;
    }
    let seen = done.clone();
    let _worker = world.worker("one", move |order, _| {
        seen.add(&order);
        async { Ok(result(1)) }
    });
    world.until(3, JobState::Done).await;
    assert_eq!(done.all(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_job_tells_its_states_progress_and_log_lines_in_the_order_in_which_they_happened() {
    let world = World::new().await;
    let id = world.order("a").await;
    world.time.pass(7_000);
    let _worker = world.worker("one", |_, job: JobHandle| async move {
        job.progress(&step(1)).await;
        job.log("half is done").await;
        job.progress(&step(2)).await;
        Ok(result(2))
    });
    let done = world.until(id, JobState::Done).await;
    assert_eq!((done.result, done.progress, done.attempts), (Some(result(2)), Some(step(2)), 1));
    let expected = [
        state(JobState::Queued),
        state(JobState::Running),
        JobEventKind::Progress(step(1)),
        log(LogLevel::Info, "half is done"),
        JobEventKind::Progress(step(2)),
        state(JobState::Done),
    ];
    assert_eq!(world.events(id, 0).await, expected);
    assert_eq!(world.events(id, 4).await, expected[4..]);
    let numbered: Vec<_> =
        world.jobs.events(id, 0).await.unwrap().iter().map(|event| (event.seq, event.time)).collect();
    let (ordered, begun) = (START_MS / 1000, START_MS / 1000 + 7);
    assert_eq!(numbered, [(1, ordered), (2, begun), (3, begun), (4, begun), (5, begun), (6, begun)]);
}

#[tokio::test]
async fn a_job_that_was_cancelled_while_it_was_queued_is_never_begun() {
    let (world, done) = (World::new().await, Done::default());
    let cancelled = world.order("cancelled").await;
    let next = world.order("next").await;
    world.jobs.cancel(cancelled).await.unwrap();
    let seen = done.clone();
    let _worker = world.worker("one", move |order, _| {
        seen.add(&order);
        async { Ok(result(1)) }
    });
    world.until(next, JobState::Done).await;
    assert_eq!(done.all(), ["next"]);
    assert_eq!(world.jobs.get(cancelled).await.unwrap().attempts, 0);
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_runs_ends_as_cancelled_when_its_kind_looks_next() {
    let world = World::new().await;
    let id = world.order("a").await;
    let _worker = world.worker("one", |_, job: JobHandle| async move {
        while !job.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(NodeError::refused(Blame::Retry, "stopped", "the work was stopped"))
    });
    world.until(id, JobState::Running).await;
    assert_eq!(world.jobs.cancel(id).await.unwrap().state, JobState::Running);
    world.until(id, JobState::Cancelled).await;
    let expected = [
        state(JobState::Queued),
        state(JobState::Running),
        log(LogLevel::Info, "cancellation was requested"),
        state(JobState::Cancelled),
    ];
    assert_eq!(world.events(id, 0).await, expected);
}

#[tokio::test]
async fn a_job_that_would_fail_again_is_failed_with_its_cause_and_done_on_a_retry() {
    let (world, grants) = (World::new().await, Arc::new(Semaphore::new(0)));
    let id = world.order("a").await;
    let granted = Arc::clone(&grants);
    let _worker = world.worker("one", move |_, _| {
        let granted = granted.try_acquire().is_ok();
        async move {
            if granted {
                Ok(result(1))
            } else {
                Err(NodeError::refused(Blame::Permission, "no-grant", "no live grant"))
            }
        }
    });
    let failed = world.until(id, JobState::Failed).await;
    assert_eq!((failed.cause.as_deref(), failed.attempts, failed.result), (Some("no live grant"), 1, None));
    grants.add_permits(1);
    world.jobs.retry(id).await.unwrap();
    let done = world.until(id, JobState::Done).await;
    assert_eq!((done.cause, done.attempts, done.result), (None, 1, Some(result(1))));
    let expected = [
        state(JobState::Queued),
        state(JobState::Running),
        log(LogLevel::Error, "no live grant"),
        because(JobState::Failed, "no live grant"),
        because(JobState::Queued, "it was queued again"),
        state(JobState::Running),
        state(JobState::Done),
    ];
    assert_eq!(world.events(id, 0).await, expected);
}

#[tokio::test]
async fn a_fault_that_may_pass_is_tried_again_after_a_pause_and_named_meanwhile() {
    let (world, network) = (World::new().await, Arc::new(Semaphore::new(0)));
    let id = world.order("a").await;
    let reachable = Arc::clone(&network);
    let _worker = world.worker("one", move |_, _| {
        let reachable = reachable.try_acquire().is_ok();
        async move {
            if reachable { Ok(result(1)) } else { Err(NodeError::refused(Blame::Retry, "try-again", "no network")) }
        }
    });
    eventually("the first attempt failed", async || world.jobs.get(id).await.unwrap().cause.is_some()).await;
    network.add_permits(1);
    world.time.pass(999);
    world.time.is_read(3).await;
    assert_eq!(world.ended.all(), [] as [&str; 0], "what the first attempt kept is still needed");
    let waiting = world.jobs.get(id).await.unwrap();
    assert_eq!((waiting.state, waiting.attempts), (JobState::Queued, 1));
    assert_eq!(waiting.cause.as_deref(), Some("no network"));
    world.time.pass(1);
    let done = world.until(id, JobState::Done).await;
    assert_eq!((done.attempts, done.cause), (2, None));
    eventually("the kind is told of the end", async || world.ended.all() == ["job 1 ended"]).await;
    let again = [log(LogLevel::Warn, "no network"), because(JobState::Queued, "no network")];
    assert_eq!(world.events(id, 2).await[..2], again);
}

#[tokio::test]
async fn a_worker_whose_lease_ended_reports_nothing_and_cannot_hand_in_its_outcome() {
    let (world, done) = (World::new().await, Done::default());
    let id = world.order("a").await;
    let (slow, handle) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(None)));
    let (may_end, shown) = (Arc::clone(&slow), Arc::clone(&handle));
    let _slow = world.worker("slow", move |_, job: JobHandle| {
        *shown.lock().unwrap() = Some(job.clone());
        let may_end = Arc::clone(&may_end);
        async move {
            may_end.acquire().await.unwrap().forget();
            job.progress(&step(1)).await;
            job.log("too late").await;
            Ok(result(1))
        }
    });
    world.until(id, JobState::Running).await;
    let seen = done.clone();
    let quick = world.worker("quick", move |order, _| {
        seen.add(&order);
        async { Ok(result(2)) }
    });
    // The slow worker's heartbeat may come before the quick one looks, and extends its lease then.
    let taken_over = async || {
        world.time.pass(LEASE_MS);
        tokio::time::sleep(Duration::from_millis(250)).await;
        !done.all().is_empty()
    };
    eventually("the job is taken over", taken_over).await;
    world.until(id, JobState::Done).await;
    let lost = handle.lock().unwrap().clone().unwrap();
    eventually("the slow worker is told to stop", async || lost.is_cancelled()).await;

    // Of the two only the slow one is left: when it does the next job, it is through with the first.
    drop(quick);
    slow.add_permits(2);
    let next = world.order("next").await;
    world.until(next, JobState::Done).await;
    let job = world.jobs.get(id).await.unwrap();
    assert_eq!((job.state, job.result, job.progress, job.attempts), (JobState::Done, Some(result(2)), None, 2));
    let ended = world.ended.all();
    assert_eq!(ended.iter().filter(|job| *job == "job 1 ended").count(), 1, "{ended:?}");
    let expected = [state(JobState::Queued), state(JobState::Running), state(JobState::Running), state(JobState::Done)];
    assert_eq!(world.events(id, 0).await, expected);
}

#[tokio::test]
async fn another_instance_takes_a_job_of_a_worker_that_is_gone_when_its_lease_ends_and_not_before() {
    let (world, done) = (World::new().await, Done::default());
    let id = world.order("a").await;
    abandon(&world, "gone", id).await;
    let seen = done.clone();
    let _other = world.worker("other", move |order, _| {
        seen.add(&order);
        async { Ok(result(2)) }
    });
    world.time.pass(LEASE_MS - 1);
    world.time.is_read(3).await;
    assert_eq!(done.all(), [] as [&str; 0]);
    world.time.pass(1);
    let job = world.until(id, JobState::Done).await;
    assert_eq!((job.attempts, job.result), (2, Some(result(2))));
    assert_eq!(done.all(), ["a"]);
}

#[tokio::test]
async fn an_instance_that_starts_again_goes_on_with_its_own_job_at_once() {
    let world = World::new().await;
    let id = world.order("a").await;
    abandon(&world, "one", id).await;
    let _restarted = world.worker("one", |_, _| async { Ok(result(2)) });
    assert_eq!(world.until(id, JobState::Done).await.attempts, 2);
}

/// Has a worker begin a job and stop in the middle of it, as a crash does.
async fn abandon(world: &World, name: &str, id: u64) {
    let running = Arc::new(());
    let held = Arc::clone(&running);
    let worker = world.worker(name, move |_, _| {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(result(1))
        }
    });
    world.until(id, JobState::Running).await;
    eventually("the run holds what it needs", async || Arc::strong_count(&running) == 3).await;
    drop(worker);
    eventually("the run is gone", async || Arc::strong_count(&running) == 1).await;
}

#[tokio::test]
async fn four_instances_do_every_job_once() {
    let (world, done) = (World::new().await, Done::default());
    let mut ids = Vec::new();
    for n in 0..24 {
        ids.push(world.order(&format!("order {n:02}")).await);
    }
    let workers = ["one", "two", "three", "four"].map(|name| {
        let seen = done.clone();
        world.worker(name, move |order, _| {
            seen.add(&order);
            async {
                tokio::time::sleep(Duration::from_millis(3)).await;
                Ok(result(1))
            }
        })
    });
    for &id in &ids {
        assert_eq!(world.until(id, JobState::Done).await.attempts, 1);
    }
    drop(workers);
    let mut all = done.all();
    all.sort();
    assert_eq!(all, (0..24).map(|n| format!("order {n:02}")).collect::<Vec<_>>());
}
