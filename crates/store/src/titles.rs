//! Holders of titles (ERC-721 tokens), now and at any block that is indexed.
//!
//! **Invariant:** the holder at a block is the recipient of the last transfer up to it, by block and log index.

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::ids::{Address, B256};
use crate::sql::values;

/// A transfer of a title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The block it is in.
    pub block: u64,
    /// Its place among the block's logs.
    pub log_index: u32,
    /// The title's contract.
    pub contract: Address,
    /// The token id.
    pub token: B256,
    /// The holder before; zero when it was minted.
    pub from: Address,
    /// The holder since; zero when it was burnt.
    pub to: Address,
}

impl Reads {
    /// The holder of a title at the end of `block`; `None` before it was minted, zero once it is burnt.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Malformed`].
    pub async fn owner_at(&self, contract: Address, token: B256, block: u64) -> Result<Option<Address>> {
        let sql = "SELECT recipient FROM transfers WHERE contract = ? AND token = ? AND block <= ? \
                   ORDER BY block DESC, log_index DESC LIMIT 1";
        self.one(sql, values![contract, token, block], |row| row.get(0)).await
    }

    /// Who holds a title as of the newest indexed block.
    ///
    /// # Errors
    ///
    /// As [`Reads::owner_at`].
    pub async fn owner_now(&self, contract: Address, token: B256) -> Result<Option<Address>> {
        self.owner_at(contract, token, u64::MAX >> 1).await
    }

    /// The title of a contract with the lowest id that `holder` holds now.
    ///
    /// # Errors
    ///
    /// As [`Reads::owner_at`].
    pub async fn first_title_of(&self, contract: Address, holder: Address) -> Result<Option<B256>> {
        let sql = "SELECT t.token FROM transfers t WHERE t.contract = ? AND t.recipient = ? AND NOT EXISTS \
                   (SELECT 1 FROM transfers n WHERE n.contract = t.contract AND n.token = t.token \
                   AND (n.block > t.block OR (n.block = t.block AND n.log_index > t.log_index))) ORDER BY t.token LIMIT 1";
        self.one(sql, values![contract, holder], |row| row.get(0)).await
    }
}

impl Tx {
    /// Adds the transfers of blocks that are being appended.
    pub(crate) async fn put_transfers(&mut self, transfers: &[Transfer]) -> Result<()> {
        let rows = transfers.iter().map(|t| values![t.block, t.log_index, t.contract, t.token, t.from, t.to]);
        self.insert_all("transfers (block, log_index, contract, token, sender, recipient)", rows.collect()).await
    }
}
