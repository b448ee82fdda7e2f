//! Leases: what only one node instance may do at a time, such as the settlement of epochs.
//!
//! **Invariant:** a lease's fence grows whenever it is given out anew, and a write that checks the lease in its own
//! transaction fails once another holder has it. Times are Unix milliseconds and arguments.

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::sql::{FOR_UPDATE, values};

/// A lease that was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is held.
    pub name: String,
    /// The node instance that holds it.
    pub holder: String,
    /// The fencing token.
    pub fence: u64,
}

impl Reads {
    async fn lease_row(&self, name: &str, lock: &str) -> Result<Option<(String, u64, u64)>> {
        let sql = format!("SELECT holder, lease_until, fence FROM leases WHERE name = ? {lock}");
        self.one(sql, values![name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).await
    }
}

impl Tx {
    /// Takes the lease on `name` until `lease_until`. A holder gets its own lease again, with a new fence.
    ///
    /// # Errors
    ///
    /// [`Error::Leased`] while another holds it at `now`; nothing is changed then.
    pub async fn acquire_lease(&mut self, name: &str, holder: &str, now: u64, lease_until: u64) -> Result<Lease> {
        let head = "leases (name, holder, lease_until, fence)";
        let row = values![name, holder, 0u64, 0u64];
        self.insert_all_or(head, "ON CONFLICT (name) DO NOTHING", vec![row]).await?;
        let held = self.lease_row(name, FOR_UPDATE).await?.ok_or_else(|| Error::missing("lease", name))?;
        let (other, until, fence) = held;
        if other != holder && now < until {
            return Err(Error::Leased { name: name.to_owned(), holder: other, until });
        }
        let fence = fence + 1;
        let sql = "UPDATE leases SET holder = ?, lease_until = ?, fence = ? WHERE name = ?";
        self.execute(sql, values![holder, lease_until, fence, name]).await?;
        Ok(Lease { name: name.to_owned(), holder: holder.to_owned(), fence })
    }

    /// Holds on to a lease until `lease_until`.
    ///
    /// # Errors
    ///
    /// [`Error::StaleLease`] when it was given back or taken over.
    pub async fn extend_lease(&mut self, lease: &Lease, lease_until: u64) -> Result<()> {
        self.check_lease(lease).await?;
        let sql = "UPDATE leases SET lease_until = ? WHERE name = ?";
        self.execute(sql, values![lease_until, lease.name.as_str()]).await.map(drop)
    }

    /// Gives a lease back; nothing happens when it was lost.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn release_lease(&mut self, lease: &Lease) -> Result<()> {
        let sql = "UPDATE leases SET lease_until = 0, fence = fence + 1 WHERE name = ? AND fence = ?";
        self.execute(sql, values![lease.name.as_str(), lease.fence]).await.map(drop)
    }

    /// Makes this transaction fail unless the lease is still held; a new holder waits until the transaction ends.
    ///
    /// # Errors
    ///
    /// [`Error::StaleLease`].
    pub async fn check_lease(&mut self, lease: &Lease) -> Result<()> {
        let held = self.lease_row(&lease.name, FOR_UPDATE).await?;
        match held {
            Some((_, _, fence)) if fence == lease.fence => Ok(()),
            _ => Err(Error::StaleLease { name: lease.name.clone(), given: lease.fence }),
        }
    }
}
