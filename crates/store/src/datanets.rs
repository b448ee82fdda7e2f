//! Datanets, their published versions, and the versions that were planned.
//!
//! Not here: the contributions a version lists (`contributions`).

use openledger_protocol::{Purposes, Rights};

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::ids::{Address, B256, ContributionId, DatanetId};
use crate::sql::{Row, values};

/// A datanet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datanet {
    /// Its id on the chain.
    pub id: DatanetId,
    /// Its name, unique on this node.
    pub name: String,
    /// Its owner when it was added.
    pub owner: Address,
    /// What it is about.
    pub description: String,
    /// Its terms.
    pub rights: Rights,
    /// When it was made, Unix milliseconds.
    pub created: u64,
    /// Its registered contributions; counted by the store.
    pub contributions: u64,
    /// The records of its registered contributions; counted by the store.
    pub records: u64,
}

/// A published state of a datanet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatanetVersion {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version, from 1.
    pub version: u64,
    /// Merkle root over the contribution leaves.
    pub root: B256,
    /// The contributions, in order of acceptance.
    pub contributions: Vec<ContributionId>,
}

const DATANET: &str = "SELECT id, name, owner, description, license, purposes, attribution, share_alike, \
                       min_royalty_bps, until, created, contributions, records FROM datanets";
const VERSION: &str = "SELECT datanet, version, root, contributions FROM datanet_versions";

fn datanet(row: &Row) -> Result<Datanet> {
    let rights = Rights {
        license: row.get(4)?,
        purposes: Purposes(row.get(5)?),
        attribution: row.get(6)?,
        share_alike: row.get(7)?,
        min_royalty_bps: row.get(8)?,
        until: row.get(9)?,
    };
    Ok(Datanet {
        id: row.get(0)?,
        name: row.get(1)?,
        owner: row.get(2)?,
        description: row.get(3)?,
        rights,
        created: row.get(10)?,
        contributions: row.get(11)?,
        records: row.get(12)?,
    })
}

fn version(row: &Row) -> Result<DatanetVersion> {
    Ok(DatanetVersion { datanet: row.get(0)?, version: row.get(1)?, root: row.get(2)?, contributions: row.get(3)? })
}

impl Reads {
    /// The datanet with this id.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Malformed`] naming the column that is damaged.
    pub async fn datanet(&self, id: DatanetId) -> Result<Option<Datanet>> {
        self.one(format!("{DATANET} WHERE id = ?"), values![id], datanet).await
    }

    /// Datanets by id, at most `limit` of those after `after`.
    ///
    /// # Errors
    ///
    /// As [`Reads::datanet`].
    pub async fn datanets_page(&self, after: Option<DatanetId>, limit: u32) -> Result<Vec<Datanet>> {
        let after = after.map_or(0, |id| id.0);
        self.list(format!("{DATANET} WHERE id > ? ORDER BY id LIMIT ?"), values![after, limit], datanet).await
    }

    /// The datanet with this name.
    ///
    /// # Errors
    ///
    /// As [`Reads::datanet`].
    pub async fn datanet_named(&self, name: &str) -> Result<Option<Datanet>> {
        self.one(format!("{DATANET} WHERE name = ?"), values![name], datanet).await
    }

    /// All datanets, by id.
    ///
    /// # Errors
    ///
    /// As [`Reads::datanet`].
    pub async fn datanets(&self) -> Result<Vec<Datanet>> {
        self.list(format!("{DATANET} ORDER BY id"), values![], datanet).await
    }

    /// One version of a datanet.
    ///
    /// # Errors
    ///
    /// As [`Reads::datanet`].
    pub async fn datanet_version(&self, of: DatanetId, number: u64) -> Result<Option<DatanetVersion>> {
        self.one(format!("{VERSION} WHERE datanet = ? AND version = ?"), values![of, number], version).await
    }

    /// The newest version of a datanet.
    ///
    /// # Errors
    ///
    /// As [`Reads::datanet`].
    pub async fn latest_datanet_version(&self, of: DatanetId) -> Result<Option<DatanetVersion>> {
        self.one(format!("{VERSION} WHERE datanet = ? ORDER BY version DESC LIMIT 1"), values![of], version).await
    }

    /// The version of this number and root as it was planned, whether it was published or not.
    ///
    /// # Errors
    ///
    /// As [`Reads::datanet`].
    pub async fn planned_version(&self, of: DatanetId, number: u64, root: B256) -> Result<Option<DatanetVersion>> {
        let sql = "SELECT datanet, version, root, contributions FROM planned_versions \
                   WHERE datanet = ? AND version = ? AND root = ?";
        self.one(sql, values![of, number, root], version).await
    }
}

impl Tx {
    /// Keeps a version that is about to be published; nothing happens when it is kept already.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`].
    pub async fn plan_datanet_version(&mut self, version: &DatanetVersion) -> Result<()> {
        let row = values![version.datanet, version.version, version.root, version.contributions.as_slice()];
        let head = "planned_versions (datanet, version, root, contributions)";
        self.insert_all_or(head, "ON CONFLICT DO NOTHING", vec![row]).await.map(drop)
    }

    /// Adds a datanet without contributions; the counts given are not looked at.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Exists`] when its id or name is taken.
    pub async fn put_datanet(&mut self, d: &Datanet) -> Result<()> {
        let Rights { license, purposes, attribution, share_alike, min_royalty_bps, until } = &d.rights;
        let mut row = values![d.id, d.name.as_str(), d.owner, d.description.as_str()];
        row.extend(values![license.as_str(), purposes.0, *attribution, *share_alike, *min_royalty_bps, *until]);
        row.extend(values![d.created, 0u64, 0u64]);
        let head = "datanets (id, name, owner, description, license, purposes, attribution, share_alike, \
                    min_royalty_bps, until, created, contributions, records)";
        self.insert_all(head, vec![row]).await
    }

    /// Adds a version.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Exists`] when the number is taken.
    pub async fn put_datanet_version(&mut self, version: &DatanetVersion) -> Result<()> {
        let row = values![version.datanet, version.version, version.root, version.contributions.as_slice()];
        self.insert_all("datanet_versions (datanet, version, root, contributions)", vec![row]).await
    }
}
