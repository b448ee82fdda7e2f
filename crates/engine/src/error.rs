//! Why the engine refused something: one enum per rim (files, running, training).
//!
//! Every variant says what happened and what the caller can do. No variant is a panic in disguise:
//! hostile files and out-of-range ids end here.

use std::path::PathBuf;

/// Why a model, an adapter or a tokenizer on disk was not loaded (or not saved).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read or written; check that it exists and is readable.
    #[error("could not access `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is larger than the engine accepts; split the model into shards.
    #[error("`{path}` has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The largest size accepted, in bytes.
        limit: u64,
    },
    /// The file is not the JSON it should be; `reason` names the place.
    #[error("`{path}` is malformed: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        reason: String,
    },
    /// The file asks for something the engine does not do; `what` names the setting.
    #[error("unsupported: {what}")]
    Unsupported {
        /// The setting and its value.
        what: String,
    },
    /// A tensor the model needs is not in the file.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor is there that nothing in the configuration explains; it would be silently ignored
    /// otherwise.
    #[error("tensor `{name}` is not part of this model")]
    UnknownTensor {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    WrongShape {
        /// Its name.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor holds NaN or an infinity; the file is damaged or the training diverged.
    #[error("tensor `{name}` holds a value that is not finite at element {index}")]
    NotFinite {
        /// Its name.
        name: String,
        /// Row-major index of the first such element.
        index: usize,
    },
}

/// Why a forward, backward or sampling call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// No token was given where at least one is needed.
    #[error("no tokens were given")]
    Empty,
    /// A token id is not in the vocabulary; the tokenizer belongs to another model.
    #[error("token id {id} is outside the vocabulary of {vocab}")]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// Number of ids the model knows.
        vocab: usize,
    },
    /// The sequence is longer than the model's positions; shorten it.
    #[error("{tokens} tokens exceed the model's {limit} positions")]
    TooLong {
        /// Length asked for, in tokens.
        tokens: usize,
        /// Largest length, in tokens.
        limit: usize,
    },
    /// The loss would cover no token: `loss_from` must lie in `1..ids.len()`.
    #[error("loss_from {loss_from} leaves nothing to score in {tokens} tokens")]
    NothingToScore {
        /// First scored token.
        loss_from: usize,
        /// Length of the record in tokens.
        tokens: usize,
    },
    /// The adapter was made for a model of other dimensions.
    #[error("the adapter does not fit the model: {what}")]
    AdapterMismatch {
        /// What differs.
        what: String,
    },
    /// A sampling setting is out of its range.
    #[error("sampling setting `{name}` is out of range: {value}")]
    BadSampling {
        /// Name of the setting.
        name: &'static str,
        /// Its value, printed.
        value: String,
    },
    /// The memory set aside for a sequence's keys and values is used up; set aside more or ask for
    /// fewer tokens.
    #[error("{needed} bytes of keys and values are needed, {left} are left")]
    NoMemory {
        /// Bytes of the next page.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// The model's numeric mode has no gradients; load it in `f32fma-1` to train or to attribute.
    #[error("numeric mode {mode} has no gradients; load the model in f32fma-1")]
    NoGradient {
        /// Name of the mode.
        mode: &'static str,
    },
    /// A KV cache was made for a model of other dimensions.
    #[error("the cache was made for a model of other dimensions")]
    CacheMismatch,
}

/// Why a training step or a saved training state was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// An example could not be run; `index` is its place in the batch.
    #[error("example {index} of the batch: {source}")]
    Example {
        /// Place in the batch, from 0.
        index: usize,
        /// What was wrong with it.
        source: RunError,
    },
    /// The batch was empty.
    #[error("the batch is empty")]
    EmptyBatch,
    /// A setting is out of its range.
    #[error("training setting `{name}` is out of range: {value}")]
    BadSetting {
        /// Name of the setting.
        name: &'static str,
        /// Its value, printed.
        value: String,
    },
    /// The saved state does not belong to these parameters or is damaged.
    #[error("the saved training state is not usable: {reason}")]
    BadState {
        /// What is wrong.
        reason: String,
    },
    /// Loss or gradient became infinite or NaN; lower the learning rate. The parameters are
    /// unchanged.
    #[error("loss or gradient is not finite at step {step}; lower the learning rate")]
    Diverged {
        /// The step that failed, from 1.
        step: u64,
    },
}
