//! Completions: what a model answered, with all that is needed to answer again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::sha256;
use crate::{AdapterHash, B256, BaseHash, CanonicalError, ModelId, canonical_json};

/// How tokens were chosen. Rates are in thousandths, so that the record has one byte form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Temperature · 1000; zero is greedy.
    pub temperature_milli: u32,
    /// Nucleus probability · 1000; 1000 is off.
    pub top_p_milli: u32,
    /// The most tokens to produce.
    pub max_tokens: u32,
    /// The seed of the counter-based generator.
    pub seed: u64,
    /// Texts that end the answer.
    #[serde(default)]
    pub stop: Vec<String>,
}

impl Sampling {
    /// The hash that receipts carry: SHA-256 of the canonical JSON, the seed as a decimal string.
    ///
    /// # Errors
    /// [`CanonicalError`] never for values of this type; it comes from the encoder.
    pub fn hash(&self) -> Result<B256, CanonicalError> {
        let mut value = serde_json::to_value(self)?;
        value["seed"] = self.seed.to_string().into();
        canonical_json(&value).map(sha256)
    }
}

/// The reason why an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model, or a stop text, ended it.
    Stop,
    /// It reached its limit of tokens.
    Length,
}

/// Tokens read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub completion_tokens: u32,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    /// The model's title.
    pub model: ModelId,
    /// The base that answered.
    pub base: BaseHash,
    /// The adapter bound into the answer.
    pub adapter: AdapterHash,
    /// SHA-256 of the tokenizer file.
    pub tokenizer: B256,
    /// The engine's numeric mode, such as `f32fma`: it fixes the bits.
    pub numeric_mode: String,
    /// How tokens were chosen.
    pub sampling: Sampling,
    /// The prompt as the model saw it.
    pub prompt: String,
    /// The prompt's tokens.
    pub prompt_ids: Vec<u32>,
    /// The answer.
    pub text: String,
    /// The answer's tokens.
    pub output_ids: Vec<u32>,
    /// For each token, the byte range of `text` it wrote.
    pub offsets: Vec<(u32, u32)>,
    /// The reason why it ended.
    pub finish_reason: FinishReason,
    /// The metered tokens.
    pub usage: Usage,
}
