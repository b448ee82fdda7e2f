//! Records: one row each, and the body of each in one place.
//!
//! **Invariant:** lists are in order of acceptance, then of place in the contribution; so the first of several records
//! with one content is the one that was first. A record's text lies in its body row and nowhere else in the store, so
//! that erasing it there erases it.

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{B256, ContributionId, DatanetId, RecordRef};
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
    /// SPDX expression or `LicenseRef-…`.
    pub license: String,
    /// The record that owns its near-duplicate cluster, when that is another one.
    pub owner: Option<RecordRef>,
    /// What of it is its own, in 1/65,535.
    pub multiplier: u16,
}

const SELECT: &str = "SELECT contribution, idx, record_id, content_hash, content_root, length, license, \
                      owner_contribution, owner_idx, multiplier, seq FROM records";
const HEAD: &str = "records (contribution, idx, datanet, seq, record_id, content_hash, content_root, length, \
                    license, owner_contribution, owner_idx, multiplier)";

fn read(row: &Row) -> Result<RecordRow> {
    let owner: (Option<ContributionId>, Option<u32>) = (row.get(7)?, row.get(8)?);
    Ok(RecordRow {
        at: RecordRef { contribution: row.get(0)?, index: row.get(1)? },
        record_id: row.get(2)?,
        content_hash: row.get(3)?,
        content_root: row.get(4)?,
        length: row.get(5)?,
        license: row.get(6)?,
        owner: owner.0.zip(owner.1).map(|(contribution, index)| RecordRef { contribution, index }),
        multiplier: row.get(9)?,
    })
}

impl Reads {
    /// One record.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn record(&self, at: RecordRef) -> Result<Option<RecordRow>> {
        let sql = format!("{SELECT} WHERE contribution = ? AND idx = ?");
        self.one(sql, values![at.contribution, at.index], read).await
    }

    /// All records of a contribution, by place.
    ///
    /// # Errors
    ///
    /// As [`Reads::record`].
    pub async fn records_of(&self, contribution: ContributionId) -> Result<Vec<RecordRow>> {
        self.list(format!("{SELECT} WHERE contribution = ? ORDER BY idx"), values![contribution], read).await
    }

    /// A record's body, as it was put.
    ///
    /// # Errors
    ///
    /// [`Error::Erased`] when it was erased, [`Error::Missing`] when there is none.
    pub async fn record_body(&self, at: RecordRef) -> Result<Vec<u8>> {
        let sql = "SELECT body FROM record_bodies WHERE contribution = ? AND idx = ?";
        let found: Option<Option<Vec<u8>>> =
            self.one(sql, values![at.contribution, at.index], |row| row.get(0)).await?;
        let missing = || Error::missing("record body", format!("{}/{}", at.contribution, at.index));
        found.ok_or_else(missing)?.ok_or(Error::Erased { at })
    }

    /// The bodies of a contribution's records that were not erased, by place.
    ///
    /// # Errors
    ///
    /// As [`Reads::record`].
    pub async fn record_bodies(&self, contribution: ContributionId) -> Result<Vec<(u32, Vec<u8>)>> {
        let sql = "SELECT idx, body FROM record_bodies WHERE contribution = ? AND body IS NOT NULL ORDER BY idx";
        self.list(sql, values![contribution], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// The records of a datanet whose content is one of `hashes`, in order of acceptance; so the first with a given
    /// content is its earliest.
    ///
    /// # Errors
    ///
    /// As [`Reads::record`].
    pub async fn records_with_content(&self, datanet: DatanetId, hashes: &[B256]) -> Result<Vec<RecordRow>> {
        let mut found = Vec::new();
        for part in hashes.chunks(ROWS_PER_INSERT) {
            // Sorted here: asked for an order, both engines walk the whole datanet instead of the content index.
            let sql = format!("{SELECT} WHERE datanet = ? AND content_hash IN ({})", places(part.len()));
            let mut values = values![datanet];
            values.extend(part.iter().map(|hash| Value::from(*hash)));
            found.extend(self.list(sql, values, |row| Ok((row.get::<u64>(10)?, read(row)?))).await?);
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
        let mut rows = Vec::with_capacity(records.len());
        for batch in records.chunk_by(|a, b| a.at.contribution == b.at.contribution) {
            let id = batch[0].at.contribution;
            let of = self.contribution(id).await?.ok_or_else(|| Error::missing("contribution", id))?;
            rows.extend(batch.iter().map(|r| {
                values![
                    id,
                    r.at.index,
                    of.datanet,
                    of.seq,
                    r.record_id.as_str(),
                    r.content_hash,
                    r.content_root,
                    r.length,
                    r.license.as_str(),
                    r.owner.map(|owner| owner.contribution),
                    r.owner.map(|owner| owner.index),
                    r.multiplier,
                ]
            }));
        }
        self.insert_all(HEAD, rows).await
    }

    /// Adds the bodies of records that are there.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when a record has one.
    pub async fn put_record_bodies(&mut self, bodies: &[(RecordRef, Vec<u8>)]) -> Result<()> {
        let rows = bodies.iter().map(|(at, body)| values![at.contribution, at.index, body.as_slice()]);
        self.insert_all("record_bodies (contribution, idx, body)", rows.collect()).await
    }

    /// Erases a record's body at `now` (Unix milliseconds); its hashes stay. One that is erased keeps
    /// its time. Erasure on request will call this; nothing does yet.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is none.
    pub async fn erase_record_body(&mut self, at: RecordRef, now: u64) -> Result<()> {
        let sql =
            "UPDATE record_bodies SET body = NULL, erased = COALESCE(erased, ?) WHERE contribution = ? AND idx = ?";
        match self.execute(sql, values![now, at.contribution, at.index]).await? {
            0 => Err(Error::missing("record body", format!("{}/{}", at.contribution, at.index))),
            _ => Ok(()),
        }
    }
}
