//! Reads the events of our contracts into a sink, block range by block range.
//!
//! # Place in the flow
//!
//! `node` polls it and keeps what it finds in the store; epochs, titles and claims are read from
//! there. The same code reads the embedded chain and any other network.
//!
//! # Invariants
//!
//! - **Rebuildable.** Reading from the first block again gives the same events in the same order.
//! - **One history.** When the block at the cursor was replaced, everything above the last common
//!   block is forgotten before more is read; a range that was replaced while it was read is not
//!   kept.
//! - **Many readers.** Several processes may read into one sink: a range that another one has read
//!   meanwhile is dropped, and the next poll goes on from where the sink is.
//! - **Nothing skipped.** A log of ours that does not decode stops the indexer.
//!
//! # Not here
//!
//! What events mean for the product (`node`); old state of contracts, which many networks no longer
//! have.

mod event;
mod sink;
#[cfg(test)]
mod tests;
mod title;

use crate::contracts::Addresses;
use crate::rpc::{BlockRef, Client, Head, Log, LogFilter, RpcError};

pub use self::event::ChainEvent;
pub use self::sink::{EventSink, IndexedEvent, IndexedRange, MemorySink, SinkError, SinkFuture};
pub use self::title::{TitleError, TitleHistory, TitleTransfer};

/// Most blocks in one range.
pub const BATCH_MAX: u64 = 1_000;

/// Which block the indexer reads up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The newest block; later replacements are rolled back.
    Latest,
    /// The newest block that cannot be replaced; what epochs are made from.
    Finalized,
}

/// Why indexing stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The network failed to answer; poll again.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The sink failed; poll again.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// One of our contracts emitted what this version does not know; install a newer version.
    #[error("{address} emitted an event with topic {topic:?} in block {block} that this version does not know")]
    Unknown {
        /// The contract.
        address: alloy_primitives::Address,
        /// The event's signature hash.
        topic: Option<alloy_primitives::B256>,
        /// The block.
        block: u64,
    },
    /// The network's head is below what was read, and what it has below is different: it is another
    /// chain. Use the network the sink was filled from, or an empty sink.
    #[error("the network does not reach block {block}, which was read before, and differs below it")]
    OtherChain {
        /// The cursor's block.
        block: u64,
    },
}

/// What one poll did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There was nothing new.
    Idle {
        /// The newest block that both the sink and the network hold; none where they share no
        /// block.
        at: Option<Head>,
    },
    /// The sink now reaches `to`.
    Advanced {
        /// The new cursor.
        to: BlockRef,
        /// Events added.
        events: usize,
    },
    /// Blocks were replaced; the sink was taken back to `to`.
    RolledBack {
        /// The new cursor; none when everything was forgotten.
        to: Option<BlockRef>,
    },
    /// The range was replaced, or another process read it, meanwhile; nothing was kept. Poll again.
    Moved,
}

/// What catching up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    /// The newest block that both the sink and the network hold: the cursor, unless the network
    /// lags behind it. All events up to it are in the sink, whatever blocks came since.
    pub at: Option<Head>,
    /// Events added.
    pub events: usize,
}

/// Reads one network's events of our contracts.
pub struct Indexer {
    client: Client,
    addresses: Addresses,
    from: u64,
    until: Until,
    batch: u64,
}

impl Indexer {
    /// An indexer of the contracts at `addresses`, beginning at block `from` (that of their
    /// deployment, or 0).
    #[must_use]
    pub fn new(client: Client, addresses: Addresses, from: u64, until: Until) -> Self {
        Self { client, addresses, from, until, batch: BATCH_MAX }
    }

    /// The same indexer with ranges of at most `blocks`; some networks take only short ones.
    #[must_use]
    pub fn with_batch(mut self, blocks: u64) -> Self {
        self.batch = blocks.max(1);
        self
    }

    /// Reads the next range, or takes back what was replaced.
    ///
    /// # Errors
    ///
    /// [`IndexError`]; the sink stays as it was.
    pub async fn poll(&self, sink: &mut dyn EventSink) -> Result<Progress, IndexError> {
        let cursor = sink.cursor().await?;
        let mut at = None;
        if let Some(cursor) = cursor {
            match self.client.block(cursor.number).await? {
                Some(block) if block.hash == cursor.hash => at = Some(block),
                Some(_) => return self.roll_back(sink, cursor).await,
                None => return self.behind(sink, cursor).await,
            }
        }
        let head = match self.until {
            Until::Latest => self.client.latest().await?,
            Until::Finalized => self.client.finalized().await?,
        };
        let from = cursor.map_or(self.from, |cursor| cursor.number + 1);
        let Some(head) = head.filter(|head| head.number >= from) else { return Ok(Progress::Idle { at }) };
        let last = head.number.min(from.saturating_add(self.batch - 1));
        let Some(to) = self.client.block(last).await? else { return Ok(Progress::Moved) };
        let filter = LogFilter { from, to: last, addresses: self.addresses.indexed() };
        let logs = self.client.logs(&filter).await?;
        // The logs came without proof of their history: they count if both ends still stand after
        // they were read.
        if !self.stands(to.block()).await? || !self.follows(cursor, from, &to).await? {
            return Ok(Progress::Moved);
        }
        let events = self.decode(logs)?;
        let count = events.len();
        let kept = sink.append(IndexedRange { after: cursor, from, to: to.block(), events }).await?;
        Ok(if kept { Progress::Advanced { to: to.block(), events: count } } else { Progress::Moved })
    }

    /// Polls until there is nothing new.
    ///
    /// # Errors
    ///
    /// [`IndexError`]; what was read before it is kept.
    pub async fn catch_up(&self, sink: &mut dyn EventSink) -> Result<CaughtUp, IndexError> {
        let mut added = 0;
        loop {
            match self.poll(sink).await? {
                Progress::Idle { at } => return Ok(CaughtUp { at, events: added }),
                Progress::Advanced { events, .. } => added += events,
                Progress::RolledBack { .. } | Progress::Moved => {}
            }
        }
    }

    /// Whether `block` belongs to the chain as it is now.
    async fn stands(&self, block: BlockRef) -> Result<bool, RpcError> {
        Ok(self.client.block(block.number).await?.is_some_and(|head| head.hash == block.hash))
    }

    /// Whether the range that begins at `from` and ends with `to` continues what the cursor names.
    async fn follows(&self, cursor: Option<BlockRef>, from: u64, to: &Head) -> Result<bool, RpcError> {
        let Some(cursor) = cursor else { return Ok(true) };
        let first = if to.number == from { Some(*to) } else { self.client.block(from).await? };
        Ok(first.is_some_and(|first| first.parent == cursor.hash))
    }

    /// Takes the sink back to the last block it shares with the chain.
    async fn roll_back(&self, sink: &mut dyn EventSink, cursor: BlockRef) -> Result<Progress, IndexError> {
        let mut below = cursor.number;
        let shared = loop {
            match sink.known_below(below).await? {
                Some(block) if self.stands(block).await? => break Some(block),
                Some(block) => below = block.number,
                None => break None,
            }
        };
        tracing::warn!(from = cursor.number, to = shared.map(|block| block.number), "blocks were replaced");
        sink.rollback_to(shared).await?;
        Ok(Progress::RolledBack { to: shared })
    }

    /// The network has no block at the cursor: it lags and will have it again, unless it is another
    /// chain altogether.
    async fn behind(&self, sink: &mut dyn EventSink, cursor: BlockRef) -> Result<Progress, IndexError> {
        let head = self.client.block_number().await?;
        let Some(known) = sink.known_below(head.saturating_add(1)).await? else {
            return Ok(Progress::Idle { at: None });
        };
        match self.client.block(known.number).await? {
            Some(block) if block.hash == known.hash => Ok(Progress::Idle { at: Some(block) }),
            _ => Err(IndexError::OtherChain { block: cursor.number }),
        }
    }

    fn decode(&self, mut logs: Vec<Log>) -> Result<Vec<IndexedEvent>, IndexError> {
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        let decode = |log: Log| match ChainEvent::decode(&self.addresses, &log) {
            Some(event) => Ok(IndexedEvent { log, event }),
            None => Err(IndexError::Unknown {
                address: log.address,
                topic: log.topics.first().copied(),
                block: log.block_number,
            }),
        };
        logs.into_iter().map(decode).collect()
    }
}
