//! The traits of `chain` over the store: the outbox and the event sink.

use alloy_primitives::{Address, B256, Bytes};
use openledger_chain::contracts::Addresses;
use openledger_chain::indexer::{EventSink, IndexedRange, SinkError, SinkFuture};
use openledger_chain::rpc::{BlockRef, Log};
use openledger_chain::sender::{Outbox, OutboxEntry, OutboxError, OutboxFuture, SignedTransaction};
use openledger_store::outbox::{OutboxRow, OutboxState};
use openledger_store::{Store, chain_events, titles};
use serde_json::json;

/// The outbox in the database: a transaction is written down before it is sent.
pub(crate) struct StoreOutbox(pub(crate) Store);

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> OutboxError {
    OutboxError(Box::new(error))
}

fn transaction(row: &OutboxRow) -> SignedTransaction {
    SignedTransaction {
        key: row.key.clone(),
        sender: row.sender,
        nonce: row.nonce,
        raw: Bytes::from(row.raw.clone()),
        hash: row.tx_hash,
    }
}

impl Outbox for StoreOutbox {
    fn get<'a>(&'a self, key: &'a str) -> OutboxFuture<'a, Option<OutboxEntry>> {
        Box::pin(async move {
            let row = self.0.outbox_get(key).await.map_err(failed)?;
            Ok(row.map(|row| OutboxEntry { transaction: transaction(&row), mined: row.block }))
        })
    }

    fn next_nonce(&self, sender: Address) -> OutboxFuture<'_, u64> {
        Box::pin(async move { self.0.next_nonce(sender, 0).await.map_err(failed) })
    }

    fn put_signed(&self, signed: SignedTransaction) -> OutboxFuture<'_, ()> {
        Box::pin(async move {
            let mut tx = self.0.begin().await.map_err(failed)?;
            tx.outbox_put_signed(&signed.key, signed.sender, signed.nonce, &signed.raw, signed.hash)
                .await
                .map_err(failed)?;
            tx.commit().await.map_err(failed)
        })
    }

    fn mark_mined<'a>(&'a self, key: &'a str, block: u64, gas: u64, succeeded: bool) -> OutboxFuture<'a, ()> {
        Box::pin(async move {
            let state = if succeeded { OutboxState::Mined } else { OutboxState::Failed };
            let mut tx = self.0.begin().await.map_err(failed)?;
            tx.outbox_mark(key, state, Some(block), Some(&json!({ "gas": gas }))).await.map_err(failed)?;
            tx.commit().await.map_err(failed)
        })
    }

    fn unmined(&self, sender: Address) -> OutboxFuture<'_, Vec<SignedTransaction>> {
        Box::pin(async move {
            let rows = self.0.outbox_pending().await.map_err(failed)?;
            Ok(rows.iter().filter(|row| row.sender == sender).map(transaction).collect())
        })
    }
}

/// keccak-256 of `Transfer(address,address,uint256)`, which every title emits.
const TRANSFER: B256 = alloy_primitives::b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");

/// The chain's events in the database; transfers of titles also in a table of their own, for holders at a block.
pub(crate) struct StoreSink {
    pub(crate) store: Store,
    pub(crate) addresses: Addresses,
}

fn sink_failed(error: impl std::error::Error + Send + Sync + 'static) -> SinkError {
    SinkError(Box::new(error))
}

impl StoreSink {
    fn transfer(&self, log: &Log) -> Option<titles::Transfer> {
        let title = [self.addresses.datanets, self.addresses.contributions, self.addresses.models];
        let &[topic, from, to, token] = log.topics.as_slice() else { return None };
        (topic == TRANSFER && title.contains(&log.address)).then(|| titles::Transfer {
            block: log.block_number,
            log_index: u32::try_from(log.log_index).unwrap_or(u32::MAX),
            contract: log.address,
            token,
            from: Address::from_word(from),
            to: Address::from_word(to),
        })
    }
}

impl EventSink for StoreSink {
    fn cursor(&mut self) -> SinkFuture<'_, Option<BlockRef>> {
        Box::pin(async move {
            let cursor = self.store.chain_cursor().await.map_err(sink_failed)?;
            Ok(cursor.map(|at| BlockRef { number: at.number, hash: at.hash }))
        })
    }

    fn known_below(&mut self, number: u64) -> SinkFuture<'_, Option<BlockRef>> {
        Box::pin(async move {
            let known = self.store.indexed_block_below(number).await.map_err(sink_failed)?;
            Ok(known.map(|at| BlockRef { number: at.number, hash: at.hash }))
        })
    }

    fn append(&mut self, range: IndexedRange) -> SinkFuture<'_, ()> {
        let (mut events, mut transfers) = (Vec::new(), Vec::new());
        for event in &range.events {
            transfers.extend(self.transfer(&event.log));
            events.push(stored(&event.log));
        }
        Box::pin(async move {
            let to = chain_events::BlockRef { number: range.to.number, hash: range.to.hash };
            let mut tx = self.store.begin().await.map_err(sink_failed)?;
            tx.append_range(range.from, to, &events, &transfers).await.map_err(sink_failed)?;
            tx.commit().await.map_err(sink_failed)
        })
    }

    fn rollback_to(&mut self, block: Option<BlockRef>) -> SinkFuture<'_, ()> {
        Box::pin(async move {
            let mut tx = self.store.begin().await.map_err(sink_failed)?;
            tx.rollback_to(block.map(|at| at.number)).await.map_err(sink_failed)?;
            tx.commit().await.map_err(sink_failed)
        })
    }
}

/// A log as it is kept: undecoded, so that a newer version may read more in it.
fn stored(log: &Log) -> chain_events::ChainEvent {
    chain_events::ChainEvent {
        block: chain_events::BlockRef { number: log.block_number, hash: log.block_hash },
        log_index: u32::try_from(log.log_index).unwrap_or(u32::MAX),
        tx_hash: log.transaction_hash,
        address: log.address,
        topic0: log.topics.first().copied().unwrap_or_default(),
        decoded: json!({ "topics": log.topics, "data": log.data }),
    }
}
