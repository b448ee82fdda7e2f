//! Contributions, in the order this node accepted them.
//!
//! **Invariant:** `seq` grows with acceptance, so the earliest holder of a text is the one with the least `seq`.

use crate::counters::Counter;
use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, B256, ContributionId, DatanetId};
use crate::sql::{FOR_UPDATE, Row, values, words};

words! {
    /// How far a contribution has come.
    pub enum ContributionState {
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
    /// The account that signed the registration.
    pub registrant: Address,
    /// The accounts of its contributors.
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
}

const SELECT: &str = "SELECT id, datanet, registrant, contributors, root, count, seq, state, payee FROM contributions";

fn read(row: &Row) -> Result<ContributionRow> {
    Ok(ContributionRow {
        id: row.get(0)?,
        datanet: row.get(1)?,
        registrant: row.get(2)?,
        contributors: row.get(3)?,
        root: row.get(4)?,
        count: row.get(5)?,
        seq: row.get(6)?,
        state: row.get(7)?,
        payee: row.get(8)?,
    })
}

impl Reads {
    /// The contribution with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn contribution(&self, id: ContributionId) -> Result<Option<ContributionRow>> {
        self.one(format!("{SELECT} WHERE id = ?"), values![id], read).await
    }

    /// A datanet's contributions in order of acceptance.
    ///
    /// # Errors
    ///
    /// As [`Reads::contribution`].
    pub async fn contributions_of(&self, datanet: DatanetId) -> Result<Vec<ContributionRow>> {
        self.list(format!("{SELECT} WHERE datanet = ? ORDER BY seq"), values![datanet], read).await
    }

    /// Registered contributions, newest first, at most `limit` of those accepted before number `before`.
    ///
    /// # Errors
    ///
    /// As [`Reads::contribution`].
    pub async fn latest_contributions(&self, before: Option<u64>, limit: u32) -> Result<Vec<ContributionRow>> {
        let sql = format!("{SELECT} WHERE state = 'registered' AND seq < ? ORDER BY seq DESC LIMIT ?");
        self.list(sql, values![before.unwrap_or(u64::MAX >> 1), limit], read).await
    }

    /// How many contributions `registrant` has made: the nonce of the next one.
    ///
    /// # Errors
    ///
    /// As [`Reads::contribution`].
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
        self.put_contributions(std::slice::from_ref(contribution)).await
    }

    /// As [`Tx::put_contribution`], for many in their order; returns the first `seq`.
    ///
    /// Rows go in some hundred per statement.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when an id is taken.
    pub async fn put_contributions(&mut self, contributions: &[ContributionRow]) -> Result<u64> {
        let count = u32::try_from(contributions.len()).map_err(|_| Error::TooLarge { value: u64::MAX })?;
        let seqs = self.next_sequences("contributions", count).await?;
        let first = seqs.start;
        let rows = contributions.iter().zip(seqs).map(|(c, seq)| {
            let contributors = c.contributors.as_slice();
            values![c.id, seq, c.datanet, c.registrant, contributors, c.root, c.count, c.state, c.payee]
        });
        let head = "contributions (id, seq, datanet, registrant, contributors, root, count, state, payee)";
        self.insert_all(head, rows.collect()).await?;
        Ok(first)
    }

    /// Notes that the chain has a contribution's title, held by `payee`, and counts the contribution; one that is
    /// registered already is not counted again.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is none with this id.
    pub async fn register_contribution(&mut self, id: ContributionId, payee: Address) -> Result<()> {
        let found = self.one(format!("{SELECT} WHERE id = ? {FOR_UPDATE}"), values![id], read).await?;
        let row = found.ok_or_else(|| Error::missing("contribution", id))?;
        let sql = "UPDATE contributions SET state = 'registered', payee = ? WHERE id = ?";
        self.execute(sql, values![payee, id]).await?;
        if row.state == ContributionState::Registered {
            return Ok(());
        }
        let sql = "UPDATE datanets SET contributions = contributions + 1, records = records + ? WHERE id = ?";
        self.execute(sql, values![row.count, row.datanet]).await?;
        let mut contributors = row.contributors;
        contributors.sort();
        contributors.dedup();
        let mut new = 0;
        for account in contributors {
            let sql = "INSERT INTO contributors (account, contributions) VALUES (?, 1) ON CONFLICT (account) \
                       DO UPDATE SET contributions = contributors.contributions + 1 RETURNING contributions";
            let count: Option<u64> = self.one(sql, values![account], |row| row.get(0)).await?;
            new += u128::from(count == Some(1));
        }
        let counted = [(Counter::Contributions, 1), (Counter::Records, row.count.into()), (Counter::Contributors, new)];
        self.count(0, &counted).await
    }
}
