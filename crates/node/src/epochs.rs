//! Epochs as they are kept: rows, receipts, payouts, and the header that a stranger checks.

use openledger_api::EpochExport;
use openledger_ledger::{ClosedEpoch, ClosedReceipt, EpochSpan, ExportedEpoch};
use openledger_protocol::{Domain, Entry, EpochHeader, FormatVersion, Payout, ReceiptId, SignedNote, SignedReceipt};
use openledger_store::Store;
use openledger_store::epochs::{EpochRow, EpochState};
use openledger_store::receipts::ReceiptRow;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use crate::chain_view::ChainView;
use crate::error::{NodeError, Result};

/// Receipts that are read at a time.
const PAGE: u32 = 500;

/// Reads epochs.
#[derive(Clone)]
pub struct Epochs {
    store: Store,
    chain: ChainView,
}

impl Epochs {
    pub(crate) fn new(store: Store, chain: ChainView) -> Self {
        Self { store, chain }
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
        self.chain.domain(self.chain.at().payouts)
    }

    /// The receipts of an epoch, by id.
    pub(crate) async fn receipts(&self, number: u64) -> Result<Vec<ReceiptRow>> {
        let (mut receipts, mut pages) = (Vec::new(), self.pages(number));
        while let Some(page) = pages.next().await? {
            receipts.extend(page);
        }
        Ok(receipts)
    }

    /// The receipts of an epoch, by id and page, so that their bodies are not all in memory at once.
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

    /// What an epoch is closed from.
    pub(crate) fn span(&self, row: &EpochRow) -> Result<EpochSpan> {
        Ok(EpochSpan { node: row.node, number: row.number, cutoff: row.cutoff()? })
    }

    /// A closed epoch, computed again from its receipts, beside the tasks that answer requests.
    pub(crate) async fn rebuild(&self, row: &EpochRow) -> Result<ClosedEpoch> {
        let (mut receipts, mut pages) = (Vec::new(), self.pages(row.number));
        while let Some(page) = pages.next().await? {
            receipts.extend(spawn_blocking(move || page.iter().map(closing).collect::<Result<Vec<_>>>()).await??);
        }
        let (span, domain) = (self.span(row)?, self.domain());
        let before = self.payouts_before(row.number).await?;
        Ok(spawn_blocking(move || openledger_ledger::close_epoch(span, &receipts, &before, domain)).await??)
    }
}

/// The members of a bundle that an epoch is closed from; the others are not read.
#[derive(Deserialize)]
struct Closing {
    signed: SignedReceipt,
    entries: Vec<Entry>,
    #[serde(default)]
    note: Option<SignedNote>,
}

fn closing(row: &ReceiptRow) -> Result<ClosedReceipt> {
    let Closing { signed, entries, note } = serde_json::from_str(&row.body)?;
    Ok(ClosedReceipt { signed, entries, note: note.map(|signed| signed.note) })
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
