//! The public surface, fixed first so that other crates can be written against it; bodies follow.
#![expect(missing_docs, reason = "replaced by the modules it announces")]
#![allow(unused_variables, dead_code)]

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use crate::{LoadError, Matrix, ModelConfig, RunError, TrainError};

fn later<T>() -> Result<T, LoadError> {
    Err(LoadError::Unsupported {
        what: "not built yet".into(),
    })
}

/// Threads and instruction set a model computes with; never changes results.
#[derive(Clone)]
pub struct Runtime(Arc<()>);
impl Runtime {
    pub fn new(threads: usize) -> Self {
        Self(Arc::new(()))
    }
}

pub struct Model {
    config: ModelConfig,
}
impl Model {
    /// Reads `config.json` and `model.safetensors` (or shards) from `dir`.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        later()
    }
    /// Random weights for pre-training.
    pub fn init(config: ModelConfig, seed: u64) -> Result<Self, LoadError> {
        later()
    }
    /// Writes bf16 `model.safetensors` and `config.json`.
    pub fn save(&self, dir: &Path) -> Result<(), LoadError> {
        later()
    }
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }
    pub fn hash(&self) -> [u8; 32] {
        [0; 32]
    }
    pub fn with_runtime(self, runtime: Runtime) -> Self {
        self
    }
    pub fn num_params(&self) -> usize {
        0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factor {
    A,
    B,
}
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    pub rank: usize,
    pub alpha: f32,
    pub targets: Vec<Target>,
    pub rslora: bool,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSpan {
    pub layer: usize,
    pub target: Target,
    pub factor: Factor,
    pub range: Range<usize>,
    pub rows: usize,
    pub cols: usize,
}

#[derive(Clone)]
pub struct Lora {
    config: LoraConfig,
}
impl Lora {
    pub fn init(model: &Model, config: &LoraConfig, seed: u64) -> Result<Self, LoadError> {
        later()
    }
    pub fn load_peft(dir: &Path, model: &Model) -> Result<Self, LoadError> {
        later()
    }
    pub fn save_peft(&self, dir: &Path, base_name: &str) -> Result<(), LoadError> {
        later()
    }
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }
    pub fn hash(&self) -> [u8; 32] {
        [0; 32]
    }
    pub fn num_params(&self) -> usize {
        0
    }
    pub fn params(&self) -> &[f32] {
        &[]
    }
    /// Replaces all parameters, in `params` order.
    pub fn set_params(&mut self, params: &[f32]) -> Result<(), RunError> {
        Ok(())
    }
    pub fn modules(&self) -> &[ModuleSpan] {
        &[]
    }
    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        0
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    pub max_tokens: usize,
    /// 0 = greedy.
    pub temperature: f32,
    /// 0 = off.
    pub top_k: usize,
    /// 1 = off.
    pub top_p: f32,
    pub repetition_penalty: f32,
    pub seed: u64,
    pub stop: Vec<u32>,
}
impl Default for Sampling {
    fn default() -> Self {
        Self {
            max_tokens: 64,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            seed: 0,
            stop: vec![],
        }
    }
}
impl Sampling {
    pub fn validate(&self) -> Result<(), RunError> {
        Ok(())
    }
    /// Next token after `history` (prompt and what was generated): its id and log-probability under the plain softmax.
    pub fn pick(&self, logits: &[f32], history: &[u32]) -> (u32, f32) {
        (0, 0.0)
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    Stop,
    Length,
    Cancelled,
}
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    pub ids: Vec<u32>,
    pub logprobs: Vec<f32>,
    pub finish: FinishReason,
}

pub struct KvCache {
    len: usize,
}
impl KvCache {
    pub fn new(config: &ModelConfig) -> Self {
        Self { len: 0 }
    }
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    pub fn bytes(&self) -> usize {
        0
    }
}
/// One sequence's part of a batch: its cache, its adapter, and the tokens to append (many for prefill, one for decode).
pub struct Slot<'a> {
    pub cache: &'a mut KvCache,
    pub lora: Option<&'a Lora>,
    pub tokens: &'a [u32],
}
pub struct Batch<'m> {
    model: &'m Model,
}
impl<'m> Batch<'m> {
    pub fn new(model: &'m Model) -> Self {
        Self { model }
    }
    /// Logits `[slots, vocab]` after each slot's last token.
    pub fn step(&mut self, slots: &mut [Slot<'_>]) -> Result<Matrix, RunError> {
        Err(RunError::Empty)
    }
}
pub struct Session<'a> {
    model: &'a Model,
    lora: Option<&'a Lora>,
}
impl<'a> Session<'a> {
    pub fn new(model: &'a Model, lora: Option<&'a Lora>) -> Self {
        Self { model, lora }
    }
    pub fn prefill(&mut self, ids: &[u32]) -> Result<&[f32], RunError> {
        Err(RunError::Empty)
    }
    pub fn step(&mut self, token: u32) -> Result<&[f32], RunError> {
        Err(RunError::Empty)
    }
    pub fn len(&self) -> usize {
        0
    }
    pub fn is_empty(&self) -> bool {
        true
    }
}
pub fn generate(
    model: &Model,
    lora: Option<&Lora>,
    prompt: &[u32],
    sampling: &Sampling,
    on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
) -> Result<Generation, RunError> {
    Err(RunError::Empty)
}
/// Logits `[tokens, vocab]`.
pub fn logits(model: &Model, lora: Option<&Lora>, ids: &[u32]) -> Result<Matrix, RunError> {
    Err(RunError::Empty)
}
/// Log-probabilities of `ids[1..]`.
pub fn score(model: &Model, lora: Option<&Lora>, ids: &[u32]) -> Result<Vec<f32>, RunError> {
    Err(RunError::Empty)
}
/// Mean over positions of the final hidden state.
pub fn mean_hidden(model: &Model, lora: Option<&Lora>, ids: &[u32]) -> Result<Vec<f32>, RunError> {
    Err(RunError::Empty)
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
