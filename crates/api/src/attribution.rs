//! Attribution of a given answer, free and without a receipt.

use openledger_protocol::{ContributionId, Credits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Asks which records a given answer rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributionRequest {
    /// The model's name.
    pub model: String,
    /// The question, as a user's message.
    pub prompt: String,
    /// The answer.
    pub response: String,
}

/// A record that an answer rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreditedRecord {
    /// The contributor's name for it; null when the model was not trained on it.
    pub record: Option<String>,
    /// The contribution that brought it.
    pub contribution: ContributionId,
    /// Its place in the contribution, from 0.
    pub index: u32,
    /// The handles of its contributors, in order.
    pub contributors: Vec<String>,
    /// Its share of each layer's scores in millionths, added up over the layers.
    pub weight_ppm: u64,
    /// Its score in the layer of spans.
    pub spans: u64,
    /// Its score in the layer of influence.
    pub influence: u64,
    /// Its canonical text; null when the model was not trained on it, or when the caller may not
    /// read it.
    pub text: Option<String>,
}

/// What a given answer rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attribution {
    /// Spans, scores, coverage and methods.
    pub credits: Credits,
    /// The records with the largest weights, at most 10, largest first.
    pub top: Vec<CreditedRecord>,
}
