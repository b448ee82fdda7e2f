//! The shape of a Llama, Qwen2 or Qwen3 model, as `config.json` gives it.
//!
//! Place in the flow: read first by [`Model::load`](crate::Model::load); every other module takes
//! its dimensions from here. Invariant: a [`ModelConfig`] that came out of [`ModelConfig::parse`]
//! or passed [`ModelConfig::validate`] can be run; what the engine cannot do (windows shorter than
//! the positions, quantisation, other architectures) is refused here by name. Defaults of missing
//! settings are those of Hugging Face transformers. Not here: weights, tokenizers, how frequencies
//! are stretched (`rope`).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::LoadError;
use crate::rope::RopeScaling;
use crate::shapes::Target;

/// Largest accepted dimension of any kind; guards allocation sizes against hostile configurations.
const MAX_DIM: usize = 1 << 20;
/// Largest accepted number of parameters (4 Gi), for the same reason.
const MAX_PARAMS: u64 = 1 << 32;

/// Which reference implementation a model follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// `LlamaForCausalLM`: SmolLM2, TinyLlama, Llama 2 and 3.
    #[default]
    Llama,
    /// `Qwen2ForCausalLM`: biases on queries, keys and values.
    Qwen2,
    /// `Qwen3ForCausalLM`: each head of queries and keys is normalised before it is rotated.
    Qwen3,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 3] = [Family::Llama, Family::Qwen2, Family::Qwen3];

    /// The `model_type` of its `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
        }
    }

    /// The class that transformers runs it with.
    fn architecture(self) -> &'static str {
        match self {
            Family::Llama => "LlamaForCausalLM",
            Family::Qwen2 => "Qwen2ForCausalLM",
            Family::Qwen3 => "Qwen3ForCausalLM",
        }
    }
}

/// What a model has beyond dimensions; the default is plain Llama.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Architecture {
    /// The family.
    pub family: Family,
    /// How rotary frequencies are stretched.
    pub rope: RopeScaling,
    /// `attention_bias`: queries, keys, values and the attention's output have biases (Llama,
    /// Qwen3).
    pub attention_bias: bool,
    /// `mlp_bias`: the feed-forward maps have biases (Llama).
    pub mlp_bias: bool,
}

impl Architecture {
    /// Whether that map adds a bias.
    pub fn bias(&self, target: Target) -> bool {
        match target {
            Target::Q | Target::K | Target::V => self.attention_bias || self.family == Family::Qwen2,
            Target::O => self.attention_bias,
            Target::Gate | Target::Up | Target::Down => self.mlp_bias,
        }
    }

    /// Whether heads of queries and keys are normalised.
    pub fn head_norms(&self) -> bool {
        self.family == Family::Qwen3
    }
}

/// Dimensions and constants of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the gated feed-forward layer.
    pub ffn: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Number of token ids.
    pub vocab: usize,
    /// Largest sequence length in tokens.
    pub max_positions: usize,
    /// Added to the mean square in RMS norms.
    pub rms_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Whether the output head shares the embedding's weights.
    pub tied: bool,
    /// Id that starts a sequence, if the model has one.
    pub bos: Option<u32>,
    /// Ids that end a sequence.
    pub eos: Vec<u32>,
    /// What it has beyond these.
    pub arch: Architecture,
}

impl Target {
    /// `(outputs, inputs)` of the map in a model of that shape.
    pub fn dims(self, config: &ModelConfig) -> (usize, usize) {
        let h = config.hidden;
        match self {
            Target::Q => (config.q_width(), h),
            Target::K | Target::V => (config.kv_width(), h),
            Target::O => (h, config.q_width()),
            Target::Gate | Target::Up => (config.ffn, h),
            Target::Down => (h, config.ffn),
        }
    }
}

impl ModelConfig {
    /// Width of all query heads together.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Number of parameters, the shared head counted once.
    pub fn num_params(&self) -> u64 {
        let (h, f, v) = (self.hidden as u64, self.ffn as u64, self.vocab as u64);
        let (q, kv) = (self.q_width() as u64, self.kv_width() as u64);
        let biases: u64 = Target::ALL.into_iter().filter(|t| self.arch.bias(*t)).map(|t| t.dims(self).0 as u64).sum();
        let norms = if self.arch.head_norms() { 2 * self.head_dim as u64 } else { 0 };
        let layer = 2 * q * h + 2 * kv * h + 3 * f * h + 2 * h + biases + norms;
        let head = if self.tied { v * h } else { 2 * v * h };
        head + self.layers as u64 * layer + h
    }

    /// Reads a Hugging Face `config.json`.
    ///
    /// # Errors
    ///
    /// [`LoadError::Malformed`] for broken JSON or missing fields, [`LoadError::Unsupported`] for
    /// what the engine does not do.
    pub fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let malformed = |reason: String| LoadError::Malformed { path: PathBuf::from("config.json"), reason };
        let json: Value = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
        if !json.is_object() {
            return Err(malformed("not a JSON object".into()));
        }
        let family = family(&json)?;
        refuse_unsupported(&json)?;
        let need = |key: &str| -> Result<usize, LoadError> {
            json[key]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| malformed(format!("`{key}` must be a whole number")))
        };
        let flag = |key: &str| -> Result<bool, LoadError> {
            match &json[key] {
                Value::Null => Ok(false),
                value => value.as_bool().ok_or_else(|| malformed(format!("`{key}` must be true or false"))),
            }
        };
        let (hidden, heads) = (need("hidden_size")?, need("num_attention_heads")?);
        let kv_heads = match &json["num_key_value_heads"] {
            Value::Null => heads,
            _ => need("num_key_value_heads")?,
        };
        let head_dim = match &json["head_dim"] {
            Value::Null if family == Family::Qwen3 => 128,
            Value::Null if heads > 0 => hidden / heads,
            _ => need("head_dim")?,
        };
        let max_positions = need("max_position_embeddings")?;
        refuse_windows(&json, family, max_positions)?;
        // transformers 5 moved scaling and base of the frequencies into `rope_parameters`.
        let (old, new) = (&json["rope_scaling"], &json["rope_parameters"]);
        let place = match (old, new) {
            (Value::Null, new) => new,
            (old, Value::Null) => old,
            (old, new) if old == new => old,
            _ => {
                let what = format!("rope_scaling {old} besides another rope_parameters {new}");
                return Err(LoadError::Unsupported { what });
            }
        };
        let original = match &json["original_max_position_embeddings"] {
            Value::Null => None,
            _ => Some(need("original_max_position_embeddings")?),
        };
        let rope = RopeScaling::parse(place, max_positions, original)?;
        let theta = [&place["rope_theta"], &json["rope_theta"]].into_iter().find(|theta| !theta.is_null());
        let theta = match theta {
            None => 10_000.0,
            Some(theta) => theta.as_f64().ok_or_else(|| malformed("`rope_theta` must be a number".into()))?,
        };
        // The other families have no such setting, so that transformers ignores it there.
        let attention_bias = family != Family::Qwen2 && flag("attention_bias")?;
        let mlp_bias = family == Family::Llama && flag("mlp_bias")?;
        let ids = |value: &Value| -> Vec<u32> {
            let one = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
            match value {
                Value::Array(list) => list.iter().filter_map(one).collect(),
                other => one(other).into_iter().collect(),
            }
        };
        let config = ModelConfig {
            hidden,
            ffn: need("intermediate_size")?,
            layers: need("num_hidden_layers")?,
            heads,
            kv_heads,
            head_dim,
            vocab: need("vocab_size")?,
            max_positions,
            rms_eps: json["rms_norm_eps"].as_f64().unwrap_or(1e-6) as f32,
            rope_theta: theta,
            tied: flag("tie_word_embeddings")?,
            bos: ids(&json["bos_token_id"]).first().copied(),
            eos: ids(&json["eos_token_id"]),
            arch: Architecture { family, rope, attention_bias, mlp_bias },
        };
        config.validate()?;
        Ok(config)
    }

    /// With the start and end tokens that `generation_config.json` in `dir` adds, where there is
    /// one.
    ///
    /// # Errors
    ///
    /// [`LoadError`] of that file.
    pub fn with_generation(mut self, dir: &Path) -> Result<Self, LoadError> {
        let (bos, eos) = crate::settings::generation_ids(dir)?;
        self.bos = self.bos.or(bos.first().copied());
        for id in eos {
            if !self.eos.contains(&id) {
                self.eos.push(id);
            }
        }
        Ok(self)
    }

    /// Reads the file at `path`; see [`ModelConfig::parse`].
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] besides those of `parse`.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let bytes = crate::files::read_limited(path, crate::files::MAX_JSON_BYTES)?;
        Self::parse(&bytes)
    }

    /// Checks that the dimensions fit each other and stay below the engine's limits.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] naming the dimension.
    pub fn validate(&self) -> Result<(), LoadError> {
        let refuse = |what: String| Err(LoadError::Unsupported { what });
        let dims = [
            ("hidden_size", self.hidden),
            ("intermediate_size", self.ffn),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("vocab_size", self.vocab),
            ("max_position_embeddings", self.max_positions),
        ];
        for (name, value) in dims {
            if value == 0 || value > MAX_DIM {
                return refuse(format!("{name} = {value} (must be 1 to {MAX_DIM})"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return refuse(format!(
                "num_attention_heads {} is not a multiple of num_key_value_heads {}",
                self.heads, self.kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return refuse(format!("head_dim = {} (must be even)", self.head_dim));
        }
        if !(self.rms_eps > 0.0 && self.rms_eps < 1.0) {
            return refuse(format!("rms_norm_eps = {}", self.rms_eps));
        }
        if !(self.rope_theta >= 1.0 && self.rope_theta < 1e12) {
            return refuse(format!("rope_theta = {}", self.rope_theta));
        }
        let positions = self.max_positions as u64 * self.head_dim as u64;
        // Dimensions are at most 2^20 each, so that none of these products overflows.
        if self.layers > 4096 || self.q_width() > MAX_DIM || positions > MAX_PARAMS {
            return refuse("layers, head widths or positions beyond the engine's limits".into());
        }
        if self.num_params() > MAX_PARAMS {
            return refuse(format!("{} parameters", self.num_params()));
        }
        Ok(())
    }

    /// The same configuration as a Hugging Face `config.json`.
    pub fn to_json(&self) -> Value {
        // A single id is written as such, as most files have it.
        let eos = match self.eos.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        };
        let arch = &self.arch;
        let mut json = json!({
            "architectures": [arch.family.architecture()],
            "model_type": arch.family.model_type(),
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab,
            "max_position_embeddings": self.max_positions,
            // Printed as the shortest decimal of the f32, so that 1e-5 stays 1e-5.
            "rms_norm_eps": self.rms_eps.to_string().parse::<f64>().unwrap_or(f64::from(self.rms_eps)),
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tied,
            "attention_bias": arch.attention_bias,
            "mlp_bias": arch.mlp_bias,
            "bos_token_id": self.bos,
            "eos_token_id": eos,
            "torch_dtype": "bfloat16",
        });
        if arch.rope != RopeScaling::None {
            json["rope_scaling"] = arch.rope.to_json();
        }
        json
    }
}

/// The family that `model_type` names.
fn family(json: &Value) -> Result<Family, LoadError> {
    let known = Family::ALL.map(Family::model_type).join(", ");
    let refuse = |what: String| Err(LoadError::Unsupported { what });
    match json["model_type"].as_str() {
        Some(name) => match Family::ALL.into_iter().find(|family| family.model_type() == name) {
            Some(family) => Ok(family),
            None => refuse(format!("model_type `{name}` (only {known})")),
        },
        None => refuse(format!("config.json without model_type (only {known})")),
    }
}

/// Refuses, by name, settings that would change the arithmetic in a way the engine does not
/// implement.
fn refuse_unsupported(json: &Value) -> Result<(), LoadError> {
    let refuse = |what: String| Err(LoadError::Unsupported { what });
    match &json["hidden_act"] {
        Value::Null => {}
        Value::String(act) if act == "silu" => {}
        other => return refuse(format!("hidden_act {other}")),
    }
    if json["rope_interleaved"].as_bool() == Some(true) {
        return refuse("rope_interleaved = true".into());
    }
    match &json["partial_rotary_factor"] {
        Value::Null => {}
        whole if whole.as_f64() == Some(1.0) => {}
        part => return refuse(format!("partial_rotary_factor {part}")),
    }
    for key in ["quantization_config", "num_local_experts"] {
        if !json[key].is_null() {
            return refuse(format!("{key} {}", json[key]));
        }
    }
    Ok(())
}

/// Refuses attention that sees fewer positions than a sequence may have.
fn refuse_windows(json: &Value, family: Family, max_positions: usize) -> Result<(), LoadError> {
    let window = &json["sliding_window"];
    let short = !window.is_null() && window.as_u64().is_none_or(|window| window < max_positions as u64);
    // Llama has no windows, so that a file which names one means something else; Qwen carries an
    // unused default.
    let wanted = match family {
        Family::Llama => true,
        Family::Qwen2 | Family::Qwen3 => {
            let from = json["max_window_layers"].as_u64().unwrap_or(28);
            let layers = json["num_hidden_layers"].as_u64().unwrap_or(u64::MAX);
            let sliding = json["layer_types"].as_array().is_some_and(|l| l.iter().any(|t| t != "full_attention"));
            match &json["layer_types"] {
                Value::Null => json["use_sliding_window"].as_bool() == Some(true) && from < layers,
                _ => sliding,
            }
        }
    };
    if wanted && short {
        return Err(LoadError::Unsupported {
            what: format!("sliding_window {window} (shorter than the {max_positions} positions)"),
        });
    }
    if let Some(kinds) = json["layer_types"].as_array() {
        let other = kinds.iter().find(|kind| *kind != "full_attention" && *kind != "sliding_attention");
        if let Some(kind) = other {
            return Err(LoadError::Unsupported { what: format!("layer_types with {kind}") });
        }
    }
    Ok(())
}
