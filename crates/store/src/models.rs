//! Models: a base and an adapter under a name, with a price.

use openledger_protocol::PriceList;

use crate::db::{Reads, Tx};
use crate::error::Result;
use crate::ids::{AdapterHash, Address, BaseHash, BlobHash, ModelId};
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

/// What an answer of a model costs, and how the price is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelTerms {
    /// The prices, in base units.
    pub prices: PriceList,
    /// The platform's share, basis points.
    pub platform_bps: u16,
    /// The model owner's share, basis points.
    pub model_bps: u16,
    /// The stakers' share, basis points.
    pub stakers_bps: u16,
    /// Where the stakers' share goes.
    pub stake_vault: Option<Address>,
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
    /// The artifact with its files: adapter, trained records, span index, gradient cache.
    pub artifact: Option<BlobHash>,
    /// What an answer costs, and the split.
    pub terms: ModelTerms,
    /// Whether it can be asked.
    pub state: ModelState,
}

const SELECT: &str = "SELECT id, name, base, adapter, manifest, artifact, per_1k_in, per_1k_out, royalty_flat, \
                      platform_bps, model_bps, stakers_bps, stake_vault, state FROM models";

fn read(row: &Row) -> Result<ModelRow> {
    Ok(ModelRow {
        id: row.get(0)?,
        name: row.get(1)?,
        base: row.get(2)?,
        adapter: row.get(3)?,
        manifest: row.get(4)?,
        artifact: row.get(5)?,
        terms: ModelTerms {
            prices: PriceList { per_1k_in: row.get(6)?, per_1k_out: row.get(7)?, royalty_flat: row.get(8)? },
            platform_bps: row.get(9)?,
            model_bps: row.get(10)?,
            stakers_bps: row.get(11)?,
            stake_vault: row.get(12)?,
        },
        state: row.get(13)?,
    })
}

impl Reads {
    /// The model with this id.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Malformed`] naming the column that is damaged.
    pub async fn model(&self, id: ModelId) -> Result<Option<ModelRow>> {
        self.one(format!("{SELECT} WHERE id = ?"), values![id], read).await
    }

    /// The model with this name.
    ///
    /// # Errors
    ///
    /// As [`Reads::model`].
    pub async fn model_named(&self, name: &str) -> Result<Option<ModelRow>> {
        self.one(format!("{SELECT} WHERE name = ?"), values![name], read).await
    }

    /// All models, by id.
    ///
    /// # Errors
    ///
    /// As [`Reads::model`].
    pub async fn models(&self) -> Result<Vec<ModelRow>> {
        self.list(format!("{SELECT} ORDER BY id"), values![], read).await
    }
}

impl Tx {
    /// Adds a model.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Exists`] when its id or name is taken.
    pub async fn put_model(&mut self, m: &ModelRow) -> Result<()> {
        let ModelTerms { prices, platform_bps, model_bps, stakers_bps, stake_vault } = m.terms;
        let mut row = values![m.id, m.name.as_str(), m.base, m.adapter, m.manifest, m.artifact];
        row.extend(values![prices.per_1k_in, prices.per_1k_out, prices.royalty_flat]);
        row.extend(values![platform_bps, model_bps, stakers_bps, stake_vault, m.state]);
        let head = "models (id, name, base, adapter, manifest, artifact, per_1k_in, per_1k_out, royalty_flat, \
                    platform_bps, model_bps, stakers_bps, stake_vault, state)";
        self.insert_all(head, vec![row]).await
    }
}
