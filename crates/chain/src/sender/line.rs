//! Looks after the transactions that wait for a block.
//!
//! A transaction can wait for ever for three reasons, and each has its remedy here:
//!
//! - **The network forgot it**, or never heard of it because the process stopped between writing it
//!   down and sending it: its bytes are sent again. So a gap in the nonces heals, whoever waits
//!   behind it.
//! - **The base fee rose above what it pays**: the first in line is offered again for more.
//! - **Others tip more**: when [`BLOCKS_PASSED`] blocks went by without the first in line,
//!   likewise.
//!
//! Offering for more replaces nothing but fee and tip: see `transaction::rung`. The key means what
//! it meant.
//!
//! # Invariants
//!
//! - Only transactions of the outbox are ever sent, and rungs of them.
//! - Never more per gas than [`FeePolicy::ceiling`](super::FeePolicy), but for the first fee.

use std::time::Instant;

use super::transaction::{RUNGS, raised, read, rung, rung_for};
use super::{SendError, Sender, SignedTransaction};
use crate::rpc::{RpcError, TransactionReceipt};

/// Blocks that may go by without the first in line before it is offered for more.
const BLOCKS_PASSED: u64 = 8;

impl Sender {
    /// Sends what waits and the network does not know, and offers the first in line for more when
    /// it is stuck.
    ///
    /// Does something once per patience, however many callers wait.
    ///
    /// # Errors
    ///
    /// [`SendError::Rpc`] and [`SendError::Outbox`]; what the network does not take is left for its
    /// own key to report.
    pub(super) async fn look_after(&self) -> Result<(), SendError> {
        let Ok(mut line) = self.line.try_lock() else { return Ok(()) };
        if line.looked.is_some_and(|looked| looked.elapsed() < self.patience) {
            return Ok(());
        }
        line.looked = Some(Instant::now());
        let head = self.client.block_number().await?;
        let mined = self.client.nonce(self.address()).await?;
        if line.nonce != mined || line.since == 0 {
            (line.nonce, line.since, line.rung) = (mined, head, 0);
        }
        for waiting in self.outbox.unmined(self.address()).await? {
            if waiting.nonce < mined {
                continue;
            }
            let first = waiting.nonce == mined;
            let stuck = first && head >= line.since.saturating_add(BLOCKS_PASSED);
            let least = if stuck { line.rung + 1 } else { line.rung };
            let wanted = if first { self.wanted_rung(&waiting, least).await? } else { 0 };
            if first && wanted > line.rung {
                (line.rung, line.since) = (wanted, head);
                tracing::info!(key = waiting.key, rung = wanted, "a stuck transaction is offered for more");
            } else if self.client.knows(waiting.hash).await? {
                continue;
            }
            self.offer(&waiting, wanted).await?;
        }
        Ok(())
    }

    /// Offers a transaction that was refused for more, if the base fee is above what it pays;
    /// whether it was taken.
    pub(super) async fn offer_for_more(&self, signed: &SignedTransaction) -> Result<bool, SendError> {
        match self.wanted_rung(signed, 0).await? {
            0 => Ok(false),
            wanted => self.offer(signed, wanted).await,
        }
    }

    /// The receipt of a transaction, whichever of its rungs was mined; none while its nonce is
    /// free.
    ///
    /// # Errors
    ///
    /// [`SendError::NonceTaken`] when something else used the nonce.
    pub(super) async fn receipt_of(&self, signed: &SignedTransaction) -> Result<Option<TransactionReceipt>, SendError> {
        // The nonce first: a block between the two calls then only makes us look once more.
        let mined = self.client.nonce(signed.sender).await?;
        if let Some(receipt) = self.client.receipt(signed.hash).await? {
            return Ok(Some(receipt));
        }
        if mined <= signed.nonce {
            return Ok(None);
        }
        for step in 1..=RUNGS {
            let Some((_, hash)) = rung(&signed.raw, step, &self.key) else { break };
            if let Some(receipt) = self.client.receipt(hash).await? {
                return Ok(Some(receipt));
            }
        }
        Err(SendError::NonceTaken { key: signed.key.clone(), nonce: signed.nonce })
    }

    /// The rung a transaction should be offered on: `least`, or more when the base fee asks for it,
    /// within the ceiling.
    async fn wanted_rung(&self, signed: &SignedTransaction, least: u32) -> Result<u32, SendError> {
        let Some(transaction) = read(&signed.raw) else {
            return Err(SendError::Damaged { key: signed.key.clone(), raw: signed.raw.clone() });
        };
        let (first, ceiling) = (transaction.max_fee_per_gas, self.fees.ceiling);
        let base_fee = self.client.base_fee().await?;
        // A fee that still pays the base fee is left as it is: each rung costs a place in the pool.
        let enough = raised(first, least) >= base_fee;
        let wanted = if enough { least } else { rung_for(base_fee, first, ceiling).unwrap_or(least).max(least) };
        // Above the ceiling nothing is offered; then the transaction waits for the fees to fall.
        let allowed = (1..=RUNGS).take_while(|&step| raised(first, step) <= ceiling).last().unwrap_or(0);
        Ok(wanted.min(allowed))
    }

    /// Sends the transaction on a rung; whether the network has it afterwards.
    async fn offer(&self, signed: &SignedTransaction, step: u32) -> Result<bool, SendError> {
        let Some((raw, hash)) = rung(&signed.raw, step, &self.key) else {
            return Err(SendError::Damaged { key: signed.key.clone(), raw: signed.raw.clone() });
        };
        match self.client.send_raw(&raw).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_transient() => Err(error.into()),
            Err(error @ RpcError::Refused { .. }) => {
                tracing::debug!(key = signed.key, %error, "a transaction was not taken again");
                Ok(self.client.knows(hash).await?)
            }
            Err(error) => Err(error.into()),
        }
    }
}
