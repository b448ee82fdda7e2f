//! Adapters and ensembles of `openledger serve`: how they are loaded and listed. A node has none of
//! these routes. Requests here may have further members, as in vLLM's dialect.

use openledger_protocol::AdapterHash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /v1/load_lora_adapter`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadLoraAdapter {
    /// The name to ask for.
    pub lora_name: String,
    /// The adapter's folder, below the folder that the server loads adapters from.
    pub lora_path: String,
    /// Whether a name that exists is given to this adapter; without it, false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_inplace: Option<bool>,
    /// The hash that the files must have: `0x` or `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter_hash: Option<String>,
}

/// `POST /v1/unload_lora_adapter`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnloadLoraAdapter {
    /// The name of an adapter or ensemble.
    pub lora_name: String,
}

/// A member of an ensemble that is to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnsembleShare {
    /// The name or hash of an adapter.
    pub model: String,
    /// How strongly it counts: 0.000001 to 1000, with at most six decimals.
    pub weight: f64,
}

/// `POST /v1/ensembles`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NewEnsemble {
    /// The name to ask for.
    pub name: String,
    /// The members, 1 to 64.
    #[schemars(length(min = 1, max = 64))]
    pub members: Vec<EnsembleShare>,
    /// Whether a name that exists is given to this ensemble; without it, false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_inplace: Option<bool>,
}

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
