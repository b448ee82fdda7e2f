//! The shape of a Llama-family model, as `config.json` gives it.
//!
//! Place in the flow: read first by [`Model::load`](crate::Model::load); every other module takes its dimensions
//! from here. Invariant: a [`ModelConfig`] that came out of [`ModelConfig::parse`] or passed
//! [`ModelConfig::validate`] can be run; what the engine cannot do (rope scaling, biases, sliding windows,
//! quantisation, other architectures) is refused here by name. Not here: weights, tokenizers.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::LoadError;

/// Largest accepted dimension of any kind; guards allocation sizes against hostile configurations.
const MAX_DIM: usize = 1 << 20;
/// Largest accepted number of parameters (4 Gi), for the same reason.
const MAX_PARAMS: u64 = 1 << 32;

/// Dimensions and constants of a Llama-family model.
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
        let layer = 2 * q * h + 2 * kv * h + 3 * f * h + 2 * h;
        let head = if self.tied { v * h } else { 2 * v * h };
        head + self.layers as u64 * layer + h
    }

    /// Reads a Hugging Face `config.json`.
    ///
    /// # Errors
    ///
    /// [`LoadError::Malformed`] for broken JSON or missing fields, [`LoadError::Unsupported`] for what the
    /// engine does not do.
    pub fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let malformed = |reason: String| LoadError::Malformed { path: PathBuf::from("config.json"), reason };
        let json: Value = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
        if !json.is_object() {
            return Err(malformed("not a JSON object".into()));
        }
        refuse_unsupported(&json)?;
        let need = |key: &str| -> Result<usize, LoadError> {
            json[key]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| malformed(format!("`{key}` must be a whole number")))
        };
        let (hidden, heads) = (need("hidden_size")?, need("num_attention_heads")?);
        let kv_heads = match &json["num_key_value_heads"] {
            Value::Null => heads,
            _ => need("num_key_value_heads")?,
        };
        let head_dim = match &json["head_dim"] {
            Value::Null if heads > 0 => hidden / heads,
            _ => need("head_dim")?,
        };
        // transformers 5 moved the base of the frequencies into `rope_parameters`.
        let theta = [&json["rope_theta"], &json["rope_parameters"]["rope_theta"]]
            .into_iter()
            .find_map(Value::as_f64)
            .unwrap_or(10_000.0);
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
            max_positions: need("max_position_embeddings")?,
            rms_eps: json["rms_norm_eps"].as_f64().unwrap_or(1e-6) as f32,
            rope_theta: theta,
            tied: json["tie_word_embeddings"].as_bool().unwrap_or(false),
            bos: ids(&json["bos_token_id"]).first().copied(),
            eos: ids(&json["eos_token_id"]),
        };
        config.validate()?;
        Ok(config)
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
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
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
            "attention_bias": false,
            "mlp_bias": false,
            "bos_token_id": self.bos,
            "eos_token_id": self.eos.first(),
            "torch_dtype": "bfloat16",
        })
    }
}

/// Refuses, by name, settings that would change the arithmetic in a way the engine does not implement.
fn refuse_unsupported(json: &Value) -> Result<(), LoadError> {
    let refuse = |what: String| Err(LoadError::Unsupported { what });
    match json["model_type"].as_str() {
        Some("llama") => {}
        Some(other) => return refuse(format!("model_type `{other}` (only `llama`)")),
        None => return refuse("config.json without model_type (only `llama`)".into()),
    }
    match &json["hidden_act"] {
        Value::Null => {}
        Value::String(act) if act == "silu" => {}
        other => return refuse(format!("hidden_act {other}")),
    }
    for key in ["attention_bias", "mlp_bias", "rope_interleaved"] {
        if json[key].as_bool() == Some(true) {
            return refuse(format!("{key} = true"));
        }
    }
    for key in ["rope_scaling", "rope_parameters"] {
        let rope = &json[key];
        let kind = [&rope["rope_type"], &rope["type"]].into_iter().find_map(Value::as_str);
        let plain = rope.is_null() || kind == Some("default") || (key == "rope_parameters" && kind.is_none());
        if !plain {
            return refuse(format!("{key} {rope}"));
        }
    }
    for key in ["quantization_config", "sliding_window", "num_local_experts"] {
        if !json[key].is_null() {
            return refuse(format!("{key} {}", json[key]));
        }
    }
    Ok(())
}
