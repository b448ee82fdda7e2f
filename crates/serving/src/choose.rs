//! The choice of the next token, under the request's bias, penalties, limits and grammar.
//!
//! # Invariants
//!
//! - A request without settings beyond its sampling gets exactly the engine's choice.
//! - The choice is a function of logits, history and settings, whatever runs beside it.
//! - The reported log-probability is the one under the unmodified softmax.

use openledger_engine::Sampling as EngineSampling;

use crate::error::ServeError;
use crate::request::{Constraint, Decoding};

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice {
    /// The token.
    pub(crate) id: u32,
    /// Its log-probability (nats).
    pub(crate) logprob: f32,
    /// Whether it ends the answer and is no part of it.
    pub(crate) ends: bool,
    /// Whether the answer is complete with it.
    pub(crate) completes: bool,
}

/// Chooses the tokens of one answer.
pub(crate) struct Chooser {
    /// With `stop` as the ids that end the answer.
    sampling: EngineSampling,
    decoding: Decoding,
    constraint: Option<Box<dyn Constraint>>,
    work: Vec<f32>,
}

impl Chooser {
    /// For an answer under `sampling`, whose `stop` holds the base's end tokens.
    pub(crate) fn new(
        mut sampling: EngineSampling,
        decoding: Decoding,
        constraint: Option<Box<dyn Constraint>>,
    ) -> Self {
        if decoding.ignore_eos {
            sampling.stop.clear();
        }
        sampling.stop.extend(&decoding.stop_ids);
        sampling.top_k = decoding.top_k as usize;
        Self { sampling, decoding, constraint, work: Vec::new() }
    }

    /// The next token after `history`, of which the first `prompt` ids are the prompt's.
    ///
    /// # Errors
    /// Those of [`Constraint::mask`].
    pub(crate) fn choose(&mut self, logits: &[f32], history: &[u32], prompt: usize) -> Result<Choice, ServeError> {
        let answer = history.get(prompt..).unwrap_or_default();
        let (id, logprob) = if self.is_plain(answer.len()) {
            self.sampling.pick(logits, history)
        } else {
            self.work.clear();
            self.work.extend_from_slice(logits);
            self.change(history, answer);
            if let Some(constraint) = &mut self.constraint {
                constraint.mask(&mut self.work)?;
            }
            self.cut_unlikely();
            let (id, _) = self.sampling.pick(&self.work, history);
            let (likeliest, logprob) = EngineSampling::default().pick(logits, &[]);
            let at = |id: u32| logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
            (id, logprob + (at(id) - at(likeliest)))
        };
        let ends = self.sampling.stop.contains(&id);
        let completes = !ends && self.constraint.as_mut().is_some_and(|constraint| constraint.accept(id));
        Ok(Choice { id, logprob, ends, completes })
    }

    /// Whether the logits stay as they are when the answer has `produced` tokens.
    fn is_plain(&self, produced: usize) -> bool {
        let neutral = Decoding::default();
        let own = &self.decoding;
        self.constraint.is_none()
            && own.min_p == neutral.min_p
            && own.repetition_penalty == neutral.repetition_penalty
            && own.presence_penalty == neutral.presence_penalty
            && own.frequency_penalty == neutral.frequency_penalty
            && own.logit_bias.is_empty()
            && produced >= own.min_tokens as usize
    }

    fn change(&mut self, history: &[u32], answer: &[u32]) {
        let own = &self.decoding;
        let mut seen = history.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            if let Some(logit) = self.work.get_mut(id as usize) {
                *logit = if *logit > 0.0 { *logit / own.repetition_penalty } else { *logit * own.repetition_penalty };
            }
        }
        let mut counted = answer.to_vec();
        counted.sort_unstable();
        for run in counted.chunk_by(|a, b| a == b) {
            if let Some(logit) = run.first().and_then(|id| self.work.get_mut(*id as usize)) {
                *logit -= own.presence_penalty + own.frequency_penalty * run.len() as f32;
            }
        }
        for (id, bias) in &own.logit_bias {
            if let Some(logit) = self.work.get_mut(*id as usize) {
                *logit += bias;
            }
        }
        if answer.len() < own.min_tokens as usize {
            for id in &self.sampling.stop {
                if let Some(logit) = self.work.get_mut(*id as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// Excludes tokens less likely than `min_p` times the likeliest; greedy choice needs no
    /// exclusion.
    fn cut_unlikely(&mut self) {
        if self.decoding.min_p <= 0.0 || self.sampling.temperature == 0.0 {
            return;
        }
        let best = self.work.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let least = best + self.sampling.temperature * self.decoding.min_p.ln();
        for logit in &mut self.work {
            if *logit < least {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.5, 0.0];

    fn chosen(decoding: Decoding, history: &[u32]) -> Choice {
        let sampling = EngineSampling { stop: vec![1], ..EngineSampling::default() };
        Chooser::new(sampling, decoding, None).choose(&LOGITS, history, 1).unwrap()
    }

    #[test]
    fn each_setting_moves_the_choice_as_it_says() {
        let plain = chosen(Decoding::default(), &[0]);
        assert_eq!((plain.id, plain.ends), (1, true));
        let neutral = Decoding::default;
        assert!(!chosen(Decoding { ignore_eos: true, ..neutral() }, &[0]).ends);
        assert_eq!(chosen(Decoding { min_tokens: 1, ..neutral() }, &[0]).id, 2);
        assert_eq!(chosen(Decoding { min_tokens: 1, ..neutral() }, &[0, 3]).id, 1);
        assert_eq!(chosen(Decoding { logit_bias: vec![(3, 9.0)], ..neutral() }, &[0]).id, 3);
        assert!(chosen(Decoding { stop_ids: vec![2], logit_bias: vec![(2, 9.0)], ..neutral() }, &[0]).ends);
        // The prompt counts for repetition, not for presence and frequency.
        assert_eq!(chosen(Decoding { repetition_penalty: 2.0, ..neutral() }, &[1]).id, 2);
        assert_eq!(chosen(Decoding { presence_penalty: 1.0, ..neutral() }, &[1]).id, 1);
        assert_eq!(chosen(Decoding { presence_penalty: 1.0, ..neutral() }, &[1, 1]).id, 2);
        assert_eq!(chosen(Decoding { frequency_penalty: 0.3, ..neutral() }, &[0, 1]).id, 1);
        assert_eq!(chosen(Decoding { frequency_penalty: 0.3, ..neutral() }, &[0, 1, 1]).id, 2);
    }

    #[test]
    fn the_reported_likelihood_is_that_of_the_unmodified_logits() {
        let plain = chosen(Decoding::default(), &[0]);
        let biased = chosen(Decoding { logit_bias: vec![(2, 9.0)], ..Decoding::default() }, &[0]);
        assert!((biased.logprob - (plain.logprob - 0.5)).abs() < 1e-6);
    }

    #[test]
    fn min_p_keeps_only_what_is_likely_enough() {
        for seed in 0..40 {
            let sampling = EngineSampling { temperature: 2.0, seed, ..EngineSampling::default() };
            let decoding = Decoding { min_p: 0.7, ..Decoding::default() };
            let id = Chooser::new(sampling, decoding, None).choose(&LOGITS, &[0], 1).unwrap().id;
            assert!([1, 2].contains(&id));
        }
    }
}
