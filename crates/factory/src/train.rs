//! Fine-tuning: records and a recipe become an adapter.
//!
//! # Invariants
//!
//! - The order of records is a function of (seed, epoch), the initial weights of the seed; nothing
//!   else is drawn.
//! - A step depends on its number and the state after the one before, so that a run may stop
//!   between any two steps.
//! - Losses are kept as integers (micro-nats), so that they too read back from a checkpoint as they
//!   were.

use std::path::Path;

use openledger_engine::{Example, Lora, LoraTrainer, Model, Tokenizer, draw};
use openledger_protocol::{B256, sha256};

use crate::access::Granted;
use crate::checkpoint::Checkpoint;
use crate::contamination::{Overlap, near_identical};
use crate::encode::{Sequence, encode};
use crate::error::FactoryError;
use crate::held_out::{Evaluation, is_held_out, measure, micro_nats};
use crate::observer::{ContextsCut, Event, NextStep, Observer};
use crate::recipe::Recipe;

/// Stream of the draws that order records.
const ORDER_STREAM: u64 = 0x6f72_6465_7200_0000;

/// Where and how often the state is saved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Saving<'a> {
    /// The checkpoint; if it exists, the run goes on from it. `None` saves nothing, and a stopped
    /// run is lost.
    pub file: Option<&'a Path>,
    /// Steps between two savings; zero saves only when the run is stopped.
    pub every: u64,
}

/// What a run made.
#[derive(Clone)]
pub struct Trained {
    /// The adapter.
    pub lora: Lora,
    /// Mean loss of each step's batch before the step, in micro-nats a token.
    pub losses: Vec<u64>,
    /// Base and adapter on the held-out records; `None` when none is held out.
    pub held_out: Option<Evaluation>,
    /// For each record, in the order given, the tokens of it that were learned, counted once
    /// however many passes saw them; zero for a record that was held out, too short or not reached.
    pub trained_tokens: Vec<u64>,
    /// Held-out records that are near-identical to a record trained on.
    pub overlaps: Vec<Overlap>,
    /// Records whose context was shortened, held-out ones included.
    pub contexts_cut: ContextsCut,
    /// Names recipe, base, tokenizer and records.
    pub fingerprint: B256,
}

/// How a run ended.
// A run ends once: the size of the larger variant does not matter.
#[expect(clippy::large_enum_variant, reason = "made once a run")]
pub enum Outcome {
    /// All steps are done.
    Done(Trained),
    /// The observer stopped it after `step` steps; the state is in the checkpoint if one was named.
    Stopped {
        /// Steps done.
        step: u64,
    },
}

/// Trains an adapter for `model` on `granted` records.
///
/// One step takes `batch` records whole and minimises the mean loss over their learned tokens. A
/// record longer than `seq` tokens or the model's positions has its context shortened; without one
/// its end is cut off. The last batch of a pass may be smaller.
///
/// **Determinism:** same model, tokenizer, records, recipe: same [`Lora::hash`], whatever the
/// threads and however often the run was stopped and resumed.
///
/// # Errors
/// [`FactoryError::BadRecipe`], [`FactoryError::BadRecord`] and [`FactoryError::NoData`] before the
/// first step; [`FactoryError::BadCheckpoint`] when the file of `saving` belongs to another run;
/// [`FactoryError::Train`] when training diverges.
pub fn train(
    model: &Model,
    tokenizer: &Tokenizer,
    granted: &Granted,
    recipe: &Recipe,
    saving: Saving<'_>,
    observer: &mut dyn Observer,
) -> Result<Outcome, FactoryError> {
    recipe.validate()?;
    let data = Data::prepare(model, tokenizer, granted, recipe)?;
    let steps = recipe.steps(data.training.len());
    let fingerprint = fingerprint(model, tokenizer, granted, recipe)?;
    let settings = recipe.optimiser(steps);

    let lora = Lora::init(model, &recipe.lora_config()?, recipe.seed)?;
    let saved = match saving.file {
        Some(path) => Checkpoint::load(path, fingerprint)?,
        None => None,
    };
    let (mut trainer, mut losses, before) = match saved {
        Some(saved) => {
            let trainer = LoraTrainer::resume(model, lora, settings, &saved.engine)?;
            (trainer, saved.losses, saved.before)
        }
        None => (LoraTrainer::new(model, lora, settings)?, Vec::new(), measure(model, None, &data.held_out)?),
    };
    let save = |trainer: &LoraTrainer<'_>, losses: &[u64]| match saving.file {
        Some(path) => {
            Checkpoint { fingerprint, before, losses: losses.to_vec(), engine: trainer.checkpoint() }.save(path)
        }
        None => Ok(()),
    };

    let mut verdict = observer.on(&Event::Started {
        steps,
        done: trainer.steps_done(),
        records: data.training.len(),
        held_out: data.held_out.len(),
        truncated: data.truncated,
        contexts_cut: data.contexts_cut,
        skipped: granted.records().len() - data.training.len() - data.held_out.len(),
    });
    if trainer.steps_done() == 0 && !data.held_out.is_empty() {
        observer.on(&Event::Evaluated { step: 0, micro_nats: before });
    }
    let mut order = Order::new(recipe, data.training.len());
    while trainer.steps_done() < steps {
        if verdict == NextStep::Stop {
            save(&trainer, &losses)?;
            return Ok(Outcome::Stopped { step: trainer.steps_done() });
        }
        let batch: Vec<Example<'_>> = order
            .batch(trainer.steps_done())
            .iter()
            .map(|at| Example { ids: &data.training[*at].ids, loss_from: data.training[*at].loss_from })
            .collect();
        let report = trainer.step(&batch)?;
        losses.push(micro_nats(report.loss));
        let done = trainer.steps_done();
        verdict = observer.on(&Event::Stepped(report));
        if saving.file.is_some() && saving.every > 0 && done.is_multiple_of(saving.every) && done < steps {
            save(&trainer, &losses)?;
            observer.on(&Event::Saved { step: done });
        }
    }

    let mut trained_tokens = vec![0; granted.records().len()];
    for at in order.reached(steps) {
        trained_tokens[data.training[at].record] = data.training[at].learned();
    }
    let lora = trainer.into_lora();
    let held_out = if data.held_out.is_empty() {
        None
    } else {
        let after = measure(model, Some(&lora), &data.held_out)?;
        observer.on(&Event::Evaluated { step: steps, micro_nats: after });
        Some(Evaluation {
            records: data.held_out.iter().map(|s| s.record).collect(),
            tokens: data.held_out.iter().map(Sequence::learned).sum(),
            before,
            after,
        })
    };
    let overlaps =
        near_identical(granted.records(), |place| is_held_out(granted.records()[place].hash(), recipe.holdout));
    let contexts_cut = data.contexts_cut;
    Ok(Outcome::Done(Trained { lora, losses, held_out, trained_tokens, overlaps, contexts_cut, fingerprint }))
}

/// The records as sequences, split.
struct Data {
    training: Vec<Sequence>,
    held_out: Vec<Sequence>,
    truncated: usize,
    contexts_cut: ContextsCut,
}

impl Data {
    fn prepare(model: &Model, tokenizer: &Tokenizer, granted: &Granted, recipe: &Recipe) -> Result<Self, FactoryError> {
        let config = model.config();
        let limit = recipe.seq.min(config.max_positions);
        let mut data =
            Self { training: Vec::new(), held_out: Vec::new(), truncated: 0, contexts_cut: ContextsCut::default() };
        for (index, record) in granted.records().iter().enumerate() {
            let Some(sequence) = encode(tokenizer, config, limit, index, record)? else { continue };
            data.truncated += usize::from(sequence.truncated);
            data.contexts_cut.records += usize::from(sequence.context_cut > 0);
            data.contexts_cut.tokens += sequence.context_cut as u64;
            if is_held_out(record.hash(), recipe.holdout) {
                data.held_out.push(sequence);
            } else {
                data.training.push(sequence);
            }
        }
        if data.training.is_empty() {
            let (all, held_out) = (granted.records().len(), data.held_out.len());
            return Err(FactoryError::NoData {
                reason: format!("of {all} records {held_out} are held out and the others hold nothing to learn"),
            });
        }
        Ok(data)
    }
}

/// Which sequences each step takes: every pass takes all of them once, in an order of its own.
pub(crate) struct Order {
    seed: u64,
    count: usize,
    batch: usize,
    epoch: u64,
    shuffled: Vec<usize>,
}

impl Order {
    fn new(recipe: &Recipe, count: usize) -> Self {
        Self::with(recipe.seed, recipe.batch, count)
    }

    /// The order of `count` sequences under `seed`, `batch` a step; both above zero.
    pub(crate) fn with(seed: u64, batch: usize, count: usize) -> Self {
        Self { seed, count, batch, epoch: 0, shuffled: shuffle(seed, 0, count) }
    }

    /// The sequences of step `step`, from 0.
    pub(crate) fn batch(&mut self, step: u64) -> &[usize] {
        let passes = self.count.div_ceil(self.batch) as u64;
        let (epoch, at) = (step / passes, (step % passes) as usize);
        if epoch != self.epoch {
            self.shuffled = shuffle(self.seed, epoch, self.count);
            self.epoch = epoch;
        }
        let start = at * self.batch;
        &self.shuffled[start..(start + self.batch).min(self.count)]
    }

    /// The sequences that any of the first `steps` steps takes.
    fn reached(&self, steps: u64) -> Vec<usize> {
        let taken = (self.count as u64).min(steps.saturating_mul(self.batch as u64)) as usize;
        shuffle(self.seed, 0, self.count)[..taken].to_vec()
    }
}

/// A permutation of `0..count` drawn by (seed, epoch): Fisher and Yates.
fn shuffle(seed: u64, epoch: u64, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        // The bias of the remainder is below 2⁻⁴⁰ for counts that fit in memory.
        let j = draw(seed, ORDER_STREAM.wrapping_add(epoch), i as u64) % (i as u64 + 1);
        order.swap(i, j as usize);
    }
    order
}

/// Names everything that decides a run's bytes.
fn fingerprint(model: &Model, tokenizer: &Tokenizer, granted: &Granted, recipe: &Recipe) -> Result<B256, FactoryError> {
    let mut bytes = b"openledger/run/v2\0".to_vec();
    bytes.extend_from_slice(recipe.hash()?.as_slice());
    bytes.extend_from_slice(&model.hash());
    bytes.extend_from_slice(&tokenizer.hash());
    bytes.extend_from_slice(openledger_engine::NUMERIC_MODE.as_bytes());
    for record in granted.records() {
        bytes.extend_from_slice(record.hash().as_slice());
        bytes.extend_from_slice(&record.start().to_le_bytes());
    }
    Ok(sha256(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_takes_each_record_once_in_its_own_order() {
        let mut order = Order::with(3, 4, 10);
        let mut passes = Vec::new();
        for pass in 0..3 {
            let taken: Vec<usize> = (0..3).flat_map(|step| order.batch(pass * 3 + step).to_vec()).collect();
            let mut sorted = taken.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
            passes.push(taken);
        }
        assert_ne!(passes[0], passes[1]);
        assert_ne!(passes[1], passes[2]);
    }

    #[test]
    fn a_batch_is_a_function_of_its_step() {
        let mut forward = Order::with(3, 4, 10);
        let (late, early) = (forward.batch(7).to_vec(), forward.batch(1).to_vec());
        assert_eq!(Order::with(3, 4, 10).batch(1), early);
        assert_eq!(Order::with(3, 4, 10).batch(7), late);
    }

    #[test]
    fn a_short_run_reaches_only_the_records_of_its_steps() {
        let mut order = Order::with(1, 4, 10);
        let first: Vec<usize> = order.batch(0).to_vec();
        assert_eq!(order.reached(1), first);
        assert_eq!(order.reached(100).len(), 10);
    }
}
