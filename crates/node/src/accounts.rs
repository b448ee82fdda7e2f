//! Contributors' handles and the accounts they are paid to.

use std::collections::BTreeMap;

use openledger_protocol::Address;
use serde::{Deserialize, Serialize};

use crate::error::{Blame, NodeError, Result};
use crate::node::Node;

/// A contributor's handle and account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The handle, as records name it.
    pub name: String,
    /// The account.
    pub address: Address,
}

impl Node {
    /// Notes handles; each keeps the first account it was given.
    ///
    /// # Errors
    ///
    /// `account-taken` when a handle stands for another account already; then none of the list is noted.
    pub async fn put_accounts(&self, accounts: &[Account]) -> Result<()> {
        let mut tx = self.inner.store.begin().await?;
        for account in accounts {
            if account.name.trim().is_empty() || account.name.len() > 200 {
                let detail = format!("handle `{}` is empty or over 200 bytes", account.name.escape_debug());
                return Err(NodeError::refused(Blame::Request, "bad-handle", detail));
            }
            match tx.account(&account.name).await? {
                Some(known) if known == account.address => {}
                Some(known) => {
                    let detail = format!("handle `{}` stands for {known} already", account.name);
                    return Err(NodeError::refused(Blame::Conflict, "account-taken", detail));
                }
                None => tx.put_account(&account.name, account.address).await?,
            }
        }
        Ok(tx.commit().await?)
    }

    /// All handles, by name.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`].
    pub async fn accounts(&self) -> Result<Vec<Account>> {
        let rows = self.inner.store.accounts().await?;
        Ok(rows.into_iter().map(|(name, address)| Account { name, address }).collect())
    }

    /// The handle of each account, and of the platform's and node's own.
    pub(crate) async fn names(&self) -> Result<BTreeMap<Address, String>> {
        let platform = self.inner.config.platform;
        let own = [
            (platform.treasury, "treasury"),
            (platform.validation, "validation budget"),
            (platform.insurance, "insurance"),
            (self.inner.flow.account(), "node"),
        ];
        let mut names: BTreeMap<Address, String> = own.map(|(account, name)| (account, name.to_owned())).into();
        names.extend(self.inner.store.accounts().await?.into_iter().map(|(name, address)| (address, name)));
        Ok(names)
    }
}
