//! Epochs as they are kept: rows, receipts, payouts, and the header that a stranger checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use openledger_api::EpochExport;
use openledger_ledger::{ClosedEpoch, ClosedReceipt, EpochSpan, ExportedEpoch};
use openledger_protocol::{
    CreditState, Domain, Entry, EpochHeader, FormatVersion, Manifest, ModelId, Payout, ReceiptBundle, ReceiptId,
    SignedNote, SignedReceipt,
};
use openledger_store::Store;
use openledger_store::epochs::{EpochRow, EpochState};
use openledger_store::receipts::ReceiptRow;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use crate::error::{Blame, NodeError, Result};

/// Receipts that are read at a time.
const PAGE: u32 = 500;

/// Reads epochs.
#[derive(Clone)]
pub struct Epochs {
    store: Store,
    /// The EIP-712 domain of the contract that takes epochs.
    domain: Domain,
}

impl Epochs {
    pub(crate) fn new(store: Store, domain: Domain) -> Self {
        Self { store, domain }
    }

    /// An epoch's row.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub(crate) async fn row(&self, number: u64) -> Result<EpochRow> {
        self.store.epoch(number).await?.ok_or_else(|| NodeError::missing("epoch", number))
    }

    /// The EIP-712 domain of epochs.
    pub(crate) fn domain(&self) -> Domain {
        self.domain
    }

    /// The receipts of an epoch, by id.
    pub(crate) async fn receipts(&self, number: u64) -> Result<Vec<ReceiptRow>> {
        let (mut receipts, mut pages) = (Vec::new(), self.pages(number));
        while let Some(page) = pages.next().await? {
            receipts.extend(page);
        }
        Ok(receipts)
    }

    /// The receipts of an epoch, by id and page, so that their bodies are not all in memory at
    /// once.
    pub(crate) fn pages(&self, number: u64) -> ReceiptPages<'_> {
        ReceiptPages { store: &self.store, number, after: None }
    }

    /// The payouts at the end of an epoch, by account.
    pub(crate) async fn payouts(&self, number: u64) -> Result<Vec<Payout>> {
        let rows = self.store.payouts_of_epoch(number).await?;
        Ok(rows.into_iter().map(|row| Payout { account: row.account, cumulative: row.cumulative }).collect())
    }

    /// The payouts at the end of the epoch before.
    pub(crate) async fn payouts_before(&self, number: u64) -> Result<Vec<Payout>> {
        if number <= 1 {
            return Ok(Vec::new());
        }
        self.payouts(number - 1).await
    }

    /// The header of an epoch whose roots are fixed.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`] when they are not fixed, or damaged.
    pub(crate) fn header(&self, row: &EpochRow) -> Result<EpochHeader> {
        let roots = row.roots()?;
        Ok(EpochHeader {
            version: FormatVersion,
            node: row.node,
            epoch: row.number,
            cutoff: row.cutoff()?,
            receipt_count: roots.receipt_count,
            receipts_root: roots.receipts_root,
            receipts_total: roots.receipts_total,
            entries_root: roots.entries_root,
            entries_total: roots.entries_total,
            payout_root: roots.payout_root,
            total: roots.total,
        })
    }

    /// An epoch as a stranger checks it.
    ///
    /// # Errors
    ///
    /// `not-found`; [`NodeError::Store`] when its roots are not fixed.
    pub(crate) async fn export(&self, number: u64) -> Result<EpochExport> {
        let row = self.row(number).await?;
        let ExportedEpoch { format, domain, header, words, hash } =
            ExportedEpoch::new(self.header(&row)?, self.domain());
        Ok(EpochExport { format, domain, header, words, hash })
    }

    /// An epoch's receipts by id, each with the lines that it pays at the cutoff and the credit
    /// note that it is filed with.
    ///
    /// The lines are those of the books; [`Epochs::close`] refuses lines that were not signed. A
    /// receipt that defers its credits pays by its note, or by training weights where none came in
    /// time.
    ///
    /// # Errors
    ///
    /// `false-books` when the books have other lines for a deferred receipt; [`NodeError`] when
    /// something cannot be read.
    pub(crate) async fn closed_receipts(&self, row: &EpochRow) -> Result<Vec<ClosedReceipt>> {
        let cutoff = row.cutoff()?;
        let mut deferring = Deferring { store: &self.store, cutoff, manifests: BTreeMap::new() };
        let (mut closed, mut pages) = (Vec::new(), self.pages(row.number));
        while let Some(page) = pages.next().await? {
            let ids: Vec<ReceiptId> = page.iter().map(|row| row.id).collect();
            let mut lines = self.store.entries_of_receipts(&ids).await?;
            for (row, signed) in spawn_blocking(move || signed_receipts(page)).await?? {
                let entries = lines.remove(&row.id).unwrap_or_default();
                closed.push(match signed.receipt.credit_state {
                    CreditState::Deferred => deferring.receipt(&row, entries).await?,
                    _ => ClosedReceipt { signed, note: None, entries },
                });
            }
        }
        Ok(closed)
    }

    /// Closes an epoch over its receipts, beside the tasks that answer requests.
    ///
    /// # Errors
    ///
    /// `false-books` naming the receipt that does not fit.
    pub(crate) async fn close(&self, row: &EpochRow, receipts: Vec<ClosedReceipt>) -> Result<ClosedEpoch> {
        let span = EpochSpan { node: row.node, number: row.number, cutoff: row.cutoff()? };
        let (before, domain) = (self.payouts_before(row.number).await?, self.domain());
        let closing = spawn_blocking(move || openledger_ledger::close_epoch(span, &receipts, &before, domain));
        closing.await?.map_err(|error| {
            let detail = format!("epoch {} cannot be closed over what the database holds: {error}", span.number);
            NodeError::refused(Blame::Conflict, "false-books", detail)
        })
    }

    /// A closed epoch, computed again from its receipts.
    ///
    /// # Errors
    ///
    /// As [`Epochs::closed_receipts`] and [`Epochs::close`].
    pub(crate) async fn rebuild(&self, row: &EpochRow) -> Result<ClosedEpoch> {
        let receipts = self.closed_receipts(row).await?;
        self.close(row, receipts).await
    }
}

/// The pages of an epoch's receipts.
pub(crate) struct ReceiptPages<'a> {
    store: &'a Store,
    number: u64,
    after: Option<ReceiptId>,
}

impl ReceiptPages<'_> {
    /// The next page; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<ReceiptRow>>> {
        let page = self.store.epoch_receipts(self.number, self.after, PAGE).await?;
        self.after = page.last().map(|row| row.id).or(self.after);
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

/// The receipts in the bodies of rows; the other members of the bundles are not read.
fn signed_receipts(rows: Vec<ReceiptRow>) -> Result<Vec<(ReceiptRow, SignedReceipt)>> {
    #[derive(Deserialize)]
    struct Body {
        signed: SignedReceipt,
    }
    let signed = |row: ReceiptRow| -> Result<(ReceiptRow, SignedReceipt)> {
        let Body { signed } = serde_json::from_str(&row.body)?;
        Ok((row, signed))
    };
    rows.into_iter().map(signed).collect()
}

/// Reads the lines of receipts that defer their credits.
struct Deferring<'a> {
    store: &'a Store,
    cutoff: u64,
    manifests: BTreeMap<ModelId, Arc<Manifest>>,
}

impl Deferring<'_> {
    /// A deferred receipt with the lines that it pays at the cutoff; `kept` are the lines of the
    /// books, if any.
    async fn receipt(&mut self, row: &ReceiptRow, kept: Vec<Entry>) -> Result<ClosedReceipt> {
        let mut bundle: ReceiptBundle = serde_json::from_str(&row.body)?;
        if let Some(note) = self.store.credit_note(row.id).await? {
            bundle.note = Some(serde_json::from_str::<SignedNote>(&note.body)?);
            bundle.entries.clone_from(&kept);
        }
        let manifest = self.manifest(row.model).await?;
        let (entries, note) = openledger_ledger::lines_at(self.cutoff, &bundle, &manifest)?;
        if !kept.is_empty() && kept != entries {
            let detail = format!("the books have other lines for receipt {} than it pays at the cutoff", row.id);
            return Err(NodeError::refused(Blame::Conflict, "false-books", detail));
        }
        Ok(ClosedReceipt { signed: bundle.signed, note, entries })
    }

    /// A model's manifest, by the blob that its row names: the model need not be loaded.
    async fn manifest(&mut self, model: ModelId) -> Result<Arc<Manifest>> {
        if let Some(manifest) = self.manifests.get(&model) {
            return Ok(Arc::clone(manifest));
        }
        let row = self.store.model(model).await?.ok_or_else(|| NodeError::lost("model", model))?;
        let manifest: Arc<Manifest> = Arc::new(serde_json::from_slice(&self.store.blobs().get(row.manifest).await?)?);
        self.manifests.insert(model, Arc::clone(&manifest));
        Ok(manifest)
    }
}

/// The state of an epoch in the API's words.
pub(crate) fn api_state(state: EpochState) -> openledger_api::EpochState {
    match state {
        EpochState::Open => openledger_api::EpochState::Open,
        EpochState::Closing => openledger_api::EpochState::Closing,
        EpochState::Closed => openledger_api::EpochState::Closed,
        EpochState::Proposed => openledger_api::EpochState::Proposed,
        EpochState::Finalized => openledger_api::EpochState::Finalized,
    }
}
