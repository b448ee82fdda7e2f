//! Reading: views of datanets, contributions, models, receipts, epochs and payouts, by page and by permission.
//!
//! **Invariant:** prompts, answers and record texts leave only through [`Viewer`]. Prompts and answers
//! are for the key of the channel that paid, and for the payer's account. Records are for the owner
//! of the datanet and their contributors, or for everybody where the datanet's terms allow passing
//! them on. Ids, sums, roots and times are public.

mod receipts;

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;

use openledger_api::{
    BaseModel, ContractAddresses, ContributionView, DatanetView, EpochView, NamedAccount, Network, Overview, Page,
    PageQuery, PayoutView, PlatformAccounts, RecordView, Totals, TrainedRecord,
};
use openledger_protocol::{Address, B256, ContributionId, DatanetId, Entry, RecordRef, word};
use openledger_store::Store;
use openledger_store::chain_sums::ChainSum;
use openledger_store::contributions::ContributionRow;
use openledger_store::datanets::Datanet;
use openledger_store::epochs::{EpochRow, EpochState};
use openledger_store::payouts::PayoutRow;
use tokio::sync::Semaphore;

use crate::auth::Viewer;
use crate::base::Base;
use crate::chain_view::ChainView;
use crate::cursor;
use crate::epochs::{Epochs, api_state};
use crate::error::{Blame, NodeError, Result};
use crate::handles::{Handles, Names};
use crate::keys::NodeKeys;
use crate::models::{Models, Offered};
use crate::records::Records;

/// Contributions, epochs and payouts on the first page.
const OVERVIEW_ROWS: u32 = 50;
/// Receipts on the first page.
const OVERVIEW_RECEIPTS: u32 = 20;
/// Lists of receipts that are read at a time: each reads whole bodies.
const LISTS_AT_ONCE: usize = 8;

/// Reads what others wrote.
#[derive(Clone)]
pub struct Reading {
    store: Store,
    chain: ChainView,
    handles: Handles,
    models: Models,
    records: Records,
    epochs: Epochs,
    base: Arc<Base>,
    keys: NodeKeys,
    platform: crate::config::PlatformAccounts,
    numeric_mode: String,
    /// Turns of lists that read bodies.
    lists: Arc<Semaphore>,
}

/// The parts of [`Reading`].
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) chain: ChainView,
    pub(crate) handles: Handles,
    pub(crate) models: Models,
    pub(crate) records: Records,
    pub(crate) epochs: Epochs,
    pub(crate) base: Arc<Base>,
    pub(crate) keys: NodeKeys,
    pub(crate) platform: crate::config::PlatformAccounts,
    pub(crate) numeric_mode: String,
}

impl Reading {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, chain, handles, models, records, epochs, base, keys, platform, numeric_mode } = parts;
        let lists = Arc::new(Semaphore::new(LISTS_AT_ONCE));
        Self { store, chain, handles, models, records, epochs, base, keys, platform, numeric_mode, lists }
    }

    /// The network, and the node's place in it.
    #[must_use]
    pub fn network(&self) -> Network {
        let at = self.chain.at();
        Network {
            chain_id: self.chain.chain_id(),
            addresses: ContractAddresses {
                wopen: at.wopen,
                datanets: at.datanets,
                contributions: at.contributions,
                models: at.models,
                channels: at.channels,
                payouts: at.payouts,
                verifier: at.verifier,
                params: at.params,
            },
            node: self.chain.account(),
            parties: PlatformAccounts {
                treasury: self.platform.treasury,
                validation: self.platform.validation,
                insurance: self.platform.insurance,
            },
            base: BaseModel { name: self.base.name.clone(), hash: self.base.hash },
            tokenizer: B256::from(self.base.tokenizer.hash()),
            numeric_mode: self.numeric_mode.clone(),
        }
    }

    /// Datanets, by id.
    ///
    /// # Errors
    ///
    /// `bad-parameter` for a cursor that this list did not give.
    pub async fn datanets(&self, page: &PageQuery) -> Result<Page<DatanetView>> {
        let limit = page.limit();
        let after = cursor::number(page)?.map(DatanetId);
        let rows: Vec<Datanet> = self.store.datanets_page(after, limit + 1).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            views.push(self.datanet_view(row).await?);
        }
        Ok(Page::of(views, limit, |view| view.id.to_string()))
    }

    /// A datanet.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub async fn datanet(&self, id: DatanetId) -> Result<DatanetView> {
        let row = self.store.datanet(id).await?.ok_or_else(|| NodeError::missing("datanet", id))?;
        self.datanet_view(row).await
    }

    async fn datanet_view(&self, row: Datanet) -> Result<DatanetView> {
        let owner = self.store.owner_now(self.chain.at().datanets, word(row.id.0)).await?.unwrap_or(row.owner);
        let names = self.handles.names([owner]).await?;
        let version = self.store.latest_datanet_version(row.id).await?;
        Ok(DatanetView {
            id: row.id,
            name: row.name,
            description: row.description,
            license: row.rights.license,
            owner: NamedAccount { account: owner, name: names.get(&owner).cloned() },
            version: version.as_ref().map_or(0, |version| version.version),
            root: version.map(|version| version.root),
            records: row.records,
            contributions: row.contributions,
        })
    }

    /// Registered contributions, newest first.
    ///
    /// # Errors
    ///
    /// `bad-parameter` for a cursor that this list did not give; `damaged-data` for a contribution
    /// whose datanet is lost.
    pub async fn contributions(&self, page: &PageQuery) -> Result<Page<ContributionView>> {
        let limit = page.limit();
        let rows: Vec<ContributionRow> = self.store.latest_contributions(cursor::number(page)?, limit + 1).await?;
        let names = self.handles.names(rows.iter().flat_map(|row| row.contributors.iter().copied())).await?;
        let mut datanets: BTreeMap<DatanetId, String> = BTreeMap::new();
        for row in &rows {
            if let btree_map::Entry::Vacant(vacant) = datanets.entry(row.datanet) {
                let datanet = self.store.datanet(row.datanet).await?;
                let datanet = datanet.ok_or_else(|| NodeError::lost("datanet", row.datanet))?;
                vacant.insert(datanet.name);
            }
        }
        let view = |row: &ContributionRow| {
            let name = datanets.get(&row.datanet).ok_or_else(|| NodeError::lost("datanet", row.datanet))?;
            Ok(ContributionView {
                id: row.id,
                datanet: row.datanet,
                datanet_name: name.clone(),
                contributors: row.contributors.iter().map(|account| names.display(account)).collect(),
                records: row.count,
                root: row.root,
                holder: row.payee,
            })
        };
        let views = rows.iter().map(view).collect::<Result<Vec<_>>>()?;
        let seqs: BTreeMap<ContributionId, u64> = rows.iter().map(|row| (row.id, row.seq)).collect();
        Ok(Page::of(views, limit, |view| seqs.get(&view.id).copied().unwrap_or_default().to_string()))
    }

    /// The handles behind a contribution, in order.
    pub(crate) async fn contributors_of(&self, id: ContributionId) -> Result<Vec<String>> {
        let Some(row) = self.store.contribution(id).await? else { return Ok(Vec::new()) };
        let names = self.handles.names(row.contributors.iter().copied()).await?;
        Ok(row.contributors.iter().map(|account| names.display(account)).collect())
    }

    /// Whether a viewer may read the records of a contribution.
    pub(crate) async fn may_read(&self, viewer: &Viewer, id: ContributionId) -> Result<bool> {
        let Some(row) = self.store.contribution(id).await? else { return Ok(false) };
        let Some(datanet) = self.store.datanet(row.datanet).await? else { return Ok(false) };
        let at = self.chain.at();
        let mut readers = row.contributors;
        // Titles are traded: their holders of today read, those of yesterday do not.
        readers.extend(self.store.owner_now(at.datanets, word(datanet.id.0)).await?);
        readers.extend(self.store.owner_now(at.contributions, id.0).await?);
        Ok(viewer.may_read(&datanet.rights, &readers))
    }

    /// A record.
    ///
    /// # Errors
    ///
    /// `not-found`, also for a record that the viewer may not read: its existence is not told.
    pub async fn record(&self, at: RecordRef, viewer: &Viewer) -> Result<RecordView> {
        let missing = || NodeError::missing("record", format!("{}/{}", at.contribution, at.index));
        let row = self.store.record(at).await?.ok_or_else(missing)?;
        if !self.may_read(viewer, at.contribution).await? {
            return Err(missing());
        }
        let contribution = self.store.contribution(at.contribution).await?.ok_or_else(missing)?;
        let record = self.records.body(&row).await?;
        Ok(RecordView {
            record: row.record_id,
            contribution: at.contribution,
            index: at.index,
            datanet: contribution.datanet,
            text: record.body.canonical_text(),
            contributors: record.contributors,
            license: record.license,
            content_root: row.content_root,
        })
    }

    /// Epochs whose roots are fixed, newest first.
    ///
    /// # Errors
    ///
    /// `bad-parameter` for a cursor that this list did not give.
    pub async fn epochs(&self, page: &PageQuery) -> Result<Page<EpochView>> {
        let limit = page.limit();
        let rows = self.store.fixed_epochs(cursor::number(page)?, limit + 1).await?;
        let views = rows.iter().map(epoch_view).collect::<Result<Vec<_>>>()?;
        Ok(Page::of(views, limit, |view| view.number.to_string()))
    }

    /// An epoch as a stranger checks it.
    ///
    /// # Errors
    ///
    /// `not-found`; `epoch-open` while its roots are not fixed.
    pub async fn epoch(&self, number: u64) -> Result<openledger_api::EpochExport> {
        let row = self.epochs.row(number).await?;
        if matches!(row.state, EpochState::Open | EpochState::Closing) {
            let detail = format!("epoch {number} has no header yet: its roots are fixed when it is settled");
            return Err(NodeError::refused(Blame::Missing, "epoch-open", detail));
        }
        self.epochs.export(number).await
    }

    /// What accounts had earned at the end of an epoch, most first.
    ///
    /// # Errors
    ///
    /// `not-found`; `bad-parameter` for a cursor that this list did not give.
    pub async fn payouts(&self, number: u64, page: &PageQuery) -> Result<Page<PayoutView>> {
        self.epochs.row(number).await?;
        let (limit, after) = (page.limit(), page.after.as_deref().map(payout_cursor).transpose()?);
        let rows = self.store.top_payouts(number, after, limit + 1).await?;
        let accounts: Vec<Address> = rows.iter().map(|row| row.account).collect();
        let names = self.handles.names(accounts.iter().copied()).await?;
        let claimed = self.store.chain_sums_of(ChainSum::Claimed, &accounts).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            views.push(PayoutView {
                account: row.account,
                name: self.holder_name(row.account, &names).await?,
                cumulative: row.cumulative,
                claimed: claimed.get(&row.account).copied().unwrap_or_default(),
            });
        }
        Ok(Page::of(views, limit, |view| format!("{}-{}", view.cumulative.0, view.account)))
    }

    /// The handle of an account; a splitter is named after its contributors.
    async fn holder_name(&self, account: Address, names: &Names) -> Result<Option<String>> {
        if let Some(name) = names.get(&account) {
            return Ok(Some(name.clone()));
        }
        let title = self.store.first_title_of(self.chain.at().contributions, account).await?;
        let Some(title) = title else { return Ok(None) };
        let contributors = self.contributors_of(ContributionId(title)).await?;
        Ok((!contributors.is_empty()).then(|| contributors.join(" & ")))
    }

    /// What the Studio's first page shows: public views, from counters that the writes keep.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`].
    pub async fn overview(&self) -> Result<Overview> {
        let few = PageQuery { limit: Some(OVERVIEW_ROWS), after: None };
        let counters = self.store.counters().await?;
        let closed = self.store.fixed_epochs(None, 1).await?.pop();
        let payouts = match &closed {
            Some(row) => self.payouts(row.number, &few).await?.items,
            None => Vec::new(),
        };
        let paid_out = closed.as_ref().map(|row| row.roots().map(|roots| roots.total)).transpose()?;
        let recent = PageQuery { limit: Some(OVERVIEW_RECEIPTS), after: None };
        Ok(Overview {
            network: self.network(),
            totals: Totals {
                records: counters.records,
                contributors: counters.contributors,
                receipts: counters.receipts,
                paid_in: self.store.chain_sum(ChainSum::Redeemed).await?,
                paid_out: paid_out.unwrap_or_default(),
                claimed: self.store.chain_sum(ChainSum::Claimed).await?,
            },
            datanets: self.datanets(&few).await?.items,
            contributions: self.contributions(&few).await?.items,
            models: self.models.views().await,
            receipts: self.receipts(&recent).await?.items,
            epochs: self.epochs(&few).await?.items,
            payouts,
        })
    }

    /// The records that a model was trained on, in the order of training, where the viewer may read them.
    ///
    /// # Errors
    ///
    /// `forbidden` when a record is not the viewer's to read: a part of the list proves nothing.
    pub async fn trained_records(
        &self,
        model: &Offered,
        page: &PageQuery,
        viewer: &Viewer,
    ) -> Result<Page<TrainedRecord>> {
        let (limit, skipped) = (page.limit(), cursor::number(page)?.unwrap_or_default());
        let from = usize::try_from(skipped).unwrap_or(usize::MAX);
        let mut views = Vec::new();
        let mut readable: BTreeSet<ContributionId> = BTreeSet::new();
        for record in model.records().iter().skip(from).take(limit as usize + 1) {
            if readable.insert(record.at.contribution) && !self.may_read(viewer, record.at.contribution).await? {
                let detail = format!("the records of contribution {} are not public", record.at.contribution);
                return Err(NodeError::refused(Blame::Permission, "forbidden", detail));
            }
            views.push(TrainedRecord {
                datanet: record.datanet,
                version: record.version,
                at: record.at,
                id: record.id.clone(),
                body: record.body.clone(),
            });
        }
        Ok(Page::of(views, limit, |_| skipped.saturating_add(limit.into()).to_string()))
    }

    /// The names of the accounts behind the lines of a split.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`].
    pub async fn names_of(&self, entries: &[Entry]) -> Result<Names> {
        self.handles.names(entries.iter().map(|entry| entry.account)).await
    }
}

fn epoch_view(row: &EpochRow) -> Result<EpochView> {
    let roots = row.roots()?;
    Ok(EpochView {
        number: row.number,
        state: api_state(row.state),
        receipts: roots.receipt_count.into(),
        entries_total: roots.entries_total,
        total: roots.total,
        receipts_root: roots.receipts_root,
        entries_root: roots.entries_root,
        payout_root: roots.payout_root,
    })
}

/// The payout after which a page begins: amount and account.
fn payout_cursor(after: &str) -> Result<PayoutRow> {
    let (cumulative, account) = cursor::pair(after)?;
    Ok(PayoutRow { account, cumulative: openledger_ledger::base_units(cumulative) })
}
