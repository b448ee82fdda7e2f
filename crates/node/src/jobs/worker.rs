//! The worker: claims jobs under a lease, runs their kind, hands in the outcome under its fencing token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openledger_api::JobResult;
use openledger_store::Store;
use openledger_store::jobs::{Beat, Job, JobState};
use openledger_store::transact_locked;

use super::{JobHandle, Work, kind_name};
use crate::clock::Clock;
use crate::error::{Blame, NodeError, Result};
use crate::instance::Instance;
use crate::owned_task::OwnedTask;

/// How long a job is held without a heartbeat, in milliseconds; after a crash another node waits this long.
pub(crate) const LEASE_MS: u64 = 4_000;
/// How often an idle worker looks.
const IDLE: Duration = Duration::from_millis(100);

/// Works on the kinds it was given.
pub(crate) struct Worker {
    store: Store,
    clock: Clock,
    instance: Instance,
    kinds: Vec<Arc<dyn Work>>,
}

impl Worker {
    pub(crate) fn new(store: Store, clock: Clock, instance: Instance, kinds: Vec<Arc<dyn Work>>) -> Self {
        Self { store, clock, instance, kinds }
    }

    /// Works on jobs until the task is dropped.
    pub(crate) async fn work(self) {
        if let Err(error) = self.store.free_jobs_of(self.instance.name()).await {
            tracing::warn!(%error, "jobs of the run before wait for their leases");
        }
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind_name(kind.kind())).collect();
        loop {
            let now = self.clock.unix_ms();
            match self.store.claim(self.instance.name(), &names, now, LEASE_MS).await {
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
        let cancelled = Arc::new(AtomicBool::new(false));
        // Ends also when the worker is dropped in the middle of a run, so that another one gets the job.
        let heartbeat =
            OwnedTask::spawn(beat(self.store.clone(), self.clock.clone(), (job.id, job.fence), Arc::clone(&cancelled)));
        let handle = JobHandle {
            id: job.id,
            fence: job.fence,
            store: self.store.clone(),
            clock: self.clock.clone(),
            cancelled: Arc::clone(&cancelled),
        };
        let kind = self.kinds.iter().find(|kind| kind_name(kind.kind()) == job.kind);
        let outcome = match kind {
            Some(kind) => kind.run(&job.order, &handle).await,
            None => Err(NodeError::missing("kind of job", &job.kind)),
        };
        drop(heartbeat);
        let cancelled = cancelled.load(Ordering::Relaxed);
        match self.hand_in(&job, outcome, cancelled).await {
            Ok(true) => kind.into_iter().for_each(|kind| kind.ended(job.id)),
            Ok(false) => {}
            Err(error) => tracing::warn!(job = job.id, %error, "the outcome could not be handed in"),
        }
    }

    /// Keeps the outcome; returns whether the job has ended.
    async fn hand_in(&self, job: &Job, outcome: Result<JobResult>, cancelled: bool) -> Result<bool> {
        let (id, fence, now) = (job.id, job.fence, self.clock.unix_ms());
        match outcome {
            Ok(result) => {
                let text = serde_json::to_string(&result)?;
                transact_locked!(self.store, |tx| tx.complete(id, fence, &text, now).await)?;
            }
            Err(_) if cancelled => {
                transact_locked!(self.store, |tx| tx.cancelled(id, fence, now).await)?;
            }
            Err(error) if error.blame() == Blame::Retry => {
                tracing::warn!(job = id, %error, "the job will be tried again");
                let cause = error.to_string();
                let state = transact_locked!(self.store, |tx| tx.fail(id, fence, &cause, now).await)?;
                return Ok(state == JobState::Failed);
            }
            // It would fail again as it is.
            Err(error) => {
                tracing::warn!(job = id, %error, "the job failed");
                let cause = error.to_string();
                transact_locked!(self.store, |tx| tx.give_up(id, fence, &cause, now).await)?;
            }
        }
        Ok(true)
    }
}

/// Keeps the lease alive, and notes when the job is to end.
async fn beat(store: Store, clock: Clock, (id, fence): (u64, u64), cancelled: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(Duration::from_millis(LEASE_MS / 4)).await;
        match store.heartbeat(id, fence, clock.unix_ms(), LEASE_MS).await {
            Ok(Beat::Go) => {}
            Ok(Beat::Cancel) | Err(openledger_store::Error::StaleFence { .. }) => {
                cancelled.store(true, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(job = id, %error, "a heartbeat failed"),
        }
    }
}
