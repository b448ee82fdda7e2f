//! Adapters as PEFT stores them: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Place in the flow: the rim of `lora`. Invariant: an adapter whose meaning the engine would change (DoRA, biases,
//! saved modules, patterns, pickles, missing or extra tensors) is refused by name, never half-loaded. Not here: the
//! arithmetic.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::LoadError;
use crate::files;
use crate::lora::{Lora, LoraConfig, Target};
use crate::model::Model;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Largest accepted adapter file, in bytes.
const MAX_ADAPTER_BYTES: u64 = 2 << 30;

/// Settings that do not change what the adapter computes.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "r",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
];

impl Lora {
    /// Reads a PEFT folder for `model`.
    ///
    /// # Errors
    ///
    /// [`LoadError`] naming the setting or tensor that is unknown, missing, of another shape or not finite.
    pub fn load_peft(dir: &Path, model: &Model) -> Result<Self, LoadError> {
        let weights = files::within(dir, WEIGHTS);
        if !weights.exists() && files::within(dir, "adapter_model.bin").exists() {
            return Err(LoadError::Unsupported { what: "adapter_model.bin (a pickle; export safetensors)".into() });
        }
        let config = parse_config(&files::read_limited(&files::within(dir, CONFIG), files::MAX_JSON_BYTES)?)?;
        let bytes = files::read_limited(&weights, MAX_ADAPTER_BYTES)?;
        let mut tensors = files::parse_safetensors(&bytes, &weights)?;
        let mut lora = Lora::zero(model.config(), config);
        let mut params = vec![0.0; lora.num_params()];
        for module in lora.modules() {
            let values = files::take(&mut tensors, &module.peft_name(), &[module.rows, module.cols])?;
            params[module.range.clone()].copy_from_slice(&values);
        }
        if let Some(name) = tensors.into_keys().next() {
            return Err(LoadError::UnknownTensor { name });
        }
        lora.update(|own| own.copy_from_slice(&params));
        Ok(lora)
    }

    /// Writes a PEFT folder (f32) that names `base_name` as its base model.
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] when a file cannot be written.
    pub fn save_peft(&self, dir: &Path, base_name: &str) -> Result<(), LoadError> {
        std::fs::create_dir_all(dir).map_err(|source| LoadError::Io { path: dir.to_owned(), source })?;
        let encoded: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .modules()
            .iter()
            .map(|m| {
                let bytes = self.params()[m.range.clone()].iter().flat_map(|x| x.to_le_bytes()).collect();
                (m.peft_name(), vec![m.rows, m.cols], bytes)
            })
            .collect();
        let views = encoded
            .iter()
            .map(|(name, shape, bytes)| (name.as_str(), shape.as_slice(), safetensors::Dtype::F32, bytes.as_slice()));
        files::write(&files::within(dir, WEIGHTS), &files::safetensors(views, dir)?)?;
        let config = self.config();
        let json = json!({
            "base_model_name_or_path": base_name,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": config.alpha,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": config.rank,
            "target_modules": config.targets.iter().map(|t| t.name()).collect::<Vec<_>>(),
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": config.rslora,
        });
        files::write(&files::within(dir, CONFIG), format!("{json:#}\n").as_bytes())
    }
}

/// Reads `adapter_config.json`.
fn parse_config(bytes: &[u8]) -> Result<LoraConfig, LoadError> {
    let malformed = |reason: String| LoadError::Malformed { path: CONFIG.into(), reason };
    let refuse = |what: String| Err(LoadError::Unsupported { what });
    let json: Value = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
    let object = json.as_object().ok_or_else(|| malformed("not a JSON object".into()))?;
    if json["peft_type"].as_str() != Some("LORA") {
        return refuse(format!("peft_type {}", json["peft_type"]));
    }
    for (key, value) in object {
        let plain = key == "bias" && value.as_str() == Some("none");
        if !HARMLESS.contains(&key.as_str()) && !plain && !is_off(value) {
            return refuse(format!("adapter setting `{key}` = {value}"));
        }
    }
    let rank = json["r"].as_u64().and_then(|r| usize::try_from(r).ok());
    let alpha = json["lora_alpha"].as_f64();
    let (Some(rank), Some(alpha)) = (rank, alpha) else {
        return Err(malformed("`r` must be a whole number and `lora_alpha` a number".into()));
    };
    let targets = match &json["target_modules"] {
        Value::String(all) if all == "all-linear" => Target::ALL.to_vec(),
        Value::Array(names) => {
            let mut targets = BTreeSet::new();
            for name in names {
                match name.as_str().and_then(Target::from_name) {
                    Some(target) => targets.insert(target),
                    None => return refuse(format!("target module {name}")),
                };
            }
            targets.into_iter().collect()
        }
        other => return refuse(format!("target_modules {other}")),
    };
    let rslora = json["use_rslora"].as_bool().unwrap_or(false);
    LoraConfig { rank, alpha: alpha as f32, targets, rslora }.checked()
}

/// Whether a setting is switched off: null, false, zero, or an empty list, object or text.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
