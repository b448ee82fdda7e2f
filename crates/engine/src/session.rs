//! Running a model: single sessions, whole-sequence scores.
//!
//! Place in the flow: what `serving` and `attribution` call; everything goes through `forward`.
//! Invariant: a sequence's logits are the same bits whether it runs alone or in a batch, in one
//! prefill or token by token. Not here: which sequences run when (`serving`).

use std::ops::ControlFlow;

use crate::error::RunError;
use crate::forward::{KvCache, Slot, Workspace, forward, head};
use crate::lora::Lora;
use crate::matrix::Matrix;
use crate::model::Model;
use crate::sampling::{FinishReason, Generation, Sampling, log_prob};

/// Rows that go through the model at once in a long prefill; bounds the memory of activations.
const CHUNK: usize = 256;
/// Rows whose logits exist at once when scoring.
const SCORE_ROWS: usize = 64;

/// One sequence on one model and adapter.
pub struct Session<'a> {
    lora: Option<&'a Lora>,
    model: &'a Model,
    cache: KvCache,
    ws: Workspace,
    logits: Vec<f32>,
}

impl<'a> Session<'a> {
    /// An empty sequence.
    pub fn new(model: &'a Model, lora: Option<&'a Lora>) -> Self {
        let cache = KvCache::new(model);
        Self { lora, model, cache, ws: Workspace::default(), logits: Vec::new() }
    }

    /// Appends `ids`; logits `[vocab]` after the last one.
    ///
    /// # Errors
    ///
    /// [`RunError`]; the sequence is unchanged then.
    pub fn prefill(&mut self, ids: &[u32]) -> Result<&[f32], RunError> {
        let config = self.model.config();
        let tokens = self.cache.len() + ids.len();
        if ids.is_empty() {
            return Err(RunError::Empty);
        }
        if tokens > config.max_positions {
            return Err(RunError::TooLong { tokens, limit: config.max_positions });
        }
        self.model.check_ids(ids)?;
        let rt = self.model.runtime();
        for chunk in ids.chunks(CHUNK) {
            let mut slots = [Slot { cache: &mut self.cache, lora: self.lora, tokens: chunk }];
            forward(self.model, rt, &mut slots, &mut self.ws, None, &mut || ())?;
        }
        let hidden = self.ws.hidden();
        self.logits.resize(config.vocab, 0.0);
        head(self.model, rt, &hidden[hidden.len() - config.hidden..], &mut self.logits);
        Ok(&self.logits)
    }

    /// Appends one token; logits `[vocab]` after it.
    ///
    /// # Errors
    ///
    /// As [`Session::prefill`].
    pub fn step(&mut self, token: u32) -> Result<&[f32], RunError> {
        self.prefill(&[token])
    }

    /// Number of tokens so far.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether no token was given yet.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }
}

/// Continues `prompt` under `sampling`; `on_token` sees every id as it is chosen and may end the
/// run.
///
/// An id of `sampling.stop` ends the run and is not part of the result. The run also ends where the
/// model's positions do.
///
/// # Errors
///
/// [`RunError`] for an empty or overlong prompt, unknown ids, or settings out of range.
pub fn generate(
    model: &Model,
    lora: Option<&Lora>,
    prompt: &[u32],
    sampling: &Sampling,
    on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
) -> Result<Generation, RunError> {
    sampling.validate()?;
    let mut session = Session::new(model, lora);
    session.prefill(prompt)?;
    let mut history = prompt.to_vec();
    let mut logprobs = Vec::new();
    let finish = loop {
        if logprobs.len() >= sampling.max_tokens {
            break FinishReason::Length;
        }
        let (id, logprob) = sampling.pick(&session.logits, &history);
        if sampling.stop.contains(&id) {
            break FinishReason::Stop;
        }
        history.push(id);
        logprobs.push(logprob);
        if on_token(id).is_break() {
            break FinishReason::Cancelled;
        }
        if session.len() == model.config().max_positions || logprobs.len() >= sampling.max_tokens {
            break FinishReason::Length;
        }
        session.step(id)?;
    };
    Ok(Generation { ids: history.split_off(prompt.len()), logprobs, finish })
}

/// Logits `[tokens, vocab]` at every position of `ids`.
///
/// # Errors
///
/// [`RunError`] when the sequence cannot be run.
pub fn logits(model: &Model, lora: Option<&Lora>, ids: &[u32]) -> Result<Matrix, RunError> {
    let mut ws = Workspace::default();
    run_whole(model, lora, ids, &mut ws)?;
    let mut out = vec![0.0; ids.len() * model.config().vocab];
    head(model, model.runtime(), ws.hidden(), &mut out);
    Ok(Matrix::new(ids.len(), model.config().vocab, out))
}

/// Log-probability (nats) of each of `ids[1..]` given what precedes it; a single id gives an empty
/// list.
///
/// # Errors
///
/// [`RunError`] when the sequence cannot be run.
pub fn score(model: &Model, lora: Option<&Lora>, ids: &[u32]) -> Result<Vec<f32>, RunError> {
    let mut ws = Workspace::default();
    run_whole(model, lora, ids, &mut ws)?;
    let (h, v, rt) = (model.config().hidden, model.config().vocab, model.runtime());
    let hidden = &ws.hidden()[..(ids.len() - 1) * h];
    let mut logits = vec![0.0; SCORE_ROWS * v];
    let mut out = Vec::with_capacity(ids.len() - 1);
    for (hidden, next) in hidden.chunks(SCORE_ROWS * h).zip(ids[1..].chunks(SCORE_ROWS)) {
        let logits = &mut logits[..next.len() * v];
        head(model, rt, hidden, logits);
        for (row, id) in logits.chunks_exact(v).zip(next) {
            out.push(log_prob(rt.isa(), row, *id as usize));
        }
    }
    Ok(out)
}

/// Mean over positions of the final hidden state (after the last norm), `[hidden]`: a
/// lexical-semantic vector of the text.
///
/// # Errors
///
/// [`RunError`] when the sequence cannot be run.
pub fn mean_hidden(model: &Model, lora: Option<&Lora>, ids: &[u32]) -> Result<Vec<f32>, RunError> {
    let mut ws = Workspace::default();
    run_whole(model, lora, ids, &mut ws)?;
    let h = model.config().hidden;
    let mut sums = vec![0f64; h];
    for row in ws.hidden().chunks_exact(h) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += f64::from(*x);
        }
    }
    Ok(sums.into_iter().map(|sum| (sum / ids.len() as f64) as f32).collect())
}

/// One sequence through the model with a cache of its own.
fn run_whole(model: &Model, lora: Option<&Lora>, ids: &[u32], ws: &mut Workspace) -> Result<(), RunError> {
    let mut cache = KvCache::new(model);
    let mut slots = [Slot { cache: &mut cache, lora, tokens: ids }];
    forward(model, model.runtime(), &mut slots, ws, None, &mut || ())
}
