//! Models on offer: their titles, and in memory what answering and crediting needs.

use std::sync::Arc;

use alloy_primitives::B256;
use openledger_attribution::credit::Attributor;
use openledger_attribution::influence::Cache;
use openledger_attribution::spans::SpanIndex;
use openledger_engine::Lora;
use openledger_ledger::{PriceList, SplitRule};
use openledger_protocol::{AdapterHash, Address, Manifest, ModelId, word};
use openledger_serving::LoadAdapter;
use openledger_store::models::{ModelRow, ModelState};
use serde_json::{Value, json};

use crate::error::{Blame, NodeError, Result};
use crate::evidence::{Evidence, TrainedRecord, attributor};
use crate::node::Node;

/// A model that can be asked.
pub(crate) struct Offered {
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
}

impl Node {
    /// Builds index and gradient cache of a trained adapter in its folder; returns each method with the root of its cache.
    pub(crate) fn build_attribution(
        &self,
        dir: &std::path::Path,
        lora: &Lora,
        records: &[TrainedRecord],
        seq: usize,
    ) -> Result<Vec<(String, B256)>> {
        let base = &self.inner.base;
        let folders = (base.dir.clone(), dir.join("adapter"));
        let evidence = Evidence::build(&base.model, &base.tokenizer, lora, records, seq, folders)?;
        evidence.index.save(&dir.join("spans"))?;
        evidence.cache.save(&dir.join("influence"), &evidence.gradients)?;
        Ok(evidence.methods())
    }

    /// Offers a trained adapter under the title that its owner registered.
    ///
    /// # Errors
    ///
    /// `not-trained` while the job is not done, `name-taken`, `other-weights` when the title on chain is of another adapter or manifest.
    pub async fn offer_model(&self, id: ModelId, name: &str, job: u64) -> Result<Value> {
        let done = self.inner.store.job(job).await?.ok_or_else(|| NodeError::missing("job", job))?;
        let finished = done.state == openledger_store::jobs::JobState::Done && crate::jobs::failure(&done).is_none();
        let result = done.result.filter(|_| finished);
        let Some(result) = result else {
            return Err(NodeError::refused(Blame::Conflict, "not-trained", format!("job {job} is not done")));
        };
        let adapter: AdapterHash = serde_json::from_value(result["adapter"].clone())?;
        let manifest_hash: B256 = serde_json::from_value(result["manifest_hash"].clone())?;
        let on_chain = self.inner.flow.model(id).await?;
        if on_chain.model.weights != adapter.0 || on_chain.model.manifest != manifest_hash {
            let detail = format!(
                "title {id} is of weights {} and manifest {}; job {job} made {adapter} and {manifest_hash}",
                on_chain.model.weights, on_chain.model.manifest
            );
            return Err(NodeError::refused(Blame::Conflict, "other-weights", detail));
        }
        let named = self.inner.store.model_named(name).await?;
        let known = self.inner.store.model(id).await?;
        if let Some(other) = named.iter().chain(&known).find(|row| row.id != id || row.name != name) {
            let detail = format!("title {} is offered as `{}` already", other.id, other.name);
            return Err(NodeError::refused(Blame::Conflict, "name-taken", detail));
        }
        if known.is_none() {
            let file = self.inner.config.model_dir(&adapter.to_string()).join("manifest.json");
            let manifest = std::fs::read(&file).map_err(NodeError::file(&file))?;
            let blob = self.inner.store.blobs().put(manifest).await?;
            let model = &on_chain.model;
            let row = ModelRow {
                id,
                name: name.to_owned(),
                base: self.inner.base.hash,
                adapter: Some(adapter),
                manifest: blob,
                price: json!({
                    "prices": PriceList {
                        per_1k_in: model.price_in, per_1k_out: model.price_out, royalty_flat: model.price_flat,
                    },
                    "platform_bps": model.platform_bps,
                    "model_bps": model.model_bps,
                    "stakers_bps": model.stakers_bps,
                    "stake_vault": model.stake_vault,
                }),
                state: ModelState::Published,
            };
            let mut tx = self.inner.store.begin().await?;
            tx.put_model(&row).await?;
            tx.commit().await?;
        }
        self.sync().await?;
        self.load_models().await?;
        Ok(json!({ "id": id, "name": name, "adapter": adapter, "manifest": manifest_hash }))
    }

    /// Loads every published model that is not in memory yet.
    pub(crate) async fn load_models(&self) -> Result<()> {
        for row in self.inner.store.models().await? {
            let known = self.inner.offered.read().await.contains_key(&row.id);
            if row.state != ModelState::Published || known {
                continue;
            }
            let node = self.clone();
            let manifest = self.inner.store.blobs().get(row.manifest).await?;
            let (id, offered) = tokio::task::spawn_blocking(move || {
                let id = row.id;
                node.load_model(row, &manifest).map(|offered| (id, offered))
            })
            .await??;
            let adapter = LoadAdapter {
                name: Some(offered.name.clone()),
                path: self.adapter_dir(&offered.manifest.adapter),
                expected: Some(offered.manifest.adapter),
            };
            let node = self.clone();
            tokio::task::spawn_blocking(move || node.inner.serving.load_adapter(&adapter)).await??;
            self.inner.offered.write().await.insert(id, Arc::new(offered));
        }
        Ok(())
    }

    fn adapter_dir(&self, adapter: &AdapterHash) -> std::path::PathBuf {
        self.inner.config.model_dir(&adapter.to_string()).join("adapter")
    }

    fn load_model(&self, row: ModelRow, manifest: &[u8]) -> Result<Offered> {
        let manifest: Manifest = serde_json::from_slice(manifest)?;
        let dir = self.inner.config.model_dir(&manifest.adapter.to_string());
        let lora = Lora::load_peft(&dir.join("adapter"), &self.inner.base.model)?;
        if B256::from(lora.hash()) != manifest.adapter.0 {
            let detail = format!("the adapter in {} is not the one that was trained", dir.display());
            return Err(NodeError::refused(Blame::Operator, "adapter-changed", detail));
        }
        let file = dir.join("records.json");
        let records: Vec<TrainedRecord> =
            serde_json::from_slice(&std::fs::read(&file).map_err(NodeError::file(&file))?)?;
        let index = SpanIndex::load(&dir.join("spans"))?;
        let cache = Cache::load(&dir.join("influence"))?;
        let attributor = attributor(&records, &manifest.contributions, index, cache)?;
        let bps = |name: &str| u16::try_from(row.price[name].as_u64().unwrap_or_default()).unwrap_or(u16::MAX);
        let vault: Address = serde_json::from_value(row.price["stake_vault"].clone())?;
        Ok(Offered {
            id: row.id,
            name: row.name,
            manifest_hash: manifest.hash()?,
            manifest,
            lora: Arc::new(lora),
            records,
            attributor,
            prices: serde_json::from_value(row.price["prices"].clone())?,
            rule: SplitRule::new(bps("platform_bps"), bps("model_bps"), bps("stakers_bps"))?,
            stake_vault: (vault != Address::ZERO).then_some(vault),
        })
    }

    /// The model of a name.
    ///
    /// # Errors
    ///
    /// `unknown-model`: the base never answers in its place.
    pub(crate) async fn offered(&self, name: &str) -> Result<Arc<Offered>> {
        let offered = self.inner.offered.read().await;
        let found = offered.values().find(|model| model.name == name).cloned();
        found.ok_or_else(|| NodeError::missing("model", name))
    }

    pub(crate) async fn offered_by_id(&self, id: ModelId) -> Result<Arc<Offered>> {
        let found = self.inner.offered.read().await.get(&id).cloned();
        found.ok_or_else(|| NodeError::missing("model", id))
    }

    /// Who owns a model's title at `block`.
    pub(crate) async fn model_owner(&self, id: ModelId, block: u64) -> Result<Address> {
        let owner = self.inner.store.owner_at(self.inner.flow.addresses().models, word(id.0), block).await?;
        owner.ok_or_else(|| NodeError::missing("title of model", id))
    }

    /// All models on offer, to be shown.
    pub async fn model_cards(&self) -> Vec<Value> {
        let offered = self.inner.offered.read().await;
        let card = |model: &Arc<Offered>| {
            json!({
                "id": model.id,
                "name": model.name,
                "base": self.inner.base.name,
                "adapter": model.manifest.adapter,
                "manifest": model.manifest_hash,
                "prices": model.prices,
                "split": {
                    "platform_bps": model.rule.platform_bps(), "model_bps": model.rule.model_bps(),
                    "stakers_bps": model.rule.stakers_bps(), "contributors_bps": model.rule.contributors_bps(),
                },
                "records": model.manifest.records,
                "datanets": model.manifest.datanets,
                "held_out_loss": model.manifest.held_out_loss,
            })
        };
        offered.values().map(card).collect()
    }
}
