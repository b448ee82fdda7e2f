//! What files brought: the result of each import, so that the same file twice is one import, and what was refused.

use serde_json::Value as Json;

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::ids::{B256, DatanetId};
use crate::sql::{Row, values};

/// What makes two imports the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportKey {
    /// SHA-256 of the file.
    pub file: B256,
    /// Where it goes.
    pub datanet: DatanetId,
    /// Whatever else the result hangs on, such as registrant and options.
    pub key: String,
}

/// A record that an import refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    /// The import.
    pub import: B256,
    /// Line in the file, from 1.
    pub line: u32,
    /// The record's id, when the line had one.
    pub record_id: Option<String>,
    /// Why.
    pub reason: String,
}

fn refused(row: &Row) -> Result<RefusedRecord> {
    Ok(RefusedRecord { import: row.get(0)?, line: row.get(1)?, record_id: row.get(2)?, reason: row.get(3)? })
}

impl Reads {
    /// What this import gave when it was made before.
    pub async fn import_result(&self, key: &ImportKey) -> Result<Option<Json>> {
        let sql = "SELECT result_json FROM imports WHERE file_hash = ? AND datanet = ? AND key = ?";
        self.one(sql, values![key.file, key.datanet, key.key.as_str()], |row| row.json(0)).await
    }

    /// What an import refused, by line.
    pub async fn refused_records(&self, import: B256) -> Result<Vec<RefusedRecord>> {
        let sql = "SELECT import, line, record_id, reason FROM refused_records WHERE import = ? ORDER BY line";
        self.list(sql, values![import], refused).await
    }
}

impl Tx {
    /// Keeps an import's result. [`Error::Exists`](crate::Error::Exists) when another request made it first.
    pub async fn put_import_result(&mut self, key: &ImportKey, result: &Json) -> Result<()> {
        let row = values![key.file, key.datanet, key.key.as_str(), result.to_string()];
        self.insert_all("imports (file_hash, datanet, key, result_json)", vec![row]).await
    }

    /// Keeps what an import refused.
    pub async fn put_refused_records(&mut self, refused: &[RefusedRecord]) -> Result<()> {
        let rows = refused.iter().map(|r| values![r.import, r.line, r.record_id.clone(), r.reason.as_str()]);
        self.insert_all("refused_records (import, line, record_id, reason)", rows.collect()).await
    }
}
