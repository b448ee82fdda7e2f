//! Adapters as PEFT stores them: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Place in the flow: the rim of `lora`. Invariant: an adapter whose meaning the engine would
//! change (DoRA, biases, saved modules, pickles, missing or extra tensors) is refused by name,
//! never half-loaded. Not here: the settings (`peft_config`), the arithmetic.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::config::ModelConfig;
use crate::error::LoadError;
use crate::files;
use crate::lora::{Lora, LoraConfig};
use crate::model::Model;
use crate::peft_config::{CONFIG, Plan, module_name};
use crate::shapes::Target;

const WEIGHTS: &str = "adapter_model.safetensors";
/// Largest accepted adapter file, in bytes.
const MAX_ADAPTER_BYTES: u64 = 2 << 30;

impl Lora {
    /// Reads a PEFT folder for `model`.
    ///
    /// # Errors
    ///
    /// [`LoadError`] naming the setting or tensor that is unknown, missing, of another shape or not
    /// finite.
    pub fn load_peft(dir: &Path, model: &Model) -> Result<Self, LoadError> {
        Self::read_peft(dir, model.config())
    }

    /// As [`Lora::load_peft`], for a base of which only the shape is at hand.
    ///
    /// # Errors
    ///
    /// As [`Lora::load_peft`].
    pub fn read_peft(dir: &Path, model: &ModelConfig) -> Result<Self, LoadError> {
        let weights = files::within(dir, WEIGHTS);
        if !weights.exists() && files::within(dir, "adapter_model.bin").exists() {
            return Err(LoadError::Unsupported { what: "adapter_model.bin (a pickle; export safetensors)".into() });
        }
        let bytes = files::read_limited(&files::within(dir, CONFIG), files::MAX_JSON_BYTES)?;
        let plan = Plan::parse(&bytes, model)?;
        let bytes = files::read_limited(&weights, MAX_ADAPTER_BYTES)?;
        let mut tensors = files::parse_safetensors(&bytes, &weights)?;
        // Ranks come from the small file; what is allocated for them is first found in the large
        // one.
        for (place, low) in plan.maps.iter().enumerate() {
            let (layer, target) = (place / Target::ALL.len(), Target::ALL[place % Target::ALL.len()]);
            let name = format!("base_model.model.{}.lora_A.weight", module_name(layer, target));
            let Some(low) = low else { continue };
            let expected = vec![low.rank, target.dims(model).1];
            match tensors.get(&name) {
                None => return Err(LoadError::MissingTensor { name }),
                Some(tensor) if tensor.shape != expected => {
                    return Err(LoadError::WrongShape { name, found: tensor.shape.clone(), expected });
                }
                Some(_) => {}
            }
        }
        let mut lora = Lora::with_maps(model, plan.config, &plan.maps);
        let mut params = vec![0.0; lora.num_params()];
        for module in lora.modules() {
            let values = files::take(&mut tensors, &module.peft_name(), &[module.rows, module.cols])?;
            params[module.range.clone()].copy_from_slice(&values);
        }
        if let Some(name) = tensors.into_keys().next() {
            return Err(LoadError::UnknownTensor { name });
        }
        lora.update(|own| own.copy_from_slice(&params));
        lora.keep_packed_only();
        Ok(lora)
    }

    /// Reads the bytes of an `adapter_config.json` for a model of that shape: what
    /// [`Lora::load_peft`] would make of it.
    ///
    /// # Errors
    ///
    /// [`LoadError::Malformed`] or [`LoadError::Unsupported`], naming the setting.
    pub fn parse_peft_config(bytes: &[u8], model: &ModelConfig) -> Result<LoraConfig, LoadError> {
        Plan::parse(bytes, model).map(|plan| plan.config)
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
        let (targets, ranks, alphas) = self.patterns();
        let json = json!({
            "alpha_pattern": alphas,
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
            "rank_pattern": ranks,
            "target_modules": targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": config.rslora,
        });
        files::write(&files::within(dir, CONFIG), format!("{json:#}\n").as_bytes())
    }

    /// What tells PEFT which maps have an adapter, and which ranks and alphas differ from the
    /// adapter's own.
    fn patterns(&self) -> (Vec<String>, Map<String, Value>, Map<String, Value>) {
        let (mut ranks, mut alphas) = (Map::new(), Map::new());
        let (config, mut names) = (self.config(), Vec::new());
        let layers = self.layers();
        for (layer, target) in (0..layers).flat_map(|layer| Target::ALL.map(|target| (layer, target))) {
            let Some(pair) = self.pair(layer, target) else { continue };
            let name = module_name(layer, target);
            // Anchored and escaped, because PEFT reads these keys as patterns.
            let pattern = || format!("^{}", name.replace('.', r"\."));
            if pair.rank != config.rank {
                ranks.insert(pattern(), json!(pair.rank));
            }
            if pair.alpha.to_bits() != config.alpha.to_bits() {
                alphas.insert(pattern(), json!(pair.alpha));
            }
            names.push(name);
        }
        if names.len() == layers * config.targets.len() {
            names = config.targets.iter().map(|target| target.name().to_owned()).collect();
        }
        (names, ranks, alphas)
    }
}
