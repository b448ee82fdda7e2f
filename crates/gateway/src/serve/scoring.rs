//! Turns for scoring prompts (`echo` with `logprobs`), which runs beside the scheduler.
//!
//! **Invariant:** one prompt is scored at a time, and at most [`WAITING_MAX`] requests wait for it;
//! further ones are refused as overloaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openledger_serving::ServeError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most requests that wait for their turn.
const WAITING_MAX: usize = 16;

/// The turns of one server.
pub(super) struct Scoring {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Scoring {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(1)), waiting: AtomicUsize::new(0) }
    }
}

/// Counts a request that waits; dropped, it waits no longer.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Scoring {
    /// Waits for a turn; it ends when the permit is dropped.
    ///
    /// # Errors
    /// [`ServeError::Overloaded`] when too many wait already.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, ServeError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waiting(&self.waiting);
        if before >= WAITING_MAX {
            return Err(ServeError::Overloaded { waiting: before, retry_after: 1 });
        }
        // The semaphore is never closed.
        Arc::clone(&self.running).acquire_owned().await.map_err(|_| ServeError::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_prompt_is_scored_at_a_time_and_few_wait() {
        let scoring = Arc::new(Scoring::default());
        let first = scoring.turn().await.unwrap();
        let waits: Vec<_> = (0..WAITING_MAX)
            .map(|_| {
                let scoring = Arc::clone(&scoring);
                tokio::spawn(async move { scoring.turn().await.map(drop) })
            })
            .collect();
        while scoring.waiting.load(Ordering::Relaxed) < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        assert!(matches!(scoring.turn().await, Err(ServeError::Overloaded { .. })));
        drop(first);
        for wait in waits {
            wait.await.unwrap().unwrap();
        }
        assert!(scoring.turn().await.is_ok());
    }
}
