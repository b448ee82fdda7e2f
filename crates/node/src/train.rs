//! Training jobs: grants checked, rows read, adapter trained, caches for attribution built, manifest written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use alloy_primitives::B256;
use openledger_factory::{
    Event, GrantProof, Granted, Outcome, Recipe, RecordSource, Saving, TrainRecord, Trained, Verdict,
};
use openledger_protocol::{
    AdapterHash, ContributionId, DatanetId, DatanetUse, Grant, Manifest, Method, Mix, Record, TrainedContribution,
};
use openledger_store::jobs::{Job, NewJob};
use openledger_store::records::RecordRow;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Blame, NodeError, Result};
use crate::evidence::{TrainedRecord, records_root};
use crate::node::{Node, write_atomically};
use crate::versions::REQUIRED;

/// The kind of training jobs.
pub(crate) const KIND: &str = "train";
/// Steps between two checkpoints: a crash costs at most this many.
const SAVE_EVERY: u64 = 8;
/// How often a job may be begun: each crash of the node takes one.
const ATTEMPTS_MAX: u32 = 1000;

/// Datanet versions in one order.
const DATANETS_MAX: usize = 64;

/// A datanet version to train on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Version {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version.
    pub version: u64,
}

/// An order for an adapter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainOrder {
    /// The model's name.
    pub name: String,
    /// What to train on.
    pub datanets: Vec<Version>,
    /// How; missing members take their defaults.
    #[serde(default)]
    pub recipe: Recipe,
    /// How the contributors' line of its answers is cut; one of the governed list.
    pub mix: Mix,
}

/// What runs now, by job: shown, never relied on.
static PROGRESS: LazyLock<Mutex<BTreeMap<u64, Value>>> = LazyLock::new(Mutex::default);

/// Rows of one version, read on the training thread once the grant was found live.
struct VersionRows {
    node: Node,
    grant: GrantProof,
    contributions: Vec<ContributionId>,
    runtime: tokio::runtime::Handle,
    read: Mutex<Vec<(DatanetId, u64, RecordRow, Record)>>,
}

impl RecordSource for VersionRows {
    fn grant(&self) -> GrantProof {
        self.grant.clone()
    }

    fn rows(&self) -> Box<dyn Iterator<Item = std::result::Result<TrainRecord, String>> + '_> {
        let rows = self.runtime.block_on(async {
            let mut rows = Vec::new();
            for &contribution in &self.contributions {
                for row in self.node.inner.store.records_of(contribution).await? {
                    let record = self.node.record_body(&row).await?;
                    rows.push((self.grant.datanet, self.grant.version, row, record));
                }
            }
            Ok::<_, NodeError>(rows)
        });
        match rows {
            Ok(rows) => {
                let records: Vec<_> =
                    rows.iter().map(|(_, _, row, record)| Ok(TrainRecord::of(&row.record_id, &record.body))).collect();
                *self.read.lock().unwrap_or_else(PoisonError::into_inner) = rows;
                Box::new(records.into_iter())
            }
            Err(error) => Box::new(std::iter::once(Err(error.to_string()))),
        }
    }
}

impl Node {
    /// Puts a training job in the queue; the same order again gives the same job, unless that failed.
    ///
    /// # Errors
    ///
    /// `bad-recipe`, `bad-mix`, `no-data`, `not-found` for an unknown version, `no-grant` without a live grant for it.
    pub async fn order_training(&self, order: &TrainOrder) -> Result<u64> {
        order.recipe.validate().map_err(|error| NodeError::refused(Blame::Request, "bad-recipe", error.to_string()))?;
        if order.name.trim().is_empty() || order.name.len() > 200 {
            return Err(NodeError::refused(Blame::Request, "bad-name", "a model's name has 1 to 200 bytes"));
        }
        if order.datanets.is_empty() || order.datanets.len() > DATANETS_MAX {
            let detail = format!("name between one and {DATANETS_MAX} datanet versions to train on");
            return Err(NodeError::refused(Blame::Request, "no-data", detail));
        }
        if !Mix::GOVERNED.contains(&order.mix) {
            let detail = format!("the mix must be one of the governed list: {:?}", Mix::GOVERNED);
            return Err(NodeError::refused(Blame::Request, "bad-mix", detail));
        }
        if order.mix.retrieval_bps > 0 {
            let detail = "this node answers without retrieval; declare a mix without that layer";
            return Err(NodeError::refused(Blame::Request, "no-retrieval", detail));
        }
        for used in &order.datanets {
            let version = self.inner.store.datanet_version(used.datanet, used.version).await?;
            version
                .ok_or_else(|| NodeError::missing("datanet version", format!("{}/{}", used.datanet, used.version)))?;
            // The job checks again before it reads a row; here it saves the caller the wait.
            self.live_grant(used.datanet, used.version, &REQUIRED).await?;
        }
        let payload = serde_json::to_value(order)?;
        let key = format!("order/{}", openledger_protocol::sha256(payload.to_string()));
        let mut tx = self.inner.store.begin().await?;
        if let Some(known) = tx.kv(&key).await? {
            let known: u64 = serde_json::from_slice(&known)?;
            // A job that failed is ordered anew: what it lacked may be there now.
            if tx.job(known).await?.is_some_and(|job| crate::jobs::failure(&job).is_none()) {
                return Ok(known);
            }
        }
        let new = NewJob { kind: KIND.into(), payload, not_before: 0, max_attempts: ATTEMPTS_MAX };
        let job = tx.enqueue(&new).await?;
        tx.put_kv(&key, &serde_json::to_vec(&job)?).await?;
        tx.commit().await?;
        Ok(job)
    }

    /// The progress of a job that runs on this node now.
    pub(crate) fn progress(&self, job: u64) -> Option<Value> {
        PROGRESS.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned()
    }

    /// Works on a training job to its end. After a crash it goes on from the last checkpoint, to the same adapter.
    pub(crate) async fn train(&self, job: &Job) -> Result<Value> {
        let order: TrainOrder = serde_json::from_value(job.payload.clone())?;
        // The grants first: no row is read without one.
        let mut grants: Vec<(Version, Grant)> = Vec::new();
        for &used in &order.datanets {
            grants.push((used, self.live_grant(used.datanet, used.version, &REQUIRED).await?));
        }
        let mut sources = Vec::new();
        let mut uses = Vec::new();
        for (used, grant) in &grants {
            let version = self.inner.store.datanet_version(used.datanet, used.version).await?;
            let version = version.ok_or_else(|| NodeError::missing("datanet version", used.version))?;
            let hash = grant.struct_hash();
            uses.push(DatanetUse { datanet: used.datanet, version: used.version, root: version.root, grant: hash });
            sources.push(VersionRows {
                node: self.clone(),
                grant: GrantProof { datanet: used.datanet, version: used.version, grant: hash },
                contributions: version.contributions,
                runtime: tokio::runtime::Handle::current(),
                read: Mutex::default(),
            });
        }
        let node = self.clone();
        let id = job.id;
        let result = tokio::task::spawn_blocking(move || node.train_now(id, &order, &sources, uses)).await;
        PROGRESS.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        result?
    }

    fn train_now(
        &self,
        job: u64,
        order: &TrainOrder,
        sources: &[VersionRows],
        mut uses: Vec<DatanetUse>,
    ) -> Result<Value> {
        let live: Vec<B256> = uses.iter().map(|used| used.grant).collect();
        let by_trait: Vec<&dyn RecordSource> = sources.iter().map(|source| source as &dyn RecordSource).collect();
        let granted = Granted::check(&by_trait, |proof| {
            if live.contains(&proof.grant) { Ok(()) } else { Err("the grant was not found live".to_owned()) }
        })?;
        let base = &self.inner.base;
        let checkpoint = self.inner.config.job_dir(job).join("checkpoint");
        if let Some(dir) = checkpoint.parent() {
            std::fs::create_dir_all(dir).map_err(NodeError::file(dir))?;
        }
        let started = std::time::Instant::now();
        let mut watch = Watch { job, steps: 0, tokens: 0, started, began_at: 0 };
        let saving = Saving { file: Some(&checkpoint), every: SAVE_EVERY };
        let outcome = openledger_factory::train(
            &base.model,
            &base.tokenizer,
            &granted,
            &order.recipe,
            saving,
            &mut |event: &Event| watch.on(event),
        )?;
        let Outcome::Done(trained) = outcome else {
            return Err(NodeError::refused(Blame::Retry, "stopped", "training was stopped"));
        };
        let rows: Vec<(DatanetId, u64, RecordRow, Record)> = sources
            .iter()
            .flat_map(|source| std::mem::take(&mut *source.read.lock().unwrap_or_else(PoisonError::into_inner)))
            .collect();
        uses.sort_by_key(|used| (used.datanet, used.version));
        let (manifest, dir) = self.keep(order, &trained, &rows, uses)?;
        let manifest_hash = manifest.hash()?;
        std::fs::remove_file(&checkpoint).ok();
        Ok(json!({
            "adapter": manifest.adapter,
            "manifest_hash": manifest_hash,
            "held_out_loss": manifest.held_out_loss,
            "held_out_records": trained.held_out.as_ref().map_or(0, |held_out| held_out.records.len()),
            "records": manifest.records,
            "tokens": trained.trained_tokens.iter().sum::<u64>(),
            "steps": trained.losses.len(),
            "first_loss": trained.losses.first(),
            "last_loss": trained.losses.last(),
            "tokens_per_s": watch.tokens_per_s(),
            "dir": dir.display().to_string(),
        }))
    }

    /// Writes adapter, records, caches and manifest into the model's folder.
    fn keep(
        &self,
        order: &TrainOrder,
        trained: &Trained,
        rows: &[(DatanetId, u64, RecordRow, Record)],
        uses: Vec<DatanetUse>,
    ) -> Result<(Manifest, PathBuf)> {
        let base = &self.inner.base;
        let adapter = AdapterHash(B256::from(trained.lora.hash()));
        let dir = self.inner.config.model_dir(&adapter.to_string());
        std::fs::create_dir_all(&dir).map_err(NodeError::file(&dir))?;
        trained.lora.save_peft(&dir.join("adapter"), &base.name)?;

        // Held-out records are not what the model was made of: they earn nothing.
        let held_out: std::collections::BTreeSet<usize> =
            trained.held_out.iter().flat_map(|held_out| held_out.records.iter().copied()).collect();
        let mut weights: BTreeMap<ContributionId, TrainedContribution> = BTreeMap::new();
        let mut records = Vec::new();
        for (index, (datanet, version, row, record)) in rows.iter().enumerate() {
            if held_out.contains(&index) {
                continue;
            }
            let contribution = self.block_on_contribution(row.at.contribution)?;
            let weight = openledger_ledger::training_weight(trained.trained_tokens[index], row.multiplier);
            let entry = weights.entry(row.at.contribution).or_insert_with(|| TrainedContribution {
                datanet: *datanet,
                contribution: row.at.contribution,
                root: contribution,
                records: 0,
                weight: 0,
            });
            entry.records += 1;
            entry.weight += weight;
            records.push(TrainedRecord {
                datanet: *datanet,
                version: *version,
                at: row.at,
                id: row.record_id.clone(),
                body: record.body.clone(),
            });
        }
        let methods = self.build_attribution(&dir, &trained.lora, &records, order.recipe.seq)?;
        let losses = trained.held_out.as_ref().map_or((0, 0), |held_out| (held_out.before, held_out.after));
        let manifest = Manifest {
            format: Manifest::FORMAT.into(),
            name: order.name.clone(),
            base: base.hash,
            tokenizer: B256::from(base.tokenizer.hash()),
            adapter,
            recipe: order.recipe.to_json()?,
            datanets: uses,
            contributions: weights.into_values().collect(),
            records_root: records_root(self.inner.chain_id, &records),
            records: u32::try_from(records.len()).unwrap_or(u32::MAX),
            mix: order.mix,
            methods: methods.into_iter().map(|(version, cache)| Method { version, cache }).collect(),
            held_out_loss: losses,
        };
        write_atomically(&dir.join("records.json"), &serde_json::to_vec(&records)?)?;
        write_atomically(&dir.join("manifest.json"), &serde_json::to_vec_pretty(&manifest)?)?;
        Ok((manifest, dir))
    }

    fn block_on_contribution(&self, id: ContributionId) -> Result<B256> {
        let row = tokio::runtime::Handle::current().block_on(self.inner.store.contribution(id))?;
        row.map(|row| row.root).ok_or_else(|| NodeError::missing("contribution", id))
    }
}

/// Turns training events into progress.
struct Watch {
    job: u64,
    steps: u64,
    tokens: u64,
    started: std::time::Instant,
    began_at: u64,
}

impl Watch {
    fn on(&mut self, event: &Event) -> Verdict {
        match event {
            Event::Started { steps, done, .. } => {
                (self.steps, self.began_at) = (*steps, *done);
                self.started = std::time::Instant::now();
                self.note(json!({ "step": done, "steps": steps }));
            }
            Event::Stepped(report) => {
                self.tokens += report.tokens as u64;
                self.note(json!({
                    "step": report.step, "steps": self.steps, "loss": report.loss, "tokens_per_s": self.tokens_per_s(),
                }));
            }
            Event::Evaluated { step, micro_nats } => {
                self.note(json!({ "step": step, "steps": self.steps, "held_out_loss": micro_nats }));
            }
            _ => {}
        }
        Verdict::Continue
    }

    fn tokens_per_s(&self) -> u64 {
        (self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-3)) as u64
    }

    fn note(&self, progress: Value) {
        PROGRESS.lock().unwrap_or_else(PoisonError::into_inner).insert(self.job, progress);
    }
}
