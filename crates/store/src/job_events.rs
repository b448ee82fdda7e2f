//! The history of jobs: changes of state, progress, log lines.
//!
//! **Invariant:** a job's events are numbered from 1 without gaps, in the order in which they were committed.

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::sql::{Row, values, words};

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
    /// What an event tells.
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
    /// What it tells.
    pub kind: JobEventKind,
    /// The state, the progress or the line.
    pub body: String,
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
