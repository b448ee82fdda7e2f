//! The event sink of `chain` over the store.
//!
//! A log is kept as it is, so that a newer version may read more in it. Beside it are kept, in the same transaction:
//! transfers of titles, for holders at a block; sums of money, so that totals need no scan; and the closing of channels
//! whose payer has asked the deposit back.

use alloy_primitives::{Address, B256};
use openledger_chain::contracts::Addresses;
use openledger_chain::contracts::bindings::channels::Channels::ChannelsEvents;
use openledger_chain::contracts::bindings::payouts::Payouts::PayoutsEvents;
use openledger_chain::indexer::{ChainEvent, EventSink, IndexedRange, SinkError, SinkFuture};
use openledger_chain::rpc::{BlockRef, Log};
use openledger_protocol::{Amount, ChannelId};
use openledger_store::chain_sums::{ChainAmount, ChainSum};
use openledger_store::{Error, Store, chain_events, titles, transact};

/// keccak-256 of `Transfer(address,address,uint256)`, which every title emits.
const TRANSFER: B256 = alloy_primitives::b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");

/// Keeps the chain's events in the database.
pub(crate) struct StoreSink {
    pub(crate) store: Store,
    pub(crate) addresses: Addresses,
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> SinkError {
    SinkError(Box::new(error))
}

impl StoreSink {
    fn transfer(&self, log: &Log) -> Option<titles::Transfer> {
        let title = [self.addresses.datanets, self.addresses.contributions, self.addresses.models];
        let &[topic, from, to, token] = log.topics.as_slice() else { return None };
        (topic == TRANSFER && title.contains(&log.address)).then(|| titles::Transfer {
            block: log.block_number,
            log_index: log_index(log),
            contract: log.address,
            token,
            from: Address::from_word(from),
            to: Address::from_word(to),
        })
    }

    /// The sum that an event adds to.
    fn amount(&self, log: &Log) -> Option<ChainAmount> {
        let (sum, account, amount) = match ChainEvent::decode(&self.addresses, log)? {
            ChainEvent::Payouts(PayoutsEvents::Claimed(paid)) => (ChainSum::Claimed, paid.account, paid.amount),
            ChainEvent::Channels(ChannelsEvents::Redeemed(paid)) => (ChainSum::Redeemed, paid.node, paid.amount),
            ChainEvent::Channels(ChannelsEvents::Deposited(paid)) => (ChainSum::Deposited, paid.payer, paid.amount),
            _ => return None,
        };
        let amount: Amount = openledger_ledger::base_units(amount);
        Some(ChainAmount { block: log.block_number, log_index: log_index(log), sum, account, amount })
    }
}

/// The channel whose deposit a log asks back, and the log's block number.
pub(crate) fn withdrawal_request(addresses: &Addresses, log: &Log) -> Option<(ChannelId, u64)> {
    match ChainEvent::decode(addresses, log)? {
        ChainEvent::Channels(ChannelsEvents::WithdrawalRequested(asked)) => {
            Some((ChannelId(asked.channel), log.block_number))
        }
        _ => None,
    }
}

impl EventSink for StoreSink {
    fn cursor(&mut self) -> SinkFuture<'_, Option<BlockRef>> {
        Box::pin(async move {
            let cursor = self.store.chain_cursor().await.map_err(failed)?;
            Ok(cursor.map(|at| BlockRef { number: at.number, hash: at.hash }))
        })
    }

    fn known_below(&mut self, number: u64) -> SinkFuture<'_, Option<BlockRef>> {
        Box::pin(async move {
            let known = self.store.indexed_block_below(number).await.map_err(failed)?;
            Ok(known.map(|at| BlockRef { number: at.number, hash: at.hash }))
        })
    }

    fn append(&mut self, range: IndexedRange) -> SinkFuture<'_, bool> {
        let logs = || range.events.iter().map(|event| &event.log);
        let events: Vec<_> = logs().map(stored).collect();
        let transfers: Vec<_> = logs().filter_map(|log| self.transfer(log)).collect();
        let amounts: Vec<_> = logs().filter_map(|log| self.amount(log)).collect();
        let withdrawing: Vec<_> = logs().filter_map(|log| withdrawal_request(&self.addresses, log)).collect();
        let to = block_ref(range.to);
        let (after, from) = (range.after.map(block_ref), range.from);
        Box::pin(async move {
            let appended = transact!(self.store, |tx| {
                // Another process on this database may have indexed these blocks, or taken others
                // back.
                if tx.chain_cursor().await? != after {
                    return Ok(false);
                }
                tx.append_range(from, to, &events, &transfers, &amounts).await?;
                for &(channel, block) in &withdrawing {
                    tx.withdrawal_requested(channel, block).await?;
                }
                Ok(true)
            });
            // They may have been put there at the same moment.
            if matches!(appended, Err(Error::Exists { .. }))
                && self.store.chain_cursor().await.map_err(failed)? != after
            {
                return Ok(false);
            }
            appended.map_err(failed)
        })
    }

    fn rollback_to(&mut self, block: Option<BlockRef>) -> SinkFuture<'_, ()> {
        Box::pin(async move {
            let number = block.map(|at| at.number);
            transact!(self.store, |tx| tx.rollback_to(number).await).map_err(failed)
        })
    }
}

fn block_ref(block: BlockRef) -> chain_events::BlockRef {
    chain_events::BlockRef { number: block.number, hash: block.hash }
}

fn log_index(log: &Log) -> u32 {
    u32::try_from(log.log_index).unwrap_or(u32::MAX)
}

fn stored(log: &Log) -> chain_events::ChainEvent {
    chain_events::ChainEvent {
        block: chain_events::BlockRef { number: log.block_number, hash: log.block_hash },
        log_index: log_index(log),
        tx_hash: log.transaction_hash,
        address: log.address,
        topics: log.topics.clone(),
        data: log.data.to_vec(),
    }
}
