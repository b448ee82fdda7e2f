//! Jobs: kinds of work behind one trait, done once by whichever worker takes them.
//!
//! # Place in the flow
//!
//! A service enqueues an order; a [`worker`] claims it under a lease, runs its kind, and hands in the outcome under the
//! fencing token. State, progress and log lines are in the store, so that every node shows every job.
//!
//! To add a kind: implement [`Work`], add its order, progress and outcome to `api::jobs`, and list it in `node.rs`.

pub(crate) mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use openledger_api::{
    Job, JobEvent, JobEventKind, JobKind, JobProgress, JobResult, JobState, LogLevel, Page, PageQuery,
};
use openledger_store::job_events::{self, Level};
use openledger_store::jobs::NewJob;
use openledger_store::transact_locked;
use openledger_store::{Error as StoreError, Store};

use crate::clock::Clock;
use crate::cursor;
use crate::error::{Blame, NodeError, Result};

pub(crate) use self::worker::Worker;

/// How often a job may be begun: each crash of its worker takes one.
const ATTEMPTS_MAX: u32 = 1000;
/// Most events in one answer.
const EVENTS_MAX: u32 = 1000;

/// A kind of work.
pub(crate) trait Work: Send + Sync + 'static {
    /// Which kind it is.
    fn kind(&self) -> JobKind;

    /// Works on an order to its end; begun again after a crash, it goes on from what it kept.
    ///
    /// An error whose blame is [`Blame::Retry`] has the job begun again; any other one gives it up.
    fn run<'a>(&'a self, order: &'a str, job: &'a JobHandle) -> BoxFuture<'a, Result<JobResult>>;

    /// Removes what was kept to go on from, once the job's end is in the store.
    fn ended(&self, _job: u64) {}
}

/// A running job, as its kind sees it.
#[derive(Clone)]
pub(crate) struct JobHandle {
    id: u64,
    fence: u64,
    store: Store,
    clock: Clock,
    cancelled: Arc<AtomicBool>,
}

impl JobHandle {
    /// The job.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether its end was requested, or another worker holds it now.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Reports progress; what cannot be reported now is left out.
    pub(crate) async fn progress(&self, progress: &JobProgress) {
        let Ok(text) = serde_json::to_string(progress) else { return };
        let (id, fence, now) = (self.id, self.fence, self.clock.unix_ms());
        let done = transact_locked!(self.store, |tx| tx.report(id, fence, &text, now).await);
        if let Err(error) = done {
            tracing::debug!(job = id, %error, "progress was not kept");
        }
    }

    /// Adds a line to the job's log.
    pub(crate) async fn log(&self, text: &str) {
        let (id, fence, now) = (self.id, self.fence, self.clock.unix_ms());
        let done = transact_locked!(self.store, |tx| tx.job_log(id, fence, Level::Info, text, now).await.map(drop));
        if let Err(error) = done {
            tracing::debug!(job = id, %error, "a log line was not kept");
        }
    }
}

/// The queue of jobs.
#[derive(Clone)]
pub struct Jobs {
    store: Store,
    clock: Clock,
}

impl Jobs {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Puts an order in the queue; the same order again gives the same job, unless that failed or
    /// was cancelled.
    pub(crate) async fn enqueue(&self, kind: JobKind, order: String) -> Result<u64> {
        let new = NewJob {
            kind: kind_name(kind).into(),
            key: Some(openledger_protocol::sha256(&order).to_string()),
            order,
            not_before: 0,
            max_attempts: ATTEMPTS_MAX,
            created: self.clock.unix_ms(),
        };
        let add = async || transact_locked!(self.store, |tx| tx.enqueue(&new).await);
        let added = match add().await {
            // The same order was added at the same moment: now it is found.
            Err(StoreError::Exists { .. }) => add().await,
            added => added,
        };
        Ok(added?.0)
    }

    /// A job.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub async fn get(&self, id: u64) -> Result<Job> {
        let job = self.store.job(id).await?.ok_or_else(|| NodeError::missing("job", id))?;
        view(job)
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    ///
    /// `bad-parameter` for a cursor that this list did not give.
    pub async fn list(&self, state: Option<JobState>, page: &PageQuery) -> Result<Page<Job>> {
        let (before, limit) = (cursor::number(page)?, page.limit());
        let rows = self.store.jobs(state.map(stored_state), before, limit + 1).await?;
        let jobs = rows.into_iter().map(view).collect::<Result<Vec<_>>>()?;
        Ok(Page::of(jobs, limit, |job| job.job.to_string()))
    }

    /// What happened to a job after event number `after`, at most 1,000 events.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub async fn events(&self, id: u64, after: u64) -> Result<Vec<JobEvent>> {
        self.get(id).await?;
        let rows = self.store.job_events(id, after, EVENTS_MAX).await?;
        rows.into_iter().map(event).collect()
    }

    /// Asks for a job's end; a queued job ends at once, a running one when its kind looks next.
    ///
    /// # Errors
    ///
    /// `job-ended`.
    pub async fn cancel(&self, id: u64) -> Result<Job> {
        self.get(id).await?;
        let now = self.clock.unix_ms();
        match transact_locked!(self.store, |tx| tx.request_cancel(id, now).await.map(drop)) {
            Err(StoreError::State { .. }) => {
                Err(NodeError::refused(Blame::Conflict, "job-ended", format!("job {id} has ended")))
            }
            done => Ok(done?),
        }?;
        self.get(id).await
    }

    /// Queues a job again that failed or was cancelled.
    ///
    /// # Errors
    ///
    /// `job-not-ended`; `job-replaced` when the same order was given again meanwhile.
    pub async fn retry(&self, id: u64) -> Result<Job> {
        self.get(id).await?;
        let now = self.clock.unix_ms();
        match transact_locked!(self.store, |tx| tx.retry(id, now).await) {
            Err(StoreError::State { .. }) => {
                let detail = format!("job {id} is neither failed nor cancelled");
                Err(NodeError::refused(Blame::Conflict, "job-not-ended", detail))
            }
            Err(StoreError::Exists { .. }) => {
                let detail = format!("a job of the same order as {id} is queued, runs or is done");
                Err(NodeError::refused(Blame::Conflict, "job-replaced", detail))
            }
            done => Ok(done?),
        }?;
        self.get(id).await
    }
}

/// The name of a kind in the store.
pub(crate) fn kind_name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Train => "train",
    }
}

fn kind_of(name: &str) -> Result<JobKind> {
    match name {
        "train" => Ok(JobKind::Train),
        other => {
            let detail = format!("a stored job is of kind `{other}`, which this version does not know");
            Err(NodeError::refused(Blame::Operator, "unknown-kind", detail))
        }
    }
}

fn state_of(state: openledger_store::jobs::JobState) -> JobState {
    match state {
        openledger_store::jobs::JobState::Queued => JobState::Queued,
        openledger_store::jobs::JobState::Running => JobState::Running,
        openledger_store::jobs::JobState::Done => JobState::Done,
        openledger_store::jobs::JobState::Failed => JobState::Failed,
        openledger_store::jobs::JobState::Cancelled => JobState::Cancelled,
    }
}

fn stored_state(state: JobState) -> openledger_store::jobs::JobState {
    match state {
        JobState::Queued => openledger_store::jobs::JobState::Queued,
        JobState::Running => openledger_store::jobs::JobState::Running,
        JobState::Done => openledger_store::jobs::JobState::Done,
        JobState::Failed => openledger_store::jobs::JobState::Failed,
        JobState::Cancelled => openledger_store::jobs::JobState::Cancelled,
    }
}

fn view(job: openledger_store::jobs::Job) -> Result<Job> {
    let progress = job.progress.as_deref().map(serde_json::from_str::<JobProgress>).transpose()?;
    let result = job.outcome.as_deref().map(serde_json::from_str::<JobResult>).transpose()?;
    let state = state_of(job.state);
    Ok(Job {
        job: job.id,
        kind: kind_of(&job.kind)?,
        state,
        attempts: job.attempts,
        cause: job.cause,
        progress,
        result,
        created: job.created / 1000,
        ended: state.is_final().then_some(job.updated / 1000),
    })
}

fn event(row: job_events::JobEvent) -> Result<JobEvent> {
    let level = match row.level {
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    };
    let event = match row.kind {
        job_events::JobEventKind::State => {
            let (state, cause) = row.state()?;
            JobEventKind::State { state: state_of(state), cause: cause.map(str::to_owned) }
        }
        job_events::JobEventKind::Progress => JobEventKind::Progress(serde_json::from_str(&row.body)?),
        job_events::JobEventKind::Log => JobEventKind::Log { level, line: row.body },
    };
    Ok(JobEvent { seq: row.seq, job: row.job, time: row.at / 1000, event })
}
