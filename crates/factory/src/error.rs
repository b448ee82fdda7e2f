//! Why training was refused or failed: one enum for the crate.

use std::path::PathBuf;

use openledger_engine::{LoadError, RunError, TrainError};

/// Why a recipe, its data or a run was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactoryError {
    /// A setting of the recipe is out of range; change it.
    #[error("recipe setting `{name}` is {value}: {reason}")]
    BadRecipe {
        /// Name of the setting.
        name: &'static str,
        /// Its value, printed.
        value: String,
        /// What it must be.
        reason: &'static str,
    },
    /// A recipe file is not what it should be; the reason names the place.
    #[error("`{path}` is not a recipe: {reason}")]
    BadRecipeFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        reason: String,
    },
    /// No live grant covers a datanet version; ask its owner for one. No row of any source was
    /// read.
    #[error("no live grant for version {version} of datanet {datanet}: {reason}")]
    NoGrant {
        /// The datanet's number.
        datanet: u64,
        /// The version.
        version: u64,
        /// What the check found.
        reason: String,
    },
    /// A source broke off while its rows were read; try again once it can be read.
    #[error("could not read the rows of datanet {datanet}, version {version}: {reason}")]
    Unreadable {
        /// The datanet's number.
        datanet: u64,
        /// The version.
        version: u64,
        /// What the source said.
        reason: String,
    },
    /// There is nothing to train on: no record, or every record is held out or too short.
    #[error("there is nothing to train on: {reason}")]
    NoData {
        /// What became of the records.
        reason: String,
    },
    /// A record cannot be encoded; it is named, and nothing was trained.
    #[error("record `{name}` cannot be trained on: {reason}")]
    BadRecord {
        /// The record's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint is damaged or belongs to another run; delete it to start again.
    #[error("checkpoint `{path}` cannot be resumed: {reason}")]
    BadCheckpoint {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// Texts differ from what the recipe records; generate or copy them again.
    #[error("input {index} has SHA-256 {found}, the recipe says {expected}")]
    CorpusDiffers {
        /// Place among the recipe's inputs, from 0; the held-out texts come after them.
        index: usize,
        /// What the texts have, in hexadecimal.
        found: String,
        /// What the recipe says.
        expected: String,
    },
    /// The folder to write to is not empty; name another one, so that nothing is overwritten.
    #[error("`{path}` already exists and is not empty")]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("could not access `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A model, adapter or tokenizer could not be loaded or saved.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model could not be run on a record.
    #[error(transparent)]
    Run(#[from] RunError),
    /// An optimiser step was refused or diverged.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A value could not be written as JSON; a defect of this crate, worth reporting.
    #[error("could not write JSON")]
    Json(#[from] serde_json::Error),
    /// A recipe has no canonical form; a defect of this crate, worth reporting.
    #[error("could not hash the recipe")]
    Canonical(#[from] openledger_protocol::CanonicalError),
}
