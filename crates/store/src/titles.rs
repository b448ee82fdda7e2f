//! Who holds a title (an ERC-721 token), now and at any block indexed.
//!
//! **Invariant:** the holder at a block is the recipient of the last transfer up to it, by block and log index.

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::ids::{Address, B256};
use crate::sql::{Row, values};

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
    /// Who held it; zero when it was minted.
    pub from: Address,
    /// Who holds it since; zero when it was burnt.
    pub to: Address,
}

const SELECT: &str = "SELECT block, log_index, contract, token, sender, recipient FROM transfers";

fn read(row: &Row) -> Result<Transfer> {
    Ok(Transfer {
        block: row.get(0)?,
        log_index: row.get(1)?,
        contract: row.get(2)?,
        token: row.get(3)?,
        from: row.get(4)?,
        to: row.get(5)?,
    })
}

impl Reads {
    /// Who held a title at the end of `block`; `None` before it was minted, zero once it is burnt.
    pub async fn owner_at(&self, contract: Address, token: B256, block: u64) -> Result<Option<Address>> {
        let sql = "SELECT recipient FROM transfers WHERE contract = ? AND token = ? AND block <= ? \
                   ORDER BY block DESC, log_index DESC LIMIT 1";
        self.one(sql, values![contract, token, block], |row| row.get(0)).await
    }

    /// Every transfer of a title, in chain order.
    pub async fn transfers_of(&self, contract: Address, token: B256) -> Result<Vec<Transfer>> {
        let sql = format!("{SELECT} WHERE contract = ? AND token = ? ORDER BY block, log_index");
        self.list(sql, values![contract, token], read).await
    }

    /// The titles of a contract that `holder` holds now, by token id.
    pub async fn titles_of(&self, contract: Address, holder: Address) -> Result<Vec<B256>> {
        let sql = "SELECT t.token FROM transfers t WHERE t.contract = ? AND t.recipient = ? AND NOT EXISTS \
                   (SELECT 1 FROM transfers n WHERE n.contract = t.contract AND n.token = t.token \
                   AND (n.block > t.block OR (n.block = t.block AND n.log_index > t.log_index))) ORDER BY t.token";
        self.list(sql, values![contract, holder], |row| row.get(0)).await
    }
}

impl Tx {
    /// Adds the transfers of blocks that are being appended.
    pub(crate) async fn put_transfers(&mut self, transfers: &[Transfer]) -> Result<()> {
        let rows = transfers.iter().map(|t| values![t.block, t.log_index, t.contract, t.token, t.from, t.to]);
        self.insert_all("transfers (block, log_index, contract, token, sender, recipient)", rows.collect()).await
    }
}
