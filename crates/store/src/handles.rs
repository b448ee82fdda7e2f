//! Contributors' handles and the accounts they are paid to.

use std::collections::BTreeMap;

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::ids::Address;
use crate::sql::{ROWS_PER_INSERT, Value, places, values};

impl Reads {
    /// The account of a handle.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Malformed`].
    pub async fn handle(&self, name: &str) -> Result<Option<Address>> {
        self.one("SELECT address FROM handles WHERE name = ?", values![name], |row| row.get(0)).await
    }

    /// Handles with their accounts by the handles' bytes, at most `limit` of those after `after`.
    ///
    /// # Errors
    ///
    /// As [`Reads::handle`].
    pub async fn handles_page(&self, after: Option<&str>, limit: u32) -> Result<Vec<(String, Address)>> {
        // Engines differ in how they order text, so it is ordered and compared as bytes.
        let after = after.unwrap_or_default().as_bytes().to_vec();
        let sql = "SELECT name, address FROM handles WHERE key > ? ORDER BY key LIMIT ?";
        self.list(sql, values![after, limit], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// The first handle, by its bytes, of each of some accounts; those without one are left out.
    ///
    /// # Errors
    ///
    /// As [`Reads::handle`].
    pub async fn handles_of(&self, accounts: &[Address]) -> Result<BTreeMap<Address, String>> {
        let mut handles = BTreeMap::new();
        for part in accounts.chunks(ROWS_PER_INSERT) {
            let sql =
                format!("SELECT address, name FROM handles WHERE address IN ({}) ORDER BY key", places(part.len()));
            let values = part.iter().map(|&account| Value::from(account)).collect();
            let found: Vec<(Address, String)> = self.list(sql, values, |row| Ok((row.get(0)?, row.get(1)?))).await?;
            for (account, name) in found {
                handles.entry(account).or_insert(name);
            }
        }
        Ok(handles)
    }
}

impl Tx {
    /// Keeps the account of a handle.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Exists`] when the handle has one.
    pub async fn put_handle(&mut self, name: &str, address: Address) -> Result<()> {
        let key = name.as_bytes().to_vec();
        self.insert_all("handles (name, address, key)", vec![values![name, address, key]]).await
    }
}
