//! Receipts by permission, and what an answer rests on.
//!
//! **Invariant:** a list holds the bodies of few receipts at a time, and few lists are read at a time.

use std::collections::{BTreeMap, btree_map};

use openledger_api::{
    CreditedRecord, Page, PageQuery, PrincipalOpening, ReceiptDetail, ReceiptSpan, ReceiptView, RoleSum, SplitLine,
};
use openledger_attribution::rank;
use openledger_protocol::{Coverage, Credits, Entry, ModelId, PrincipalId, Receipt, ReceiptBundle, ReceiptId};
use openledger_store::receipts::{ReceiptCursor, ReceiptFilter, ReceiptRow};
use openledger_store::trees::Tree;
use serde::Deserialize;

use super::Reading;
use crate::auth::Viewer;
use crate::cursor;
use crate::error::{Blame, NodeError, Result};
use crate::models::Offered;

/// Receipts on a page of the list, at most.
const LISTED_MAX: u32 = 100;
/// Receipts whose bodies a list holds at a time.
const BODIES_AT_ONCE: u32 = 10;

impl Reading {
    /// Receipts as everybody may see them, newest first. A page has at most 100: it reads whole bodies.
    ///
    /// # Errors
    ///
    /// `bad-parameter` for a cursor that this list did not give.
    pub async fn receipts(&self, page: &PageQuery) -> Result<Page<ReceiptView>> {
        let limit = page.limit().min(LISTED_MAX);
        let mut after = page.after.as_deref().map(receipt_cursor).transpose()?;
        // Never closed: without a turn, the list waits.
        let _turn = self.lists.acquire().await;
        let mut names: BTreeMap<ModelId, Option<String>> = BTreeMap::new();
        let (mut views, mut left) = (Vec::new(), limit + 1);
        while left > 0 {
            let wanted = left.min(BODIES_AT_ONCE);
            let rows = self.store.receipts(&ReceiptFilter::default(), after, wanted).await?;
            for row in &rows {
                if let btree_map::Entry::Vacant(vacant) = names.entry(row.model) {
                    vacant.insert(self.model_name(row).await?);
                }
                views.push(Shown::of(row)?.view(row, names.get(&row.model).cloned().flatten())?);
            }
            let Some(last) = rows.last().filter(|_| rows.len() == wanted as usize) else { break };
            after = Some(ReceiptCursor { time: last.time, id: last.id });
            left -= wanted;
        }
        Ok(Page::of(views, limit, |view| format!("{}-{}", view.time, view.id)))
    }

    /// The name of the model that answered; `None` for one that was never offered here.
    async fn model_name(&self, row: &ReceiptRow) -> Result<Option<String>> {
        Ok(self.store.model(row.model).await?.map(|model| model.name))
    }

    /// A receipt's row, where the viewer may read prompt and answer: the operator, the payer's
    /// account, and the key of the channel that paid.
    async fn own(&self, id: ReceiptId, viewer: &Viewer) -> Result<ReceiptRow> {
        let missing = || NodeError::missing("receipt", id);
        let row = self.store.receipt(id).await?.ok_or_else(missing)?;
        if viewer.may_read_paid(row.channel, row.payer) { Ok(row) } else { Err(missing()) }
    }

    /// A receipt as everybody may see it.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub async fn receipt_summary(&self, id: ReceiptId) -> Result<ReceiptView> {
        let row = self.store.receipt(id).await?.ok_or_else(|| NodeError::missing("receipt", id))?;
        Shown::of(&row)?.view(&row, self.model_name(&row).await?)
    }

    /// A receipt with prompt, answer and evidence. A contributor sees the spans of its own records.
    ///
    /// # Errors
    ///
    /// `not-found`, also for a receipt that the viewer may not read.
    pub async fn receipt_detail(&self, id: ReceiptId, viewer: &Viewer) -> Result<ReceiptDetail> {
        let row = self.own(id, viewer).await?;
        let bundle = bundle_of(&row)?;
        let names = self.handles.names(bundle.entries.iter().map(|entry| entry.account)).await?;
        let mut spans = Vec::with_capacity(bundle.credits.spans.len());
        for span in &bundle.credits.spans {
            let record = self.store.record(span.record).await?;
            let record = record.ok_or_else(|| {
                NodeError::lost("record", format!("{}/{}", span.record.contribution, span.record.index))
            })?;
            let readable = self.may_read(viewer, span.record.contribution).await?;
            let text = if readable { Some(self.records.body(&record).await?.body.canonical_text()) } else { None };
            spans.push(ReceiptSpan {
                start: span.output_offset,
                end: span.output_offset + span.length,
                record: record.record_id,
                contribution: span.record.contribution,
                index: span.record.index,
                record_offset: span.record_offset,
                contributors: self.contributors_of(span.record.contribution).await?,
                text,
            });
        }
        let line = |entry: &Entry| SplitLine {
            role: entry.role,
            account: entry.account,
            name: names.get(&entry.account).cloned(),
            contribution: (entry.contribution != Entry::NO_CONTRIBUTION).then_some(entry.contribution),
            amount: entry.amount,
        };
        Ok(ReceiptDetail {
            view: Shown::from(&bundle).view(&row, self.model_name(&row).await?)?,
            on_behalf_of: PrincipalOpening {
                principal: PrincipalId::Account(row.payer).to_string(),
                salt: PrincipalId::salt(self.keys.main(), id),
            },
            prompt: asked(&bundle),
            text: bundle.completion.text.clone(),
            spans,
            entries: bundle.entries.iter().map(line).collect(),
        })
    }

    /// A receipt's bundle; with its place in the epoch once that is closed, from the stored trees.
    ///
    /// # Errors
    ///
    /// `not-found`, also for a receipt that the viewer may not read.
    pub async fn bundle(&self, id: ReceiptId, viewer: &Viewer) -> Result<ReceiptBundle> {
        let row = self.own(id, viewer).await?;
        let mut bundle = bundle_of(&row)?;
        if let Some(place) = row.place {
            let lost = || {
                let detail = format!("receipt {id} has no place in the stored trees of epoch {}", row.epoch);
                NodeError::refused(Blame::Operator, "damaged-tree", detail)
            };
            let mut inclusion = self.store.tree_proofs(row.epoch, Tree::Receipts, &[place]).await?;
            bundle.inclusion = Some(inclusion.pop().ok_or_else(lost)?);
            let places = self.store.entry_places(id).await?;
            bundle.entry_proofs = self.store.tree_proofs(row.epoch, Tree::Entries, &places).await?;
            if bundle.entry_proofs.len() != bundle.entries.len() {
                return Err(lost());
            }
        }
        Ok(bundle)
    }

    /// The records that an answer rests on most, at most `count`.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`].
    pub async fn top_records(
        &self,
        model: &Offered,
        credits: &Credits,
        count: usize,
        viewer: &Viewer,
    ) -> Result<Vec<CreditedRecord>> {
        let mut top = Vec::new();
        for ranked in rank::top_records(credits, count) {
            let at = ranked.record;
            let trained = model.records.iter().find(|trained| trained.at == at);
            let readable = self.may_read(viewer, at.contribution).await?;
            top.push(CreditedRecord {
                record: trained.map(|trained| trained.id.clone()),
                contribution: at.contribution,
                index: at.index,
                contributors: self.contributors_of(at.contribution).await?,
                weight_ppm: ranked.weight_ppm,
                spans: ranked.spans,
                influence: ranked.influence,
                text: trained.filter(|_| readable).map(|trained| trained.body.canonical_text()),
            });
        }
        Ok(top)
    }
}

/// The members of a bundle that everybody may see. The others, most of its bytes, are skipped.
#[derive(Deserialize)]
struct Shown {
    signed: Signed,
    credits: Covered,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Signed {
    receipt: Receipt,
}

#[derive(Deserialize)]
struct Covered {
    coverage: Coverage,
}

impl From<&ReceiptBundle> for Shown {
    fn from(bundle: &ReceiptBundle) -> Self {
        Self {
            signed: Signed { receipt: bundle.signed.receipt.clone() },
            credits: Covered { coverage: bundle.credits.coverage },
            entries: bundle.entries.clone(),
        }
    }
}

impl Shown {
    fn of(row: &ReceiptRow) -> Result<Self> {
        Ok(serde_json::from_str(&row.body)?)
    }

    fn view(self, row: &ReceiptRow, model_name: Option<String>) -> Result<ReceiptView> {
        let Self { signed: Signed { receipt }, credits, entries } = self;
        Ok(ReceiptView {
            id: row.id,
            kind: receipt.kind,
            credit_state: receipt.credit_state,
            node: receipt.node,
            model: receipt.model,
            model_name,
            adapter: receipt.adapter,
            price: receipt.price,
            tokens_in: receipt.tokens_in,
            tokens_out: receipt.tokens_out,
            coverage: credits.coverage,
            spans_root: receipt.spans_root,
            scores_root: receipt.scores_root,
            output_root: receipt.output,
            lines_root: receipt.lines,
            context_root: receipt.context,
            parents_root: receipt.parents,
            params: receipt.params,
            split: openledger_ledger::sums_by_role(&entries)?
                .into_iter()
                .map(|(role, lines, amount)| RoleSum { role, lines, amount })
                .collect(),
            epoch: row.place.map(|_| row.epoch),
            time: receipt.time,
        })
    }
}

fn bundle_of(row: &ReceiptRow) -> Result<ReceiptBundle> {
    Ok(serde_json::from_str(&row.body)?)
}

/// The last message of a request, or its prompt.
fn asked(bundle: &ReceiptBundle) -> Option<String> {
    let text = match bundle.request.get("messages").and_then(|messages| messages.as_array()) {
        Some(messages) => messages.last().and_then(|message| message.get("content")),
        None => bundle.request.get("prompt"),
    };
    text.and_then(|text| text.as_str()).map(str::to_owned)
}

fn receipt_cursor(after: &str) -> Result<ReceiptCursor> {
    let (time, id) = cursor::pair(after)?;
    Ok(ReceiptCursor { time, id })
}
