//! Adapter settings of any bytes: no panic, and what was accepted asks for something that can be
//! allocated.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use openledger_engine::{Lora, ModelConfig};

const MODEL: &str = r#"{"model_type": "llama", "hidden_size": 24, "intermediate_size": 43, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 37, "max_position_embeddings": 128}"#;

static CONFIG: LazyLock<ModelConfig> =
    LazyLock::new(|| ModelConfig::parse(MODEL.as_bytes()).expect("the model above is well-formed"));

fuzz_target!(|bytes: &[u8]| {
    // The same bytes also as a model's configuration: one corpus serves both.
    let _ = ModelConfig::parse(bytes);
    if let Ok(config) = Lora::parse_peft_config(bytes, &CONFIG) {
        assert!((1..=512).contains(&config.rank) && config.scale() > 0.0 && !config.targets.is_empty());
    }
});
