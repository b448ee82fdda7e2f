//! Kills the node at moments that follow from the seed, spread over the whole run.
//!
//! The run passes a point with every call it makes. Each kill has a point and a delay after it;
//! where the delay ends, whether inside that call, a later one or a restart, is up to the machine,
//! as with a power cut.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openledger_engine::uniform;

use super::keeper::Keeper;
use crate::error::Result;

/// Stream of the draws that choose moments.
const STREAM: u64 = 0x6b69_6c6c_7300_0000;
/// How long after its point a kill may come, and how far the points of a long call lie apart, in
/// milliseconds.
const POINT_MS: f64 = 400.0;
/// How long a kill waits for a node that is just being started again.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// When to kill, and how often it was done.
pub(crate) struct Killer {
    keeper: Arc<Keeper>,
    plan: Mutex<VecDeque<(u64, Duration)>>,
    passed: AtomicU64,
    done: Arc<AtomicU64>,
    waiting: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

/// `kills` moments over `points` points: one in each of `kills` equal stretches.
fn plan(seed: u64, kills: u64, points: u64) -> VecDeque<(u64, Duration)> {
    (0..kills)
        .map(|kill| {
            let place = (kill as f64 + uniform(seed, STREAM, 2 * kill)) / kills as f64;
            let delay_ms = uniform(seed, STREAM, 2 * kill + 1) * POINT_MS;
            ((place * points as f64) as u64, Duration::from_micros((delay_ms * 1_000.0) as u64))
        })
        .collect()
}

impl Killer {
    /// A killer that spreads `kills` over a run of about `points` points.
    pub(crate) fn new(keeper: Arc<Keeper>, seed: u64, kills: u64, points: u64) -> Self {
        Self {
            keeper,
            plan: Mutex::new(plan(seed, kills, points)),
            passed: AtomicU64::new(0),
            done: Arc::new(AtomicU64::new(0)),
            waiting: Mutex::default(),
        }
    }

    /// A call begins that counts as `points` points.
    pub(crate) fn pass(&self, points: u64) {
        let from = self.passed.fetch_add(points, Ordering::Relaxed);
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(point, delay)) = plan.front().filter(|(point, _)| *point < from + points) {
            plan.pop_front();
            let later = Duration::from_millis((point.saturating_sub(from) as f64 * POINT_MS) as u64);
            let (keeper, done) = (self.keeper.clone(), self.done.clone());
            let waiting = tokio::spawn(async move {
                tokio::time::sleep(later + delay).await;
                kill(&keeper, &done).await;
            });
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waiting);
        }
    }

    /// How many kills were done.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Does what is left of the plan, because the run made fewer calls than expected, and leaves
    /// the node running.
    pub(crate) async fn finish(&self) -> Result<()> {
        self.rest().await;
        loop {
            let next = self.plan.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if next.is_none() {
                return self.keeper.ready().await;
            }
            self.keeper.ready().await?;
            kill(&self.keeper, &self.done).await;
        }
    }

    /// Waits for kills that were begun.
    pub(crate) async fn rest(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for task in waiting {
            // A kill whose task was cancelled did not happen; the count says so.
            let _ = tokio::time::timeout(WAIT_MAX, task).await;
        }
    }
}

/// Kills the node once it runs.
async fn kill(keeper: &Keeper, done: &AtomicU64) {
    let deadline = tokio::time::Instant::now() + WAIT_MAX;
    while !keeper.kill() {
        if tokio::time::Instant::now() > deadline {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    done.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_spread_over_the_run_and_follow_from_the_seed() {
        let moments = plan(7, 20, 60);
        assert_eq!(moments, plan(7, 20, 60));
        assert_ne!(moments, plan(8, 20, 60));
        let points: Vec<u64> = moments.iter().map(|(point, _)| *point).collect();
        assert!(points.is_sorted() && points.len() == 20);
        assert!(points.iter().zip(0..).all(|(point, kill)| (3 * kill..3 * kill + 3).contains(point)), "{points:?}");
    }
}
