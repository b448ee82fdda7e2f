//! What a run will take, before it starts.

use openledger_engine::ModelConfig;

use crate::error::FactoryError;
use crate::recipe::Recipe;

/// How fast and how wide a machine is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Floating-point operations a second that training reaches, all threads together.
    pub flops: f64,
}

impl Default for Machine {
    /// One core of an ordinary server, measured with this crate's engine on the base model.
    fn default() -> Self {
        Self { flops: 2.0e10 }
    }
}

/// What a run will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens that go through the model, counted as often as they do.
    pub tokens: u64,
    /// Seconds; rough, from [`Machine::flops`].
    pub seconds: u64,
    /// Bytes of memory at the peak; an upper bound of what the run adds to an idle process.
    pub bytes: u64,
}

/// Estimates a run of `recipe` on a model of shape `config` over records of `token_counts` tokens.
///
/// A token costs about `6·P` operations forward and back through `P` frozen weights (forward,
/// recomputation, gradient of the input) and `6` for every weight of the adapter, and attention its
/// share.
///
/// # Errors
/// [`FactoryError::BadRecipe`].
pub fn estimate(
    recipe: &Recipe,
    config: &ModelConfig,
    token_counts: &[usize],
    machine: Machine,
) -> Result<Estimate, FactoryError> {
    recipe.validate()?;
    let limit = recipe.seq.min(config.max_positions);
    let per_pass: u64 = token_counts.iter().map(|count| (*count).min(limit) as u64).sum();
    let held_out = (per_pass as f64 * recipe.holdout) as u64;
    let training = ((token_counts.len() as f64 * (1.0 - recipe.holdout)).round() as usize).max(1);
    let steps = recipe.steps(training);
    let passes = steps as f64 / training.div_ceil(recipe.batch).max(1) as f64;
    let tokens = ((per_pass - held_out) as f64 * passes).ceil() as u64;

    let adapter = adapter_params(recipe, config)?;
    let params = config.num_params();
    let attention = 12 * (config.layers * config.q_width() * limit / 2) as u64;
    let flops = (tokens as f64) * (6 * (params + adapter) + attention) as f64
        + (2 * held_out) as f64 * (2 * params + attention / 3) as f64;
    // Weights, packed copies of them, four vectors of the adapter, the activations of one record.
    let widths = config.hidden * 8 + config.ffn * 4 + config.q_width() * 4 + config.kv_width() * 4;
    let activations = (limit * (config.layers * config.hidden + widths) + config.vocab * 64) as u64;
    let bytes = 4 * (2 * params + 4 * adapter + activations);
    Ok(Estimate { steps, tokens, seconds: (flops / machine.flops).ceil() as u64, bytes })
}

/// Number of weights of the adapter that `recipe` makes for `config`.
fn adapter_params(recipe: &Recipe, config: &ModelConfig) -> Result<u64, FactoryError> {
    use openledger_engine::Target;
    let (h, f, q, kv) = (config.hidden, config.ffn, config.q_width(), config.kv_width());
    let widths: usize = recipe
        .modules()?
        .into_iter()
        .map(|target| match target {
            Target::Q | Target::O => h + q,
            Target::K | Target::V => h + kv,
            Target::Gate | Target::Up | Target::Down => h + f,
        })
        .sum();
    Ok((widths * recipe.rank * config.layers) as u64)
}

#[cfg(test)]
mod tests {
    use openledger_engine::{Lora, Model};

    use super::*;

    fn config() -> ModelConfig {
        ModelConfig {
            hidden: 16,
            ffn: 24,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 4,
            vocab: 32,
            max_positions: 64,
            rms_eps: 1e-5,
            rope_theta: 1e4,
            tied: true,
            bos: None,
            eos: vec![],
            arch: Default::default(),
        }
    }

    #[test]
    fn steps_and_tokens_follow_from_records_and_epochs() {
        let recipe = Recipe { epochs: 3, batch: 4, seq: 10, holdout: 0.0, ..Recipe::default() };
        let got = estimate(&recipe, &config(), &[10; 8], Machine { flops: 1e9 }).unwrap();
        assert_eq!((got.steps, got.tokens), (6, 240));
        let longer = estimate(&recipe, &config(), &[1000; 8], Machine { flops: 1e9 }).unwrap();
        assert_eq!(longer.tokens, 240, "what is cut off costs nothing");
    }

    #[test]
    fn the_adapter_is_counted_as_the_engine_makes_it() {
        let recipe = Recipe { rank: 2, targets: "q_proj,k_proj,down_proj".into(), ..Recipe::default() };
        let model = Model::init(config(), 1).unwrap();
        let lora = Lora::init(&model, &recipe.lora_config().unwrap(), 1).unwrap();
        assert_eq!(adapter_params(&recipe, &config()).unwrap(), lora.num_params() as u64);
    }
}
