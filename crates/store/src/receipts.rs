//! Receipts and the entries their prices were split into.
//!
//! **Invariant:** receipts are ordered by id, an epoch's entries by account, receipt and line, as their trees are.
//!
//! Not here: that entries sum to the price (`ledger`), signatures (`protocol`).

use openledger_protocol::{Entry, Role};

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, Amount, ChannelId, ContributionId, ReceiptId};
use crate::sql::{Row, values};

/// A receipt as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRow {
    /// Its id.
    pub id: ReceiptId,
    /// The channel that paid.
    pub channel: ChannelId,
    /// Its number in the channel.
    pub nonce: u64,
    /// The epoch it was closed into; `None` while that is open.
    pub epoch: Option<u64>,
    /// The price.
    pub price: Amount,
    /// When it was signed, as in the receipt.
    pub time: u64,
    /// The bundle as JSON, kept to the byte.
    pub body: String,
}

const RECEIPT: &str = "SELECT id, channel, nonce, epoch, price, time, body FROM receipts";
const ENTRY: &str = "SELECT e.receipt, e.line, e.role, e.account, e.contribution, e.amount FROM entries e";

/// Every role and its word in the database.
const ROLES: [(Role, &str); 8] = [
    (Role::Treasury, "treasury"),
    (Role::Validation, "validation"),
    (Role::Insurance, "insurance"),
    (Role::Owner, "owner"),
    (Role::Node, "node"),
    (Role::Stakers, "stakers"),
    (Role::Contributor, "contributor"),
    (Role::Parent, "parent"),
];

fn receipt(row: &Row) -> Result<ReceiptRow> {
    Ok(ReceiptRow {
        id: row.get(0)?,
        channel: row.get(1)?,
        nonce: row.get(2)?,
        epoch: row.get(3)?,
        price: row.get(4)?,
        time: row.get(5)?,
        body: row.get(6)?,
    })
}

fn entry(row: &Row) -> Result<Entry> {
    let word: String = row.get(2)?;
    let role = ROLES.iter().find(|(_, name)| *name == word).map(|(role, _)| *role);
    let contribution: Option<ContributionId> = row.get(4)?;
    Ok(Entry {
        receipt: row.get(0)?,
        line: row.get(1)?,
        role: role.ok_or(Error::Malformed { column: 2, expected: "a role" })?,
        account: row.get(3)?,
        contribution: contribution.unwrap_or(Entry::NO_CONTRIBUTION),
        amount: row.get(5)?,
    })
}

impl Reads {
    /// The receipt with this id.
    pub async fn receipt(&self, id: ReceiptId) -> Result<Option<ReceiptRow>> {
        self.one(format!("{RECEIPT} WHERE id = ?"), values![id], receipt).await
    }

    /// The receipts that are in no epoch yet, by id.
    pub async fn open_receipts(&self) -> Result<Vec<ReceiptRow>> {
        self.list(format!("{RECEIPT} WHERE epoch IS NULL ORDER BY id"), values![], receipt).await
    }

    /// The receipts of a closed epoch, by id.
    pub async fn receipts_of_epoch(&self, epoch: u64) -> Result<Vec<ReceiptRow>> {
        self.list(format!("{RECEIPT} WHERE epoch = ? ORDER BY id"), values![epoch], receipt).await
    }

    /// The newest receipts, at most `limit`, by time and then by id, newest first.
    pub async fn latest_receipts(&self, limit: u32) -> Result<Vec<ReceiptRow>> {
        self.list(format!("{RECEIPT} ORDER BY time DESC, id DESC LIMIT ?"), values![limit], receipt).await
    }

    /// A receipt's entries, by line.
    pub async fn entries_of_receipt(&self, id: ReceiptId) -> Result<Vec<Entry>> {
        self.list(format!("{ENTRY} WHERE e.receipt = ? ORDER BY e.line"), values![id], entry).await
    }

    /// The entries of receipts that are in no epoch yet, by account, receipt and line.
    pub async fn open_entries(&self) -> Result<Vec<Entry>> {
        let sql = format!(
            "{ENTRY} JOIN receipts r ON r.id = e.receipt WHERE r.epoch IS NULL ORDER BY e.account, e.receipt, e.line"
        );
        self.list(sql, values![], entry).await
    }

    /// The entries of a closed epoch, by account, receipt and line.
    pub async fn entries_of_epoch(&self, epoch: u64) -> Result<Vec<Entry>> {
        let sql = format!(
            "{ENTRY} JOIN receipts r ON r.id = e.receipt WHERE r.epoch = ? ORDER BY e.account, e.receipt, e.line"
        );
        self.list(sql, values![epoch], entry).await
    }

    /// Everything an account was credited, by receipt and line.
    pub async fn entries_of_account(&self, account: Address) -> Result<Vec<Entry>> {
        self.list(format!("{ENTRY} WHERE e.account = ? ORDER BY e.receipt, e.line"), values![account], entry).await
    }
}

impl Tx {
    /// Adds a receipt with its entries. [`Error::Exists`] when it, or its place in the channel, is taken.
    pub async fn put_receipt(&mut self, r: &ReceiptRow, entries: &[Entry]) -> Result<()> {
        let row = values![r.id, r.channel, r.nonce, r.epoch, r.price, r.time, r.body.as_str()];
        self.insert_all("receipts (id, channel, nonce, epoch, price, time, body)", vec![row]).await?;
        self.put_entries(entries).await
    }

    /// Adds entries of receipts that are there.
    pub async fn put_entries(&mut self, entries: &[Entry]) -> Result<()> {
        let rows = entries.iter().map(|e| {
            let role = ROLES[e.role as usize].1;
            let contribution = Some(e.contribution).filter(|id| *id != Entry::NO_CONTRIBUTION);
            values![e.receipt, e.line, role, e.account, contribution, e.amount]
        });
        self.insert_all("entries (receipt, line, role, account, contribution, amount)", rows.collect()).await
    }

    /// Puts every open receipt into epoch `number` and says how many there were.
    ///
    /// In the same transaction as reading [`Reads::open_receipts`], it takes exactly those.
    pub async fn close_receipts_into(&mut self, number: u64) -> Result<u64> {
        self.execute("UPDATE receipts SET epoch = ? WHERE epoch IS NULL", values![number]).await
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
