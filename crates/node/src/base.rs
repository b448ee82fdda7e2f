//! The base model that all adapters of a node sit on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::B256;
use openledger_engine::{Model, Tokenizer};
use openledger_protocol::BaseHash;
use openledger_serving::ChatForm;

use crate::error::Result;

/// A loaded base model.
pub struct Base {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) hash: BaseHash,
    pub(crate) model: Arc<Model>,
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// How messages become a prompt.
    pub(crate) form: ChatForm,
}

impl Base {
    /// Loads a Hugging Face folder.
    ///
    /// # Errors
    /// [`crate::NodeError::Load`] naming what is missing or not supported.
    pub(crate) fn load(dir: &Path, name: &str) -> Result<Self> {
        let model = Model::load(dir)?;
        let tokenizer = Tokenizer::load(&dir.join("tokenizer.json"))?;
        Ok(Self {
            name: name.to_owned(),
            dir: dir.to_path_buf(),
            hash: BaseHash(B256::from(model.hash())),
            model: Arc::new(model),
            tokenizer: Arc::new(tokenizer),
            form: ChatForm::of_base(dir),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// Its model.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// How messages become a prompt.
    #[must_use]
    pub fn form(&self) -> &ChatForm {
        &self.form
    }

    /// The longest prompt and answer together, in tokens.
    #[must_use]
    pub fn max_positions(&self) -> usize {
        self.model.config().max_positions
    }
}
