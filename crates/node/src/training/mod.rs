//! Training: orders are checked, rows read under live grants, an adapter trained, its evidence and manifest kept.
//!
//! # Place in the flow
//!
//! `pipeline` composes these steps into the work of a job. Rules of training are in `factory`, evidence is built by
//! `attribution`, and the adapter's folder goes into the blob store, so that any node can offer the model.
//!
//! # Invariants
//!
//! - No row is read without a live grant for its version, checked when the job begins.
//! - After a crash a job goes on from its last checkpoint, to the same adapter.

mod keep;
mod progress;

use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::B256;
use openledger_api::{JobKind, JobResult, TrainOrder, TrainResult};
use openledger_datanet::REQUIRED_PURPOSES;
use openledger_factory::{Event, GrantProof, Granted, Outcome, Recipe, RecordSource, Saving, TrainRecord, Trained};
use openledger_protocol::{DatanetId, DatanetUse, Manifest, Mix, Record};
use openledger_store::Store;
use openledger_store::artifacts::Artifacts;
use openledger_store::jobs::JobState;
use openledger_store::records::RecordRow;

use self::progress::Reporter;
use crate::base::Base;
use crate::datanets::{Datanets, checked_name};
use crate::error::{Blame, NodeError, Result};
use crate::files::create_folder;
use crate::governed::Governed;
use crate::grants::Grants;
use crate::jobs::{JobHandle, Jobs};
use crate::records::Records;

/// Steps between two checkpoints: a crash costs at most this many.
const SAVE_EVERY: u64 = 8;
/// Datanet versions in one order.
const DATANETS_MAX: usize = 64;

/// Trains adapters.
#[derive(Clone)]
pub struct Training {
    store: Store,
    artifacts: Artifacts,
    datanets: Datanets,
    grants: Grants,
    records: Records,
    jobs: Jobs,
    base: Arc<Base>,
    governed: Governed,
    chain_id: u64,
    folder: PathBuf,
}

/// The parts of [`Training`].
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) artifacts: Artifacts,
    pub(crate) datanets: Datanets,
    pub(crate) grants: Grants,
    pub(crate) records: Records,
    pub(crate) jobs: Jobs,
    pub(crate) base: Arc<Base>,
    pub(crate) governed: Governed,
    /// EIP-155 id of the chain on which the records are registered.
    pub(crate) chain_id: u64,
    /// Where checkpoints are kept while jobs run.
    pub(crate) folder: PathBuf,
}

/// A record that was read under a grant.
pub(crate) struct GrantedRow {
    datanet: DatanetId,
    version: u64,
    row: RecordRow,
    record: Record,
}

/// The rows of one order, each read under a live grant.
pub(crate) struct Material {
    uses: Vec<DatanetUse>,
    sources: Vec<Source>,
}

impl Material {
    /// How many records were read.
    pub(crate) fn len(&self) -> usize {
        self.sources.iter().map(|source| source.rows.len()).sum()
    }
}

/// The rows of one version.
struct Source {
    proof: GrantProof,
    rows: Vec<GrantedRow>,
}

impl RecordSource for Source {
    fn grant(&self) -> GrantProof {
        self.proof.clone()
    }

    fn rows(&self) -> Box<dyn Iterator<Item = std::result::Result<TrainRecord, String>> + '_> {
        Box::new(self.rows.iter().map(|granted| Ok(TrainRecord::of(&granted.row.record_id, &granted.record.body))))
    }
}

impl Training {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, artifacts, datanets, grants, records, jobs, base, governed, chain_id, folder } = parts;
        Self { store, artifacts, datanets, grants, records, jobs, base, governed, chain_id, folder }
    }

    /// Checks an order, so that it fails now and not when its job begins.
    ///
    /// # Errors
    ///
    /// `bad-recipe`, `bad-name`, `no-data`, `bad-mix`, `no-retrieval`, `not-found` for an unknown version, `no-grant`
    /// without a live grant for one.
    pub(crate) async fn check(&self, order: &TrainOrder) -> Result<()> {
        recipe_of(order)?;
        checked_name(&order.name)?;
        if order.datanets.is_empty() || order.datanets.len() > DATANETS_MAX {
            let detail = format!("name between one and {DATANETS_MAX} datanet versions to train on");
            return Err(NodeError::refused(Blame::Request, "no-data", detail));
        }
        let governed: Vec<Mix> = self.governed.now().declared_mixes().collect();
        if !governed.contains(&order.mix) {
            let detail = format!("the mix must be one of the governed list: {governed:?}");
            return Err(NodeError::refused(Blame::Request, "bad-mix", detail));
        }
        if order.mix.retrieval_bps > 0 {
            let detail = "this node answers without retrieval; declare a mix without that layer";
            return Err(NodeError::refused(Blame::Request, "no-retrieval", detail));
        }
        for used in &order.datanets {
            self.datanets.version(used.datanet, used.version).await?;
            self.grants.live(used.datanet, used.version, &REQUIRED_PURPOSES).await?;
        }
        Ok(())
    }

    /// Puts a checked order in the queue; the same order again gives the same job, unless that failed
    /// or was cancelled.
    pub(crate) async fn enqueue(&self, order: &TrainOrder) -> Result<u64> {
        self.jobs.enqueue(JobKind::Train, serde_json::to_string(order)?).await
    }

    /// An order as its job keeps it.
    pub(crate) fn order(text: &str) -> Result<TrainOrder> {
        Ok(serde_json::from_str(text)?)
    }

    /// Reads the rows of an order; every grant is checked before any row is read.
    ///
    /// # Errors
    ///
    /// `no-grant` without a live grant for a version.
    pub(crate) async fn material(&self, order: &TrainOrder) -> Result<Material> {
        let mut granted = Vec::new();
        for used in &order.datanets {
            let grant = self.grants.live(used.datanet, used.version, &REQUIRED_PURPOSES).await?;
            granted.push((used, grant.struct_hash()));
        }
        let (mut uses, mut sources) = (Vec::new(), Vec::new());
        for (used, grant) in granted {
            let version = self.datanets.version(used.datanet, used.version).await?;
            let (datanet, number) = (used.datanet, used.version);
            uses.push(DatanetUse { datanet, version: number, root: version.root, grant });
            let mut rows = Vec::new();
            for contribution in version.contributions {
                for (row, record) in self.records.of_contribution(contribution).await? {
                    rows.push(GrantedRow { datanet, version: number, row, record });
                }
            }
            sources.push(Source { proof: GrantProof { datanet, version: number, grant }, rows });
        }
        uses.sort_by_key(|used| (used.datanet, used.version));
        Ok(Material { uses, sources })
    }

    /// Trains the adapter, from the job's last checkpoint on where there is one.
    ///
    /// # Errors
    ///
    /// `stopped` when the job was cancelled or the node stops.
    pub(crate) async fn fit(
        &self,
        order: &TrainOrder,
        material: Arc<Material>,
        job: &JobHandle,
    ) -> Result<(Trained, u64)> {
        let recipe = recipe_of(order)?;
        let checkpoint = self.checkpoint(job.id());
        if let Some(dir) = checkpoint.parent() {
            create_folder(dir)?;
        }
        let mut reporter = Reporter::start(job.clone());
        let base = Arc::clone(&self.base);
        let fitted = tokio::task::spawn_blocking(move || {
            let live: Vec<B256> = material.uses.iter().map(|used| used.grant).collect();
            let sources: Vec<&dyn RecordSource> = material.sources.iter().map(|source| source as _).collect();
            let granted = Granted::check(&sources, |proof| {
                if live.contains(&proof.grant) { Ok(()) } else { Err("the grant was not found live".to_owned()) }
            })?;
            let saving = Saving { file: Some(&checkpoint), every: SAVE_EVERY };
            let outcome = openledger_factory::train(
                &base.model,
                &base.tokenizer,
                &granted,
                &recipe,
                saving,
                &mut |event: &Event| reporter.on(event),
            )?;
            Ok::<_, NodeError>((outcome, reporter.tokens_per_s()))
        });
        match fitted.await?? {
            (Outcome::Done(trained), rate) => Ok((trained, rate)),
            _ => Err(NodeError::refused(Blame::Retry, "stopped", "training was stopped")),
        }
    }

    /// The outcome of a job, once adapter and manifest are kept.
    pub(crate) fn outcome(
        trained: &Trained,
        (manifest, artifact): (&Manifest, openledger_protocol::BlobHash),
        tokens_per_s: u64,
    ) -> Result<JobResult> {
        let result = TrainResult {
            adapter: manifest.adapter,
            manifest_hash: manifest.hash()?,
            artifact,
            held_out_loss: manifest.held_out_loss.into(),
            held_out_records: trained.held_out.as_ref().map_or(0, |held_out| held_out.records.len() as u64),
            records: manifest.records.into(),
            tokens: trained.trained_tokens.iter().sum(),
            steps: trained.losses.len() as u64,
            first_loss_micro: trained.losses.first().copied(),
            last_loss_micro: trained.losses.last().copied(),
            tokens_per_s,
        };
        Ok(JobResult::Train(result))
    }

    /// Removes what runs before left in the folder and nobody needs: files of jobs that are done,
    /// on whatever process, and folders of models that were not complete. No job runs in this
    /// process yet.
    pub(crate) async fn tidy(&self) -> Result<()> {
        std::fs::remove_dir_all(self.folder.join("models")).ok();
        let Ok(folders) = std::fs::read_dir(&self.folder) else { return Ok(()) };
        for folder in folders.flatten() {
            let Some(id) = folder.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let job = self.store.job(id).await?;
            // One that failed or was cancelled may be queued again, and goes on from its
            // checkpoint.
            if job.is_none_or(|job| job.state == JobState::Done) {
                std::fs::remove_dir_all(folder.path()).ok();
            }
        }
        Ok(())
    }

    /// Removes the checkpoint of a job that has ended; one that is not there needs no removal.
    pub(crate) fn remove_checkpoint(&self, job: u64) {
        let file = self.checkpoint(job);
        if let Err(error) = std::fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(job, file = %file.display(), %error, "the checkpoint could not be removed");
        }
    }

    fn checkpoint(&self, job: u64) -> PathBuf {
        self.folder.join(job.to_string()).join("checkpoint")
    }
}

/// The recipe of an order, within the factory's bounds.
fn recipe_of(order: &TrainOrder) -> Result<Recipe> {
    let bad = |error: String| NodeError::refused(Blame::Request, "bad-recipe", error);
    let recipe: Recipe =
        serde_json::from_value(serde_json::to_value(&order.recipe)?).map_err(|error| bad(error.to_string()))?;
    recipe.validate().map_err(|error| bad(error.to_string()))?;
    Ok(recipe)
}
