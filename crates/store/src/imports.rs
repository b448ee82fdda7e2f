//! What files brought: each import's report, with the batches that wait for signatures.
//!
//! **Invariant:** an import's batches go prepared → committed → registered; once one is committed, its report stays.

use openledger_protocol::Contribution;

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, B256, BlobHash, ContributionId, DatanetId};
use crate::sql::{Row, json, values, words};

words! {
    /// How far a batch has come.
    pub enum BatchState {
        /// It waits for its registrant's signature; nothing is in the datanet yet.
        Prepared = "prepared",
        /// Signed: its records are in the datanet, the registration is on its way to the chain.
        Committed = "committed",
        /// The chain has its title.
        Registered = "registered",
    }
}

/// A file that was imported, and its report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The import's id.
    pub id: B256,
    /// Where its records go.
    pub datanet: DatanetId,
    /// The blob with the file.
    pub file: BlobHash,
    /// Records in the file.
    pub lines: u64,
    /// Records that are taken.
    pub accepted: u64,
    /// Records that are not, by line.
    pub refused: Vec<RefusedRecord>,
    /// Records that are taken though they are nearly earlier ones, in the order of the file.
    pub near_duplicates: Vec<NearDuplicate>,
    /// The batches, in order of first appearance.
    pub batches: Vec<ImportBatch>,
    /// When it was made, Unix milliseconds.
    pub created: u64,
}

/// A record that an import refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Line in the file, from 1.
    pub line: u64,
    /// The record's id, when the line had one.
    pub record_id: Option<String>,
    /// Why.
    pub reason: String,
}

/// A record that is nearly an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearDuplicate {
    /// The record's id.
    pub record: String,
    /// The earlier record's id.
    pub original: String,
}

/// A batch of an import: one contribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportBatch {
    /// The contribution as it will be registered.
    pub contribution: Contribution,
    /// The contributors' handles, in the order of their accounts.
    pub handles: Vec<String>,
    /// What the registrant signs.
    pub digest: B256,
    /// How far it has come.
    pub state: BatchState,
    /// What the registration gave, once it is on the chain.
    pub registration: Option<Registration>,
}

/// A registration on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// The title's holder: the contributor, or the splitter of several.
    pub holder: Address,
    /// The transaction.
    pub tx: B256,
    /// Its block.
    pub block: u64,
}

fn refused(row: &Row) -> Result<RefusedRecord> {
    Ok(RefusedRecord { line: row.get(0)?, record_id: row.get(1)?, reason: row.get(2)? })
}

fn near(row: &Row) -> Result<NearDuplicate> {
    Ok(NearDuplicate { record: row.get(0)?, original: row.get(1)? })
}

fn batch(row: &Row) -> Result<ImportBatch> {
    let contribution = Contribution {
        id: row.get(0)?,
        datanet: row.get(1)?,
        registrant: row.get(2)?,
        contributors: row.get(3)?,
        root: row.get(5)?,
        count: row.get(6)?,
        terms: row.get(7)?,
        nonce: row.get(8)?,
    };
    let state: BatchState = row.get(10)?;
    let registered = state == BatchState::Registered;
    let registration =
        || -> Result<Registration> { Ok(Registration { holder: row.get(11)?, tx: row.get(12)?, block: row.get(13)? }) };
    Ok(ImportBatch {
        contribution,
        handles: row.json(4, "a list of handles")?,
        digest: row.get(9)?,
        state,
        registration: registered.then(registration).transpose()?,
    })
}

impl Reads {
    /// An import with its whole report.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn import(&self, id: B256) -> Result<Option<Import>> {
        let sql = "SELECT datanet, file, lines, accepted, created FROM imports WHERE id = ?";
        let Some(row) = self.row(sql, values![id]).await? else { return Ok(None) };
        let sql = "SELECT line, record_id, reason FROM refused_records WHERE import = ? ORDER BY line";
        let refused = self.list(sql, values![id], refused).await?;
        let sql = "SELECT record, original FROM near_duplicates WHERE import = ? ORDER BY place";
        let near_duplicates = self.list(sql, values![id], near).await?;
        let sql = "SELECT contribution, datanet, registrant, contributors, handles, root, count, terms, nonce, digest, \
                   state, holder, tx, block FROM import_batches WHERE import = ? ORDER BY place";
        let batches = self.list(sql, values![id], batch).await?;
        Ok(Some(Import {
            id,
            datanet: row.get(0)?,
            file: row.get(1)?,
            lines: row.get(2)?,
            accepted: row.get(3)?,
            refused,
            near_duplicates,
            batches,
            created: row.get(4)?,
        }))
    }
}

impl Tx {
    /// Keeps an import's report, in place of an earlier one of which no batch was committed.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when a batch of the earlier report was committed; nothing is changed then.
    pub async fn put_import(&mut self, import: &Import) -> Result<()> {
        let id = import.id;
        let sql = "SELECT COUNT(*) FROM import_batches WHERE import = ? AND state <> 'prepared'";
        if self.number(sql, values![id]).await? > 0 {
            return Err(Error::state("import", id, BatchState::Committed, BatchState::Prepared));
        }
        for table in ["import_batches", "near_duplicates", "refused_records"] {
            self.execute(format!("DELETE FROM {table} WHERE import = ?"), values![id]).await?;
        }
        let head = "imports (id, datanet, file, lines, accepted, created)";
        let replace = "ON CONFLICT (id) DO UPDATE SET datanet = excluded.datanet, file = excluded.file, \
                       lines = excluded.lines, accepted = excluded.accepted, created = excluded.created";
        let row = values![id, import.datanet, import.file, import.lines, import.accepted, import.created];
        self.insert_all_or(head, replace, vec![row]).await?;
        let rows = import.refused.iter().map(|r| values![id, r.line, r.record_id.clone(), r.reason.as_str()]);
        self.insert_all("refused_records (import, line, record_id, reason)", rows.collect()).await?;
        let rows = (0u64..).zip(&import.near_duplicates);
        let rows = rows.map(|(place, near)| values![id, place, near.record.as_str(), near.original.as_str()]);
        self.insert_all("near_duplicates (import, place, record, original)", rows.collect()).await?;
        let mut rows = Vec::with_capacity(import.batches.len());
        for (place, batch) in (0u64..).zip(&import.batches) {
            let c = &batch.contribution;
            let mut row = values![id, place, c.id, c.datanet, c.registrant, c.contributors.as_slice()];
            row.push(json(&batch.handles)?);
            let at = batch.registration;
            row.extend(values![c.root, c.count, c.terms, c.nonce, batch.digest, batch.state]);
            row.extend(values![at.map(|at| at.holder), at.map(|at| at.tx), at.map(|at| at.block)]);
            rows.push(row);
        }
        let head = "import_batches (import, place, contribution, datanet, registrant, contributors, handles, root, \
                    count, terms, nonce, digest, state, holder, tx, block)";
        self.insert_all(head, rows).await
    }

    /// Notes that all prepared batches of an import are committed, in the transaction that adds their contributions.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn commit_batches(&mut self, import: B256) -> Result<()> {
        let sql = "UPDATE import_batches SET state = 'committed' WHERE import = ? AND state = 'prepared'";
        self.execute(sql, values![import]).await.map(drop)
    }

    /// Notes that a committed batch is on the chain.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when the import has no such batch that was committed.
    pub async fn batch_registered(&mut self, import: B256, id: ContributionId, at: &Registration) -> Result<()> {
        let sql = "UPDATE import_batches SET state = 'registered', holder = ?, tx = ?, block = ? \
                   WHERE import = ? AND contribution = ? AND state <> 'prepared'";
        match self.execute(sql, values![at.holder, at.tx, at.block, import, id]).await? {
            0 => Err(Error::missing("committed batch", id)),
            _ => Ok(()),
        }
    }
}
