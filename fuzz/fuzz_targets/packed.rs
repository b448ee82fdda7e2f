//! Packed weights of any bytes: no panic, and no file is mapped but the one that was written.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use openledger_engine::{Lora, LoraConfig, Model, ModelConfig, logits};

const MODEL: &str = r#"{"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 37, "max_position_embeddings": 64}"#;

struct Written {
    model: Model,
    hash: [u8; 32],
    path: PathBuf,
    bytes: Vec<u8>,
}

static WRITTEN: LazyLock<Written> = LazyLock::new(|| {
    let config = ModelConfig::parse(MODEL.as_bytes()).expect("the model above is well-formed");
    let model = Model::init(config, 1).expect("the model above can be made");
    let lora = Lora::init(&model, &LoraConfig::all_linear(2), 1).expect("an adapter of it can be made");
    let path = std::env::temp_dir().join(format!("openledger-fuzz-{}.packed", std::process::id()));
    lora.write_packed(&path).expect("the temporary folder can be written");
    let bytes = std::fs::read(&path).expect("what was written can be read");
    Written { hash: lora.hash(), model, path, bytes }
});

fuzz_target!(|edits: Vec<(u16, u8)>| {
    let written = &*WRITTEN;
    // Some bytes of the good file changed; an even number of edits also cuts it.
    let mut bytes = written.bytes.clone();
    for (at, byte) in &edits {
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *byte;
    }
    if let (0, Some((at, _))) = (edits.len() % 2, edits.first()) {
        bytes.truncate(usize::from(*at) % (bytes.len() + 1));
    }
    std::fs::write(&written.path, &bytes).expect("the temporary folder can be written");
    let mapped = Lora::map_packed(&written.path, &written.model, written.hash);
    assert_eq!(mapped.is_some(), bytes == written.bytes);
    // What is used before it was checked may be wrong, and must be nothing worse.
    if let Some(unread) = Lora::map_unread(&written.path, &written.model, written.hash) {
        let ran = logits(&written.model, Some(&unread), &[1, 2, 3]);
        assert_eq!(ran.map(|logits| logits.as_slice().len()), Ok(3 * 37));
        assert_eq!(unread.is_whole(), bytes == written.bytes);
    }
});
