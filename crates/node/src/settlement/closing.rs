//! Closing an epoch: its receipts with the lines that they pay, and the roots over them.
//!
//! **Invariant:** hashes are computed on threads that may take their time, before the transaction
//! that keeps their results: answers wait for no epoch that is closed.
//!
//! Not here: the rules (`ledger`), which epoch is due (the module above).

use std::collections::BTreeSet;
use std::sync::Arc;

use openledger_ledger::{ClosedEpoch, ClosedReceipt};
use openledger_protocol::{Entry, ReceiptId};
use openledger_store::epochs::{EpochRoots, EpochRow};
use openledger_store::payouts::PayoutRow;
use openledger_store::trees::{BuiltTrees, EpochTrees};
use openledger_store::{Error as StoreError, transact_locked};

use super::{Settlement, Turn};
use crate::error::Result;

impl Settlement {
    /// The receipts of an epoch that is being closed. Lines that follow only now, at the cutoff,
    /// enter the books.
    ///
    /// # Errors
    ///
    /// As [`crate::epochs::Epochs::closed_receipts`].
    pub(crate) async fn books(&self, turn: &Turn, row: &EpochRow) -> Result<Vec<ClosedReceipt>> {
        let receipts = self.epochs.closed_receipts(row).await?;
        let without: BTreeSet<ReceiptId> = self.store.receipts_without_entries(row.number).await?.into_iter().collect();
        let missing = |closed: &&ClosedReceipt| without.contains(&closed.signed.receipt.id());
        let late: Vec<&ClosedReceipt> = receipts.iter().filter(missing).collect();
        let lease = turn.lease();
        let kept: Result<(), StoreError> = transact_locked!(self.store, |tx| {
            tx.check_lease(lease).await?;
            for closed in &late {
                tx.put_entries(closed.signed.receipt.id(), &closed.entries).await?;
            }
            Ok(())
        });
        kept?;
        Ok(receipts)
    }

    /// Fixes the roots of an epoch, with its payouts and its trees.
    pub(crate) async fn fix(&self, turn: &Turn, row: &EpochRow, closed: &Arc<ClosedEpoch>) -> Result<EpochRow> {
        let header = &closed.header;
        let roots = EpochRoots {
            receipt_count: header.receipt_count,
            receipts_root: header.receipts_root,
            receipts_total: header.receipts_total,
            entries_root: header.entries_root,
            entries_total: header.entries_total,
            payout_root: header.payout_root,
            total: header.total,
            params: self.chain.governed().now().hash(),
        };
        let payouts: Vec<PayoutRow> = closed
            .payouts
            .payouts()
            .iter()
            .map(|payout| PayoutRow { account: payout.account, cumulative: payout.cumulative })
            .collect();
        let built = Arc::clone(closed);
        let trees = tokio::task::spawn_blocking(move || trees(&built)).await??;
        let lease = turn.lease();
        transact_locked!(self.store, |tx| tx.close_epoch(lease, row.number, &roots, &payouts, &trees).await)?;
        self.epochs.row(row.number).await
    }
}

/// The trees of an epoch as the store keeps them.
fn trees(closed: &ClosedEpoch) -> Result<BuiltTrees, StoreError> {
    let domain = closed.domain;
    let receipts: Vec<_> = closed.receipt_leaves.iter().map(|leaf| leaf.node(domain)).collect();
    let entries: Vec<_> = closed.entries.iter().map(Entry::leaf).collect();
    let payouts: Vec<_> = closed.payouts.payouts().iter().map(|payout| payout.leaf(domain)).collect();
    EpochTrees { receipts: &receipts, entries: &entries, payouts: &payouts }.build()
}
