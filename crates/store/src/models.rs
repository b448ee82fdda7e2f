//! Models: a base and an adapter under a name, with a price.

use serde_json::Value as Json;

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{AdapterHash, BaseHash, BlobHash, ModelId};
use crate::sql::{Row, values, words};

words! {
    /// Whether a model can be asked.
    pub enum ModelState {
        /// Trained, not offered yet.
        Draft = "draft",
        /// Offered.
        Published = "published",
        /// No longer offered; its receipts stay.
        Retired = "retired",
    }
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    /// Its id on the chain.
    pub id: ModelId,
    /// Its name, unique on this node.
    pub name: String,
    /// The base model.
    pub base: BaseHash,
    /// The adapter; `None` for a base served as it is.
    pub adapter: Option<AdapterHash>,
    /// The blob with its manifest.
    pub manifest: BlobHash,
    /// What an answer costs, and the split.
    pub price: Json,
    /// Whether it can be asked.
    pub state: ModelState,
}

const SELECT: &str = "SELECT id, name, base, adapter, manifest, price_json, state FROM models";

fn read(row: &Row) -> Result<ModelRow> {
    Ok(ModelRow {
        id: row.get(0)?,
        name: row.get(1)?,
        base: row.get(2)?,
        adapter: row.get(3)?,
        manifest: row.get(4)?,
        price: row.json(5)?,
        state: row.get(6)?,
    })
}

impl Reads {
    /// The model with this id.
    pub async fn model(&self, id: ModelId) -> Result<Option<ModelRow>> {
        self.one(format!("{SELECT} WHERE id = ?"), values![id], read).await
    }

    /// The model with this name.
    pub async fn model_named(&self, name: &str) -> Result<Option<ModelRow>> {
        self.one(format!("{SELECT} WHERE name = ?"), values![name], read).await
    }

    /// The models that use this adapter, by id.
    pub async fn models_with_adapter(&self, adapter: AdapterHash) -> Result<Vec<ModelRow>> {
        self.list(format!("{SELECT} WHERE adapter = ? ORDER BY id"), values![adapter], read).await
    }

    /// All models, by id.
    pub async fn models(&self) -> Result<Vec<ModelRow>> {
        self.list(format!("{SELECT} ORDER BY id"), values![], read).await
    }
}

impl Tx {
    /// Adds a model. [`Error::Exists`] when its id or name is taken.
    pub async fn put_model(&mut self, m: &ModelRow) -> Result<()> {
        let row = values![m.id, m.name.as_str(), m.base, m.adapter, m.manifest, m.price.to_string(), m.state];
        self.insert_all("models (id, name, base, adapter, manifest, price_json, state)", vec![row]).await
    }

    /// Offers a model, or takes it back.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is no such model.
    pub async fn set_model_state(&mut self, id: ModelId, state: ModelState) -> Result<()> {
        match self.execute("UPDATE models SET state = ? WHERE id = ?", values![state, id]).await? {
            0 => Err(Error::missing("model", id)),
            _ => Ok(()),
        }
    }
}
