//! The history of jobs: changes of state, progress, log lines.
//!
//! **Invariant:** a job's events are numbered from 1 without gaps, in the order in which they were committed.

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::sql::{Row, values, words};

words! {
    /// Where a job stands.
    pub enum JobState {
        /// It waits for a worker, perhaps until a time.
        Queued = "queued",
        /// A worker holds it.
        Running = "running",
        /// Done; it has an outcome.
        Done = "done",
        /// Given up; it has a cause.
        Failed = "failed",
        /// Ended because a person asked.
        Cancelled = "cancelled",
    }
}

words! {
    /// How much an event matters.
    pub enum Level {
        /// All goes well.
        Info = "info",
        /// Something failed and is tried again.
        Warn = "warn",
        /// Something failed for good.
        Error = "error",
    }
}

words! {
    /// The kind of an event.
    pub enum JobEventKind {
        /// The job's new state.
        State = "state",
        /// How far it has come, in its kind's encoding.
        Progress = "progress",
        /// A line for people.
        Log = "log",
    }
}

/// An event of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    /// The job.
    pub job: u64,
    /// Its number in the job, from 1.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at: u64,
    /// How much it matters.
    pub level: Level,
    /// Its kind.
    pub kind: JobEventKind,
    /// The state ([`JobEvent::state`]), the progress or the line.
    pub body: String,
}

impl JobEvent {
    /// The state that a [`JobEventKind::State`] event tells of, and why the job came to it.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when the body names no state.
    pub fn state(&self) -> Result<(JobState, Option<&str>)> {
        let (state, cause) = self.body.split_once('\n').map_or((&*self.body, None), |(state, why)| (state, Some(why)));
        let malformed = || Error::Malformed { column: "job_events.body".to_owned(), expected: "a state of a job" };
        Ok((JobState::named(state).ok_or_else(malformed)?, cause))
    }
}

fn read(row: &Row) -> Result<JobEvent> {
    Ok(JobEvent {
        job: row.get(0)?,
        seq: row.get(1)?,
        at: row.get(2)?,
        level: row.get(3)?,
        kind: row.get(4)?,
        body: row.get(5)?,
    })
}

impl Reads {
    /// The events of a job after number `seq`, in order, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn job_events(&self, job: u64, seq: u64, limit: u32) -> Result<Vec<JobEvent>> {
        let sql = "SELECT job, seq, at, level, kind, body FROM job_events WHERE job = ? AND seq > ? \
                   ORDER BY seq LIMIT ?";
        self.list(sql, values![job, seq, limit], read).await
    }
}

impl Tx {
    /// Adds the event of a job's new state, with its cause where there is one.
    pub(crate) async fn add_state(&mut self, job: u64, state: JobState, cause: Option<&str>, at: u64) -> Result<()> {
        let name = state.as_str();
        let body = cause.map_or_else(|| name.to_owned(), |cause| format!("{name}\n{cause}"));
        let level = if state == JobState::Failed { Level::Error } else { Level::Info };
        self.add_event(job, level, JobEventKind::State, &body, at).await.map(drop)
    }

    /// Adds an event to a job; gives its number.
    pub(crate) async fn add_event(
        &mut self,
        job: u64,
        level: Level,
        kind: JobEventKind,
        body: &str,
        at: u64,
    ) -> Result<u64> {
        let sql = "UPDATE jobs SET events = events + 1 WHERE id = ? RETURNING events";
        let row = self.row(sql, values![job]).await?.ok_or_else(|| Error::missing("job", job))?;
        let seq: u64 = row.get(0)?;
        let head = "job_events (job, seq, at, level, kind, body)";
        self.insert_all(head, vec![values![job, seq, at, level, kind, body]]).await?;
        Ok(seq)
    }
}
