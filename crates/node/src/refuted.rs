//! Epochs whose proposal is no longer pending: refuted, and so proposed anew, or finalized by somebody else.
//!
//! # Place in the flow
//!
//! `settle` asks here where an epoch stands that it has proposed. Anyone may refute it, the jury may drop it, and anyone
//! may finalize it, without a word to the node.
//!
//! # Invariants
//!
//! - **No bond is lost twice to one fault.** The epoch is closed again from the books as they are now, and what the watcher
//!   could refute is not proposed: it is refused by name until the books are mended.
//! - The new roots, the new payouts and the state change in one transaction; each proposal's chain transactions have keys
//!   of their own.
//!
//! # Not here
//!
//! What makes a proposal false (`ledger::challenge`). Whose proposal stands where several nodes propose.

use openledger_ledger::challenge::{Published, examine};
use openledger_store::epochs::EpochRow;

use crate::error::{Blame, NodeError, Result};
use crate::node::Node;
use crate::settle::payout_rows;

/// Where an epoch stands on chain that was proposed.
pub(crate) enum Standing {
    /// It may be refuted, or waits to be finalized.
    Pending {
        /// When its window closes, seconds since 1970.
        closes: u64,
    },
    /// It stands, whoever finalized it.
    Finalized,
    /// It was refuted, or dropped by the jury.
    Dropped,
}

impl Node {
    /// Where a proposed epoch stands on chain.
    ///
    /// # Errors
    ///
    /// `another-epoch` when another root was finalized in its place, or epochs after it.
    pub(crate) async fn standing(&self, row: &EpochRow) -> Result<Standing> {
        let flow = &self.inner.flow;
        // Asked in this order: what was not pending, and is not finalized even now, was dropped.
        let pending = flow.pending_epoch().await?;
        let ours = pending
            .filter(|pending| (pending.header.epoch, pending.header.payout_root) == (row.number, row.payout_root));
        if let Some(ours) = ours {
            return Ok(Standing::Pending { closes: ours.closes });
        }
        let head = flow.payouts_head().await?.epoch;
        if head < row.number {
            return Ok(Standing::Dropped);
        }
        if head == row.number && flow.payout_root().await? == row.payout_root {
            return Ok(Standing::Finalized);
        }
        let detail = format!("epoch {} was finalized with other roots than this node's; audit it", row.number);
        Err(NodeError::refused(Blame::Conflict, "another-epoch", detail))
    }

    /// The epoch as it is to be settled: closed again when its proposal was dropped, else as it is.
    ///
    /// # Errors
    ///
    /// `false-books` when the node itself could refute what it would propose now.
    pub(crate) async fn proposed_anew(&self, row: EpochRow) -> Result<EpochRow> {
        if !matches!(self.standing(&row).await?, Standing::Dropped) {
            return Ok(row);
        }
        let number = row.number;
        let attempt = row.header["attempt"].as_u64().unwrap_or_default() + 1;
        tracing::warn!(epoch = number, attempt, "the proposal was dropped; the epoch is closed again");
        let receipts = self.inner.store.receipts_of_epoch(number).await?;
        let (row, closed) = self.roots(number, &receipts, attempt).await?;
        let cutoff = row.header["cutoff"].as_u64().unwrap_or_default();
        let published = Published::of(&closed, cutoff, self.inner.flow.account());
        let known = self.known(&published, &[]).await?;
        let unreadable = |error: openledger_ledger::challenge::PublishedError| {
            NodeError::refused(Blame::Data, "bad-publication", error.to_string())
        };
        let faults = examine(&published, &known).map_err(unreadable)?.refutations;
        if !faults.is_empty() {
            let names: Vec<&str> = faults.iter().map(openledger_ledger::challenge::Refutation::name).collect();
            let detail = format!(
                "epoch {number} was refuted and would be again: {}. Mend the books (audit names the receipts), then settle",
                names.join(", ")
            );
            return Err(NodeError::refused(Blame::Conflict, "false-books", detail));
        }
        let mut tx = self.inner.store.begin().await?;
        tx.close_epoch_again(&row).await?;
        tx.put_payouts(&payout_rows(number, &closed)).await?;
        tx.commit().await?;
        Ok(row)
    }
}
