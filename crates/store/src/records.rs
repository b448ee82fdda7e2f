//! Records: one row each, bodies in blobs.
//!
//! **Invariant:** lists are in order of acceptance, then of place in the contribution; so the first of several records
//! with one content is the one that was first.

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{B256, BlobHash, ContributionId, DatanetId, RecordRef};
use crate::sql::{ROWS_PER_INSERT, Row, Value, places, values};

/// A record without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// Which record of which contribution.
    pub at: RecordRef,
    /// The contributor's own id.
    pub record_id: String,
    /// SHA-256 of the canonical (for duplicate checks: folded) text.
    pub content_hash: B256,
    /// Merkle root over the chunks of the canonical text.
    pub content_root: B256,
    /// Bytes of the canonical text.
    pub length: u32,
    /// Where the body is.
    pub blob: BlobHash,
    /// SPDX expression or `LicenseRef-…`.
    pub license: String,
    /// Tokens, once counted.
    pub tokens: Option<u32>,
    /// The record that owns its near-duplicate cluster, when that is another one.
    pub owner: Option<RecordRef>,
    /// Derived-record multiplier, basis points.
    pub multiplier: u16,
}

const SELECT: &str = "SELECT contribution, idx, record_id, content_hash, content_root, length, blob, license, tokens, \
                      owner_contribution, owner_idx, multiplier, seq FROM records";
const HEAD: &str = "records (contribution, idx, datanet, seq, record_id, content_hash, content_root, length, blob, \
                    license, tokens, owner_contribution, owner_idx, multiplier)";

fn read(row: &Row) -> Result<RecordRow> {
    let owner: (Option<ContributionId>, Option<u32>) = (row.get(9)?, row.get(10)?);
    Ok(RecordRow {
        at: RecordRef { contribution: row.get(0)?, index: row.get(1)? },
        record_id: row.get(2)?,
        content_hash: row.get(3)?,
        content_root: row.get(4)?,
        length: row.get(5)?,
        blob: row.get(6)?,
        license: row.get(7)?,
        tokens: row.get(8)?,
        owner: owner.0.zip(owner.1).map(|(contribution, index)| RecordRef { contribution, index }),
        multiplier: row.get(11)?,
    })
}

impl Reads {
    /// One record.
    pub async fn record(&self, at: RecordRef) -> Result<Option<RecordRow>> {
        let sql = format!("{SELECT} WHERE contribution = ? AND idx = ?");
        self.one(sql, values![at.contribution, at.index], read).await
    }

    /// All records of a contribution, by place.
    pub async fn records_of(&self, contribution: ContributionId) -> Result<Vec<RecordRow>> {
        self.list(format!("{SELECT} WHERE contribution = ? ORDER BY idx"), values![contribution], read).await
    }

    /// A page of a datanet's records, in order of acceptance: `limit` of them after the first `offset`.
    pub async fn records_in(&self, datanet: DatanetId, offset: u64, limit: u32) -> Result<Vec<RecordRow>> {
        let sql = format!("{SELECT} WHERE datanet = ? ORDER BY seq, idx LIMIT ? OFFSET ?");
        self.list(sql, values![datanet, limit, offset], read).await
    }

    /// How many records a datanet has.
    pub async fn count_records(&self, datanet: DatanetId) -> Result<u64> {
        self.number("SELECT COUNT(*) FROM records WHERE datanet = ?", values![datanet]).await
    }

    /// The records of a datanet whose content is one of `hashes`, in order of acceptance; so the first with a given
    /// content is its earliest.
    pub async fn records_with_content(&self, datanet: DatanetId, hashes: &[B256]) -> Result<Vec<RecordRow>> {
        let mut found = Vec::new();
        for part in hashes.chunks(ROWS_PER_INSERT) {
            // Sorted here: asked for an order, both engines walk the whole datanet instead of the content index.
            let sql = format!("{SELECT} WHERE datanet = ? AND content_hash IN ({})", places(part.len()));
            let mut values = values![datanet];
            values.extend(part.iter().map(|hash| Value::from(*hash)));
            found.extend(self.list(sql, values, |row| Ok((row.get::<u64>(12)?, read(row)?))).await?);
        }
        found.sort_by_key(|(seq, record)| (*seq, record.at.index));
        found.dedup_by_key(|(_, record)| record.at);
        Ok(found.into_iter().map(|(_, record)| record).collect())
    }
}

impl Tx {
    /// Adds records of contributions that are in this transaction or already stored.
    ///
    /// Rows go in some hundred per statement; 100,000 take a few seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when a contribution is not there, [`Error::Exists`] when a place is taken.
    pub async fn put_records(&mut self, records: &[RecordRow]) -> Result<()> {
        for batch in records.chunk_by(|a, b| a.at.contribution == b.at.contribution) {
            let id = batch[0].at.contribution;
            let of = self.contribution(id).await?.ok_or_else(|| Error::missing("contribution", id))?;
            let rows = batch.iter().map(|r| {
                values![
                    id,
                    r.at.index,
                    of.datanet,
                    of.seq,
                    r.record_id.as_str(),
                    r.content_hash,
                    r.content_root,
                    r.length,
                    r.blob,
                    r.license.as_str(),
                    r.tokens,
                    r.owner.map(|owner| owner.contribution),
                    r.owner.map(|owner| owner.index),
                    r.multiplier,
                ]
            });
            self.insert_all(HEAD, rows.collect()).await?;
        }
        Ok(())
    }

    /// Sets the token count of a record.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is no such record.
    pub async fn set_record_tokens(&mut self, at: RecordRef, tokens: u32) -> Result<()> {
        let sql = "UPDATE records SET tokens = ? WHERE contribution = ? AND idx = ?";
        match self.execute(sql, values![tokens, at.contribution, at.index]).await? {
            0 => Err(Error::missing("record", format!("{}/{}", at.contribution, at.index))),
            _ => Ok(()),
        }
    }
}
