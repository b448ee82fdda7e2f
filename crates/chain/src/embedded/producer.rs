//! Makes blocks when there are transactions and the clock allows it: woken by every accepted one,
//! asleep otherwise.
//!
//! # Invariants
//!
//! - **Never an empty block.** What is built without transactions (only future nonces wait, say) is
//!   thrown away.
//! - **Durable before visible.** A block is handed to the database and waited for before fork
//!   choice makes it the head, and receipts are served of canonical blocks only: what was
//!   acknowledged survives a kill of the process.
//! - **One producer.** Nothing else writes to the chain.

use std::sync::Arc;
use std::time::Duration;

use ethrex_blockchain::Blockchain;
use ethrex_blockchain::fork_choice::apply_fork_choice;
use ethrex_blockchain::payload::{BuildPayloadArgs, create_payload};
use ethrex_common::types::ELASTICITY_MULTIPLIER;
use ethrex_common::{Address, Bytes, H256};
use ethrex_storage::Store;
use tokio::sync::watch;

use super::admission::Admission;
use super::clock::{BlockClock, NextBlock, Now};
use super::error::EmbeddedError;
use super::flush::Flusher;
use super::recovery::LAYERS_MAX;

/// First pause after a block that could not be made; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two looks at the clock while it allows no block.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Longest pause after a block that could not be made.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The loop that makes blocks.
pub(crate) struct Producer {
    pub(crate) store: Store,
    pub(crate) chain: Arc<Blockchain>,
    pub(crate) clock: BlockClock,
    pub(crate) now: Now,
    pub(crate) fee_recipient: Address,
    pub(crate) gas_limit: u64,
    pub(crate) admission: Arc<Admission>,
    /// Number of the newest visible block.
    pub(crate) head: watch::Sender<u64>,
    /// Told of every block.
    pub(crate) flusher: Flusher,
}

impl Producer {
    /// Runs until `stop` is dropped or turns true.
    pub(crate) async fn run(mut self, stop: watch::Receiver<bool>) {
        self.make_blocks(stop).await;
        self.flusher.finish().await;
    }

    async fn make_blocks(&mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = BACKOFF_MIN;
        loop {
            tokio::select! {
                () = self.admission.wake.notified() => {}
                _ = stop.wait_for(|&stopped| stopped) => return,
            }
            loop {
                let pause = match self.next_block().await {
                    Ok(Made::Block) => {
                        backoff = BACKOFF_MIN;
                        Duration::ZERO
                    }
                    Ok(Made::Nothing) => break,
                    Ok(Made::TooEarly(pause)) => pause,
                    Err(error) => {
                        tracing::error!(%error, "no block was made; trying again");
                        backoff = (backoff * 2).min(BACKOFF_MAX);
                        backoff
                    }
                };
                // A finished block must not be cut off, so stopping is only looked at between two
                // of them.
                if *stop.borrow() || stop.has_changed().is_err() {
                    return;
                }
                if !pause.is_zero() {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stop.wait_for(|&stopped| stopped) => return,
                    }
                }
            }
        }
    }

    /// Makes the next block if transactions can be executed and the clock allows it.
    async fn next_block(&mut self) -> Result<Made, EmbeddedError> {
        let parent = self.store.get_latest_block_number().await?;
        let number = parent + 1;
        let failed = |reason: String| EmbeddedError::Block { block: number, reason };
        if self.chain.mempool.status().map_err(|error| failed(error.to_string()))? == 0 {
            return Ok(Made::Nothing);
        }
        let header = self.store.get_block_header(parent)?.ok_or(EmbeddedError::Damaged { block: parent })?;
        let timestamp = match self.clock.next(header.timestamp, self.now.read()) {
            NextBlock::At(timestamp) => timestamp,
            // The clock may be set while we wait, so it is looked at again now and then.
            NextBlock::Wait(wait) => return Ok(Made::TooEarly(wait.min(LOOK_AGAIN))),
        };

        let args = BuildPayloadArgs {
            parent: header.hash(),
            timestamp,
            fee_recipient: self.fee_recipient,
            random: H256::zero(),
            withdrawals: Some(Vec::new()),
            beacon_root: Some(H256::zero()),
            slot_number: None,
            version: 3,
            elasticity_multiplier: ELASTICITY_MULTIPLIER,
            gas_ceil: self.gas_limit,
        };
        let draft = create_payload(&args, &self.store, Bytes::new()).map_err(|error| failed(error.to_string()))?;
        let chain = Arc::clone(&self.chain);
        let block = tokio::task::spawn_blocking(move || {
            let block = chain.build_payload(draft)?.payload;
            if block.body.transactions.is_empty() {
                return Ok(None);
            }
            chain.add_block_pipeline_bounded(block.clone(), None, LAYERS_MAX)?;
            Ok::<_, ethrex_blockchain::error::ChainError>(Some(block))
        })
        .await?
        .map_err(|error| failed(error.to_string()))?;
        let Some(block) = block else { return Ok(Made::Nothing) };

        let hash = block.hash();
        self.store.wait_for_persistence_idle().await?;
        let steady = self.admission.steady.write().await;
        apply_fork_choice(&self.store, hash, hash, hash, None).await.map_err(|error| failed(error.to_string()))?;
        self.head.send_replace(number);
        self.chain.remove_block_transactions_from_pool(&block)?;
        drop(steady);
        self.flusher.wrote(block.header.gas_used);
        tracing::debug!(number, transactions = block.body.transactions.len(), gas = block.header.gas_used, "block");
        Ok(Made::Block)
    }
}

/// What one attempt came to.
enum Made {
    /// A block is visible; there may be more to do.
    Block,
    /// Nothing can be executed before another transaction comes.
    Nothing,
    /// Block time has run as far ahead as it may.
    TooEarly(Duration),
}
