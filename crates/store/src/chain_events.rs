//! The index of the chain: blocks read so far and the events in them.
//!
//! **Invariant:** a block and all its events commit together, and each follows the one before by its parent hash; so
//! the highest block is the cursor, and after a reorganisation [`Tx::rollback_to`] the last common block is enough.

use crate::chain_sums::ChainAmount;
use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, B256};
use crate::sql::{Row, values};
use crate::titles::Transfer;

/// A block by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRef {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

/// An event as it was logged, so that a later release may read more in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainEvent {
    /// The block it is in.
    pub block: BlockRef,
    /// Its place among the block's logs.
    pub log_index: u32,
    /// The transaction that emitted it.
    pub tx_hash: B256,
    /// The contract.
    pub address: Address,
    /// Its topics; the first is the event's signature hash.
    pub topics: Vec<B256>,
    /// Its data.
    pub data: Vec<u8>,
}

const SELECT: &str = "SELECT block, block_hash, log_index, tx_hash, address, topics, data FROM chain_events";

fn event(row: &Row) -> Result<ChainEvent> {
    Ok(ChainEvent {
        block: BlockRef { number: row.get(0)?, hash: row.get(1)? },
        log_index: row.get(2)?,
        tx_hash: row.get(3)?,
        address: row.get(4)?,
        topics: row.get(5)?,
        data: row.get(6)?,
    })
}

fn block(row: &Row) -> Result<BlockRef> {
    Ok(BlockRef { number: row.get(0)?, hash: row.get(1)? })
}

impl Reads {
    /// The last block indexed.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn chain_cursor(&self) -> Result<Option<BlockRef>> {
        self.one("SELECT number, hash FROM chain_blocks ORDER BY number DESC LIMIT 1", values![], block).await
    }

    /// The highest block below `number` whose hash is kept: to find where a reorganisation began.
    ///
    /// # Errors
    ///
    /// As [`Reads::chain_cursor`].
    pub async fn indexed_block_below(&self, number: u64) -> Result<Option<BlockRef>> {
        let sql = "SELECT number, hash FROM chain_blocks WHERE number < ? ORDER BY number DESC LIMIT 1";
        self.one(sql, values![number], block).await
    }

    /// All events from block `from` on, in chain order, at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`Reads::chain_cursor`].
    pub async fn chain_events_since(&self, from: u64, limit: u32) -> Result<Vec<ChainEvent>> {
        self.list(format!("{SELECT} WHERE block >= ? ORDER BY block, log_index LIMIT ?"), values![from, limit], event)
            .await
    }
}

impl Tx {
    /// Adds the events, title transfers and amounts of the blocks from `from` to `to`, and moves the cursor to `to`.
    ///
    /// Only the hash of `to` is kept; a first range may begin anywhere.
    ///
    /// # Errors
    ///
    /// [`Error::NotNextBlock`] when `from` does not follow the cursor, as when another node instance came first; nothing
    /// is changed then.
    pub async fn append_range(
        &mut self,
        from: u64,
        to: BlockRef,
        events: &[ChainEvent],
        transfers: &[Transfer],
        amounts: &[ChainAmount],
    ) -> Result<()> {
        if let Some(last) = self.chain_cursor().await?
            && (last.number + 1 != from || to.number < from)
        {
            return Err(Error::NotNextBlock { from, to: to.number, last: last.number });
        }
        self.insert_all("chain_blocks (number, hash)", vec![values![to.number, to.hash]]).await?;
        let rows = events.iter().map(|e| {
            let (block, topics) = (e.block, e.topics.as_slice());
            let mut row = values![block.number, block.hash, e.log_index, e.tx_hash, e.address];
            row.extend(values![topics.first().copied(), topics, e.data.as_slice()]);
            row
        });
        let head = "chain_events (block, block_hash, log_index, tx_hash, address, topic0, topics, data)";
        self.insert_all(head, rows.collect()).await?;
        self.add_amounts(amounts).await?;
        self.put_transfers(transfers).await
    }

    /// Forgets everything after block `number`; `None` forgets all.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Damaged`] when a sum is less than what is taken from it.
    pub async fn rollback_to(&mut self, number: Option<u64>) -> Result<()> {
        self.take_back_amounts(number).await?;
        for (table, column) in [("transfers", "block"), ("chain_events", "block"), ("chain_blocks", "number")] {
            match number {
                Some(number) => {
                    self.execute(format!("DELETE FROM {table} WHERE {column} > ?"), values![number]).await?;
                }
                None => {
                    self.execute(format!("DELETE FROM {table}"), values![]).await?;
                }
            }
        }
        Ok(())
    }
}
