//! Adapters and ensembles of `openledger serve`: what its lists and its loading of ensembles
//! return. A node has none of these routes.

use openledger_protocol::AdapterHash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An adapter, as `GET /v1/lora_adapters` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoraAdapter {
    /// The name to ask for.
    pub id: String,
    /// `lora_adapter`.
    pub object: String,
    /// The hash behind the name.
    pub adapter: AdapterHash,
    /// How often the name was given to another adapter.
    pub generation: u64,
    /// Whether its weights are in memory.
    pub resident: bool,
    /// The base's name.
    pub parent: String,
}

/// An adapter of an ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnsembleMember {
    /// The adapter.
    pub adapter: AdapterHash,
    /// How strongly it counts, 0.000001 to 1000.
    pub weight: f64,
}

/// An ensemble, as `/v1/ensembles` lists and returns it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnsembleEntry {
    /// The name to ask for.
    pub id: String,
    /// `ensemble`.
    pub object: String,
    /// The hash that binds members and weights.
    pub adapter: AdapterHash,
    /// How often the name was given to another adapter or ensemble.
    pub generation: u64,
    /// Whether its weights are in memory.
    pub resident: bool,
    /// Its members, by hash.
    pub members: Vec<EnsembleMember>,
}

/// A list in OpenAI's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectList<T> {
    /// `list`.
    pub object: String,
    /// The items.
    pub data: Vec<T>,
}

impl<T> ObjectList<T> {
    /// The list of `data`.
    #[must_use]
    pub fn new(data: Vec<T>) -> Self {
        Self { object: "list".into(), data }
    }
}
