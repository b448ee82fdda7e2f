//! The trainer on plain files: a base folder, a file of records, an adapter folder. No node, no
//! chain.
//!
//! The records come in as they were read (`datanet` knows the rules of their file).

use std::path::PathBuf;

use openledger_engine::{Model, Tokenizer};

use crate::access::Granted;
use crate::error::FactoryError;
use crate::export::{Card, export};
use crate::files;
use crate::observer::Observer;
use crate::recipe::Recipe;
use crate::train::{Outcome, Saving, train};

/// What `openledger train` does.
#[derive(Debug, Clone)]
pub struct Job {
    /// Folder of the base: `config.json`, `model.safetensors`, `tokenizer.json`.
    pub base: PathBuf,
    /// The records, in file order; see [`Granted::own`].
    pub records: Granted,
    /// What the model card calls them.
    pub dataset: String,
    /// Where the adapter goes; absent or empty.
    pub out: PathBuf,
    /// The recipe.
    pub recipe: Recipe,
    /// Steps between checkpoints, which lie beside `out` as `<out>.checkpoint`; zero saves only
    /// when stopped.
    pub save_every: u64,
}

/// Trains on files and exports the adapter; goes on from the checkpoint beside `out` if there is
/// one, and removes it at the end.
///
/// # Errors
/// Those of [`train`] and [`export`].
pub fn train_folder(job: &Job, observer: &mut dyn Observer) -> Result<Outcome, FactoryError> {
    job.recipe.validate()?;
    // Found out before the training, not after it.
    if std::fs::read_dir(&job.out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(FactoryError::OutputExists { path: job.out.clone() });
    }
    let model = Model::load(&job.base)?;
    let tokenizer = Tokenizer::load(&job.base)?;
    let mut name = job.out.file_name().unwrap_or_default().to_owned();
    name.push(".checkpoint");
    let checkpoint = job.out.with_file_name(name);
    let saving = Saving { file: Some(&checkpoint), every: job.save_every };
    let outcome = train(&model, &tokenizer, &job.records, &job.recipe, saving, observer)?;
    if let Outcome::Done(trained) = &outcome {
        let card = Card {
            name: job.out.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            base: job.base.to_string_lossy().into_owned(),
            license: String::new(),
            datasets: vec![job.dataset.clone()],
        };
        export(&job.out, trained, &job.recipe, &card)?;
        if checkpoint.exists() {
            std::fs::remove_file(&checkpoint).map_err(files::io(&checkpoint))?;
        }
    }
    Ok(outcome)
}
