//! Steps on chain that failed: how many of a step's transactions reverted, and when another may be
//! sent.
//!
//! A key of the outbox has one transaction, ever. A step whose transaction reverted goes on under
//! another key, which follows from the number of failures.
//!
//! **Invariant:** a failure is counted once, however often and by whomever it is noted.

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::sql::{Row, values};

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStep {
    /// Transactions of it that reverted.
    pub failures: u64,
    /// When another one may be sent, Unix milliseconds.
    pub retry_at: u64,
    /// Why the last one reverted.
    pub reason: String,
}

fn read(row: &Row) -> Result<FailedStep> {
    Ok(FailedStep { failures: row.get(0)?, retry_at: row.get(1)?, reason: row.get(2)? })
}

impl Reads {
    /// The failures of a step; `None` when there are none.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Malformed`].
    pub async fn failed_step(&self, name: &str) -> Result<Option<FailedStep>> {
        let sql = "SELECT failures, retry_at, reason FROM failed_steps WHERE name = ?";
        self.one(sql, values![name], read).await
    }
}

impl Tx {
    /// Notes that a step has failed `step.failures` times; nothing happens when as many are noted.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`].
    pub async fn step_failed(&mut self, name: &str, step: &FailedStep) -> Result<()> {
        let row = values![name, step.failures, step.retry_at, step.reason.as_str()];
        let later = "ON CONFLICT (name) DO UPDATE SET failures = excluded.failures, retry_at = excluded.retry_at, \
                     reason = excluded.reason WHERE failed_steps.failures < excluded.failures";
        self.insert_all_or("failed_steps (name, failures, retry_at, reason)", later, vec![row]).await.map(drop)
    }
}
