//! Contributors' handles: the names that records use, and the accounts that are paid for them.
//!
//! **Invariant:** handles are kept and compared in Unicode form NFC, so that a name has one account however it is typed.

use std::collections::{BTreeMap, BTreeSet};

use openledger_api::{Handle, Page, PageQuery};
use openledger_protocol::Address;
use openledger_store::Store;
use openledger_store::transact;

use crate::config::PlatformAccounts;
use crate::error::{Blame, NodeError, Result};

/// The register of handles.
#[derive(Clone)]
pub struct Handles {
    store: Store,
    platform: PlatformAccounts,
    node: Address,
}

/// Display names by account.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<Address, String>);

impl Names {
    /// The name of an account, if it has one.
    #[must_use]
    pub fn get(&self, account: &Address) -> Option<&String> {
        self.0.get(account)
    }

    /// The name of an account, or its first digits.
    pub(crate) fn display(&self, account: &Address) -> String {
        self.0.get(account).cloned().unwrap_or_else(|| format!("{}…", &account.to_string()[..10]))
    }
}

impl Handles {
    pub(crate) fn new(store: Store, platform: PlatformAccounts, node: Address) -> Self {
        Self { store, platform, node }
    }

    /// Registers handles; each keeps the first account it was given. Returns how many were named.
    ///
    /// # Errors
    ///
    /// `bad-handle`; `handle-taken` when a handle has another account already. Then none of the list is registered.
    pub async fn register(&self, entries: &[Handle]) -> Result<u64> {
        let mut named = Vec::with_capacity(entries.len());
        for entry in entries {
            let name = openledger_datanet::handle(&entry.name)
                .map_err(|reason| NodeError::refused(Blame::Request, "bad-handle", reason.to_string()))?;
            named.push((name, entry.address));
        }
        transact!(self.store, |tx| {
            for (name, address) in &named {
                match tx.handle(name).await? {
                    Some(known) if known == *address => {}
                    Some(known) => {
                        let detail = format!("handle `{name}` has the account {known} already");
                        return Err(NodeError::refused(Blame::Conflict, "handle-taken", detail));
                    }
                    None => tx.put_handle(name, *address).await?,
                }
            }
            Ok(())
        })?;
        Ok(named.len() as u64)
    }

    /// Handles, by name.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`].
    pub async fn page(&self, page: &PageQuery) -> Result<Page<Handle>> {
        let limit = page.limit();
        let rows = self.store.handles_page(page.after.as_deref(), limit + 1).await?;
        let handles = rows.into_iter().map(|(name, address)| Handle { name, address }).collect();
        Ok(Page::of(handles, limit, |handle| handle.name.clone()))
    }

    /// The accounts of these handles; a handle without an account is left out.
    pub(crate) async fn accounts(&self, handles: &BTreeSet<String>) -> Result<BTreeMap<String, Address>> {
        let mut accounts = BTreeMap::new();
        for handle in handles {
            if let Some(address) = self.store.handle(handle).await? {
                accounts.insert(handle.to_owned(), address);
            }
        }
        Ok(accounts)
    }

    /// The names of these accounts, and of the platform's and the node's own.
    pub(crate) async fn names(&self, accounts: impl IntoIterator<Item = Address>) -> Result<Names> {
        let own = [
            (self.platform.treasury, "treasury"),
            (self.platform.validation, "validation budget"),
            (self.platform.insurance, "insurance"),
            (self.node, "node"),
        ];
        let mut names: BTreeMap<Address, String> = own.map(|(account, name)| (account, name.to_owned())).into();
        let wanted: BTreeSet<Address> = accounts.into_iter().collect();
        let wanted: Vec<Address> = wanted.into_iter().collect();
        names.extend(self.store.handles_of(&wanted).await?);
        Ok(Names(names))
    }
}
