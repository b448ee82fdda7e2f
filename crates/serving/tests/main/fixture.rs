//! A small base with random weights, its adapters and a request to it; `openledger-gateway` tests
//! with the same.

use std::path::Path;
use std::sync::Arc;

use openledger_engine::{Lora, LoraConfig, Model, ModelConfig, Tokenizer, draw};
use openledger_protocol::{ModelId, Sampling};
use openledger_serving::{ChatForm, CompletionRequest, Embedded, Prompt};

/// A base named `base` with a budget of `bytes` for adapters.
pub(crate) fn server(bytes: usize) -> Embedded {
    let texts =
        ["the owl sat on the stone by the river", "seven grey herons wait in the shallow water", "Eulen am Fluß"];
    let tokenizer = Tokenizer::train_bpe(texts.iter(), 300, &["<|end|>"]).unwrap();
    let config = ModelConfig {
        hidden: 32,
        ffn: 40,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        vocab: tokenizer.vocab_size(),
        max_positions: 48,
        rms_eps: 1e-5,
        rope_theta: 1e4,
        tied: false,
        bos: Some(0),
        eos: vec![0],
        arch: Default::default(),
    };
    let model = Model::init(config, 3).unwrap();
    Embedded::new(Arc::new(model), Arc::new(tokenizer), ChatForm::Dialog, "base", bytes)
}

/// An adapter whose answers differ from the base's and from those of other seeds.
pub(crate) fn adapter(model: &Model, seed: u64) -> Lora {
    let mut lora = Lora::init(model, &LoraConfig::all_linear(4), seed).unwrap();
    let params: Vec<f32> =
        (0..lora.num_params()).map(|i| (draw(seed, 1, i as u64) % 2001) as f32 / 2000.0 - 0.5).collect();
    lora.set_params(&params).unwrap();
    lora
}

/// Writes the adapter of `seed` to `root/<seed>`.
pub(crate) fn saved(server: &Embedded, root: &Path, seed: u64) -> std::path::PathBuf {
    let dir = root.join(seed.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    adapter(server.model(), seed).save_peft(&dir, "base").unwrap();
    dir
}

pub(crate) fn request(model: &str, prompt: &str) -> CompletionRequest {
    let sampling = Sampling { temperature_milli: 0, top_p_milli: 1000, max_tokens: 12, seed: 7, stop: Vec::new() };
    CompletionRequest {
        model_id: ModelId(0),
        model: model.into(),
        prompt: Prompt::Text(prompt.into()),
        sampling,
        top_logprobs: 0,
    }
}
