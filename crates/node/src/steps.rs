//! Steps on chain that are tried again under another key when their transaction failed for good.
//!
//! The outbox sends one transaction for a key, ever, so that a repeat after a crash finds what was
//! sent. A transaction that reverted in a block has used its key up, and so has one whose nonce
//! another transaction used. Without another key the step would fail for good.
//!
//! # Invariants
//!
//! - A step comes to its next key only by a transaction that reverted or can never be mined. So at
//!   most one of its transactions succeeds.
//! - Retries are bounded: one for each call, and after [`FREE_RETRIES`] of them one for a time that
//!   doubles up to [`WAIT_MAX_MS`].

use openledger_chain::flow::FlowError;
use openledger_chain::sender::SendError;
use openledger_store::leases::Lease;
use openledger_store::steps::FailedStep;
use openledger_store::{Error as StoreError, Store, transact_locked};

use crate::clock::Clock;
use crate::error::{Blame, NodeError, Result};

/// Retries that wait for nothing.
const FREE_RETRIES: u64 = 3;
/// How long the first retry after those waits, in milliseconds.
const WAIT_MS: u64 = 60_000;
/// How long a retry waits at most, in milliseconds.
const WAIT_MAX_MS: u64 = 3_600_000;

/// Counts the failures of steps.
#[derive(Clone)]
pub(crate) struct Steps {
    store: Store,
    clock: Clock,
}

/// A step under the key of its next transaction.
#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    failures: u64,
    key: String,
}

impl Step {
    /// The key for the outbox.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

impl Steps {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// The step called `name`, whose transaction is to be sent now, or was sent before.
    ///
    /// # Errors
    ///
    /// `step-reverted` while a retry has to wait.
    pub(crate) async fn next(&self, name: String) -> Result<Step> {
        let Some(failed) = self.store.failed_step(&name).await? else {
            return Ok(Step { key: name.clone(), failures: 0, name });
        };
        let FailedStep { failures, retry_at, reason } = failed;
        if self.clock.unix_ms() < retry_at {
            let detail = format!(
                "{name} failed {failures} times, the last time: {reason}. It is sent again at {retry_at} (Unix \
                 milliseconds) at the earliest"
            );
            return Err(NodeError::refused(Blame::Retry, "step-reverted", detail));
        }
        Ok(Step { key: format!("{name}/again/{failures}"), failures, name })
    }

    /// The result of sending a step. A transaction that reverted, or can never be mined, is noted:
    /// the next call sends another one. The noting transaction checks the lease of the step.
    ///
    /// # Errors
    ///
    /// `step-reverted` with the contract's reason, or with the nonce that was taken; every other
    /// error as it is.
    pub(crate) async fn sent<T>(&self, step: &Step, lease: Option<&Lease>, sent: Result<T, FlowError>) -> Result<T> {
        let error = match sent {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let reason = match &error {
            FlowError::Send(failed @ (SendError::Reverted { .. } | SendError::NonceTaken { .. })) => failed.to_string(),
            _ => return Err(error.into()),
        };
        self.failed(step, lease, &reason).await?;
        let detail = format!("{reason}. A repeat sends another transaction");
        Err(NodeError::refused(Blame::Retry, "step-reverted", detail))
    }

    /// Notes that the transaction of a step has not done what it was sent for.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`], also when the lease was lost.
    pub(crate) async fn failed(&self, step: &Step, lease: Option<&Lease>, reason: &str) -> Result<()> {
        let failures = step.failures + 1;
        let retry_at = self.clock.unix_ms() + wait_ms(failures);
        let failed = FailedStep { failures, retry_at, reason: reason.to_owned() };
        tracing::warn!(step = step.name, failures, reason, "a step on chain failed");
        let noted: Result<(), StoreError> = transact_locked!(self.store, |tx| {
            if let Some(lease) = lease {
                tx.check_lease(lease).await?;
            }
            tx.step_failed(&step.name, &failed).await
        });
        Ok(noted?)
    }
}

/// How long the retry after so many failures waits, in milliseconds.
fn wait_ms(failures: u64) -> u64 {
    if failures <= FREE_RETRIES {
        return 0;
    }
    let doublings = failures - FREE_RETRIES - 1;
    WAIT_MS.saturating_mul(1 << doublings.min(16)).min(WAIT_MAX_MS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use alloy_primitives::B256;
    use openledger_store::BlobsConfig;

    use super::*;
    use crate::config::NodeClock;

    async fn steps() -> (Steps, Arc<AtomicU64>) {
        let store = Store::open("sqlite::memory:", BlobsConfig::new("memory:")).await.unwrap();
        let now = Arc::new(AtomicU64::new(1_000));
        let time = Arc::clone(&now);
        let clock = Clock::with_source(NodeClock::Wall, move || time.load(Ordering::Relaxed));
        (Steps::new(store, clock), now)
    }

    fn reverted(key: &str) -> FlowError {
        SendError::Reverted { key: key.to_owned(), hash: B256::ZERO, block: 3, revert: Box::default() }.into()
    }

    async fn key(steps: &Steps) -> Result<String> {
        Ok(steps.next("epoch/7/propose".to_owned()).await?.key().to_owned())
    }

    #[tokio::test]
    async fn a_step_that_reverted_has_another_key_and_a_failure_noted_twice_counts_once() {
        let (steps, _) = steps().await;
        let step = steps.next("epoch/7/propose".to_owned()).await.unwrap();
        assert_eq!(step.key(), "epoch/7/propose");
        for _ in 0..2 {
            let error = steps.sent(&step, None, Err::<(), _>(reverted(step.key()))).await.unwrap_err();
            assert_eq!(error.code(), "step-reverted");
            assert!(error.to_string().contains("epoch/7/propose reverted in block 3"), "{error}");
            assert_eq!(key(&steps).await.unwrap(), "epoch/7/propose/again/1");
        }
        assert_eq!(steps.next("epoch/7/finalize".to_owned()).await.unwrap().key(), "epoch/7/finalize");
    }

    #[tokio::test]
    async fn a_transaction_whose_nonce_was_taken_gives_way_to_another_key() {
        let (steps, _) = steps().await;
        let step = steps.next("epoch/7/propose".to_owned()).await.unwrap();
        let taken = SendError::NonceTaken { key: step.key().to_owned(), nonce: 4 };
        let error = steps.sent(&step, None, Err::<(), _>(taken.into())).await.unwrap_err();
        assert_eq!((error.blame(), error.code()), (Blame::Retry, "step-reverted"));
        assert!(error.to_string().contains("nonce 4 of epoch/7/propose"), "{error}");
        assert_eq!(key(&steps).await.unwrap(), "epoch/7/propose/again/1");
    }

    #[tokio::test]
    async fn a_transaction_that_was_not_mined_keeps_its_key() {
        let (steps, _) = steps().await;
        let step = steps.next("epoch/7/propose".to_owned()).await.unwrap();
        let waiting = SendError::NotMined { key: step.key().to_owned(), hash: B256::ZERO, waited_s: 60 };
        steps.sent(&step, None, Err::<(), _>(waiting.into())).await.unwrap_err();
        assert_eq!(key(&steps).await.unwrap(), "epoch/7/propose");
    }

    #[tokio::test]
    async fn retries_beyond_the_third_wait_and_the_error_says_why_and_until_when() {
        let (steps, now) = steps().await;
        for _ in 0..4 {
            let step = steps.next("epoch/7/propose".to_owned()).await.unwrap();
            steps.sent(&step, None, Err::<(), _>(reverted(step.key()))).await.unwrap_err();
        }
        let error = key(&steps).await.unwrap_err();
        assert_eq!(error.code(), "step-reverted");
        assert!(error.to_string().contains("failed 4 times") && error.to_string().contains("61000"), "{error}");
        now.store(61_000, Ordering::Relaxed);
        assert_eq!(key(&steps).await.unwrap(), "epoch/7/propose/again/4");
        let waits: Vec<u64> = (3..12).map(|failures| wait_ms(failures) / 60_000).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
