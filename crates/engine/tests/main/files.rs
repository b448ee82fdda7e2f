//! Models and adapters on disk: what comes back, and what is refused.

use std::fs;
use std::path::Path;

use openledger_engine::{LoadError, Lora, Model, ModelConfig, Target, logits};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::{busy, busy_lora, families, random_ids, tiny};

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
    let cases: [(&str, Value, &str); 26] = [
        ("use_dora", json!(true), "use_dora"),
        ("modules_to_save", json!(["lm_head"]), "modules_to_save"),
        ("bias", json!("all"), "bias"),
        ("lora_bias", json!(true), "lora_bias"),
        ("fan_in_fan_out", json!(true), "fan_in_fan_out"),
        ("trainable_token_indices", json!([5]), "trainable_token_indices"),
        ("target_parameters", json!(["mlp.experts"]), "target_parameters"),
        ("layer_replication", json!([[0, 1]]), "layer_replication"),
        ("alora_invocation_tokens", json!([1]), "alora_invocation_tokens"),
        ("init_lora_weights", json!("pissa_niter_4"), "pissa_niter_4"),
        ("rank_pattern", json!({"q_proj": 0}), "rank 0"),
        ("rank_pattern", json!({"q_proj": 3, ".*proj": 4}), "two values"),
        ("rank_pattern", json!([3]), "rank_pattern"),
        ("alpha_pattern", json!({"q_proj": "big"}), "alpha"),
        ("alpha_pattern", json!({"q_proj)|(": 1}), "alpha_pattern"),
        ("exclude_modules", json!("("), "exclude_modules"),
        ("layers_pattern", json!(["blocks"]), "blocks"),
        ("layers_to_transform", json!("first"), "layers_to_transform"),
        ("target_modules", json!(["q_proj", "c_attn"]), "c_attn"),
        ("target_modules", json!(".*"), "lm_head"),
        ("target_modules", json!("(a|a|.)*.(a|.)*.(a|.)*(?=x)z"), "pattern"),
        ("target_modules", json!(["self_attn"]), "self_attn"),
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
fn maps_are_chosen_as_peft_chooses_them() {
    let model = tiny(true, 1);
    let chosen = |edits: &[(&str, Value)]| -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        busy_lora(&model, 2, 2).save_peft(dir.path(), "tiny").unwrap();
        edit(&dir.path().join("adapter_config.json"), |config| {
            for (key, value) in edits {
                config[*key] = value.clone();
            }
        });
        match Lora::load_peft(dir.path(), &model) {
            Ok(lora) => lora.modules().iter().map(|m| m.peft_name()).collect(),
            // Tensors of maps that are not chosen are left over; the first one tells which.
            Err(LoadError::UnknownTensor { name }) => vec![format!("left {name}")],
            Err(error) => vec![error.to_string()],
        }
    };
    let all = 2 * 7 * 2;
    assert_eq!(chosen(&[("target_modules", json!("All-Linear"))]).len(), all);
    assert_eq!(chosen(&[("target_modules", json!(".*(self_attn|mlp).*_proj"))]).len(), all);
    assert_eq!(
        chosen(&[("target_modules", json!(r"(?!lm_head).*_proj")), ("layers_pattern", json!("layers"))]).len(),
        all
    );
    let left = |tensor: &str| vec![format!("left base_model.model.model.layers.{tensor}.lora_A.weight")];
    let whole = Target::ALL.map(Target::name);
    assert_eq!(chosen(&[("exclude_modules", json!(["0.mlp.up_proj"]))]), left("0.mlp.up_proj"));
    assert_eq!(chosen(&[("exclude_modules", json!(r".*1\.mlp\.down_proj"))]), left("1.mlp.down_proj"));
    assert_eq!(chosen(&[("target_modules", json!(whole)), ("layers_to_transform", json!(0))]), left("1.mlp.down_proj"));
    assert_eq!(chosen(&[("target_modules", json!(&whole[..6]))]), left("0.mlp.down_proj"));
}

#[test]
fn an_ensemble_is_the_weighted_sum_of_its_parts_in_any_order() {
    let model = tiny(true, 1);
    let (a, b) = (busy_lora(&model, 2, 2), busy_lora(&model, 3, 3));
    let sum = Lora::ensemble(&model, &[(&a, 0.5), (&b, 2.0)]).unwrap();
    assert_eq!(sum.hash(), Lora::ensemble(&model, &[(&b, 2.0), (&a, 0.5)]).unwrap().hash());
    assert_ne!(sum.hash(), Lora::ensemble(&model, &[(&a, 0.5), (&b, 1.0)]).unwrap().hash());
    assert_eq!(sum.config().rank, 5);
    // ΔW of one map, entry by entry, from the factors.
    let entry = |lora: &Lora, out: usize, inp: usize| -> f32 {
        let [a, b] = [&lora.modules()[0], &lora.modules()[1]];
        let (fa, fb) = (&lora.params()[a.range.clone()], &lora.params()[b.range.clone()]);
        (0..a.rows).map(|r| lora.config().scale() * fb[out * b.cols + r] * fa[r * a.cols + inp]).sum()
    };
    for (out, inp) in [(0, 0), (3, 17), (31, 23)] {
        let want = 0.5 * entry(&a, out, inp) + 2.0 * entry(&b, out, inp);
        assert!((entry(&sum, out, inp) - want).abs() < 1e-6, "{out}, {inp}");
    }
}

#[test]
fn ensembles_that_mean_nothing_are_refused_by_name() {
    let model = tiny(true, 1);
    let (a, wide) = (busy_lora(&model, 2, 2), busy_lora(&model, 511, 3));
    let other = Model::init(ModelConfig { ffn: 50, ..model.config().clone() }, 1).unwrap();
    type Case<'a> = (&'a [(&'a Lora, f32)], &'a Model, &'a str);
    let cases: [Case<'_>; 6] = [
        (&[], &model, "without adapters"),
        (&[(&a, 1.0), (&a, 1.0)], &model, "twice"),
        (&[(&a, 0.0)], &model, "weight 0"),
        (&[(&a, f32::NAN)], &model, "NaN"),
        (&[(&a, 1.0), (&wide, 1.0)], &model, "513"),
        (&[(&a, 1.0)], &other, "feed-forward"),
    ];
    for (parts, model, named) in cases {
        let error = Lora::ensemble(model, parts).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
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
    let cases: [(&str, Value, &str); 17] = [
        ("model_type", json!("mamba"), "mamba"),
        ("model_type", Value::Null, "model_type"),
        ("rope_scaling", json!({"rope_type": "longrope", "factor": 4.0}), "longrope"),
        ("rope_scaling", json!({"rope_type": "yarn"}), "factor"),
        ("rope_parameters", json!({"rope_type": "su", "rope_theta": 5.0}), "su"),
        ("rope_interleaved", json!(true), "rope_interleaved"),
        ("partial_rotary_factor", json!(0.5), "partial_rotary_factor"),
        ("hidden_act", json!("gelu"), "gelu"),
        ("attention_bias", json!("yes"), "attention_bias"),
        ("tie_word_embeddings", json!(1), "tie_word_embeddings"),
        ("sliding_window", json!(100), "sliding_window"),
        ("num_key_value_heads", json!(3), "multiple"),
        ("vocab_size", json!(u64::MAX), "vocab_size"),
        ("num_hidden_layers", json!(0), "num_hidden_layers"),
        ("rms_norm_eps", json!(-1.0), "rms_norm_eps"),
        ("quantization_config", json!({"bits": 4}), "quantization_config"),
        ("num_local_experts", json!(8), "num_local_experts"),
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
fn windows_are_refused_only_where_a_sequence_would_feel_them() {
    let parse = |edits: Value| {
        let [.., qwen3] = families();
        let mut config = qwen3.to_json();
        config.as_object_mut().unwrap().extend(edits.as_object().unwrap().clone());
        ModelConfig::parse(config.to_string().as_bytes()).map_err(|e| e.to_string())
    };
    let harmless = [
        json!({"sliding_window": 4, "use_sliding_window": false}),
        json!({"sliding_window": 4, "use_sliding_window": true, "max_window_layers": 2}),
        json!({"sliding_window": 128, "use_sliding_window": true, "max_window_layers": 0}),
        json!({"sliding_window": null, "layer_types": ["full_attention", "full_attention"]}),
    ];
    for edits in harmless {
        parse(edits).unwrap();
    }
    let felt = [
        json!({"sliding_window": 127, "use_sliding_window": true, "max_window_layers": 0}),
        json!({"sliding_window": 4, "layer_types": ["full_attention", "sliding_attention"]}),
    ];
    for edits in felt {
        assert!(parse(edits).unwrap_err().contains("sliding_window"));
    }
    assert!(parse(json!({"layer_types": ["full_attention", "linear_attention"]})).unwrap_err().contains("linear"));
}

#[test]
fn every_family_is_saved_as_a_folder_that_loads_as_itself() {
    for config in families() {
        let dir = tempfile::tempdir().unwrap();
        let model = busy(config.clone(), 1);
        model.save(dir.path()).unwrap();
        let loaded = Model::load(dir.path()).unwrap();
        assert_eq!(loaded.config(), &config);
        assert_eq!(loaded.tensors(), model.tensors());
        let again = tempfile::tempdir().unwrap();
        loaded.save(again.path()).unwrap();
        assert_eq!(Model::load(again.path()).unwrap().params(), loaded.params());
    }
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
