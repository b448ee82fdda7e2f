//! Training events as a job's progress.

use std::time::{Duration, Instant};

use openledger_api::JobProgress;
use openledger_factory::{Event, NextStep};
use tokio::sync::watch;

use crate::jobs::JobHandle;

/// How often progress is written at most.
const EVERY: Duration = Duration::from_millis(250);

/// Turns training events into progress, which a task of its own writes; ends the run when the job is cancelled.
pub(super) struct Reporter {
    job: JobHandle,
    newest: watch::Sender<Option<JobProgress>>,
    progress: JobProgress,
    tokens: u64,
    started: Instant,
}

impl Reporter {
    pub(super) fn start(job: JobHandle) -> Self {
        let (newest, mut seen) = watch::channel(None);
        let writer = job.clone();
        tokio::spawn(async move {
            while seen.changed().await.is_ok() {
                let progress = *seen.borrow_and_update();
                if let Some(progress) = progress {
                    writer.progress(&progress).await;
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { job, newest, progress: JobProgress::default(), tokens: 0, started: Instant::now() }
    }

    /// Takes note of an event.
    pub(super) fn on(&mut self, event: &Event) -> NextStep {
        match event {
            Event::Started { steps, done, .. } => {
                self.started = Instant::now();
                (self.progress.step, self.progress.steps) = (*done, *steps);
            }
            Event::Stepped(report) => {
                self.tokens += report.tokens as u64;
                self.progress.step = report.step;
                self.progress.loss_micro = Some(micro(report.loss));
                self.progress.tokens_per_s = Some(self.tokens_per_s());
            }
            Event::Evaluated { micro_nats, .. } => self.progress.held_out_loss_micro = Some(*micro_nats),
            _ => {}
        }
        self.newest.send_replace(Some(self.progress));
        if self.job.is_cancelled() { NextStep::Stop } else { NextStep::Continue }
    }

    /// Tokens a second since training began.
    pub(super) fn tokens_per_s(&self) -> u64 {
        (self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-3)) as u64
    }
}

/// A loss in micro-nats a token.
fn micro(loss: f64) -> u64 {
    (loss * 1e6).round().max(0.0) as u64
}
