//! The only kernels of the system: Llama, Qwen2 and Qwen3 transformers, LoRA, forward and backward,
//! sampling, tokenizer.
//!
//! # Place in the flow
//!
//! Lowest floor. `factory` trains adapters with [`LoraTrainer`], `serving` decodes with [`Batch`],
//! `attribution` takes per-record gradients from [`lora_gradient`] and log-probabilities from
//! [`score`].
//!
//! # Invariants
//!
//! - **One result.** In each [`NumericMode`] every output element is summed in one fixed order by
//!   IEEE fma (and exact integers, in `q8-2`). The same inputs give the same bits for any batch,
//!   prefill chunking, thread count and instruction set (AVX-512, AVX2+FMA, scalar). No libm, no
//!   clock, no hash-map order.
//! - **Nothing half-loaded.** A model or adapter is read whole and checked, or refused by name.
//!
//! # Not here
//!
//! Scheduling and adapter caches (`serving`), jobs and recipes (`factory`), scores (`attribution`).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backward;
mod batch;
mod config;
mod ensemble;
mod error;
mod files;
mod forward;
mod kernels;
mod kv;
mod kv_page;
mod kv_prefix;
mod learned;
mod linear;
mod lora;
mod lora_pack;
mod matrix;
mod mode;
mod model;
mod packed;
mod packed_file;
mod peft;
mod peft_config;
mod rng;
mod rope;
mod sampling;
mod session;
mod settings;
mod shapes;
mod tokenizer;
mod train;

pub use backward::{Scratch, full_gradient, lora_gradient};
pub use batch::Batch;
pub use config::{Architecture, Family, ModelConfig};
pub use error::{LoadError, RunError, TrainError};
pub use files::tensor_shapes;
pub use forward::Slot;
pub use kernels::{Isa, Runtime, Wide, widest};
pub use kv::{KvCache, KvPage, Lease, MemoryBudget};
pub use kv_prefix::{KvPrefixes, KvRoot};
pub use learned::Learned;
pub use lora::{Lora, LoraConfig, ModuleSpan};
pub use matrix::{Matrix, dot};
pub use mode::NumericMode;
pub use model::Model;
pub use rng::{draw, uniform};
pub use rope::RopeScaling;
pub use sampling::{FinishReason, Generation, Sampling};
pub use session::{Session, generate, logits, mean_hidden, score};
pub use settings::{FolderTemplate, Special, TokenizerSettings};
pub use shapes::{Factor, Target, TensorSpan};
pub use tokenizer::Tokenizer;
pub use train::{AdamW, BaseTrainer, Example, LoraTrainer, Schedule, StepReport};

/// Name of the numeric mode that models have unless they are asked for another one, as receipts
/// carry it; a change of any rounding gives it a new name.
pub const NUMERIC_MODE: &str = NumericMode::F32Fma.name();
