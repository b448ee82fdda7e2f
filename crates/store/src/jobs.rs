//! Work to be done once, by whichever worker takes it.
//!
//! A job is enqueued in the transaction that wants it and completed in the one that has its effect. Workers hold it by
//! a lease; one that dies loses it when the lease is over, and its fencing token keeps it from completing late.
//!
//! **Invariant:** a job's fence grows with every claim, and only the holder of the newest can heartbeat, complete or
//! fail it. Times are Unix milliseconds and arguments.

use serde_json::Value as Json;

use crate::db::{Reads, Store, Tx};
use crate::error::{Error, Result};
use crate::sql::{Row, SKIP_LOCKED, Value, places, values, words};

/// Longest pause between two attempts.
const BACKOFF_MAX_MS: u64 = 300_000;

words! {
    /// Where a job stands.
    pub enum JobState {
        /// Waits for a worker, perhaps until a time.
        Queued = "queued",
        /// A worker holds it.
        Running = "running",
        /// Done; it has a result.
        Done = "done",
        /// Given up; its result says why.
        Failed = "failed",
    }
}

/// A job to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Which code does it.
    pub kind: String,
    /// What it needs to know.
    pub payload: Json,
    /// Not to be begun before.
    pub not_before: u64,
    /// How often it may be begun; at least 1.
    pub max_attempts: u32,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id, from 1.
    pub id: u64,
    /// Which code does it.
    pub kind: String,
    /// What it needs to know.
    pub payload: Json,
    /// Where it stands.
    pub state: JobState,
    /// How often it was begun.
    pub attempts: u32,
    /// How often it may be begun.
    pub max_attempts: u32,
    /// When the holder loses it; 0 unless running.
    pub lease_until: u64,
    /// The newest holder's fencing token.
    pub fence: u64,
    /// Its result, or why it failed last.
    pub result: Option<Json>,
}

const COLUMNS: &str = "id, kind, payload_json, state, attempts, max_attempts, lease_until, fence, result_json";

fn read(row: &Row) -> Result<Job> {
    let result: Option<String> = row.get(8)?;
    Ok(Job {
        id: row.get(0)?,
        kind: row.get(1)?,
        payload: row.json(2)?,
        state: row.get(3)?,
        attempts: row.get(4)?,
        max_attempts: row.get(5)?,
        lease_until: row.get(6)?,
        fence: row.get(7)?,
        result: result.map(|text| serde_json::from_str(&text)).transpose()?,
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
    pub async fn job(&self, id: u64) -> Result<Option<Job>> {
        self.one(format!("SELECT {COLUMNS} FROM jobs WHERE id = ?"), values![id], read).await
    }

    /// Jobs in a state, by id, at most `limit`.
    pub async fn jobs(&self, state: JobState, limit: u32) -> Result<Vec<Job>> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE state = ? ORDER BY id LIMIT ?");
        self.list(sql, values![state, limit], read).await
    }
}

impl Store {
    /// Takes the oldest job of one of `kinds` (all when empty) that is due or whose lease is over, for `lease_for`
    /// milliseconds. Commits at once; no other worker gets the same job before the lease is over.
    ///
    /// A job whose lease is over and that has no attempt left becomes [`JobState::Failed`].
    pub async fn claim(&self, worker: &str, kinds: &[&str], now: u64, lease_for: u64) -> Result<Option<Job>> {
        let bury = "UPDATE jobs SET state = 'failed', lease_until = 0, result_json = '\"lease expired\"' \
                    WHERE state = 'running' AND lease_until <= ? AND attempts >= max_attempts";
        self.change(bury, values![now]).await?;
        let of_kind = if kinds.is_empty() { String::new() } else { format!("AND kind IN ({})", places(kinds.len())) };
        let free = "((state = 'queued' AND not_before <= ?) OR (state = 'running' AND lease_until <= ?))";
        // The condition stands twice: on Postgres the row may have changed between the sub-select and its lock.
        let sql = format!(
            "UPDATE jobs SET state = 'running', attempts = attempts + 1, fence = fence + 1, lease_until = ?, \
             worker = ? WHERE id = (SELECT id FROM jobs WHERE {free} {of_kind} ORDER BY id LIMIT 1 {SKIP_LOCKED}) \
             AND {free} RETURNING {COLUMNS}"
        );
        let mut values = values![now.saturating_add(lease_for), worker, now, now];
        values.extend(kinds.iter().map(|kind| Value::from(*kind)));
        values.extend(values![now, now]);
        self.change(sql, values).await?.first().map(read).transpose()
    }

    /// Holds on to a job for another `lease_for` milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::StaleFence`] when another worker has it or it is over; stop working on it.
    pub async fn heartbeat(&self, id: u64, fence: u64, now: u64, lease_for: u64) -> Result<()> {
        let sql = "UPDATE jobs SET lease_until = ? WHERE id = ? AND fence = ? AND state = 'running' RETURNING id";
        let changed = self.change(sql, values![now.saturating_add(lease_for), id, fence]).await?;
        if changed.is_empty() { Err(self.stale(id, fence).await?) } else { Ok(()) }
    }
}

impl Reads {
    async fn stale(&self, job: u64, given: u64) -> Result<Error> {
        let current = self.job(job).await?.ok_or_else(|| Error::missing("job", job))?.fence;
        Ok(Error::StaleFence { job, given, current })
    }
}

impl Tx {
    /// Adds a job and says its id.
    pub async fn enqueue(&mut self, job: &NewJob) -> Result<u64> {
        let id = self.next_sequence("jobs").await?;
        let (kind, payload) = (job.kind.as_str(), job.payload.to_string());
        let row = values![id, kind, payload, JobState::Queued, 0u64, job.max_attempts, job.not_before, 0u64, 0u64];
        let head = "jobs (id, kind, payload_json, state, attempts, max_attempts, not_before, lease_until, fence)";
        self.insert_all(head, vec![row]).await?;
        Ok(id)
    }

    /// Ends a job with its result, in the transaction that has its effect.
    ///
    /// # Errors
    ///
    /// [`Error::StaleFence`] when another worker has it or it is over; take this transaction back.
    pub async fn complete(&mut self, id: u64, fence: u64, result: &Json) -> Result<()> {
        let sql = "UPDATE jobs SET state = 'done', lease_until = 0, result_json = ? \
                   WHERE id = ? AND fence = ? AND state = 'running'";
        match self.execute(sql, values![result.to_string(), id, fence]).await? {
            0 => Err(self.stale(id, fence).await?),
            _ => Ok(()),
        }
    }

    /// Gives a job back after a failure: queued again after [`backoff_ms`], or failed when no attempt is left.
    ///
    /// # Errors
    ///
    /// [`Error::StaleFence`] when another worker has it or it is over.
    pub async fn fail(&mut self, id: u64, fence: u64, reason: &str, now: u64) -> Result<JobState> {
        let job = self.job(id).await?.ok_or_else(|| Error::missing("job", id))?;
        let state = if job.attempts < job.max_attempts { JobState::Queued } else { JobState::Failed };
        let sql = "UPDATE jobs SET state = ?, lease_until = 0, not_before = ?, result_json = ? \
                   WHERE id = ? AND fence = ? AND state = 'running'";
        let not_before = now.saturating_add(backoff_ms(job.attempts));
        match self.execute(sql, values![state, not_before, Json::from(reason).to_string(), id, fence]).await? {
            0 => Err(self.stale(id, fence).await?),
            _ => Ok(state),
        }
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
