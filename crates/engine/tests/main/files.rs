//! Models and adapters on disk: what comes back, and what is refused.

use std::fs;
use std::path::Path;

use openledger_engine::{LoadError, Lora, Model, ModelConfig, logits};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::{busy_lora, random_ids, tiny};

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn a_saved_model_loads_with_its_weights_rounded_once() {
    for tied in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        tiny(tied, 1).save(dir.path()).unwrap();
        let loaded = Model::load(dir.path()).unwrap();
        assert_eq!(loaded.config(), tiny(tied, 1).config());
        for (a, b) in tiny(tied, 1).params().iter().zip(loaded.params()) {
            assert!((a - b).abs() <= a.abs() / 256.0);
        }
        let again = tempfile::tempdir().unwrap();
        loaded.save(again.path()).unwrap();
        let second = Model::load(again.path()).unwrap();
        assert_eq!(second.params(), loaded.params());
        assert_eq!(second.hash(), loaded.hash());
    }
}

#[test]
fn a_saved_adapter_loads_with_the_same_hash_and_logits() {
    let model = tiny(true, 1);
    let lora = busy_lora(&model, 5, 2);
    let dir = tempfile::tempdir().unwrap();
    lora.save_peft(dir.path(), "tiny").unwrap();
    let loaded = Lora::load_peft(dir.path(), &model).unwrap();
    assert_eq!(loaded.hash(), lora.hash());
    let ids = random_ids(&model, 30, 3);
    let run = |lora: &Lora| logits(&model, Some(lora), &ids).unwrap();
    assert_eq!(run(&loaded), run(&lora));
    assert_ne!(run(&lora), logits(&model, None, &ids).unwrap());
}

#[test]
fn an_adapter_that_means_something_else_is_refused_by_name() {
    let model = tiny(true, 1);
    let cases: [(&str, Value, &str); 8] = [
        ("use_dora", json!(true), "use_dora"),
        ("modules_to_save", json!(["lm_head"]), "modules_to_save"),
        ("bias", json!("all"), "bias"),
        ("rank_pattern", json!({"q_proj": 4}), "rank_pattern"),
        ("peft_type", json!("IA3"), "IA3"),
        ("target_modules", json!(["embed_tokens"]), "embed_tokens"),
        ("invented_setting", json!(3), "invented_setting"),
        ("r", json!(100_000), "rank 100000"),
    ];
    for (key, value, named) in cases {
        let dir = tempfile::tempdir().unwrap();
        busy_lora(&model, 2, 2).save_peft(dir.path(), "tiny").unwrap();
        edit(&dir.path().join("adapter_config.json"), |config| config[key] = value);
        let error = Lora::load_peft(dir.path(), &model).unwrap_err().to_string();
        assert!(error.contains(named), "{key}: {error}");
    }
}

#[test]
fn adapters_of_another_shape_with_nan_or_as_pickles_are_refused() {
    let (model, dir) = (tiny(true, 1), tempfile::tempdir().unwrap());
    let mut lora = busy_lora(&model, 2, 2);
    lora.save_peft(dir.path(), "tiny").unwrap();
    edit(&dir.path().join("adapter_config.json"), |config| config["r"] = json!(3));
    assert!(matches!(Lora::load_peft(dir.path(), &model), Err(LoadError::WrongShape { .. })));
    edit(&dir.path().join("adapter_config.json"), |config| {
        config["r"] = json!(2);
        config["target_modules"] = json!(["q_proj"]);
    });
    assert!(matches!(Lora::load_peft(dir.path(), &model), Err(LoadError::UnknownTensor { .. })));
    let mut params = lora.params().to_vec();
    params[7] = f32::NAN;
    lora.set_params(&params).unwrap();
    lora.save_peft(dir.path(), "tiny").unwrap();
    assert!(matches!(Lora::load_peft(dir.path(), &model), Err(LoadError::NotFinite { index: 7, .. })));
    fs::rename(dir.path().join("adapter_model.safetensors"), dir.path().join("adapter_model.bin")).unwrap();
    let error = Lora::load_peft(dir.path(), &model).unwrap_err().to_string();
    assert!(error.contains("pickle"), "{error}");
}

#[test]
fn an_adapter_for_another_model_is_refused_when_used() {
    let model = tiny(true, 1);
    let lora = busy_lora(&model, 2, 2);
    let wide = ModelConfig { ffn: 50, ..model.config().clone() };
    let other = Model::init(wide, 1).unwrap();
    assert!(logits(&other, Some(&lora), &[1, 2]).unwrap_err().to_string().contains("does not fit"));
}

#[test]
fn configurations_the_engine_cannot_run_are_refused_by_name() {
    let cases: [(&str, Value, &str); 9] = [
        ("model_type", json!("mamba"), "mamba"),
        ("attention_bias", json!(true), "attention_bias"),
        ("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0}), "yarn"),
        ("hidden_act", json!("gelu"), "gelu"),
        ("num_key_value_heads", json!(3), "multiple"),
        ("vocab_size", json!(u64::MAX), "vocab_size"),
        ("num_hidden_layers", json!(0), "num_hidden_layers"),
        ("rms_norm_eps", json!(-1.0), "rms_norm_eps"),
        ("quantization_config", json!({"bits": 4}), "quantization_config"),
    ];
    for (key, value, named) in cases {
        let mut config = tiny(true, 1).config().to_json();
        config[key] = value;
        let error = ModelConfig::parse(config.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(named), "{key}: {error}");
    }
    let newer = json!({"rope_theta": 500.0, "rope_type": "default"});
    let mut config = tiny(true, 1).config().to_json();
    config.as_object_mut().unwrap().remove("rope_theta");
    config["rope_parameters"] = newer;
    assert_eq!(ModelConfig::parse(config.to_string().as_bytes()).unwrap().rope_theta, 500.0);
}

#[test]
fn a_small_file_cannot_ask_for_a_large_model() {
    let dir = tempfile::tempdir().unwrap();
    tiny(true, 1).save(dir.path()).unwrap();
    edit(&dir.path().join("config.json"), |config| config["num_hidden_layers"] = json!(4000));
    assert!(matches!(Model::load(dir.path()), Err(LoadError::MissingTensor { .. })));
}

#[test]
fn shards_load_as_one_and_may_not_leave_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    tiny(true, 1).save(dir.path()).unwrap();
    let whole = Model::load(dir.path()).unwrap();
    fs::rename(dir.path().join("model.safetensors"), dir.path().join("part-1.safetensors")).unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    fs::write(&index, json!({"weight_map": {"model.norm.weight": "part-1.safetensors"}}).to_string()).unwrap();
    assert_eq!(Model::load(dir.path()).unwrap().params(), whole.params());
    fs::write(&index, json!({"weight_map": {"model.norm.weight": "../x.safetensors"}}).to_string()).unwrap();
    assert!(Model::load(dir.path()).unwrap_err().to_string().contains("../x"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_weight_files_are_refused_or_read_and_never_panic(
        at in 0usize..4000, byte: u8, cut in 0usize..6000, truncate: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let model = tiny(true, 1);
        let lora = busy_lora(&model, 2, 2);
        model.save(dir.path()).unwrap();
        lora.save_peft(dir.path(), "tiny").unwrap();
        for name in ["model.safetensors", "adapter_model.safetensors"] {
            let path = dir.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            if truncate {
                bytes.truncate(cut.min(bytes.len() - 1));
            }
            fs::write(&path, bytes).unwrap();
        }
        let results = (Model::load(dir.path()), Lora::load_peft(dir.path(), &model));
        if truncate {
            prop_assert!(results.0.is_err());
            prop_assert!(results.1.is_err());
        }
    }

    #[test]
    fn any_bytes_as_configuration_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(ModelConfig::parse(&bytes).is_err());
    }
}
