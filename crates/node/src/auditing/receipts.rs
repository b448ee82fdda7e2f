//! Receipts of an epoch, each verified as a stranger would: page by page, on all processors.
//!
//! **Invariant:** faults are named in the order of the receipts. **Invariant:** the checks run
//! beside the tasks that answer requests, never on their threads.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use openledger_ledger::{ClosedEpoch, ExportedEpoch};
use openledger_protocol::{ModelId, ReceiptBundle};
use openledger_store::receipts::ReceiptRow;

use crate::epochs::Epochs;
use crate::error::Result;
use crate::models::{Models, Offered};

/// A closed epoch, and its header as a stranger has it.
pub(super) struct Sealed {
    pub(super) epoch: ClosedEpoch,
    pub(super) exported: ExportedEpoch,
}

/// What receipts are checked against: the models of a page, and the epoch once it is closed.
struct Against {
    of: String,
    models: BTreeMap<ModelId, Arc<Offered>>,
    sealed: Option<Arc<Sealed>>,
}

/// Verifies the receipts of epoch `number`, called `of`: each against its model's manifest and, once
/// that is closed, against the epoch. Returns how many there are, and the faults.
///
/// # Errors
///
/// [`crate::NodeError`] when rows cannot be read, or a model on offer cannot be loaded.
pub(super) async fn verified(
    epochs: &Epochs,
    models: &Models,
    of: &str,
    number: u64,
    sealed: Option<Arc<Sealed>>,
) -> Result<(usize, Vec<String>)> {
    let (mut count, mut faults) = (0, Vec::new());
    let mut pages = epochs.pages(number);
    while let Some(rows) = pages.next().await? {
        count += rows.len();
        let models = models.on_offer(rows.iter().map(|row| row.model).collect()).await?;
        faults.extend(faults_of(rows, Against { of: of.to_owned(), models, sealed: sealed.clone() }).await?);
    }
    Ok((count, faults))
}

/// The faults of receipts, found in as many parts at a time as the machine has processors.
async fn faults_of(mut rows: Vec<ReceiptRow>, against: Against) -> Result<Vec<String>> {
    let parts = std::thread::available_parallelism().map_or(1, NonZero::get);
    let size = rows.len().div_ceil(parts).max(1);
    let against = Arc::new(against);
    let mut tasks = Vec::with_capacity(parts);
    while !rows.is_empty() {
        let rest = rows.split_off(size.min(rows.len()));
        let part = std::mem::replace(&mut rows, rest);
        let against = Arc::clone(&against);
        let check = move || part.iter().flat_map(|row| against.faults(row)).collect::<Vec<_>>();
        tasks.push(tokio::task::spawn_blocking(check));
    }
    let mut faults = Vec::new();
    for task in tasks {
        faults.extend(task.await?);
    }
    Ok(faults)
}

impl Against {
    /// The faults of one receipt, each with the receipt's id.
    fn faults(&self, row: &ReceiptRow) -> Vec<String> {
        let one = |fault: &str| vec![format!("{}: {fault}", row.id)];
        let Ok(mut bundle) = serde_json::from_str::<ReceiptBundle>(&row.body) else {
            return one("not readable");
        };
        let receipt = &bundle.signed.receipt;
        if (receipt.id(), receipt.model) != (row.id, row.model) {
            return one("another receipt's body");
        }
        let Some(model) = self.models.get(&row.model) else {
            return one("of a model that is not on offer");
        };
        let mut faults = Vec::new();
        let checked = match &self.sealed {
            Some(sealed) => {
                if !sealed.epoch.include(&mut bundle) {
                    faults.extend(one(&format!("not in {}", self.of)));
                }
                openledger_ledger::verify_bundle(&bundle, &sealed.exported, &model.manifest)
            }
            None => openledger_ledger::verify_receipt(&bundle, &model.manifest),
        };
        if let Err(found) = checked {
            faults.extend(found.into_iter().map(|fault| format!("{}: {}", row.id, fault.field)));
        }
        faults
    }
}
