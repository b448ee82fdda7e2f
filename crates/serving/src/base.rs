//! The base model with its tokenizer: what turns requests into ids and ids into the record of an
//! answer.
//!
//! **Invariants:** a request is checked here before it waits, so that nothing but memory can stop
//! it later; the record of an answer depends on ids and hashes only. Not here: adapters and turns.

use std::sync::Arc;

use openledger_engine::{Model, RunError, Sampling as EngineSampling, Tokenizer};
use openledger_protocol::{AdapterHash, B256, BaseHash, Completion, FinishReason, ModelId, Sampling, Usage};

use crate::answer::TokenLogprob;
use crate::decode::{Frame, continues, render};
use crate::error::ServeError;
use crate::request::{Decoding, Prompt};

/// Most of the likeliest tokens that are reported beside a chosen one, as OpenAI has it.
pub(crate) const MAX_TOP: usize = 20;
/// Most stop texts of one request; OpenAI takes 4.
const MAX_STOPS: usize = 16;

/// Where a request lets the text of its answer end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cut {
    /// Whether the stop text stays in it.
    pub(crate) include_stop: bool,
    /// How many tokens it has before a stop text counts.
    pub(crate) min_tokens: usize,
}

impl Cut {
    /// Of a request with these settings.
    pub(crate) fn of(decoding: &Decoding) -> Self {
        Self { include_stop: decoding.include_stop, min_tokens: decoding.min_tokens as usize }
    }
}

/// One base and its tokenizer.
pub(crate) struct Base {
    pub(crate) model: Arc<Model>,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) hash: BaseHash,
}

impl Base {
    pub(crate) fn new(model: Arc<Model>, tokenizer: Arc<Tokenizer>) -> Self {
        let hash = BaseHash(B256::from(model.hash()));
        Self { model, tokenizer, hash }
    }

    /// The prompt's text and ids, fit to be run.
    pub(crate) fn prompt(&self, prompt: &Prompt) -> Result<(String, Vec<u32>), ServeError> {
        let (text, ids) = match prompt {
            Prompt::Text(text) => (text.clone(), self.tokenizer.encode(text, true)),
            Prompt::Ids(ids) => (self.tokenizer.decode(ids), ids.clone()),
        };
        if ids.is_empty() {
            return Err(ServeError::BadRequest { param: "prompt", reason: "is empty".into() });
        }
        let (limit, vocab) = (self.model.config().max_positions, self.model.config().vocab);
        if ids.len() >= limit {
            return Err(ServeError::PromptTooLong { tokens: ids.len(), limit });
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
            return Err(RunError::TokenOutOfRange { id: *id, vocab }.into());
        }
        Ok((text, ids))
    }

    /// The engine's form of `sampling`.
    pub(crate) fn sampling(&self, sampling: &Sampling) -> Result<EngineSampling, ServeError> {
        if sampling.stop.len() > MAX_STOPS {
            let reason = format!("has {} texts, at most {MAX_STOPS} are taken", sampling.stop.len());
            return Err(ServeError::BadRequest { param: "stop", reason });
        }
        let mut stop = self.model.config().eos.clone();
        stop.extend(self.tokenizer.eos());
        let engine = EngineSampling {
            max_tokens: sampling.max_tokens as usize,
            // Thousandths below 2^24 are exact, and so is the quotient's rounding: the same f32
            // everywhere.
            temperature: sampling.temperature_milli as f32 / 1000.0,
            top_p: sampling.top_p_milli as f32 / 1000.0,
            seed: sampling.seed,
            stop,
            ..EngineSampling::default()
        };
        engine.validate()?;
        Ok(engine)
    }

    /// The completion record of what was produced; `cut` says where its text ends.
    #[expect(clippy::too_many_arguments, reason = "the members of one record")]
    pub(crate) fn record(
        &self,
        model: ModelId,
        adapter: AdapterHash,
        sampling: &Sampling,
        prompt: (String, Vec<u32>),
        output_ids: Vec<u32>,
        finish_reason: FinishReason,
        cut: Cut,
    ) -> Completion {
        let (prompt, prompt_ids) = prompt;
        let stop: &[String] = if cut.include_stop { &[] } else { &sampling.stop };
        let frame = self.frame(stop, cut.min_tokens, &prompt_ids);
        let (text, offsets, _) = render(&self.tokenizer, &output_ids, frame);
        let count = |ids: &[u32]| u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let usage = Usage { prompt_tokens: count(&prompt_ids), completion_tokens: count(&output_ids) };
        Completion {
            model,
            base: self.hash,
            adapter,
            tokenizer: B256::from(self.tokenizer.hash()),
            numeric_mode: self.model.mode().name().to_owned(),
            sampling: sampling.clone(),
            prompt,
            prompt_ids,
            text,
            output_ids,
            offsets,
            finish_reason,
            usage,
        }
    }

    /// What the text of an answer to the prompt `prompt_ids` depends on.
    pub(crate) fn frame<'a>(&self, stop: &'a [String], min_tokens: usize, prompt_ids: &[u32]) -> Frame<'a> {
        Frame { stop, min_tokens, continues: continues(&self.tokenizer, prompt_ids) }
    }

    /// How likely `id` was among `logits`, and what else was likely.
    pub(crate) fn logprob(&self, logits: &[f32], id: u32, logprob: f32, top: usize) -> TokenLogprob {
        let bytes = |id: u32| self.tokenizer.piece(id).to_vec();
        let mut likeliest: Vec<u32> = Vec::new();
        if top > 0 {
            let value = |id: &u32| logits[*id as usize];
            let order = |a: &u32, b: &u32| value(b).total_cmp(&value(a)).then(a.cmp(b));
            likeliest = (0..).take(logits.len()).collect();
            if top < likeliest.len() {
                likeliest.select_nth_unstable_by(top - 1, order);
                likeliest.truncate(top);
            }
            likeliest.sort_by(order);
        }
        let chosen = logits.get(id as usize).copied().unwrap_or_default();
        let top = likeliest
            .into_iter()
            // Log-probabilities differ as logits do, so that no second logarithm is taken.
            .map(|other| (other, bytes(other), logprob + (logits[other as usize] - chosen)))
            .collect();
        TokenLogprob { id, bytes: bytes(id), logprob, top }
    }
}
