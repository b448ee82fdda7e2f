//! Rotary position embedding: the frequencies, and the ways of stretching them that `config.json`
//! can name.
//!
//! Place in the flow: part of [`ModelConfig`](crate::ModelConfig); `model` asks for the frequencies
//! once, `forward` turns them into angles. Invariant: frequencies depend on the configuration
//! alone, never on how long a sequence has become, so that prefill, decoding and scoring agree;
//! scalings that break this (`longrope`) are refused by name. Source: `modeling_rope_utils.py` of
//! Hugging Face transformers. Not here: rotating (`elementwise`).

use serde_json::{Value, json};

use crate::error::LoadError;
use crate::kernels::math;

/// How the frequencies differ from `theta^(-2i/head_dim)`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum RopeScaling {
    /// Not at all.
    #[default]
    None,
    /// All divided by one factor.
    Linear {
        /// The factor; at least 1.
        factor: f64,
    },
    /// "Dynamic NTK": changes frequencies only beyond `max_position_embeddings`, where the engine
    /// ends every sequence; so that within the engine it changes nothing.
    Dynamic {
        /// The factor; at least 1.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by the factor, high ones kept, those between
    /// interpolated.
    Llama3 {
        /// Divisor of low frequencies; at least 1.
        factor: f64,
        /// Wavelengths above `original / low` are divided.
        low: f64,
        /// Wavelengths below `original / high` are kept.
        high: f64,
        /// Positions the model was first trained with.
        original: usize,
    },
    /// YaRN (arXiv 2309.00071): as Llama 3.1 with a ramp over dimensions, and all angles' cosines
    /// and sines scaled.
    Yarn {
        /// Divisor of low frequencies; at least 1.
        factor: f64,
        /// Factor of cosines and sines.
        attention: f64,
        /// Rotations above which a dimension is kept.
        fast: f64,
        /// Rotations below which a dimension is divided.
        slow: f64,
        /// Positions the model was first trained with.
        original: usize,
        /// Whether the ramp's ends are rounded to whole dimensions.
        truncate: bool,
    },
}

impl RopeScaling {
    /// Reads a `rope_scaling` or `rope_parameters` object (null is [`RopeScaling::None`]).
    ///
    /// `original` is the configuration's own `original_max_position_embeddings`, which goes before
    /// the object's; `max_positions` stands in for both.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] naming the kind or the setting.
    pub(crate) fn parse(rope: &Value, max_positions: usize, original: Option<usize>) -> Result<Self, LoadError> {
        let refuse = |what: String| Err(LoadError::Unsupported { what });
        if rope.is_null() {
            return Ok(Self::None);
        }
        let Some(object) = rope.as_object() else { return refuse(format!("rope_scaling {rope}")) };
        let kind = [&rope["rope_type"], &rope["type"]].into_iter().find_map(Value::as_str).unwrap_or("default");
        let known: &[&str] = match kind {
            "default" => &[],
            "linear" | "dynamic" => &["factor"],
            "llama3" => &["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
            "yarn" => &[
                "factor",
                "attention_factor",
                "beta_fast",
                "beta_slow",
                "mscale",
                "mscale_all_dim",
                "original_max_position_embeddings",
                "truncate",
            ],
            other => return refuse(format!("rope scaling `{other}` (default, linear, dynamic, llama3 and yarn only)")),
        };
        let general = ["rope_type", "type", "rope_theta"];
        for (key, value) in object {
            let whole = key == "partial_rotary_factor" && value.as_f64() == Some(1.0);
            if !known.contains(&key.as_str()) && !general.contains(&key.as_str()) && !value.is_null() && !whole {
                return refuse(format!("rope scaling `{kind}` with `{key}` = {value}"));
            }
        }
        let number = |key: &str| -> Result<Option<f64>, LoadError> {
            match &rope[key] {
                Value::Null => Ok(None),
                value => match value.as_f64() {
                    Some(x) if x.is_finite() && x > 0.0 => Ok(Some(x)),
                    _ => Err(LoadError::Unsupported { what: format!("rope scaling `{key}` = {value}") }),
                },
            }
        };
        let need = |key: &str| -> Result<f64, LoadError> {
            number(key)?
                .ok_or_else(|| LoadError::Unsupported { what: format!("rope scaling `{kind}` without `{key}`") })
        };
        let factor = || -> Result<f64, LoadError> {
            match need("factor")? {
                x if (1.0..=1e6).contains(&x) => Ok(x),
                x => Err(LoadError::Unsupported { what: format!("rope scaling factor {x} (must be 1 to 1e6)") }),
            }
        };
        let first_trained = || -> Result<usize, LoadError> {
            match (original, &rope["original_max_position_embeddings"]) {
                (Some(own @ 1..), _) => Ok(own),
                (_, Value::Null) => Ok(max_positions),
                (_, value) => match value.as_u64() {
                    Some(n) if (1..=1 << 30).contains(&n) => Ok(n as usize),
                    _ => Err(LoadError::Unsupported { what: format!("original_max_position_embeddings = {value}") }),
                },
            }
        };
        match kind {
            "linear" => Ok(Self::Linear { factor: factor()? }),
            "dynamic" => Ok(Self::Dynamic { factor: factor()? }),
            "llama3" => {
                let (low, high) = (need("low_freq_factor")?, need("high_freq_factor")?);
                if low >= high {
                    return refuse(format!("rope scaling low_freq_factor {low} not below high_freq_factor {high}"));
                }
                Ok(Self::Llama3 { factor: factor()?, low, high, original: first_trained()? })
            }
            "yarn" => {
                let factor = factor()?;
                let (fast, slow) = (number("beta_fast")?.unwrap_or(32.0), number("beta_slow")?.unwrap_or(1.0));
                if slow > fast {
                    return refuse(format!("rope scaling beta_slow {slow} above beta_fast {fast}"));
                }
                let attention = match number("attention_factor")? {
                    Some(given) => given,
                    None => match (number("mscale")?, number("mscale_all_dim")?) {
                        (Some(over), Some(under)) => magnitude(factor, over) / magnitude(factor, under),
                        _ => magnitude(factor, 1.0),
                    },
                };
                let truncate = rope["truncate"].as_bool().unwrap_or(true);
                Ok(Self::Yarn { factor, attention, fast, slow, original: first_trained()?, truncate })
            }
            _ => Ok(Self::None),
        }
    }

    /// The same as a `rope_scaling` object, or null.
    pub(crate) fn to_json(self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            Self::Dynamic { factor } => json!({"rope_type": "dynamic", "factor": factor}),
            Self::Llama3 { factor, low, high, original } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }),
            Self::Yarn { factor, attention, fast, slow, original, truncate } => json!({
                "rope_type": "yarn",
                "factor": factor,
                "attention_factor": attention,
                "beta_fast": fast,
                "beta_slow": slow,
                "original_max_position_embeddings": original,
                "truncate": truncate,
            }),
        }
    }

    /// Angle per position of each pair of a head, and the factor of its cosine and sine.
    pub(crate) fn frequencies(self, theta: f64, head_dim: usize) -> (Vec<f64>, f64) {
        let dim = head_dim as f64;
        let plain = |i: usize| math::exp(-2.0 * i as f64 / dim * math::ln(theta));
        let pairs = 0..head_dim / 2;
        match self {
            Self::None | Self::Dynamic { .. } => (pairs.map(plain).collect(), 1.0),
            Self::Linear { factor } => (pairs.map(|i| plain(i) / factor).collect(), 1.0),
            Self::Llama3 { factor, low, high, original } => {
                let stretched = |i: usize| {
                    let frequency = plain(i);
                    let turns = original as f64 * frequency / std::f64::consts::TAU;
                    let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - keep) * frequency / factor + keep * frequency
                };
                (pairs.map(stretched).collect(), 1.0)
            }
            Self::Yarn { factor, attention, fast, slow, original, truncate } => {
                let place = |turns: f64| {
                    dim * math::ln(original as f64 / (turns * std::f64::consts::TAU)) / (2.0 * math::ln(theta))
                };
                let (mut low, mut high) = (place(fast), place(slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.0), high.min(dim - 1.0));
                if low == high {
                    high += 0.001;
                }
                let blended = |i: usize| {
                    let divide = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    plain(i) / factor * divide + plain(i) * (1.0 - divide)
                };
                (pairs.map(blended).collect(), attention)
            }
        }
    }
}

/// YaRN's growth of attention with the factor.
fn magnitude(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * weight * math::ln(factor) + 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scaling_survives_being_written_and_read() {
        let all = [
            RopeScaling::None,
            RopeScaling::Linear { factor: 2.5 },
            RopeScaling::Dynamic { factor: 4.0 },
            RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192 },
            RopeScaling::Yarn { factor: 4.0, attention: 1.125, fast: 32.0, slow: 1.0, original: 512, truncate: false },
        ];
        for scaling in all {
            assert_eq!(RopeScaling::parse(&scaling.to_json(), 100, None).unwrap(), scaling);
        }
    }

    #[test]
    fn llama3_keeps_fast_dimensions_and_divides_slow_ones() {
        let scaling = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192 };
        let (plain, _) = RopeScaling::None.frequencies(500_000.0, 64);
        let (scaled, factor) = scaling.frequencies(500_000.0, 64);
        assert_eq!((scaled[0], scaled[10], factor), (plain[0], plain[10], 1.0));
        assert!((scaled[31] * 8.0 / plain[31] - 1.0).abs() < 1e-12);
        let between = scaled.iter().zip(&plain).filter(|(s, p)| *s != *p && **s * 7.99 > **p).count();
        assert!(between > 0, "some dimensions are interpolated");
    }

    #[test]
    fn yarn_divides_slow_dimensions_and_raises_attention_with_the_factor() {
        let json = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768});
        let scaling = RopeScaling::parse(&json, 131_072, None).unwrap();
        let (plain, _) = RopeScaling::None.frequencies(1e6, 128);
        let (scaled, factor) = scaling.frequencies(1e6, 128);
        assert!((factor - (0.1 * 4f64.ln() + 1.0)).abs() < 1e-12);
        assert_eq!(scaled[0], plain[0]);
        assert!((scaled[63] * 4.0 / plain[63] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn scalings_that_cannot_be_kept_are_refused_by_name() {
        let cases = [
            (json!({"type": "longrope", "factor": 2.0}), "longrope"),
            (json!({"rope_type": "default", "mrope_section": [16, 24, 24]}), "mrope_section"),
            (json!({"rope_type": "default", "partial_rotary_factor": 0.5}), "partial_rotary_factor"),
            (json!({"type": "linear"}), "without `factor`"),
            (json!({"type": "linear", "factor": 0.5}), "factor 0.5"),
            (json!({"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1}), "low_freq_factor"),
            (json!("linear"), "linear"),
        ];
        for (rope, named) in cases {
            let error = RopeScaling::parse(&rope, 100, None).unwrap_err().to_string();
            assert!(error.contains(named), "{rope}: {error}");
        }
    }
}
