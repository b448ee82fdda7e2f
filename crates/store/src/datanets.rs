//! Datanets and their published versions.
//!
//! Not here: the contributions a version lists (`contributions`).

use serde_json::Value as Json;

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::ids::{Address, B256, ContributionId, DatanetId};
use crate::sql::{Row, json, values};

/// A datanet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datanet {
    /// Its id on the chain.
    pub id: DatanetId,
    /// Its name, unique on this node.
    pub name: String,
    /// Who owns it.
    pub owner: Address,
    /// Its terms.
    pub terms: Json,
    /// When it was made, Unix milliseconds.
    pub created: u64,
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

const DATANET: &str = "SELECT id, name, owner, terms_json, created FROM datanets";
const VERSION: &str = "SELECT datanet, version, root, contributions_json FROM datanet_versions";

fn datanet(row: &Row) -> Result<Datanet> {
    Ok(Datanet { id: row.get(0)?, name: row.get(1)?, owner: row.get(2)?, terms: row.json(3)?, created: row.get(4)? })
}

fn version(row: &Row) -> Result<DatanetVersion> {
    Ok(DatanetVersion { datanet: row.get(0)?, version: row.get(1)?, root: row.get(2)?, contributions: row.json(3)? })
}

impl Reads {
    /// The datanet with this id.
    pub async fn datanet(&self, id: DatanetId) -> Result<Option<Datanet>> {
        self.one(format!("{DATANET} WHERE id = ?"), values![id], datanet).await
    }

    /// The datanet with this name.
    pub async fn datanet_named(&self, name: &str) -> Result<Option<Datanet>> {
        self.one(format!("{DATANET} WHERE name = ?"), values![name], datanet).await
    }

    /// All datanets, by id.
    pub async fn datanets(&self) -> Result<Vec<Datanet>> {
        self.list(format!("{DATANET} ORDER BY id"), values![], datanet).await
    }

    /// One version of a datanet.
    pub async fn datanet_version(&self, of: DatanetId, number: u64) -> Result<Option<DatanetVersion>> {
        self.one(format!("{VERSION} WHERE datanet = ? AND version = ?"), values![of, number], version).await
    }

    /// All versions of a datanet, oldest first.
    pub async fn datanet_versions(&self, of: DatanetId) -> Result<Vec<DatanetVersion>> {
        self.list(format!("{VERSION} WHERE datanet = ? ORDER BY version"), values![of], version).await
    }

    /// The newest version of a datanet.
    pub async fn latest_datanet_version(&self, of: DatanetId) -> Result<Option<DatanetVersion>> {
        self.one(format!("{VERSION} WHERE datanet = ? ORDER BY version DESC LIMIT 1"), values![of], version).await
    }
}

impl Tx {
    /// Adds a datanet. [`Error::Exists`](crate::Error::Exists) when its id or name is taken.
    pub async fn put_datanet(&mut self, datanet: &Datanet) -> Result<()> {
        let Datanet { id, name, owner, terms, created } = datanet;
        let row = values![*id, name.as_str(), *owner, terms.to_string(), *created];
        self.insert_all("datanets (id, name, owner, terms_json, created)", vec![row]).await
    }

    /// Adds a version. [`Error::Exists`](crate::Error::Exists) when the number is taken.
    pub async fn put_datanet_version(&mut self, version: &DatanetVersion) -> Result<()> {
        let mut row = values![version.datanet, version.version, version.root];
        row.push(json(&version.contributions)?);
        self.insert_all("datanet_versions (datanet, version, root, contributions_json)", vec![row]).await
    }
}
