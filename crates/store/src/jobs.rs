//! Work to be done once, by the worker that takes it.
//!
//! A job is enqueued in the transaction that wants it and completed in the one that has its effect. Workers hold it by
//! a lease; one that dies loses it when the lease is over, and its fencing token keeps it from completing late.
//!
//! `order`, `progress` and `outcome` are texts that the job's kind encodes and decodes.
//!
//! # Invariants
//!
//! - A job's fence grows with every claim, and only the holder of the newest can change the job. Times are Unix
//!   milliseconds and arguments.
//! - Two jobs of one kind and key are never both queued, running or done.
//!
//! Not here: what kinds there are and what they do; a job's history (`job_events`).

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
pub use crate::job_events::JobState;
use crate::job_events::{JobEventKind, Level};
use crate::sql::{FOR_UPDATE, Row, SKIP_LOCKED, Value, places, values};
use crate::store::Store;
use crate::transact_locked;

/// Longest pause between two attempts.
const BACKOFF_MAX_MS: u64 = 300_000;

/// A job to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Which code does it.
    pub kind: String,
    /// The same for orders that need one job only.
    pub key: Option<String>,
    /// What it needs to know.
    pub order: String,
    /// Not to be begun before.
    pub not_before: u64,
    /// How often it may be begun; at least 1.
    pub max_attempts: u32,
    /// When it was ordered.
    pub created: u64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id, from 1.
    pub id: u64,
    /// Which code does it.
    pub kind: String,
    /// The same for orders that need one job only.
    pub key: Option<String>,
    /// What it needs to know.
    pub order: String,
    /// Where it stands.
    pub state: JobState,
    /// How often it was begun.
    pub attempts: u32,
    /// How often it may be begun.
    pub max_attempts: u32,
    /// Not to be begun before.
    pub not_before: u64,
    /// When the holder loses it; 0 unless running.
    pub lease_until: u64,
    /// The newest fencing token.
    pub fence: u64,
    /// The node instance that holds or held it.
    pub worker: Option<String>,
    /// Whether a person asked to end it.
    pub cancel: bool,
    /// How far it has come.
    pub progress: Option<String>,
    /// What came of it, once it is done.
    pub outcome: Option<String>,
    /// Why the last attempt failed.
    pub cause: Option<String>,
    /// When it was ordered.
    pub created: u64,
    /// When it last changed, heartbeats aside.
    pub updated: u64,
}

/// The result of a worker's heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Go on.
    Go,
    /// A person asked to end the job: stop, then [`Tx::cancelled`].
    Cancel,
}

const COLUMNS: &str = "id, kind, key, work, state, attempts, max_attempts, not_before, lease_until, fence, worker, \
                       cancel, progress, outcome, cause, created, updated";

fn read(row: &Row) -> Result<Job> {
    Ok(Job {
        id: row.get(0)?,
        kind: row.get(1)?,
        key: row.get(2)?,
        order: row.get(3)?,
        state: row.get(4)?,
        attempts: row.get(5)?,
        max_attempts: row.get(6)?,
        not_before: row.get(7)?,
        lease_until: row.get(8)?,
        fence: row.get(9)?,
        worker: row.get(10)?,
        cancel: row.get(11)?,
        progress: row.get(12)?,
        outcome: row.get(13)?,
        cause: row.get(14)?,
        created: row.get(15)?,
        updated: row.get(16)?,
    })
}

/// How long to wait before the attempt after number `attempts`: 1 s, doubled each time, at most 5 min.
#[must_use]
pub fn backoff_ms(attempts: u32) -> u64 {
    let doublings = attempts.saturating_sub(1).min(16);
    (1_000 << doublings).min(BACKOFF_MAX_MS)
}

impl Reads {
    /// The job with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn job(&self, id: u64) -> Result<Option<Job>> {
        self.one(format!("SELECT {COLUMNS} FROM jobs WHERE id = ?"), values![id], read).await
    }

    /// A page of jobs, newest first: at most `limit` of them, with ids below `before`; in `state`
    /// where one is given.
    ///
    /// # Errors
    ///
    /// As [`Reads::job`].
    pub async fn jobs(&self, state: Option<JobState>, before: Option<u64>, limit: u32) -> Result<Vec<Job>> {
        let mut sql = format!("SELECT {COLUMNS} FROM jobs WHERE id < ?");
        let mut wanted = values![before.unwrap_or(u64::MAX >> 1)];
        if let Some(state) = state {
            sql.push_str(" AND state = ?");
            wanted.push(state.into());
        }
        sql.push_str(" ORDER BY id DESC LIMIT ?");
        wanted.push(limit.into());
        self.list(sql, wanted, read).await
    }

    async fn stale(&self, job: u64, given: u64) -> Result<Error> {
        let current = self.job(job).await?.ok_or_else(|| Error::missing("job", job))?.fence;
        Ok(Error::StaleFence { job, given, current })
    }
}

impl Store {
    /// Takes the oldest job of one of `kinds` (all when empty) that is due or whose lease is over, for `lease_for`
    /// milliseconds. Commits at once; no other worker gets the same job before the lease is over.
    ///
    /// A job whose lease is over becomes [`JobState::Cancelled`] when a person asked to end it, and
    /// [`JobState::Failed`] when it has no attempt left.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn claim(&self, worker: &str, kinds: &[&str], now: u64, lease_for: u64) -> Result<Option<Job>> {
        let of_kind = if kinds.is_empty() { String::new() } else { format!("AND kind IN ({})", places(kinds.len())) };
        let free = "((state = 'queued' AND not_before <= ?) OR (state = 'running' AND lease_until <= ?))";
        let mut wanted = values![now, now];
        wanted.extend(kinds.iter().map(|kind| Value::from(*kind)));
        // Most looks find nothing: they only read.
        let due = format!("SELECT COUNT(*) FROM jobs WHERE {free} {of_kind}");
        if self.number(due, wanted.clone()).await? == 0 {
            return Ok(None);
        }
        transact_locked!(self, |tx| tx.end_abandoned(now).await)?;
        // The condition stands twice: on Postgres the row may have changed between the sub-select and its lock.
        let sql = format!(
            "UPDATE jobs SET state = 'running', attempts = attempts + 1, fence = fence + 1, lease_until = ?, \
             worker = ?, updated = ? WHERE id = (SELECT id FROM jobs WHERE {free} {of_kind} ORDER BY id LIMIT 1 \
             {SKIP_LOCKED}) AND {free} RETURNING {COLUMNS}"
        );
        let mut values = values![now.saturating_add(lease_for), worker, now];
        values.extend(wanted);
        values.extend(values![now, now]);
        transact_locked!(self, |tx| {
            let job = tx.one(sql.clone(), values.clone(), read).await?;
            if let Some(job) = &job {
                tx.add_state(job.id, job.state, None, now).await?;
            }
            Ok(job)
        })
    }

    /// Holds on to a job for another `lease_for` milliseconds, and learns whether to go on.
    ///
    /// # Errors
    ///
    /// [`Error::StaleFence`] when another worker has it or it is over; stop working on it.
    pub async fn heartbeat(&self, id: u64, fence: u64, now: u64, lease_for: u64) -> Result<Beat> {
        let sql = "UPDATE jobs SET lease_until = ? WHERE id = ? AND fence = ? AND state = 'running' RETURNING cancel";
        let changed = self.change(sql, values![now.saturating_add(lease_for), id, fence]).await?;
        match changed.first().map(|row| row.get(0)).transpose()? {
            None => Err(self.stale(id, fence).await?),
            Some(true) => Ok(Beat::Cancel),
            Some(false) => Ok(Beat::Go),
        }
    }

    /// Ends the leases of a node instance, which started anew, so that its jobs are taken at once; says how many.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn free_jobs_of(&self, worker: &str) -> Result<u64> {
        let sql = "UPDATE jobs SET lease_until = 0 WHERE worker = ? AND state = 'running' RETURNING id";
        Ok(self.change(sql, values![worker]).await?.len() as u64)
    }
}

impl Tx {
    /// Adds a job and says its id, and whether it is new: a job of this kind and key that did not fail and was not
    /// cancelled is not added again.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] or [`Error::Conflict`] when another transaction added one with the key at the same moment.
    pub async fn enqueue(&mut self, job: &NewJob) -> Result<(u64, bool)> {
        if let Some(key) = &job.key {
            let sql = "SELECT id FROM jobs WHERE kind = ? AND key = ? AND state <> 'failed' AND state <> 'cancelled'";
            let known = self.one(sql, values![job.kind.as_str(), key.as_str()], |row| row.get(0)).await?;
            if let Some(known) = known {
                return Ok((known, false));
            }
        }
        let id = self.next_sequence("jobs").await?;
        let row = values![
            id,
            job.kind.as_str(),
            job.key.clone(),
            job.order.as_str(),
            JobState::Queued,
            0u64,
            job.max_attempts,
            job.not_before,
            0u64,
            0u64,
            false,
            0u64,
            job.created,
            job.created
        ];
        let head = "jobs (id, kind, key, work, state, attempts, max_attempts, not_before, lease_until, fence, cancel, \
                    events, created, updated)";
        self.insert_all(head, vec![row]).await?;
        self.add_state(id, JobState::Queued, None, job.created).await?;
        Ok((id, true))
    }

    /// Ends a job with its outcome, in the transaction that has its effect.
    ///
    /// # Errors
    ///
    /// [`Error::StaleFence`] when another worker has it or it is over; take this transaction back.
    pub async fn complete(&mut self, id: u64, fence: u64, outcome: &str, now: u64) -> Result<()> {
        let sql = "UPDATE jobs SET state = 'done', lease_until = 0, outcome = ?, cause = NULL, updated = ? \
                   WHERE id = ? AND fence = ? AND state = 'running'";
        self.as_holder(id, fence, sql, values![outcome, now, id, fence]).await?;
        self.add_state(id, JobState::Done, None, now).await
    }

    /// Gives a job back after a failure that may pass: queued again after [`backoff_ms`], or failed when no attempt is
    /// left.
    ///
    /// # Errors
    ///
    /// As [`Tx::complete`].
    pub async fn fail(&mut self, id: u64, fence: u64, cause: &str, now: u64) -> Result<JobState> {
        let job = self.job(id).await?.ok_or_else(|| Error::missing("job", id))?;
        if job.attempts >= job.max_attempts {
            self.give_up(id, fence, cause, now).await?;
            return Ok(JobState::Failed);
        }
        let sql = "UPDATE jobs SET state = 'queued', lease_until = 0, not_before = ?, cause = ?, updated = ? \
                   WHERE id = ? AND fence = ? AND state = 'running'";
        let not_before = now.saturating_add(backoff_ms(job.attempts));
        self.as_holder(id, fence, sql, values![not_before, cause, now, id, fence]).await?;
        self.add_event(id, Level::Warn, JobEventKind::Log, cause, now).await?;
        self.add_state(id, JobState::Queued, Some(cause), now).await?;
        Ok(JobState::Queued)
    }

    /// Ends a job that would fail again: failed, with its cause, whatever attempts are left.
    ///
    /// # Errors
    ///
    /// As [`Tx::complete`].
    pub async fn give_up(&mut self, id: u64, fence: u64, cause: &str, now: u64) -> Result<()> {
        let sql = "UPDATE jobs SET state = 'failed', lease_until = 0, cause = ?, updated = ? \
                   WHERE id = ? AND fence = ? AND state = 'running'";
        self.as_holder(id, fence, sql, values![cause, now, id, fence]).await?;
        self.add_event(id, Level::Error, JobEventKind::Log, cause, now).await?;
        self.add_state(id, JobState::Failed, Some(cause), now).await
    }

    /// Ends a job whose worker stopped because a person asked.
    ///
    /// # Errors
    ///
    /// As [`Tx::complete`].
    pub async fn cancelled(&mut self, id: u64, fence: u64, now: u64) -> Result<()> {
        let sql = "UPDATE jobs SET state = 'cancelled', lease_until = 0, updated = ? \
                   WHERE id = ? AND fence = ? AND state = 'running'";
        self.as_holder(id, fence, sql, values![now, id, fence]).await?;
        self.add_state(id, JobState::Cancelled, None, now).await
    }

    /// Asks to end a job: one that waits is cancelled at once, the worker of one that runs learns of it by its next
    /// heartbeat. Says the job's state now.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::State`] when it is over; nothing is changed then.
    pub async fn request_cancel(&mut self, id: u64, now: u64) -> Result<JobState> {
        let state = self.locked_job(id).await?.state;
        let (sql, next) = match state {
            JobState::Queued => ("UPDATE jobs SET cancel = 1, state = 'cancelled', updated = ? WHERE id = ?", true),
            JobState::Running => ("UPDATE jobs SET cancel = 1, updated = ? WHERE id = ?", false),
            state => return Err(Error::state("job", id, state, JobState::Cancelled)),
        };
        self.execute(sql, values![now, id]).await?;
        let state = if next { JobState::Cancelled } else { state };
        if next {
            self.add_state(id, state, None, now).await?;
        } else {
            self.add_event(id, Level::Info, JobEventKind::Log, "cancellation was requested", now).await?;
        }
        Ok(state)
    }

    /// Queues a job again that failed or was cancelled, with all its attempts.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::State`] when it is in another state; nothing is changed then. [`Error::Exists`] when
    /// another job with its key took its place.
    pub async fn retry(&mut self, id: u64, now: u64) -> Result<()> {
        let state = self.locked_job(id).await?.state;
        if !matches!(state, JobState::Failed | JobState::Cancelled) {
            return Err(Error::state("job", id, state, JobState::Queued));
        }
        let sql = "UPDATE jobs SET state = 'queued', attempts = 0, not_before = 0, cancel = 0, cause = NULL, \
                   updated = ? WHERE id = ?";
        self.execute(sql, values![now, id]).await?;
        self.add_state(id, JobState::Queued, Some("it was queued again"), now).await
    }

    /// Says how far a job has come: its progress now, and an event.
    ///
    /// # Errors
    ///
    /// As [`Tx::complete`].
    pub async fn report(&mut self, id: u64, fence: u64, progress: &str, now: u64) -> Result<()> {
        let sql = "UPDATE jobs SET progress = ?, updated = ? WHERE id = ? AND fence = ? AND state = 'running'";
        self.as_holder(id, fence, sql, values![progress, now, id, fence]).await?;
        self.add_event(id, Level::Info, JobEventKind::Progress, progress, now).await.map(drop)
    }

    /// Adds a line to a job's log, as its holder; gives the event's number.
    ///
    /// # Errors
    ///
    /// As [`Tx::complete`].
    pub async fn job_log(&mut self, id: u64, fence: u64, level: Level, line: &str, now: u64) -> Result<u64> {
        let sql = "UPDATE jobs SET updated = ? WHERE id = ? AND fence = ? AND state = 'running'";
        self.as_holder(id, fence, sql, values![now, id, fence]).await?;
        self.add_event(id, level, JobEventKind::Log, line, now).await
    }

    /// Ends the jobs whose lease is over and that no worker may take again.
    async fn end_abandoned(&mut self, now: u64) -> Result<()> {
        let over = "WHERE state = 'running' AND lease_until <= ?";
        for (state, cause, which) in [
            (JobState::Cancelled, None, "cancel = 1"),
            (JobState::Failed, Some("the worker stopped in its last attempt"), "attempts >= max_attempts"),
        ] {
            let sql = format!(
                "UPDATE jobs SET state = ?, lease_until = 0, cause = ?, updated = ? {over} AND {which} RETURNING id"
            );
            let ended: Vec<u64> = self.list(sql, values![state, cause, now, now], |row| row.get(0)).await?;
            for id in ended {
                self.add_state(id, state, cause, now).await?;
            }
        }
        Ok(())
    }

    async fn as_holder(&mut self, id: u64, fence: u64, sql: &'static str, row: Vec<Value>) -> Result<()> {
        match self.execute(sql, row).await? {
            0 => Err(self.stale(id, fence).await?),
            _ => Ok(()),
        }
    }

    async fn locked_job(&mut self, id: u64) -> Result<Job> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ? {FOR_UPDATE}");
        self.one(sql, values![id], read).await?.ok_or_else(|| Error::missing("job", id))
    }
}

#[cfg(test)]
mod tests {
    use super::backoff_ms;

    #[test]
    fn the_pause_doubles_up_to_five_minutes() {
        assert_eq!([1, 2, 3, 30].map(backoff_ms), [1_000, 2_000, 4_000, 300_000]);
    }
}
