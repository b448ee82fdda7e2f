//! The public surface, fixed first so that other crates can be written against it; bodies follow.
#![expect(missing_docs, reason = "replaced by the modules it announces")]
#![allow(unused_variables, dead_code)]

use std::ops::Range;
use std::path::Path;

use crate::{Model, Lora, LoadError, RunError, TrainError};

fn later<T>() -> Result<T, LoadError> {
    Err(LoadError::Unsupported {
        what: "not built yet".into(),
    })
}

/// Buffers reused between gradient calls.
#[derive(Default)]
pub struct Scratch(());
/// Mean NLL of `ids[loss_from..]` and its gradient in `Lora::params` order.
pub fn lora_gradient(
    model: &Model,
    lora: &Lora,
    ids: &[u32],
    loss_from: usize,
    scratch: &mut Scratch,
) -> Result<(f32, Vec<f32>), RunError> {
    Err(RunError::Empty)
}
/// The same for all weights of the model, in `Model::params` order.
pub fn full_gradient(
    model: &Model,
    ids: &[u32],
    loss_from: usize,
    scratch: &mut Scratch,
) -> Result<(f32, Vec<f32>), RunError> {
    Err(RunError::Empty)
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    Constant,
    Cosine { total_steps: u64, floor: f64 },
}
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub clip: Option<f64>,
    pub warmup_steps: u64,
    pub schedule: Schedule,
}
impl Default for AdamW {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            clip: Some(1.0),
            warmup_steps: 0,
            schedule: Schedule::Constant,
        }
    }
}
#[derive(Debug, Clone, Copy)]
pub struct Example<'a> {
    pub ids: &'a [u32],
    pub loss_from: usize,
}
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    pub step: u64,
    pub loss: f64,
    pub grad_norm: f64,
    pub tokens: usize,
    pub lr: f64,
}

pub struct LoraTrainer<'m> {
    model: &'m Model,
    lora: Lora,
}
impl<'m> LoraTrainer<'m> {
    pub fn new(model: &'m Model, lora: Lora, settings: AdamW) -> Result<Self, TrainError> {
        Err(TrainError::EmptyBatch)
    }
    /// One optimiser step on the token-normalised loss of the batch.
    pub fn step(&mut self, batch: &[Example<'_>]) -> Result<StepReport, TrainError> {
        Err(TrainError::EmptyBatch)
    }
    pub fn lora(&self) -> &Lora {
        &self.lora
    }
    pub fn into_lora(self) -> Lora {
        self.lora
    }
    pub fn steps_done(&self) -> u64 {
        0
    }
    /// Parameters and optimiser state; `resume` continues bit for bit.
    pub fn checkpoint(&self) -> Vec<u8> {
        vec![]
    }
    pub fn resume(
        model: &'m Model,
        lora: Lora,
        settings: AdamW,
        checkpoint: &[u8],
    ) -> Result<Self, TrainError> {
        Err(TrainError::EmptyBatch)
    }
}
pub struct BaseTrainer {
    model: Model,
}
impl BaseTrainer {
    pub fn new(model: Model, settings: AdamW) -> Result<Self, TrainError> {
        Err(TrainError::EmptyBatch)
    }
    pub fn step(&mut self, batch: &[Example<'_>]) -> Result<StepReport, TrainError> {
        Err(TrainError::EmptyBatch)
    }
    pub fn model(&self) -> &Model {
        &self.model
    }
    pub fn into_model(self) -> Model {
        self.model
    }
    pub fn steps_done(&self) -> u64 {
        0
    }
    pub fn checkpoint(&self) -> Vec<u8> {
        vec![]
    }
    pub fn resume(model: Model, settings: AdamW, checkpoint: &[u8]) -> Result<Self, TrainError> {
        Err(TrainError::EmptyBatch)
    }
}

pub struct Tokenizer(());
impl Tokenizer {
    /// Reads a `tokenizer.json` (or the one in the folder `path`).
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        later()
    }
    pub fn save(&self, path: &Path) -> Result<(), LoadError> {
        later()
    }
    /// Byte-level BPE; `specials` become ids 0.. in order (first: bos, second: eos).
    pub fn train_bpe<S: AsRef<str> + Send>(
        texts: impl Iterator<Item = S> + Send,
        vocab_size: usize,
        specials: &[&str],
    ) -> Result<Self, LoadError> {
        later()
    }
    pub fn encode(&self, text: &str, add_bos: bool) -> Vec<u32> {
        vec![]
    }
    pub fn encode_with_offsets(&self, text: &str) -> Vec<(u32, Range<usize>)> {
        vec![]
    }
    /// Special tokens are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        String::new()
    }
    /// Text and the byte range of each id in it; ids inside one character share its range.
    pub fn decode_with_offsets(&self, ids: &[u32]) -> (String, Vec<Range<usize>>) {
        (String::new(), vec![])
    }
    /// Raw bytes of one id (empty for special tokens).
    pub fn piece(&self, id: u32) -> &[u8] {
        &[]
    }
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        None
    }
    pub fn hash(&self) -> [u8; 32] {
        [0; 32]
    }
    pub fn bos(&self) -> Option<u32> {
        None
    }
    pub fn eos(&self) -> Option<u32> {
        None
    }
    pub fn vocab_size(&self) -> usize {
        0
    }
}
