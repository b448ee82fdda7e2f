//! The chain as the services see it: contract handles, the event index and the newest indexed
//! block.
//!
//! # Place in the flow
//!
//! Services that send transactions go through [`ChainView::flow`]. Services that only read, such as
//! holders of titles, read the index in the store. [`ChainView::follow`] keeps it in step with the
//! chain.
//!
//! # Invariants
//!
//! - The governed numbers are those that were in force at the newest indexed block when it was
//!   indexed.
//! - An answer waits for no RPC of the chain: [`ChainView::head`] is what was indexed last. On the
//!   logical clock, whose runs must repeat, [`ChainView::refresh`] indexes up to the newest block
//!   first.
//! - The head is never newer than the index. A receipt names the head as the block at which its
//!   payees hold their titles, so each transfer up to it must be known.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use openledger_chain::contracts::Addresses;
use openledger_chain::embedded::EmbeddedChain;
use openledger_chain::flow::Flow;
use openledger_chain::indexer::{Indexer, Until};
use openledger_protocol::{Address, Domain, Params};
use openledger_store::Store;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::error::Result;
use crate::events::StoreSink;
use crate::governed::Governed;

/// How often the index looks for new blocks.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// The newest block that the index holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its number.
    pub(crate) number: u64,
    /// Its time, Unix seconds.
    pub(crate) time: u64,
}

/// A handle to the chain and its index. Clones share both.
#[derive(Clone)]
pub struct ChainView {
    flow: Flow,
    chain_id: u64,
    embedded: Option<EmbeddedChain>,
    clock: Clock,
    index: Arc<Index>,
}

struct Index {
    store: Store,
    head: RwLock<Head>,
    governed: Governed,
    /// One reader of chain events at a time in this process.
    reading: Mutex<()>,
}

impl ChainView {
    pub(crate) fn new(flow: Flow, chain_id: u64, embedded: Option<EmbeddedChain>, clock: Clock, store: Store) -> Self {
        let governed = Governed::new(Params::GENESIS);
        let index = Arc::new(Index { store, head: RwLock::default(), governed, reading: Mutex::default() });
        Self { flow, chain_id, embedded, clock, index }
    }

    /// The contracts, driven by the node's account.
    pub(crate) fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Where the contracts are.
    pub(crate) fn at(&self) -> &Addresses {
        self.flow.addresses()
    }

    /// The node's account.
    pub(crate) fn account(&self) -> Address {
        self.flow.account()
    }

    /// The EIP-155 chain id.
    pub(crate) fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The chain in this process, when there is one.
    pub fn embedded(&self) -> Option<&EmbeddedChain> {
        self.embedded.as_ref()
    }

    /// The EIP-712 domain of one of the contracts.
    pub(crate) fn domain(&self, contract: Address) -> Domain {
        Domain { chain_id: self.chain_id, contract }
    }

    /// The newest block that the index holds.
    pub(crate) fn head(&self) -> Head {
        *self.index.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The governed numbers that were in force when the newest indexed block was indexed.
    pub(crate) fn governed(&self) -> &Governed {
        &self.index.governed
    }

    /// Unix seconds for what is signed now.
    pub(crate) fn signing_time(&self) -> u64 {
        self.clock.signing_time(self.head().time)
    }

    /// The newest indexed block; on the logical clock the index is brought up to the chain's head
    /// first.
    ///
    /// # Errors
    /// As [`ChainView::catch_up`], on the logical clock.
    pub(crate) async fn refresh(&self) -> Result<Head> {
        if self.clock.is_logical() { self.catch_up().await } else { Ok(self.head()) }
    }

    /// Indexes the chain's events up to its head and returns the last block that the index holds.
    ///
    /// # Errors
    /// [`crate::NodeError::Index`], [`crate::NodeError::Rpc`] and [`crate::NodeError::Flow`] when
    /// chain or store do not answer.
    pub(crate) async fn catch_up(&self) -> Result<Head> {
        let _one = self.index.reading.lock().await;
        let client = self.flow.client();
        let mut sink = StoreSink { store: self.index.store.clone(), addresses: *self.at() };
        let until = if self.embedded.is_some() { Until::Latest } else { Until::Finalized };
        let caught_up = Indexer::new(client.clone(), *self.at(), 0, until).catch_up(&mut sink).await?;
        // The chain may have newer blocks by now, whose events the index does not hold.
        let head =
            caught_up.at.map_or_else(|| self.head(), |block| Head { number: block.number, time: block.timestamp });
        if head != self.head() {
            self.index.governed.set(self.flow.params().current().await?);
        }
        *self.index.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(head)
    }

    /// Keeps the index in step with the chain until the task is dropped.
    pub(crate) async fn follow(self) {
        loop {
            tokio::time::sleep(FOLLOW_EVERY).await;
            if let Err(error) = self.catch_up().await {
                tracing::warn!(%error, "the chain's events could not be read; trying again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use openledger_store::{BlobsConfig, Store};

    use crate::fake_chain::FakeChain;

    #[tokio::test]
    async fn the_head_is_never_newer_than_the_index() {
        let store = Store::open("sqlite::memory:", BlobsConfig::new("memory:")).await.unwrap();
        let fake = FakeChain::with_blocks(5);
        let chain = fake.view(&store).await;
        // The first look at the newest block leads the index there, the second one finds nothing
        // new. A block that comes just then is not indexed.
        fake.add_block_after_looks(2);
        let head = chain.catch_up().await.unwrap();
        assert_eq!(fake.newest(), 6);
        let indexed = store.chain_cursor().await.unwrap().unwrap();
        assert_eq!((head.number, head.time), (indexed.number, FakeChain::time_of(indexed.number)));
        assert_eq!(chain.head(), head);
        assert_eq!(chain.catch_up().await.unwrap().number, 6);
    }
}
