//! Grants that datanet owners signed.
//!
//! Not here: whether a grant is good (`protocol` checks the signature, the chain the slot).

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::ids::{Address, DatanetId, GrantHash};
use crate::sql::{Row, values};

/// A signed grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// Its EIP-712 hash.
    pub hash: GrantHash,
    /// The datanet.
    pub datanet: DatanetId,
    /// Up to which version.
    pub version: u64,
    /// The account that may use the data.
    pub grantee: Address,
    /// The purposes, as bits.
    pub purposes: u32,
    /// Until when, Unix time as signed; at most 2⁶³ − 1.
    pub until: u64,
    /// The owner's signature.
    pub signature: Vec<u8>,
}

const SELECT: &str = "SELECT hash, datanet, version, grantee, purposes, until, signature FROM grants";

fn read(row: &Row) -> Result<GrantRow> {
    Ok(GrantRow {
        hash: row.get(0)?,
        datanet: row.get(1)?,
        version: row.get(2)?,
        grantee: row.get(3)?,
        purposes: row.get(4)?,
        until: row.get(5)?,
        signature: row.get(6)?,
    })
}

impl Reads {
    /// The grant with this hash.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Malformed`].
    pub async fn grant(&self, hash: GrantHash) -> Result<Option<GrantRow>> {
        self.one(format!("{SELECT} WHERE hash = ?"), values![hash], read).await
    }

    /// All grants on a datanet, by grantee, then by hash.
    ///
    /// # Errors
    ///
    /// As [`Reads::grant`].
    pub async fn grants_of(&self, datanet: DatanetId) -> Result<Vec<GrantRow>> {
        self.list(format!("{SELECT} WHERE datanet = ? ORDER BY grantee, hash"), values![datanet], read).await
    }
}

impl Tx {
    /// Keeps a grant.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Exists`] when it is there.
    pub async fn put_grant(&mut self, g: &GrantRow) -> Result<()> {
        let row = values![g.hash, g.datanet, g.version, g.grantee, g.purposes, g.until, g.signature.as_slice()];
        self.insert_all("grants (hash, datanet, version, grantee, purposes, until, signature)", vec![row]).await
    }
}
