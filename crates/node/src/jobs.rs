//! The worker: claims jobs under a lease, works on them, hands in the result under its fencing token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openledger_store::Engine;
use openledger_store::jobs::{Job, JobState};
use serde_json::{Value, json};

use crate::error::{Blame, NodeError, Result};
use crate::node::Node;

/// How long a job is held without a heartbeat, in milliseconds; after a crash another node waits this long.
const LEASE_MS: u64 = 4_000;
/// How often an idle worker looks.
const IDLE: Duration = Duration::from_millis(100);

/// The member of a result that says why a job ended without one.
const FAILURE: &str = "failure";

/// Why a job ended without a result, if it did.
pub(crate) fn failure(job: &Job) -> Option<Value> {
    match job.state {
        JobState::Failed => job.result.clone().or(Some(Value::Null)),
        JobState::Done => job.result.as_ref().and_then(|result| result.get(FAILURE)).cloned(),
        _ => None,
    }
}

/// Unix milliseconds: leases are about this machine's time, whatever clock receipts follow.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Node {
    /// Works on jobs for ever.
    pub(crate) async fn work(self) {
        if let Err(error) = self.free_own_leases().await {
            tracing::warn!(%error, "jobs of the run before wait for their leases");
        }
        loop {
            match self.inner.store.claim("node", &[crate::train::KIND], now_ms(), LEASE_MS).await {
                Ok(Some(job)) => self.finish(job).await,
                Ok(None) => tokio::time::sleep(IDLE).await,
                Err(error) => {
                    tracing::warn!(%error, "jobs cannot be claimed");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Frees the jobs that this node held when it ended. A SQLite file has one node, so every lease in it was this
    /// node's; on Postgres others may hold theirs rightly, and leases run out.
    async fn free_own_leases(&self) -> Result<()> {
        if self.inner.store.engine() != Engine::Sqlite {
            return Ok(());
        }
        for job in self.inner.store.jobs(JobState::Running, u32::MAX).await? {
            self.inner.store.heartbeat(job.id, job.fence, now_ms(), 0).await?;
        }
        Ok(())
    }

    async fn finish(&self, job: Job) {
        let (id, fence) = (job.id, job.fence);
        let store = self.inner.store.clone();
        let heartbeat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(LEASE_MS / 4)).await;
                if let Err(error) = store.heartbeat(id, fence, now_ms(), LEASE_MS).await {
                    tracing::warn!(job = id, %error, "heartbeat failed");
                }
            }
        });
        let outcome = self.train(&job).await;
        heartbeat.abort();
        if let Err(error) = self.hand_in(id, fence, outcome).await {
            tracing::warn!(job = id, %error, "result could not be handed in");
        }
    }

    async fn hand_in(&self, id: u64, fence: u64, outcome: Result<Value>) -> Result<()> {
        let mut tx = self.inner.store.begin().await?;
        match outcome {
            Ok(result) => tx.complete(id, fence, &result).await?,
            Err(error) if error.blame() == Blame::Retry => {
                tracing::warn!(job = id, %error, "job will be tried again");
                tx.fail(id, fence, &error.to_string(), now_ms()).await?;
            }
            // It would fail again as it is: it ends here, with the reason as its result.
            Err(error) => {
                tracing::warn!(job = id, %error, "job failed");
                tx.complete(id, fence, &json!({ FAILURE: error.to_string() })).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// How a job stands.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub async fn job_card(&self, id: u64) -> Result<Value> {
        let job = self.inner.store.job(id).await?.ok_or_else(|| NodeError::missing("job", id))?;
        let failure = failure(&job);
        let done = job.state == JobState::Done && failure.is_none();
        Ok(json!({
            "job": id,
            "kind": job.kind,
            "state": if failure.is_some() { JobState::Failed.as_str() } else { job.state.as_str() },
            "attempts": job.attempts,
            "progress": self.progress(id),
            "result": if done { job.result.clone() } else { None },
            "error": if done { None } else { failure.or(job.result) },
        }))
    }
}
