//! From logits to the next token.
//!
//! Place in the flow: called by `generate` and by `serving` after each step. Invariants: the choice
//! is a function of (logits, history, settings); chance is drawn by (seed, position), so that a run
//! can be repeated from any point and in any batch. Ties go to the smaller id. Not here: the model;
//! penalties, biases and grammars, which change the logits before (`serving`).

use std::cmp::Ordering;

use crate::error::RunError;
use crate::kernels::elementwise::max_and_sum_exp;
use crate::kernels::{Isa, math};
use crate::rng;

/// Stream of sampling draws.
const STREAM: u64 = 0x7361_6d70_6c65;

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Largest number of tokens to generate.
    pub max_tokens: usize,
    /// Divides the logits; 0 takes the likeliest token always.
    pub temperature: f32,
    /// Keeps only the likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the likeliest tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Names the draws.
    pub seed: u64,
    /// Ids that end the run.
    pub stop: Vec<u32>,
}

impl Default for Sampling {
    /// Greedy, 64 tokens.
    fn default() -> Self {
        Self { max_tokens: 64, temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0, stop: Vec::new() }
    }
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop id was chosen.
    Stop,
    /// The token limit or the model's positions were reached.
    Length,
    /// The caller ended it.
    Cancelled,
}

/// What a run produced.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The generated ids, without the prompt and without a stop id.
    pub ids: Vec<u32>,
    /// Log-probability (nats) of each under the unmodified softmax.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: FinishReason,
}

impl Sampling {
    /// Checks the ranges.
    ///
    /// # Errors
    ///
    /// [`RunError::BadSampling`] naming the setting.
    pub fn validate(&self) -> Result<(), RunError> {
        let bad = |name, value: f32| Err(RunError::BadSampling { name, value: value.to_string() });
        if !(0.0..=100.0).contains(&self.temperature) {
            return bad("temperature", self.temperature);
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad("top_p", self.top_p);
        }
        Ok(())
    }

    /// The next token after `history` (prompt and what was generated so far) and its
    /// log-probability (nats) under the unmodified softmax of `logits`.
    ///
    /// Values that are not numbers count as the smallest logit.
    pub fn pick(&self, logits: &[f32], history: &[u32]) -> (u32, f32) {
        if self.temperature == 0.0 && !logits.iter().any(|l| l.is_nan()) {
            // The common case, without a copy: the first of the largest values, as `likeliest` has
            // it.
            let max = logits.iter().fold(f32::NEG_INFINITY, |max, l| max.max(*l));
            let id = logits.iter().position(|l| *l == max).unwrap_or(0);
            return (id as u32, log_prob(Isa::detect(), logits, id));
        }
        let clean: Vec<f32> = logits.iter().map(|l| if l.is_nan() { f32::NEG_INFINITY } else { *l }).collect();
        let x: Vec<f64> = clean.iter().map(|l| f64::from(*l)).collect();
        let id = if self.temperature == 0.0 { likeliest(&x) } else { self.sample(x, history.len()) };
        let logprob = log_prob(Isa::detect(), &clean, id);
        (id as u32, logprob)
    }

    /// Draws from the softmax of `x / temperature`, cut by top-k and then top-p.
    fn sample(&self, x: Vec<f64>, position: usize) -> usize {
        let mut ranked: Vec<(usize, f64)> =
            x.into_iter().map(|l| l / f64::from(self.temperature)).enumerate().collect();
        let by_value =
            |a: &(usize, f64), b: &(usize, f64)| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0));
        if self.top_k > 0 && self.top_k < ranked.len() {
            ranked.select_nth_unstable_by(self.top_k - 1, by_value);
            ranked.truncate(self.top_k);
        }
        ranked.sort_unstable_by(by_value);
        let max = ranked.first().map_or(0.0, |r| r.1);
        let weights: Vec<f64> = ranked.iter().map(|r| math::exp(r.1 - max)).collect();
        let total: f64 = weights.iter().sum();
        let mut kept = 0.0;
        let mut count = 0;
        for w in &weights {
            kept += w;
            count += 1;
            if kept >= f64::from(self.top_p) * total {
                break;
            }
        }
        let mut left = rng::uniform(self.seed, STREAM, position as u64) * kept;
        for (rank, w) in ranked.iter().zip(&weights).take(count) {
            left -= w;
            if left < 0.0 {
                return rank.0;
            }
        }
        // Rounding can leave a crumb beyond the last weight.
        ranked.get(count.saturating_sub(1)).map_or(0, |r| r.0)
    }
}

/// Index of the largest value; the first of equals.
fn likeliest(x: &[f64]) -> usize {
    let mut best = 0;
    for (i, v) in x.iter().enumerate() {
        if *v > x[best] {
            best = i;
        }
    }
    best
}

/// Log-probability (nats) of `id` under the softmax of `logits`: the one way that decoding and
/// scoring share.
pub(crate) fn log_prob(isa: Isa, logits: &[f32], id: usize) -> f32 {
    let Some(own) = logits.get(id) else { return f32::NEG_INFINITY };
    let (max, sum) = max_and_sum_exp(isa, logits);
    (f64::from(own - max) - math::ln(f64::from(sum))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_equal_maxima() {
        let (id, logprob) = Sampling::default().pick(&[0.0, 2.0, 2.0, f32::NAN], &[]);
        assert_eq!(id, 1);
        let want = 2.0 - (1.0 + 2.0 * 2f64.exp()).ln();
        assert!((f64::from(logprob) - want).abs() < 1e-6);
    }

    #[test]
    fn samples_follow_the_distribution_and_repeat_by_seed_and_position() {
        let sampling = Sampling { temperature: 1.0, ..Sampling::default() };
        let logits = [0.0, 3f32.ln()];
        let ones: usize = (0..4000)
            .map(|position| {
                let history = vec![0; position % 97 + 97 * (position / 97)];
                sampling.pick(&logits, &history).0 as usize
            })
            .sum();
        assert!((2880..3120).contains(&ones), "{ones} of 4000, expected 3000");
        assert_eq!(sampling.pick(&logits, &[5; 9]), sampling.pick(&logits, &[6; 9]));
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let logits = [1.0, 5.0, 4.9, 0.0];
        for position in 0..50 {
            let history = vec![0; position];
            let k = Sampling { temperature: 2.0, top_k: 2, ..Sampling::default() };
            assert!([1, 2].contains(&k.pick(&logits, &history).0));
            let p = Sampling { temperature: 1.0, top_p: 0.4, ..Sampling::default() };
            assert_eq!(p.pick(&logits, &history).0, 1);
        }
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let bad = Sampling { top_p: 0.0, ..Sampling::default() };
        assert!(matches!(bad.validate(), Err(RunError::BadSampling { name: "top_p", .. })));
        let bad = Sampling { temperature: f32::NAN, ..Sampling::default() };
        assert!(matches!(bad.validate(), Err(RunError::BadSampling { name: "temperature", .. })));
    }
}
