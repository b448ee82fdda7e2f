//! Proposals that are no longer pending: refuted, and so proposed again, or finalized by somebody else.
//!
//! Anyone may refute a proposal, the jury may annul it, and anyone may finalize it, without a word to the node.
//!
//! **Invariant:** no bond is lost twice to one fault. A refuted epoch is closed again from the books as they are now;
//! what the watcher could refute is not proposed, it is refused by name until the books are repaired.
//!
//! Not here: what makes a proposal false (`ledger::challenge`).

use openledger_ledger::ClosedEpoch;
use openledger_store::epochs::EpochRow;
use openledger_store::transact_locked;

use super::{Settlement, Turn};
use crate::error::{Blame, NodeError, Result};

/// The state of a proposed epoch on chain.
pub(crate) enum Standing {
    /// It may be refuted, or waits to be finalized.
    Pending {
        /// When its window closes, Unix seconds.
        closes: u64,
    },
    /// It is final, whoever finalized it.
    Finalized,
    /// It was refuted, or annulled by the jury.
    Dropped,
}

impl Settlement {
    /// The state of a proposed epoch on chain.
    ///
    /// # Errors
    ///
    /// `another-epoch` when another root was finalized in its place, or epochs after it.
    pub(crate) async fn standing(&self, row: &EpochRow) -> Result<Standing> {
        let payouts = self.chain.flow().payouts();
        let payout_root = row.roots()?.payout_root;
        // Asked in this order: a proposal that was not pending, and is not finalized even now, was dropped.
        let pending = payouts.pending().await?;
        let ours =
            pending.filter(|pending| (pending.header.epoch, pending.header.payout_root) == (row.number, payout_root));
        if let Some(ours) = ours {
            return Ok(Standing::Pending { closes: ours.closes });
        }
        let head = payouts.head().await?.epoch;
        if head < row.number {
            return Ok(Standing::Dropped);
        }
        if head == row.number && payouts.root().await? == payout_root {
            return Ok(Standing::Finalized);
        }
        let detail = format!("epoch {} was finalized with other roots than this node's; audit it", row.number);
        Err(NodeError::refused(Blame::Conflict, "another-epoch", detail))
    }

    /// Opens a dropped epoch's books again, to be closed once more.
    pub(crate) async fn reopen(&self, turn: &Turn, row: &EpochRow) -> Result<EpochRow> {
        tracing::warn!(epoch = row.number, attempt = row.attempt + 1, "the proposal was dropped; closing it again");
        let lease = turn.lease();
        transact_locked!(self.store, |tx| tx.epoch_rejected(lease, row.number).await)?;
        self.epochs.row(row.number).await
    }

    /// Checks books that were refuted before: what the node itself could refute is not proposed again.
    ///
    /// # Errors
    ///
    /// `false-books` naming the faults.
    pub(crate) async fn check_again(&self, row: &EpochRow, closed: &ClosedEpoch) -> Result<()> {
        if row.attempt == 0 {
            return Ok(());
        }
        let faults = self.watching.own_faults(closed).await?;
        if faults.is_empty() {
            return Ok(());
        }
        let detail = format!(
            "epoch {} was refuted and would be again: {}. Repair the books (audit names the receipts), then settle",
            row.number,
            faults.join(", ")
        );
        Err(NodeError::refused(Blame::Conflict, "false-books", detail))
    }
}
