//! Contributions, in the order this node accepted them.
//!
//! **Invariant:** `seq` grows with acceptance, so the earliest holder of a text is the one with the least `seq`.

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, B256, BlobHash, ContributionId, DatanetId};
use crate::sql::{Row, json, values, words};

words! {
    /// How far a contribution has come.
    pub enum ContributionState {
        /// Parsed and checked, nothing promised yet.
        Prepared = "prepared",
        /// Its records are stored; the registration is on its way to the chain.
        Committed = "committed",
        /// The chain has its title.
        Registered = "registered",
    }
}

/// A contribution without its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContributionRow {
    /// Its id, also its token on the chain.
    pub id: ContributionId,
    /// The datanet it entered.
    pub datanet: DatanetId,
    /// Who signed the registration.
    pub registrant: Address,
    /// Who made the records.
    pub contributors: Vec<Address>,
    /// Merkle root over the record leaves.
    pub root: B256,
    /// Number of records.
    pub count: u32,
    /// Order of acceptance on this node, from 1; given by [`Tx::put_contribution`].
    pub seq: u64,
    /// How far it has come.
    pub state: ContributionState,
    /// The splitter or the single payee, once known.
    pub payee: Option<Address>,
    /// The blob with the import's manifest.
    pub manifest: Option<BlobHash>,
}

const SELECT: &str =
    "SELECT id, datanet, registrant, contributors_json, root, count, seq, state, payee, manifest FROM contributions";

fn read(row: &Row) -> Result<ContributionRow> {
    Ok(ContributionRow {
        id: row.get(0)?,
        datanet: row.get(1)?,
        registrant: row.get(2)?,
        contributors: row.json(3)?,
        root: row.get(4)?,
        count: row.get(5)?,
        seq: row.get(6)?,
        state: row.get(7)?,
        payee: row.get(8)?,
        manifest: row.get(9)?,
    })
}

impl Reads {
    /// The contribution with this id.
    pub async fn contribution(&self, id: ContributionId) -> Result<Option<ContributionRow>> {
        self.one(format!("{SELECT} WHERE id = ?"), values![id], read).await
    }

    /// A datanet's contributions in order of acceptance.
    pub async fn contributions_of(&self, datanet: DatanetId) -> Result<Vec<ContributionRow>> {
        self.list(format!("{SELECT} WHERE datanet = ? ORDER BY seq"), values![datanet], read).await
    }

    /// How many contributions `registrant` has made: the nonce of the next one.
    pub async fn registrations_by(&self, registrant: Address) -> Result<u64> {
        self.number("SELECT COUNT(*) FROM contributions WHERE registrant = ?", values![registrant]).await
    }
}

impl Tx {
    /// Adds a contribution and gives it the next `seq`, which is returned; the one in `contribution` is not looked at.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when the id is taken.
    pub async fn put_contribution(&mut self, contribution: &ContributionRow) -> Result<u64> {
        let c = contribution;
        let seq = self.next_sequence("contributions").await?;
        let mut row = values![c.id, seq, c.datanet, c.registrant, c.root, c.count, c.state, c.payee, c.manifest];
        row.push(json(&c.contributors)?);
        let head =
            "contributions (id, seq, datanet, registrant, root, count, state, payee, manifest, contributors_json)";
        self.insert_all(head, vec![row]).await?;
        Ok(seq)
    }

    /// Moves a contribution on, and sets its payee where one is given.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is none with this id.
    pub async fn set_contribution_state(
        &mut self,
        id: ContributionId,
        state: ContributionState,
        payee: Option<Address>,
    ) -> Result<()> {
        let sql = "UPDATE contributions SET state = ?, payee = COALESCE(?, payee) WHERE id = ?";
        match self.execute(sql, values![state, payee, id]).await? {
            0 => Err(Error::missing("contribution", id)),
            _ => Ok(()),
        }
    }
}
