//! The worker: claims jobs under a lease, works on them, hands in the result under its fencing token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openledger_store::jobs::Job;
use serde_json::{Value, json};

use crate::error::{NodeError, Result};
use crate::node::Node;

/// How long a job is held without a heartbeat, in milliseconds; after a crash it waits this long.
const LEASE_MS: u64 = 4_000;
/// How often an idle worker looks.
const IDLE: Duration = Duration::from_millis(100);

/// Unix milliseconds: leases are about this machine's time, whatever clock receipts follow.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Node {
    /// Works on jobs for ever.
    pub(crate) async fn work(self) {
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
            Err(error) => {
                tracing::warn!(job = id, %error, "job failed");
                tx.fail(id, fence, &error.to_string(), now_ms()).await?;
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
        let done = job.state == openledger_store::jobs::JobState::Done;
        Ok(json!({
            "job": id,
            "kind": job.kind,
            "state": job.state.as_str(),
            "attempts": job.attempts,
            "progress": self.progress(id),
            "result": if done { job.result.clone() } else { None },
            "error": if done { None } else { job.result },
        }))
    }
}
