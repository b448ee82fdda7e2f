//! What is kept of a trained adapter: the PEFT folder, its records, its evidence, its manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::B256;
use openledger_api::TrainOrder;
use openledger_attribution::evidence::{Evidence, TrainedRecord, records_root};
use openledger_factory::Trained;
use openledger_protocol::{AdapterHash, BlobHash, ContributionId, Manifest, Method, TrainedContribution};

use super::{GrantedRow, Material, Training};
use crate::error::{NodeError, Result};
use crate::files::{create_folder, write_atomically};

/// The records and training weights of an adapter.
pub(crate) struct Ledger {
    records: Vec<TrainedRecord>,
    contributions: Vec<TrainedContribution>,
}

impl Training {
    /// The records that an adapter was made of and what each contribution weighs; held-out records earn nothing.
    pub(crate) async fn ledger(&self, material: &Material, trained: &Trained) -> Result<Ledger> {
        let held_out: BTreeSet<usize> =
            trained.held_out.iter().flat_map(|held_out| held_out.records.iter().copied()).collect();
        let rows: Vec<&GrantedRow> = material.sources.iter().flat_map(|source| &source.rows).collect();
        let mut weights: BTreeMap<ContributionId, TrainedContribution> = BTreeMap::new();
        let mut records = Vec::new();
        for (index, GrantedRow { datanet, version, row, record }) in rows.into_iter().enumerate() {
            if held_out.contains(&index) {
                continue;
            }
            let contribution = row.at.contribution;
            if let std::collections::btree_map::Entry::Vacant(entry) = weights.entry(contribution) {
                let stored = self.store.contribution(contribution).await?;
                let root = stored.ok_or_else(|| NodeError::lost("contribution", contribution))?.root;
                entry.insert(TrainedContribution { datanet: *datanet, contribution, root, records: 0, weight: 0 });
            }
            if let Some(entry) = weights.get_mut(&contribution) {
                entry.records += 1;
                entry.weight += openledger_ledger::training_weight(trained.trained_tokens[index], row.multiplier);
            }
            records.push(TrainedRecord {
                datanet: *datanet,
                version: *version,
                at: row.at,
                id: row.record_id.clone(),
                body: record.body.clone(),
            });
        }
        Ok(Ledger { records, contributions: weights.into_values().collect() })
    }

    /// Builds the evidence, writes the model's folder and puts it into the blob store; returns manifest and folder.
    pub(crate) async fn keep(
        &self,
        order: &TrainOrder,
        trained: Arc<Trained>,
        material: &Material,
        ledger: Ledger,
    ) -> Result<(Manifest, BlobHash)> {
        let adapter = AdapterHash(B256::from(trained.lora.hash()));
        let folder = self.folder.join("models").join(adapter.to_string());
        let recipe = super::recipe_of(order)?;
        let (base, dir) = (Arc::clone(&self.base), folder.clone());
        let Ledger { records, contributions } = ledger;
        let fitted = Arc::clone(&trained);
        let (records, methods) = tokio::task::spawn_blocking(move || {
            create_folder(&dir)?;
            fitted.lora.save_peft(&dir.join("adapter"), &base.name)?;
            let folders = (base.dir.clone(), dir.join("adapter"));
            let evidence = Evidence::build(&base.model, &base.tokenizer, &fitted.lora, &records, recipe.seq, folders)?;
            evidence.index.save(&dir.join("spans"))?;
            evidence.cache.save(&dir.join("influence"), &evidence.gradients)?;
            Ok::<_, NodeError>((records, evidence.methods()))
        })
        .await??;
        let losses = trained.held_out.as_ref().map_or((0, 0), |held_out| (held_out.before, held_out.after));
        let manifest = Manifest {
            format: Manifest::FORMAT.into(),
            name: order.name.clone(),
            base: self.base.hash,
            tokenizer: B256::from(self.base.tokenizer.hash()),
            adapter,
            recipe: super::recipe_of(order)?.to_json()?,
            datanets: material.uses.clone(),
            contributions,
            records_root: records_root(self.chain_id, &records),
            records: u32::try_from(records.len()).unwrap_or(u32::MAX),
            mix: order.mix,
            methods: methods.into_iter().map(|(version, cache)| Method { version, cache }).collect(),
            held_out_loss: losses,
        };
        write_atomically(&folder.join("records.json"), &serde_json::to_vec(&records)?)?;
        write_atomically(&folder.join("manifest.json"), &serde_json::to_vec_pretty(&manifest)?)?;
        let artifact = self.artifacts.put_folder(&folder).await?;
        std::fs::remove_dir_all(&folder).ok();
        Ok((manifest, artifact))
    }
}
