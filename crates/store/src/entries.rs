//! Entries: the lines of receipts, and where their leaves stand in the trees of epochs.
//!
//! **Invariant:** an epoch's entries are ordered by account, receipt and line, as its tree is.

use std::collections::BTreeMap;

use openledger_protocol::{Entry, PayeeRole};

use crate::db::Reads;
use crate::error::Result;
use crate::ids::{ContributionId, ReceiptId};
use crate::sql::{ROWS_PER_INSERT, Row, Value, places, values};

const SELECT: &str = "SELECT receipt, line, role, account, contribution, amount FROM entries";

/// Every role and its word in the database.
const ROLES: [(PayeeRole, &str); 8] = [
    (PayeeRole::Treasury, "treasury"),
    (PayeeRole::Validation, "validation"),
    (PayeeRole::Insurance, "insurance"),
    (PayeeRole::Owner, "owner"),
    (PayeeRole::Node, "node"),
    (PayeeRole::Stakers, "stakers"),
    (PayeeRole::Contributor, "contributor"),
    (PayeeRole::Parent, "parent"),
];

fn read(row: &Row) -> Result<Entry> {
    let word: String = row.get(2)?;
    let role = ROLES.iter().find(|(_, name)| *name == word).map(|(role, _)| *role);
    let contribution: Option<ContributionId> = row.get(4)?;
    Ok(Entry {
        receipt: row.get(0)?,
        line: row.get(1)?,
        role: role.ok_or_else(|| row.malformed(2, "a role"))?,
        account: row.get(3)?,
        contribution: contribution.unwrap_or(Entry::NO_CONTRIBUTION),
        amount: row.get(5)?,
    })
}

/// The rows of entries of receipts in `epoch`: receipt, line, epoch, role, account, contribution, amount.
pub(crate) fn entry_rows(epoch: u64, entries: &[Entry]) -> Vec<Vec<Value>> {
    let row = |e: &Entry| {
        let role = ROLES[e.role as usize].1;
        let contribution = Some(e.contribution).filter(|id| *id != Entry::NO_CONTRIBUTION);
        values![e.receipt, e.line, epoch, role, e.account, contribution, e.amount]
    };
    entries.iter().map(row).collect()
}

impl Reads {
    /// The entries of some receipts, by receipt and line; receipts without entries are left out.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Malformed`].
    pub async fn entries_of_receipts(&self, ids: &[ReceiptId]) -> Result<BTreeMap<ReceiptId, Vec<Entry>>> {
        let mut entries: BTreeMap<ReceiptId, Vec<Entry>> = BTreeMap::new();
        for part in ids.chunks(ROWS_PER_INSERT) {
            let sql = format!("{SELECT} WHERE receipt IN ({}) ORDER BY receipt, line", places(part.len()));
            for entry in self.list(sql, part.iter().map(|&id| Value::from(id)).collect(), read).await? {
                entries.entry(entry.receipt).or_default().push(entry);
            }
        }
        Ok(entries)
    }

    /// The places of a receipt's entries in the tree of its epoch, by line; empty until that is closed.
    ///
    /// # Errors
    ///
    /// As [`Reads::entries_of_receipts`].
    pub async fn entry_places(&self, id: ReceiptId) -> Result<Vec<u64>> {
        let sql = "SELECT place FROM entries WHERE receipt = ? AND place IS NOT NULL ORDER BY line";
        self.list(sql, values![id], |row| row.get(0)).await
    }

    /// An epoch's entries in the order of its tree.
    ///
    /// # Errors
    ///
    /// As [`Reads::entries_of_receipts`].
    pub async fn epoch_entries(&self, epoch: u64) -> Result<Vec<Entry>> {
        self.list(format!("{SELECT} WHERE epoch = ? ORDER BY account, receipt, line"), values![epoch], read).await
    }
}

#[cfg(test)]
mod tests {
    use super::ROLES;

    #[test]
    fn each_role_stands_at_its_number() {
        for (i, (role, _)) in ROLES.iter().enumerate() {
            assert_eq!(*role as usize, i);
        }
    }
}
