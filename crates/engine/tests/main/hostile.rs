//! Files of any bytes: the bodies of the fuzz targets, on damaged copies of good files.

use std::path::Path;

use openledger_engine::{Lora, LoraConfig, ModelConfig, Tokenizer, tensor_shapes};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::common::{busy_lora, families, tiny};

const TEXT: &str = "two feet \u{6c34} \u{1f30a}<s> 3";

/// Replaces, inserts and removes bytes.
fn damaged(mut bytes: Vec<u8>, edits: &[(Index, u8, u8)]) -> Vec<u8> {
    for (at, kind, byte) in edits {
        let at = at.index(bytes.len().max(1)).min(bytes.len());
        match kind % 3 {
            0 if at < bytes.len() => bytes[at] = *byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.insert(at, *byte),
        }
    }
    bytes
}

/// What PEFT wrote beside one of the golden outputs.
fn real_adapter_config() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/qwen3.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    golden["adapters"][0]["config"].to_string().into_bytes()
}

fn edits() -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    // Digits, brackets and letters as often as other bytes, so that numbers and structure change.
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"0123456789-.eE[]{}\",:nulltrue()*+|".to_vec())];
    proptest::collection::vec((any::<Index>(), any::<u8>(), byte), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_adapter_settings_are_refused_or_ask_for_something_that_can_be_allocated(edits in edits()) {
        let [.., model] = families();
        let bytes = damaged(real_adapter_config(), &edits);
        if let Ok(config) = Lora::parse_peft_config(&bytes, &model) {
            prop_assert!((1..=512).contains(&config.rank));
            prop_assert!(config.scale() > 0.0 && !config.targets.is_empty());
        }
    }

    #[test]
    fn damaged_configurations_are_refused_or_can_be_run(edits in edits()) {
        for config in families() {
            let bytes = damaged(config.to_json().to_string().into_bytes(), &edits);
            if let Ok(config) = ModelConfig::parse(&bytes) {
                prop_assert!(config.validate().is_ok());
                prop_assert!(LoraConfig::all_linear(1).num_params(&config) > 0);
            }
        }
    }

    #[test]
    fn damaged_weight_files_never_hold_more_values_than_bytes(edits in edits()) {
        let dir = tempfile::tempdir().unwrap();
        busy_lora(&tiny(true, 1), 2, 2).save_peft(dir.path(), "tiny").unwrap();
        let bytes = damaged(std::fs::read(dir.path().join("adapter_model.safetensors")).unwrap(), &edits);
        if let Ok(shapes) = tensor_shapes(&bytes) {
            let values: usize = shapes.values().map(|shape| shape.iter().product::<usize>()).sum();
            prop_assert!(2 * values <= bytes.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_tokenizers_are_refused_or_keep_their_offsets_inside_the_text(edits in edits()) {
        let dir = tempfile::tempdir().unwrap();
        let texts = ["two feet in the night", "the river rose by two feet"];
        Tokenizer::train_bpe(texts.into_iter(), 280, &["<s>", "</s>"]).unwrap().save(dir.path()).unwrap();
        let bytes = damaged(std::fs::read(dir.path().join("tokenizer.json")).unwrap(), &edits);
        if let Ok(tokenizer) = Tokenizer::from_json(bytes) {
            for (id, range) in tokenizer.encode_with_offsets(TEXT) {
                prop_assert!(TEXT.get(range).is_some());
                prop_assert!((id as usize) < tokenizer.vocab_size());
            }
            let ids = tokenizer.encode(TEXT, true);
            let (text, ranges) = tokenizer.decode_with_offsets(&ids);
            prop_assert_eq!(ranges.len(), ids.len());
            prop_assert!(ranges.into_iter().all(|range| text.get(range).is_some()));
        }
    }
}
