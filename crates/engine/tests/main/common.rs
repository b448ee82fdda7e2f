//! Small models and random ids that the other modules share.

use std::path::PathBuf;

use openledger_engine::{
    Architecture, Family, Lora, LoraConfig, Model, ModelConfig, RopeScaling, Runtime, draw, uniform,
};

/// Grouped queries, an odd feed-forward width and heads narrower than a register.
pub(crate) fn tiny_config(tied: bool) -> ModelConfig {
    ModelConfig {
        hidden: 24,
        ffn: 43,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        vocab: 37,
        max_positions: 128,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        tied,
        bos: Some(0),
        eos: vec![1],
        arch: Default::default(),
    }
}

/// Every family with what it can add: biases, normalised heads, stretched positions, heads of their
/// own width.
pub(crate) fn families() -> [ModelConfig; 3] {
    let with = |arch, head_dim| ModelConfig { arch, head_dim, ..tiny_config(true) };
    let yarn = RopeScaling::Yarn { factor: 4.0, attention: 1.2, fast: 8.0, slow: 1.0, original: 16, truncate: true };
    let llama = Architecture { rope: yarn, attention_bias: true, mlp_bias: true, ..Architecture::default() };
    let rope = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 32 };
    let qwen2 = Architecture { family: Family::Qwen2, rope, ..Architecture::default() };
    let qwen3 = Architecture { family: Family::Qwen3, attention_bias: true, ..Architecture::default() };
    [with(llama, 6), with(qwen2, 6), with(qwen3, 10)]
}

/// A model of that shape whose weights, norms and biases all matter.
pub(crate) fn busy(config: ModelConfig, seed: u64) -> Model {
    let model = Model::init(config, seed).unwrap();
    let mut params = model.params().to_vec();
    for tensor in model.tensors() {
        for (i, x) in params[tensor.range.clone()].iter_mut().enumerate() {
            let noise = uniform(seed, 99, (tensor.range.start + i) as u64) as f32 - 0.5;
            *x = if tensor.shape.len() == 1 { *x + 0.4 * noise } else { 8.0 * *x };
        }
    }
    Model::from_params(model.config().clone(), &params).unwrap().with_runtime(Runtime::new(1))
}

/// A random tiny model on one thread.
pub(crate) fn tiny(tied: bool, seed: u64) -> Model {
    Model::init(tiny_config(tied), seed).unwrap().with_runtime(Runtime::new(1))
}

/// An adapter whose both factors are random, so that every gradient is non-zero.
pub(crate) fn busy_lora(model: &Model, rank: usize, seed: u64) -> Lora {
    let mut lora = Lora::init(model, &LoraConfig::all_linear(rank), seed).unwrap();
    let params: Vec<f32> = (0..lora.num_params()).map(|i| 0.3 * (uniform(seed, 77, i as u64) as f32 - 0.5)).collect();
    lora.set_params(&params).unwrap();
    lora
}

pub(crate) fn random_ids(model: &Model, len: usize, seed: u64) -> Vec<u32> {
    let vocab = model.config().vocab as u64;
    (0..len as u64).map(|i| (draw(seed, 5, i) % vocab) as u32).collect()
}

/// A model folder beside the checkout, or `None` (with a message) where it is absent.
pub(crate) fn shared_model(name: &str) -> Option<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models").join(name);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("skipped: {} is not beside the checkout", dir.display());
    None
}
