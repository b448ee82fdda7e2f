//! The recipe of an adapter: everything besides base, tokenizer and records that decides its bytes.
//!
//! **Invariant:** a recipe has one hashed form, [`Recipe::to_json`], in which every number is a
//! decimal string; reading it back gives the same recipe. Not here: where the data lies and how
//! often to save, which change no byte.

use std::path::Path;

use openledger_engine::{AdamW, LoraConfig, Schedule as EngineSchedule, Target};
use openledger_protocol::{B256, canonical_json, sha256};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::FactoryError;
use crate::number;

/// How the learning rate moves after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls along half a cosine to a tenth.
    Cosine,
}

/// Everything that decides an adapter, besides base, tokenizer and records.
///
/// The default is *attribution-ready*: a large Adam epsilon, warm-up, clipping and large batches make
/// the trained weights a smooth function of the records, so that influence can be measured. Measured
/// against the usual recipe, it loses no quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Rank of the adapter's factors.
    #[serde(with = "number")]
    pub rank: usize,
    /// The adapter's output is scaled by `alpha / rank`.
    #[serde(with = "number")]
    pub alpha: f64,
    /// Comma-separated module names (`q_proj,v_proj`), or `all-linear`, or `attention`.
    pub targets: String,
    /// Passes over the records; not used when `max_steps` is above zero.
    #[serde(with = "number")]
    pub epochs: u64,
    /// Optimiser steps; zero means as many as `epochs` needs. Above zero it overrides `epochs`, as
    /// in Hugging Face's trainer.
    #[serde(with = "number")]
    pub max_steps: u64,
    /// Peak learning rate.
    #[serde(with = "number")]
    pub lr: f64,
    /// Records a step.
    #[serde(with = "number")]
    pub batch: usize,
    /// Tokens after which a record is cut off.
    #[serde(with = "number")]
    pub seq: usize,
    /// Names the initial weights, the order of records and nothing else.
    #[serde(with = "number")]
    pub seed: u64,
    /// AdamW's decay of the first moment.
    #[serde(with = "number")]
    pub beta1: f64,
    /// AdamW's decay of the second moment.
    #[serde(with = "number")]
    pub beta2: f64,
    /// AdamW's epsilon.
    #[serde(with = "number")]
    pub eps: f64,
    /// AdamW's decoupled weight decay.
    #[serde(with = "number")]
    pub weight_decay: f64,
    /// Steps over which the learning rate rises from zero.
    #[serde(with = "number")]
    pub warmup_steps: u64,
    /// How the learning rate moves after warm-up.
    pub schedule: Schedule,
    /// Largest norm of a gradient; zero does not clip.
    #[serde(with = "number")]
    pub clip: f64,
    /// Share of the records that is kept out of training and measured on, from 0 to 0.5.
    #[serde(with = "number")]
    pub holdout: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            targets: "all-linear".into(),
            epochs: 6,
            max_steps: 0,
            lr: 5e-3,
            batch: 32,
            seq: 256,
            seed: 0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-4,
            weight_decay: 0.0,
            warmup_steps: 4,
            schedule: Schedule::Cosine,
            clip: 1.0,
            holdout: 0.05,
        }
    }
}

/// The module names of PEFT, in the engine's order.
const TARGETS: [(&str, Target); 7] = [
    ("q_proj", Target::Q),
    ("k_proj", Target::K),
    ("v_proj", Target::V),
    ("o_proj", Target::O),
    ("gate_proj", Target::Gate),
    ("up_proj", Target::Up),
    ("down_proj", Target::Down),
];

impl Recipe {
    /// Reads a TOML file (`.toml`) or a JSON file (any other name); what is not named keeps its
    /// default.
    ///
    /// # Errors
    /// [`FactoryError::Io`], [`FactoryError::BadRecipeFile`] for unknown or malformed settings, and
    /// those of [`Recipe::validate`].
    pub fn load(path: &Path) -> Result<Self, FactoryError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| FactoryError::Io { path: path.to_owned(), source })?;
        let bad = |reason: String| FactoryError::BadRecipeFile { path: path.to_owned(), reason };
        let recipe: Self = if path.extension().is_some_and(|e| e == "toml") {
            toml::from_str(&text).map_err(|e| bad(e.to_string()))?
        } else {
            serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?
        };
        recipe.validate()?;
        Ok(recipe)
    }

    /// The hashed form, as manifests carry it: every value a string.
    ///
    /// # Errors
    /// [`FactoryError::Json`] never for values of this type; it comes from the encoder.
    pub fn to_json(&self) -> Result<Map<String, Value>, FactoryError> {
        match serde_json::to_value(self)? {
            Value::Object(map) => Ok(map),
            // A struct with named fields serialises to an object.
            _ => Ok(Map::new()),
        }
    }

    /// SHA-256 of the canonical JSON of [`Recipe::to_json`].
    ///
    /// # Errors
    /// Those of [`Recipe::to_json`].
    pub fn hash(&self) -> Result<B256, FactoryError> {
        Ok(sha256(canonical_json(&self.to_json()?)?))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`FactoryError::BadRecipe`] naming the first setting out of range.
    pub fn validate(&self) -> Result<(), FactoryError> {
        let check = |good: bool, name, value: &dyn ToString, reason| {
            if good { Ok(()) } else { Err(FactoryError::BadRecipe { name, value: value.to_string(), reason }) }
        };
        check((1..=1024).contains(&self.rank), "rank", &self.rank, "must be 1 to 1024")?;
        check(self.alpha > 0.0 && self.alpha <= 65_536.0, "alpha", &self.alpha, "must be above 0, at most 65536")?;
        check(self.epochs > 0 || self.max_steps > 0, "epochs", &self.epochs, "epochs or max_steps must be above 0")?;
        check(self.epochs <= 1_000_000, "epochs", &self.epochs, "must be at most 1000000")?;
        check(self.max_steps <= 1 << 40, "max_steps", &self.max_steps, "must be at most 2^40")?;
        check(self.lr > 0.0 && self.lr <= 1.0, "lr", &self.lr, "must be above 0, at most 1")?;
        check((1..=65_536).contains(&self.batch), "batch", &self.batch, "must be 1 to 65536")?;
        check((2..=1 << 20).contains(&self.seq), "seq", &self.seq, "must be 2 to 2^20")?;
        check((0.0..1.0).contains(&self.beta1), "beta1", &self.beta1, "must be at least 0 and below 1")?;
        check((0.0..1.0).contains(&self.beta2), "beta2", &self.beta2, "must be at least 0 and below 1")?;
        check(self.eps > 0.0 && self.eps <= 1.0, "eps", &self.eps, "must be above 0, at most 1")?;
        check((0.0..=1.0).contains(&self.weight_decay), "weight_decay", &self.weight_decay, "must be 0 to 1")?;
        check((0.0..=1e6).contains(&self.clip), "clip", &self.clip, "must be 0 to 1000000")?;
        check((0.0..=0.5).contains(&self.holdout), "holdout", &self.holdout, "must be 0 to 0.5")?;
        self.modules().map(drop)
    }

    /// The modules that `targets` names, each once, in the engine's order.
    ///
    /// # Errors
    /// [`FactoryError::BadRecipe`] for an unknown name.
    pub fn modules(&self) -> Result<Vec<Target>, FactoryError> {
        let bad = || FactoryError::BadRecipe {
            name: "targets",
            value: self.targets.clone(),
            reason: "must be all-linear, attention, or a list of q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj",
        };
        let mut chosen = Vec::new();
        for name in self.targets.split(',').map(str::trim) {
            match name {
                "all-linear" => chosen.extend(TARGETS.map(|(_, target)| target)),
                "attention" => chosen.extend(TARGETS[..4].iter().map(|(_, target)| *target)),
                _ => chosen.push(TARGETS.iter().find(|(known, _)| *known == name).ok_or_else(bad)?.1),
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        Ok(chosen)
    }

    /// The adapter's shape, for the engine.
    ///
    /// # Errors
    /// Those of [`Recipe::modules`].
    pub fn lora_config(&self) -> Result<LoraConfig, FactoryError> {
        Ok(LoraConfig { rank: self.rank, alpha: self.alpha as f32, targets: self.modules()?, rslora: false })
    }

    /// Optimiser steps for `records` training records: `max_steps`, or what `epochs` passes take.
    #[must_use]
    pub fn steps(&self, records: usize) -> u64 {
        if self.max_steps > 0 {
            return self.max_steps;
        }
        self.epochs.saturating_mul(records.div_ceil(self.batch.max(1)) as u64)
    }

    /// The optimiser's settings for a run of `steps` steps.
    #[must_use]
    pub fn optimiser(&self, steps: u64) -> AdamW {
        AdamW {
            lr: self.lr,
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            weight_decay: self.weight_decay,
            clip: (self.clip > 0.0).then_some(self.clip),
            // Warm-up longer than the run would never reach the learning rate.
            warmup_steps: self.warmup_steps.min(steps / 2),
            schedule: match self.schedule {
                Schedule::Constant => EngineSchedule::Constant,
                Schedule::Cosine => EngineSchedule::Cosine { total_steps: steps, floor: 0.1 },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashed_form_holds_strings_only_and_reads_back() {
        let recipe = Recipe { lr: 3e-4, seed: u64::MAX, ..Recipe::default() };
        let json = recipe.to_json().unwrap();
        assert!(json.values().all(Value::is_string), "{json:?}");
        assert_eq!(json["lr"], "0.0003");
        assert_eq!(json["seed"], "18446744073709551615");
        assert_eq!(serde_json::from_value::<Recipe>(Value::Object(json)).unwrap(), recipe);
    }

    #[test]
    fn a_recipe_reads_from_toml_and_json_alike() {
        let toml: Recipe = toml::from_str("rank = 4\nlr = 1e-2\ntargets = 'q_proj, v_proj'").unwrap();
        let json: Recipe = serde_json::from_str(r#"{"rank":"4","lr":0.01,"targets":"q_proj, v_proj"}"#).unwrap();
        assert_eq!(toml, json);
        assert_eq!(toml.modules().unwrap(), [Target::Q, Target::V]);
        assert_eq!(toml.hash().unwrap(), json.hash().unwrap());
        assert_ne!(toml.hash().unwrap(), Recipe::default().hash().unwrap());
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        for (bad, name) in [
            (Recipe { rank: 0, ..Recipe::default() }, "rank"),
            (Recipe { lr: f64::NAN, ..Recipe::default() }, "lr"),
            (Recipe { holdout: 0.9, ..Recipe::default() }, "holdout"),
            (Recipe { epochs: 0, ..Recipe::default() }, "epochs"),
            (Recipe { targets: "lm_head".into(), ..Recipe::default() }, "targets"),
        ] {
            let error = bad.validate().unwrap_err();
            assert!(matches!(error, FactoryError::BadRecipe { name: found, .. } if found == name), "{error}");
        }
        assert!(serde_json::from_str::<Recipe>(r#"{"learning_rate":1}"#).is_err());
    }

    #[test]
    fn max_steps_overrides_epochs() {
        let recipe = Recipe { epochs: 2, batch: 10, ..Recipe::default() };
        assert_eq!(recipe.steps(21), 6);
        assert_eq!(Recipe { max_steps: 5, ..recipe }.steps(21), 5);
    }
}
