//! Where indexed events go.
//!
//! A trait, because the tables belong to the database: `node` implements it over the store.
//! [`MemorySink`] serves tests and programs that rebuild everything from the chain each time.

use std::future::Future;
use std::pin::Pin;

use super::event::ChainEvent;
use crate::rpc::{BlockRef, Log};

/// One event of one of our contracts.
#[derive(Clone, Debug)]
pub struct IndexedEvent {
    /// As the chain gave it, with its place.
    pub log: Log,
    /// What it says.
    pub event: ChainEvent,
}

/// All events of a run of blocks.
#[derive(Clone, Debug)]
pub struct IndexedRange {
    /// The cursor that the range was read behind; none before the first.
    pub after: Option<BlockRef>,
    /// First block.
    pub from: u64,
    /// Last block, where the cursor stands afterwards.
    pub to: BlockRef,
    /// The events, by block and place in it.
    pub events: Vec<IndexedEvent>,
}

/// The sink could not be read or written; nothing is wrong with the chain, so try again.
#[derive(Debug, thiserror::Error)]
#[error("the event store failed: {0}")]
pub struct SinkError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// The result of a sink method, still on its way.
pub type SinkFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + 'a>>;

/// Keeps the events of the chain, and how far they were read.
pub trait EventSink: Send {
    /// The last block that was appended; none before the first.
    fn cursor(&mut self) -> SinkFuture<'_, Option<BlockRef>>;

    /// The highest block below `number` whose hash is kept; the ends of appended ranges at least.
    fn known_below(&mut self, number: u64) -> SinkFuture<'_, Option<BlockRef>>;

    /// Keeps `range` and moves the cursor to its end, both or neither, and returns `true`; returns
    /// `false`, and keeps nothing, when the cursor is no longer [`IndexedRange::after`], because
    /// another process moved it.
    fn append(&mut self, range: IndexedRange) -> SinkFuture<'_, bool>;

    /// Forgets everything above `block` and moves the cursor there; `None` forgets all.
    fn rollback_to(&mut self, block: Option<BlockRef>) -> SinkFuture<'_, ()>;
}

/// A sink that is forgotten with the process.
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    events: Vec<IndexedEvent>,
    ends: Vec<BlockRef>,
}

impl MemorySink {
    /// All events so far, by block and place in it.
    #[must_use]
    pub fn events(&self) -> &[IndexedEvent] {
        &self.events
    }
}

impl EventSink for MemorySink {
    fn cursor(&mut self) -> SinkFuture<'_, Option<BlockRef>> {
        Box::pin(async move { Ok(self.ends.last().copied()) })
    }

    fn known_below(&mut self, number: u64) -> SinkFuture<'_, Option<BlockRef>> {
        Box::pin(async move { Ok(self.ends.iter().rev().find(|end| end.number < number).copied()) })
    }

    fn append(&mut self, range: IndexedRange) -> SinkFuture<'_, bool> {
        Box::pin(async move {
            if self.ends.last().copied() != range.after {
                return Ok(false);
            }
            self.events.extend(range.events);
            self.ends.push(range.to);
            Ok(true)
        })
    }

    fn rollback_to(&mut self, block: Option<BlockRef>) -> SinkFuture<'_, ()> {
        Box::pin(async move {
            let kept = block.map(|block| block.number);
            self.events.retain(|event| Some(event.log.block_number) <= kept);
            self.ends.retain(|end| Some(end.number) <= kept);
            Ok(())
        })
    }
}
