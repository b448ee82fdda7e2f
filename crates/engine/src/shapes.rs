//! The parts that models and adapters are made of, by name: linear maps, their factors, tensors of
//! the flat list.
//!
//! Place in the flow: below `config`, `model` and `lora`, which would otherwise need each other.
//! Not here: dimensions, which follow from a model's shape (`config`).

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One linear map of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// Query projection.
    Q,
    /// Key projection.
    K,
    /// Value projection.
    V,
    /// Attention output projection.
    O,
    /// Gate of the feed-forward layer.
    Gate,
    /// Up projection of the feed-forward layer.
    Up,
    /// Down projection of the feed-forward layer.
    Down,
}

impl Target {
    /// All seven, in the order of parameters.
    pub const ALL: [Target; 7] = [Target::Q, Target::K, Target::V, Target::O, Target::Gate, Target::Up, Target::Down];

    /// The Hugging Face module name, such as `q_proj`.
    pub fn name(self) -> &'static str {
        match self {
            Target::Q => "q_proj",
            Target::K => "k_proj",
            Target::V => "v_proj",
            Target::O => "o_proj",
            Target::Gate => "gate_proj",
            Target::Up => "up_proj",
            Target::Down => "down_proj",
        }
    }

    /// The target with that module name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Place in [`Target::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Path below a layer, such as `self_attn.q_proj`.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Target::Q => "self_attn.q_proj",
            Target::K => "self_attn.k_proj",
            Target::V => "self_attn.v_proj",
            Target::O => "self_attn.o_proj",
            Target::Gate => "mlp.gate_proj",
            Target::Up => "mlp.up_proj",
            Target::Down => "mlp.down_proj",
        }
    }
}

/// One factor of an adapter's product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factor {
    /// `[rank, inputs]`, applied first.
    A,
    /// `[outputs, rank]`, zero at the start of training.
    B,
}

/// One tensor of the flat list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpan {
    /// Its Hugging Face name.
    pub name: String,
    /// Where its values stand in [`Model::params`](crate::Model::params).
    pub range: Range<usize>,
    /// Extent of each axis.
    pub shape: Vec<usize>,
}
