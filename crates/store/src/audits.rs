//! How far an audit has come, so that the next one goes on from there.

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::ids::{Address, Amount, B256};
use crate::sql::{Row, values};

/// Where an audit stands: everything up to here was found right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditMark {
    /// The last epoch that was audited; 0 before the first.
    pub epoch: u64,
    /// The payouts up to it, since genesis.
    pub total: Amount,
    /// Its payout root.
    pub payout_root: B256,
    /// The next block of the chain to be audited.
    pub block: u64,
    /// What the blocks before it burned.
    pub burned: Amount,
}

fn read(row: &Row) -> Result<AuditMark> {
    Ok(AuditMark {
        epoch: row.get(0)?,
        total: row.get(1)?,
        payout_root: row.get(2)?,
        block: row.get(3)?,
        burned: row.get(4)?,
    })
}

impl Reads {
    /// Where the audit stands; `None` before the first.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Malformed`].
    pub async fn audit_mark(&self) -> Result<Option<AuditMark>> {
        self.one("SELECT epoch, total, payout_root, block, burned FROM audit_marks WHERE id = 1", values![], read).await
    }

    /// The accounts that appeared in the audited blocks, by address.
    ///
    /// # Errors
    ///
    /// As [`Reads::audit_mark`].
    pub async fn audit_accounts(&self) -> Result<Vec<Address>> {
        self.list("SELECT address FROM audit_accounts ORDER BY address", values![], |row| row.get(0)).await
    }
}

impl Tx {
    /// Moves the audit on.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`].
    pub async fn put_audit_mark(&mut self, mark: &AuditMark) -> Result<()> {
        let AuditMark { epoch, total, payout_root, block, burned } = *mark;
        let head = "audit_marks (id, epoch, total, payout_root, block, burned)";
        let replace = "ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, total = excluded.total, \
                       payout_root = excluded.payout_root, block = excluded.block, burned = excluded.burned";
        let row = values![1u64, epoch, total, payout_root, block, burned];
        self.insert_all_or(head, replace, vec![row]).await.map(drop)
    }

    /// Adds accounts that appeared in audited blocks; those that are known stay.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`].
    pub async fn add_audit_accounts(&mut self, accounts: &[Address]) -> Result<()> {
        let rows = accounts.iter().map(|&account| values![account]).collect();
        self.insert_all_or("audit_accounts (address)", "ON CONFLICT (address) DO NOTHING", rows).await.map(drop)
    }
}
