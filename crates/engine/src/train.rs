//! Training: AdamW over an adapter ([`LoraTrainer`]) or over all base weights ([`BaseTrainer`]).
//!
//! Place in the flow: `factory` drives a trainer step by step and stores its checkpoints.
//! Invariants: a step is a function of (parameters, state, batch, settings); each example's
//! gradient is computed by itself and added in the order of the batch, so that neither threads nor
//! a restart change a bit. A step that fails changes nothing. Not here: which examples, when to
//! stop (`factory`).

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::backward::{Record, Scratch, Wanted, gradient, scored};
use crate::error::{RunError, TrainError};
use crate::kernels::elementwise::{AdamStep, adamw, add};
use crate::kernels::{Isa, Runtime, math};
use crate::lora::Lora;
use crate::matrix::dot;
use crate::model::Model;

/// Start of a checkpoint.
const MAGIC: &[u8; 8] = b"OLTRAIN1";

/// How the learning rate moves after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Half a cosine from the full rate to `floor` times it at step `total_steps`, and `floor` from
    /// there on.
    Cosine {
        /// Step (from 1) at which the floor is reached.
        total_steps: u64,
        /// Last rate as a share of the first, 0 to 1.
        floor: f64,
    },
}

/// Settings of the optimiser.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// Learning rate after the warm-up.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay; norms are left out of it.
    pub weight_decay: f64,
    /// Largest norm of the whole gradient; longer ones are scaled down.
    pub clip: Option<f64>,
    /// Steps over which the rate rises linearly from 0.
    pub warmup_steps: u64,
    /// What follows the warm-up.
    pub schedule: Schedule,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            clip: Some(1.0),
            warmup_steps: 0,
            schedule: Schedule::Constant,
        }
    }
}

impl AdamW {
    /// Learning rate of step `step`, counted from 1.
    pub fn rate(&self, step: u64) -> f64 {
        if step <= self.warmup_steps {
            return self.lr * step as f64 / self.warmup_steps as f64;
        }
        match self.schedule {
            Schedule::Constant => self.lr,
            Schedule::Cosine { total_steps, floor } => {
                let span = total_steps.saturating_sub(self.warmup_steps).max(1);
                let progress = ((step - self.warmup_steps) as f64 / span as f64).min(1.0);
                let (_, cos) = math::sin_cos(std::f64::consts::PI * progress);
                self.lr * (floor + (1.0 - floor) * 0.5 * (1.0 + cos))
            }
        }
    }

    fn validate(&self) -> Result<(), TrainError> {
        let unit = 0.0..1.0;
        let floor = match self.schedule {
            Schedule::Constant => 0.0,
            Schedule::Cosine { floor, .. } => floor,
        };
        let checks = [
            ("lr", self.lr, self.lr > 0.0 && self.lr.is_finite()),
            ("beta1", self.beta1, unit.contains(&self.beta1)),
            ("beta2", self.beta2, unit.contains(&self.beta2)),
            ("eps", self.eps, self.eps > 0.0 && self.eps.is_finite()),
            ("weight_decay", self.weight_decay, (0.0..=100.0).contains(&self.weight_decay)),
            ("clip", self.clip.unwrap_or(1.0), self.clip.is_none_or(|c| c > 0.0)),
            ("floor", floor, (0.0..=1.0).contains(&floor)),
        ];
        match checks.into_iter().find(|(_, _, ok)| !ok) {
            Some((name, value, _)) => Err(TrainError::BadSetting { name, value: value.to_string() }),
            None => Ok(()),
        }
    }
}

/// One record of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Example<'a> {
    /// Its token ids.
    pub ids: &'a [u32],
    /// First token whose loss counts, at least 1.
    pub loss_from: usize,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u64,
    /// Mean negative log-likelihood (nats per scored token) of the batch, before the step.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Scored tokens in the batch.
    pub tokens: usize,
    /// Learning rate applied.
    pub lr: f64,
}

/// Moments and step count.
struct Optimiser {
    settings: AdamW,
    step: u64,
    m: Vec<f32>,
    v: Vec<f32>,
}

impl Optimiser {
    fn new(settings: AdamW, params: usize) -> Result<Self, TrainError> {
        settings.validate()?;
        Ok(Self { settings, step: 0, m: vec![0.0; params], v: vec![0.0; params] })
    }

    /// Updates `params`; `decayed` names the parts that weight decay applies to.
    fn apply(&mut self, isa: Isa, params: &mut [f32], grads: &[f32], norm: f64, decayed: &[(Range<usize>, bool)]) {
        let s = &self.settings;
        self.step += 1;
        let lr = s.rate(self.step);
        let clip = s.clip.map_or(1.0, |clip| if norm > clip { clip / norm } else { 1.0 });
        let step = AdamStep {
            grad_scale: clip as f32,
            beta1: s.beta1 as f32,
            beta2: s.beta2 as f32,
            rate: (lr / (1.0 - math::powi(s.beta1, self.step))) as f32,
            root: (1.0 / (1.0 - math::powi(s.beta2, self.step)).sqrt()) as f32,
            eps: s.eps as f32,
            keep: 1.0,
        };
        let keep = (1.0 - lr * s.weight_decay) as f32;
        for (range, decays) in decayed {
            let step = AdamStep { keep: if *decays { keep } else { 1.0 }, ..step };
            let at = range.clone();
            adamw(isa, step, &mut params[at.clone()], &grads[at.clone()], &mut self.m[at.clone()], &mut self.v[at]);
        }
    }

    /// Step count, parameters and moments, closed by a SHA-256.
    fn checkpoint(&self, params: &[f32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + 12 * params.len() + 32);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.step.to_le_bytes());
        out.extend_from_slice(&(params.len() as u64).to_le_bytes());
        for x in params.iter().chain(&self.m).chain(&self.v) {
            out.extend_from_slice(&x.to_le_bytes());
        }
        let digest = Sha256::digest(&out);
        out.extend_from_slice(&digest);
        out
    }

    /// Reads what [`Optimiser::checkpoint`] wrote; gives the parameters back.
    fn restore(&mut self, bytes: &[u8]) -> Result<Vec<f32>, TrainError> {
        let bad = |reason: &str| TrainError::BadState { reason: reason.into() };
        let n = self.m.len();
        if bytes.len() != 24 + 12 * n + 32 {
            return Err(bad("its length does not fit the parameters"));
        }
        let (body, digest) = bytes.split_at(bytes.len() - 32);
        if Sha256::digest(body).as_slice() != digest {
            return Err(bad("its checksum does not match"));
        }
        let word = |at: usize| body[at..].first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
        if &body[..8] != MAGIC || word(16) != n as u64 {
            return Err(bad("it is of another kind or size"));
        }
        let values: Vec<f32> = body[24..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        self.step = word(8);
        self.m.copy_from_slice(&values[n..2 * n]);
        self.v.copy_from_slice(&values[2 * n..]);
        Ok(values[..n].to_vec())
    }
}

/// Trains an adapter on a frozen base model.
pub struct LoraTrainer<'m> {
    model: &'m Model,
    lora: Lora,
    optimiser: Optimiser,
    batcher: Batcher,
}

impl<'m> LoraTrainer<'m> {
    /// A trainer at step 0.
    ///
    /// # Errors
    ///
    /// [`TrainError::BadSetting`] for settings out of range.
    pub fn new(model: &'m Model, lora: Lora, settings: AdamW) -> Result<Self, TrainError> {
        let optimiser = Optimiser::new(settings, lora.num_params())?;
        Ok(Self { model, lora, optimiser, batcher: Batcher::default() })
    }

    /// Continues from [`LoraTrainer::checkpoint`], bit for bit; `lora` gives the shape, its values
    /// are replaced.
    ///
    /// # Errors
    ///
    /// [`TrainError::BadState`] for a damaged checkpoint or one of another shape.
    pub fn resume(model: &'m Model, lora: Lora, settings: AdamW, checkpoint: &[u8]) -> Result<Self, TrainError> {
        let mut trainer = Self::new(model, lora, settings)?;
        let params = trainer.optimiser.restore(checkpoint)?;
        trainer.lora.update(|own| own.copy_from_slice(&params));
        Ok(trainer)
    }

    /// One step on the token-normalised loss of `batch`.
    ///
    /// # Errors
    ///
    /// [`TrainError`]; nothing has changed then.
    pub fn step(&mut self, batch: &[Example<'_>]) -> Result<StepReport, TrainError> {
        let model = self.model;
        let sum = self.batcher.run(model, Some(&self.lora), batch)?;
        let (norm, step) = (sum.norm(), self.optimiser.step + 1);
        sum.check(norm, step)?;
        let whole = [(0..self.lora.num_params(), true)];
        let (optimiser, grads) = (&mut self.optimiser, &self.batcher.total);
        self.lora.update(|params| optimiser.apply(model.runtime().isa(), params, grads, norm, &whole));
        Ok(sum.report(norm, step, self.optimiser.settings.rate(step)))
    }

    /// The adapter as it stands.
    pub fn lora(&self) -> &Lora {
        &self.lora
    }

    /// The adapter as it stands.
    pub fn into_lora(self) -> Lora {
        self.lora
    }

    /// Steps taken.
    pub fn steps_done(&self) -> u64 {
        self.optimiser.step
    }

    /// Everything [`LoraTrainer::resume`] needs besides model, adapter shape and settings.
    pub fn checkpoint(&self) -> Vec<u8> {
        self.optimiser.checkpoint(self.lora.params())
    }
}

/// Trains all weights of a base model.
pub struct BaseTrainer {
    model: Model,
    optimiser: Optimiser,
    batcher: Batcher,
    /// Tensors, and whether weight decay applies (not to norms).
    decayed: Vec<(Range<usize>, bool)>,
}

impl BaseTrainer {
    /// A trainer at step 0.
    ///
    /// # Errors
    ///
    /// [`TrainError::BadSetting`] for settings out of range.
    pub fn new(model: Model, settings: AdamW) -> Result<Self, TrainError> {
        let optimiser = Optimiser::new(settings, model.num_params())?;
        let decayed = model.tensors().iter().map(|t| (t.range.clone(), t.shape.len() > 1)).collect();
        Ok(Self { model, optimiser, batcher: Batcher::default(), decayed })
    }

    /// Continues from [`BaseTrainer::checkpoint`], bit for bit; `model` gives the shape, its
    /// weights are replaced.
    ///
    /// # Errors
    ///
    /// [`TrainError::BadState`] for a damaged checkpoint or one of another shape.
    pub fn resume(model: Model, settings: AdamW, checkpoint: &[u8]) -> Result<Self, TrainError> {
        let mut trainer = Self::new(model, settings)?;
        let params = trainer.optimiser.restore(checkpoint)?;
        trainer.model.update(|own| own.copy_from_slice(&params));
        Ok(trainer)
    }

    /// One step on the token-normalised loss of `batch`.
    ///
    /// # Errors
    ///
    /// [`TrainError`]; nothing has changed then.
    pub fn step(&mut self, batch: &[Example<'_>]) -> Result<StepReport, TrainError> {
        let sum = self.batcher.run(&self.model, None, batch)?;
        let (norm, step) = (sum.norm(), self.optimiser.step + 1);
        sum.check(norm, step)?;
        let isa = self.model.runtime().isa();
        let (optimiser, grads, decayed) = (&mut self.optimiser, &self.batcher.total, &self.decayed);
        self.model.update(|params| optimiser.apply(isa, params, grads, norm, decayed));
        Ok(sum.report(norm, step, self.optimiser.settings.rate(step)))
    }

    /// The model as it stands.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model as it stands.
    pub fn into_model(self) -> Model {
        self.model
    }

    /// Steps taken.
    pub fn steps_done(&self) -> u64 {
        self.optimiser.step
    }

    /// Everything [`BaseTrainer::resume`] needs besides the model's shape and the settings.
    pub fn checkpoint(&self) -> Vec<u8> {
        self.optimiser.checkpoint(self.model.params())
    }
}

/// Buffers of one thread's example.
#[derive(Default)]
struct Lane {
    scratch: Scratch,
    grads: Vec<f32>,
    loss: f64,
    failed: Option<RunError>,
}

/// Computes batch gradients: examples in parallel, sums in order.
#[derive(Default)]
struct Batcher {
    lanes: Vec<Mutex<Lane>>,
    total: Vec<f32>,
}

/// Loss and gradient of a batch.
struct Sum {
    loss: f64,
    tokens: usize,
    norm: f64,
}

impl Sum {
    fn norm(&self) -> f64 {
        self.norm
    }

    fn check(&self, norm: f64, step: u64) -> Result<(), TrainError> {
        if self.loss.is_finite() && norm.is_finite() { Ok(()) } else { Err(TrainError::Diverged { step }) }
    }

    fn report(&self, grad_norm: f64, step: u64, lr: f64) -> StepReport {
        StepReport { step, loss: self.loss / self.tokens as f64, grad_norm, tokens: self.tokens, lr }
    }
}

impl Batcher {
    /// Leaves the gradient of the mean loss per scored token in `self.total`: of the adapter, or of
    /// all weights when there is none.
    fn run(&mut self, model: &Model, lora: Option<&Lora>, batch: &[Example<'_>]) -> Result<Sum, TrainError> {
        let params = lora.map_or(model.num_params(), Lora::num_params);
        if batch.is_empty() {
            return Err(TrainError::EmptyBatch);
        }
        let mut tokens = 0;
        for (index, example) in batch.iter().enumerate() {
            let at = |source| TrainError::Example { index, source };
            tokens += scored(example.ids, example.loss_from).map_err(at)?;
        }
        let weight = 1.0 / tokens as f32;
        let rt = model.runtime();
        let lanes = rt.threads().min(batch.len());
        // One example alone may use all threads inside; several use one each.
        let inner: Runtime = if lanes == 1 { rt.clone() } else { rt.single() };
        self.lanes.resize_with(lanes.max(self.lanes.len()), Mutex::default);
        self.total.clear();
        self.total.resize(params, 0.0);
        let mut loss = 0.0;
        let width = lanes;
        for (wave, examples) in batch.chunks(width).enumerate() {
            let lanes = &self.lanes;
            rt.run(examples.len(), &|i| {
                let mut lane = lanes[i].lock().unwrap_or_else(PoisonError::into_inner);
                let lane = &mut *lane;
                lane.grads.clear();
                lane.grads.resize(params, 0.0);
                let Example { ids, loss_from } = examples[i];
                let record = Record { ids, loss_from, weight };
                let wanted = match lora {
                    Some(lora) => Wanted::Lora(lora, &mut lane.grads),
                    None => Wanted::Full(&mut lane.grads),
                };
                match gradient(model, &inner, record, wanted, &mut lane.scratch) {
                    Ok(loss) => (lane.loss, lane.failed) = (loss, None),
                    Err(error) => lane.failed = Some(error),
                }
            });
            for (i, lane) in self.lanes.iter_mut().take(examples.len()).enumerate() {
                let lane = lane.get_mut().unwrap_or_else(PoisonError::into_inner);
                if let Some(source) = lane.failed.take() {
                    return Err(TrainError::Example { index: wave * width + i, source });
                }
                loss += lane.loss;
                add(rt.isa(), &mut self.total, &lane.grads);
            }
        }
        let norm = dot(&self.total, &self.total).sqrt();
        Ok(Sum { loss, tokens, norm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_follows_half_a_cosine_to_its_floor() {
        let settings = AdamW {
            lr: 2.0,
            warmup_steps: 10,
            schedule: Schedule::Cosine { total_steps: 110, floor: 0.1 },
            ..AdamW::default()
        };
        for (step, want) in [(1, 0.2), (10, 2.0), (60, 1.1), (110, 0.2), (500, 0.2)] {
            assert!((settings.rate(step) - want).abs() < 1e-12, "step {step}");
        }
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let bad = AdamW { beta2: 1.0, ..AdamW::default() };
        assert!(matches!(bad.validate(), Err(TrainError::BadSetting { name: "beta2", .. })));
    }
}
