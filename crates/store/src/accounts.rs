//! Contributors' handles and the accounts they are paid to.

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::ids::Address;
use crate::sql::values;

impl Reads {
    /// The account of a handle.
    pub async fn account(&self, name: &str) -> Result<Option<Address>> {
        self.one("SELECT address FROM accounts WHERE name = ?", values![name], |row| row.get(0)).await
    }

    /// All handles with their accounts, by the handles' bytes.
    pub async fn accounts(&self) -> Result<Vec<(String, Address)>> {
        let sql = "SELECT name, address FROM accounts";
        let mut accounts: Vec<(String, Address)> =
            self.list(sql, values![], |row| Ok((row.get(0)?, row.get(1)?))).await?;
        // Engines differ in how they order text.
        accounts.sort();
        Ok(accounts)
    }
}

impl Tx {
    /// Keeps the account of a handle.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Exists`] when the handle has one.
    pub async fn put_account(&mut self, name: &str, address: Address) -> Result<()> {
        self.insert_all("accounts (name, address)", vec![values![name, address]]).await
    }
}
