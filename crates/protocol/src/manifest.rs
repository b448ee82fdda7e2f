//! Manifests: all that went into a model, by hash, fixed before it is registered.

use alloy_primitives::B256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{keccak_words, sha256, word};
use crate::{AdapterHash, BaseHash, CanonicalError, ContributionId, DatanetId, canonical_json};

/// A datanet version that was trained on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatanetUse {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version.
    pub version: u64,
    /// Its root.
    pub root: B256,
    /// The grant it was read under ([`crate::Grant::struct_hash`]).
    pub grant: B256,
}

/// A contribution that was trained on, with its frozen weight in the residual pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainedContribution {
    /// The datanet.
    pub datanet: DatanetId,
    /// The contribution.
    pub contribution: ContributionId,
    /// Its root.
    pub root: B256,
    /// Records of it that were trained on.
    pub records: u32,
    /// W_b: non-duplicate trained tokens times the derived-record multiplier.
    pub weight: u64,
}

/// How the contributors' line is cut into pots, in basis points of it; sums to 10,000 over the
/// declared layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Exact spans.
    pub spans_bps: u16,
    /// Influence.
    pub influence_bps: u16,
    /// Retrieval.
    pub retrieval_bps: u16,
}

impl Mix {
    /// No mix: an unused place in [`crate::Params::mixes`].
    pub const NONE: Self = Self { spans_bps: 0, influence_bps: 0, retrieval_bps: 0 };

    /// The sum of the pots, in basis points; a mix that can be declared has 10,000.
    #[must_use]
    pub fn sum(&self) -> u32 {
        [self.spans_bps, self.influence_bps, self.retrieval_bps].into_iter().map(u32::from).sum()
    }
}

/// An attribution method and its fixed parameters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Its version, such as `influence-fisher/1`.
    pub version: String,
    /// The root or hash of what it cached at training time (index, gradients); zero where there is
    /// none.
    pub cache: B256,
}

/// All that went into a model. Numbers that are not integers are decimal strings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `openledger/manifest/v1`.
    pub format: String,
    /// The model's name.
    pub name: String,
    /// The base.
    pub base: BaseHash,
    /// The tokenizer file's SHA-256.
    pub tokenizer: B256,
    /// The adapter.
    pub adapter: AdapterHash,
    /// The recipe: hyper-parameters and seed as strings.
    #[serde(deserialize_with = "crate::strict::recipe")]
    pub recipe: serde_json::Map<String, serde_json::Value>,
    /// The datanet versions, ordered by (datanet, version).
    pub datanets: Vec<DatanetUse>,
    /// The contributions, ordered by id.
    pub contributions: Vec<TrainedContribution>,
    /// The Merkle root over the leaves of the records trained on, in training-file order.
    pub records_root: B256,
    /// How many.
    pub records: u32,
    /// The mix of pots.
    pub mix: Mix,
    /// The methods in layer order.
    pub methods: Vec<Method>,
    /// Mean held-out loss of base and adapter, in micro-nats a token.
    pub held_out_loss: (u64, u64),
}

impl Manifest {
    /// The format this code writes.
    pub const FORMAT: &'static str = "openledger/manifest/v1";

    /// The hash that `Models` keeps: SHA-256 of the canonical JSON, every u64 weight and loss as it
    /// stands.
    ///
    /// # Errors
    /// [`CanonicalError`] when the recipe holds a fraction or a number beyond 2⁵³.
    pub fn hash(&self) -> Result<B256, CanonicalError> {
        canonical_json(self).map(sha256)
    }

    /// The receipt's `datanets` word: `H` over the words (datanet, version)….
    #[must_use]
    pub fn datanets_hash(&self) -> B256 {
        let words: Vec<B256> = self.datanets.iter().flat_map(|d| [word(d.datanet.0), word(d.version)]).collect();
        keccak_words(&words)
    }

    /// The receipt's `methods` word: SHA-256 of the versions joined by LF.
    #[must_use]
    pub fn methods_hash(&self) -> B256 {
        sha256(self.methods.iter().map(|m| m.version.as_str()).collect::<Vec<_>>().join("\n"))
    }
}
