//! Models on offer: their titles, and in memory what answering and crediting needs.
//!
//! A model's folder is in the blob store, so that any node on the same database and blob store
//! offers any model.
//!
//! **Invariant:** the folder of a model that cannot be loaded is read once in [`AFTER_FAULT`], not
//! at every request.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::B256;
use openledger_api::{JobResult, ModelOffered, ModelSplit, ModelView, Page, PageQuery};
use openledger_attribution::credit::Attributor;
use openledger_attribution::evidence::{ClusterPlace, TrainedRecord, attributor};
use openledger_attribution::influence::Cache;
use openledger_attribution::spans::SpanIndex;
use openledger_datanet::near::{Clusters, Placement};
use openledger_datanet::one_spelling;
use openledger_engine::Lora;
use openledger_ledger::SplitRule;
use openledger_protocol::{Address, Manifest, ModelId, PriceList, word};
use openledger_serving::{Backend, LoadAdapter};
use openledger_store::Store;
use openledger_store::artifacts::{Artifacts, Fetched};
use openledger_store::models::{ModelRow, ModelState, ModelTerms};
use openledger_store::transact;
use tokio::sync::{OnceCell, RwLock};

use crate::base::Base;
use crate::clock::Clock;
use crate::cursor;
use crate::datanets::checked_name;
use crate::error::{Blame, NodeError, Result};
use crate::jobs::Jobs;
use crate::on_chain::ModelsOnChain;

/// How often a node looks for models that others put on offer.
const LOOK: Duration = Duration::from_secs(2);
/// How long it waits after a model could not be loaded. Requests for the model are refused
/// meanwhile.
pub(crate) const AFTER_FAULT: Duration = Duration::from_secs(60);

/// A model that can be asked.
pub struct Offered {
    pub(crate) id: ModelId,
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
    pub(crate) manifest_hash: B256,
    pub(crate) lora: Arc<Lora>,
    pub(crate) records: Vec<TrainedRecord>,
    pub(crate) attributor: Attributor,
    pub(crate) prices: PriceList,
    pub(crate) rule: SplitRule,
    pub(crate) stake_vault: Option<Address>,
    /// Keeps the folder in the local cache.
    _folder: Fetched,
}

impl Offered {
    /// Its title.
    #[must_use]
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// The name to ask for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The records it was trained on, in the order of training.
    #[must_use]
    pub fn records(&self) -> &[TrainedRecord] {
        &self.records
    }
}

type Loading = BTreeMap<ModelId, Arc<OnceCell<Arc<Offered>>>>;

/// Why a model could not be loaded.
struct Fault {
    blame: Blame,
    code: &'static str,
    detail: String,
    /// Until when requests are refused with it, Unix milliseconds.
    until: u64,
}

/// The models of this node.
#[derive(Clone)]
pub struct Models {
    store: Store,
    artifacts: Artifacts,
    chain: Arc<dyn ModelsOnChain>,
    jobs: Jobs,
    base: Arc<Base>,
    backend: Arc<dyn Backend>,
    loaded: Arc<RwLock<BTreeMap<ModelId, Arc<Offered>>>>,
    /// One cell for each model: of two requests that need it first, one loads it and both wait.
    loading: Arc<Mutex<Loading>>,
    /// Models that could not be loaded: requests do not read their folders again and again.
    faults: Arc<Mutex<BTreeMap<ModelId, Fault>>>,
    clock: Clock,
}

/// The parts of [`Models`].
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) artifacts: Artifacts,
    pub(crate) chain: Arc<dyn ModelsOnChain>,
    pub(crate) jobs: Jobs,
    pub(crate) base: Arc<Base>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) clock: Clock,
}

impl Models {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, artifacts, chain, jobs, base, backend, clock } = parts;
        Self {
            store,
            artifacts,
            chain,
            jobs,
            base,
            backend,
            loaded: Arc::default(),
            loading: Arc::default(),
            faults: Arc::default(),
            clock,
        }
    }

    /// The row of a trained adapter under the title that its owner registered.
    ///
    /// # Errors
    ///
    /// `bad-name`, `not-trained` while the job is not done, `name-taken`, `other-weights` when the title on chain is of another
    /// adapter or manifest.
    pub(crate) async fn plan(&self, id: ModelId, name: &str, job: u64) -> Result<ModelRow> {
        let name = checked_name(name)?;
        let Some(JobResult::Train(trained)) = self.jobs.get(job).await?.result else {
            return Err(NodeError::refused(Blame::Conflict, "not-trained", format!("job {job} is not done")));
        };
        let model = self.chain.registered(id).await?;
        if model.weights != trained.adapter.0 || model.manifest != trained.manifest_hash {
            let detail = format!(
                "title {id} is of weights {} and manifest {}; job {job} made {} and {}",
                model.weights, model.manifest, trained.adapter, trained.manifest_hash
            );
            return Err(NodeError::refused(Blame::Conflict, "other-weights", detail));
        }
        let folder = self.artifacts.fetch_folder(trained.artifact).await?;
        let file = folder.as_ref().join("manifest.json");
        let manifest = std::fs::read(&file).map_err(NodeError::file(&file))?;
        Ok(ModelRow {
            id,
            name,
            base: self.base.hash,
            adapter: Some(trained.adapter),
            manifest: self.store.blobs().put(manifest).await?,
            artifact: Some(trained.artifact),
            terms: ModelTerms {
                prices: PriceList {
                    per_1k_in: model.price_in,
                    per_1k_out: model.price_out,
                    royalty_flat: model.price_flat,
                },
                platform_bps: model.platform_bps,
                model_bps: model.model_bps,
                stakers_bps: model.stakers_bps,
                stake_vault: (model.stake_vault != Address::ZERO).then_some(model.stake_vault),
            },
            state: ModelState::Published,
        })
    }

    /// Keeps a planned model and loads it; repeated, it finds the model that is known.
    ///
    /// # Errors
    ///
    /// `name-taken` when title or name belong to another model.
    pub(crate) async fn keep(&self, row: &ModelRow) -> Result<ModelOffered> {
        transact!(self.store, |tx| {
            let named = tx.model_named(&row.name).await?;
            let known = tx.model(row.id).await?;
            if let Some(other) = named.iter().chain(&known).find(|other| other.id != row.id || other.name != row.name) {
                let detail = format!("title {} is offered as `{}` already", other.id, other.name);
                return Err(NodeError::refused(Blame::Conflict, "name-taken", detail));
            }
            match known {
                Some(_) => Ok(()),
                None => Ok(tx.put_model(row).await?),
            }
        })?;
        self.chain.catch_up().await?;
        let offered = self.by_id(row.id).await?;
        let (name, adapter) = (offered.name.clone(), offered.manifest.adapter);
        Ok(ModelOffered { id: row.id, name, adapter, manifest: offered.manifest_hash })
    }

    /// Loads every published model that is not in memory yet. A model that cannot be loaded is left out with a warning;
    /// returns how many were.
    pub(crate) async fn load_all(&self) -> Result<usize> {
        let mut left_out = 0;
        for row in self.store.models().await? {
            if row.state != ModelState::Published || self.loaded.read().await.contains_key(&row.id) {
                continue;
            }
            let (id, name, cell) = (row.id, row.name.clone(), self.cell(row.id));
            if let Err(error) = cell.get_or_try_init(|| self.try_load(row)).await {
                tracing::warn!(model = id.0, name, %error, "a model cannot be offered");
                left_out += 1;
            }
        }
        Ok(left_out)
    }

    /// The model of a name.
    ///
    /// # Errors
    ///
    /// `not-found`: the base never answers in its place.
    pub(crate) async fn named(&self, name: &str) -> Result<Arc<Offered>> {
        let name = &one_spelling(name);
        let found = self.loaded.read().await.values().find(|model| model.name == *name).cloned();
        match found {
            Some(model) => Ok(model),
            // Another node on the same database may have put it on offer.
            None => match self.store.model_named(name).await? {
                Some(row) if row.state == ModelState::Published => self.load(row).await,
                _ => Err(NodeError::missing("model", name)),
            },
        }
    }

    /// The model of a title.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub(crate) async fn by_id(&self, id: ModelId) -> Result<Arc<Offered>> {
        if let Some(model) = self.loaded.read().await.get(&id).cloned() {
            return Ok(model);
        }
        match self.store.model(id).await? {
            Some(row) if row.state == ModelState::Published => self.load(row).await,
            _ => Err(NodeError::missing("model", id)),
        }
    }

    /// Those of some models that are on offer.
    ///
    /// # Errors
    ///
    /// As [`Models::by_id`], but for models that are not on offer.
    pub(crate) async fn on_offer(&self, ids: BTreeSet<ModelId>) -> Result<BTreeMap<ModelId, Arc<Offered>>> {
        let mut found = BTreeMap::new();
        for id in ids {
            match self.by_id(id).await {
                Ok(model) => drop(found.insert(id, model)),
                Err(error) if error.blame() == Blame::Missing => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Loads what other nodes on the same database put on offer, until the task is dropped.
    pub(crate) async fn follow(self) {
        let mut pause = LOOK;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.load_all().await {
                Ok(0) => LOOK,
                // What cannot be loaded is not read from the disk again and again.
                Ok(_) => AFTER_FAULT,
                Err(error) => {
                    tracing::warn!(%error, "the models on offer could not be listed");
                    AFTER_FAULT
                }
            };
        }
    }

    /// Loads a model for a request; one that could not be loaded a moment ago is refused at once.
    async fn load(&self, row: ModelRow) -> Result<Arc<Offered>> {
        let cell = self.cell(row.id);
        let load = move || async move {
            self.check_fault(row.id)?;
            self.try_load(row).await
        };
        cell.get_or_try_init(load).await.cloned()
    }

    /// Refuses a model that could not be loaded a moment ago.
    fn check_fault(&self, id: ModelId) -> Result<()> {
        let now = self.clock.unix_ms();
        match self.faults().get(&id) {
            Some(fault) if now < fault.until => {
                let (detail, until) = (&fault.detail, fault.until);
                let detail = format!("{detail}; model {id} is loaded again after {until} (Unix milliseconds)");
                Err(NodeError::refused(fault.blame, fault.code, detail))
            }
            _ => Ok(()),
        }
    }

    /// Loads a model, and keeps the fault of one that cannot be loaded.
    async fn try_load(&self, row: ModelRow) -> Result<Arc<Offered>> {
        let id = row.id;
        let loaded = self.load_once(row).await;
        let fault = loaded.as_ref().err().filter(|error| error.blame() != Blame::Retry).map(|error| {
            let until = self.clock.unix_ms() + AFTER_FAULT.as_millis() as u64;
            Fault { blame: error.blame(), code: error.code(), detail: error.to_string(), until }
        });
        let mut faults = self.faults();
        match fault {
            Some(fault) => faults.insert(id, fault),
            None => faults.remove(&id),
        };
        drop(faults);
        loaded
    }

    /// The cell of a model: of those that load it at once, one does and the others wait.
    fn cell(&self, id: ModelId) -> Arc<OnceCell<Arc<Offered>>> {
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(loading.entry(id).or_default())
    }

    fn faults(&self) -> MutexGuard<'_, BTreeMap<ModelId, Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load_once(&self, row: ModelRow) -> Result<Arc<Offered>> {
        let id = row.id;
        let artifact = row.artifact.ok_or_else(|| NodeError::lost("folder of model", id))?;
        let folder = self.artifacts.fetch_folder(artifact).await?;
        let base = Arc::clone(&self.base);
        let offered = tokio::task::spawn_blocking(move || read(row, folder, &base)).await??;
        let adapter = LoadAdapter {
            name: Some(offered.name.clone()),
            path: offered._folder.as_ref().join("adapter"),
            expected: Some(offered.manifest.adapter),
        };
        let backend = Arc::clone(&self.backend);
        tokio::task::spawn_blocking(move || backend.load_adapter(&adapter)).await??;
        // Receipts name the title's holder at the newest block that this process has indexed.
        // Another process may have put the model on offer just after it was registered in a later
        // one.
        if self.store.owner_at(self.chain.titles(), word(id.0), self.chain.indexed_block()).await?.is_none() {
            self.chain.catch_up().await?;
        }
        let mut loaded = self.loaded.write().await;
        Ok(Arc::clone(loaded.entry(id).or_insert_with(|| Arc::new(offered))))
    }

    /// All models on offer, by title.
    pub async fn views(&self) -> Vec<ModelView> {
        let loaded = self.loaded.read().await;
        loaded.values().map(|model| self.view(model)).collect()
    }

    /// Models on offer, by title.
    ///
    /// # Errors
    ///
    /// `bad-parameter` for a cursor that this list did not give.
    pub async fn page(&self, page: &PageQuery) -> Result<Page<ModelView>> {
        let (after, limit) = (cursor::number(page)?, page.limit());
        let views = self.views().await.into_iter().filter(|view| after.is_none_or(|after| view.id.0 > after));
        let few = views.take(limit as usize + 1).collect();
        Ok(Page::of(few, limit, |view| view.id.to_string()))
    }

    fn view(&self, model: &Offered) -> ModelView {
        ModelView {
            id: model.id,
            name: model.name.clone(),
            base: self.base.name.clone(),
            adapter: model.manifest.adapter,
            manifest: model.manifest_hash,
            prices: model.prices,
            split: ModelSplit {
                platform_bps: model.rule.platform_bps(),
                model_bps: model.rule.model_bps(),
                stakers_bps: model.rule.stakers_bps(),
                contributors_bps: model.rule.contributors_bps(),
            },
            records: model.manifest.records,
            datanets: model.manifest.datanets.clone(),
            held_out_loss: model.manifest.held_out_loss.into(),
        }
    }
}

fn read(row: ModelRow, folder: Fetched, base: &Base) -> Result<Offered> {
    let dir: &Path = folder.as_ref();
    let manifest: Manifest = json(&dir.join("manifest.json"))?;
    let records: Vec<TrainedRecord> = json(&dir.join("records.json"))?;
    let lora = Lora::load_peft(&dir.join("adapter"), &base.model)?;
    if B256::from(lora.hash()) != manifest.adapter.0 {
        let detail = format!("the adapter of model {} is not the one that was trained", row.id);
        return Err(NodeError::refused(Blame::Operator, "adapter-changed", detail));
    }
    let index = SpanIndex::load(&dir.join("spans"))?;
    let cache = Cache::load(&dir.join("influence"))?;
    let texts: Vec<String> = records.iter().map(|record| record.body.canonical_text()).collect();
    let clusters = Clusters::of(texts.iter().map(String::as_str));
    let place =
        |place: &Placement| ClusterPlace { owner: place.owner, multiplier: place.multiplier, source: place.source };
    let places: Vec<ClusterPlace> = clusters.placements().iter().map(place).collect();
    let attributor = attributor(&records, &places, &manifest.contributions, index, cache)?;
    Ok(Offered {
        id: row.id,
        name: row.name,
        manifest_hash: manifest.hash()?,
        manifest,
        lora: Arc::new(lora),
        records,
        attributor,
        prices: row.terms.prices,
        rule: SplitRule::new(row.terms.platform_bps, row.terms.model_bps, row.terms.stakers_bps)?,
        stake_vault: row.terms.stake_vault,
        _folder: folder,
    })
}

fn json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    Ok(serde_json::from_slice(&std::fs::read(file).map_err(NodeError::file(file))?)?)
}
