//! The transformer, forward: rows of any number of sequences through all layers.
//!
//! Place in the flow: one function, [`forward`], under decoding, scoring and training alike, so
//! that a verifier who re-runs prompt and answer as one prefill gets the bits that decoding got.
//! Source: the references of Hugging Face transformers (`modeling_llama.py`, `modeling_qwen2.py`,
//! `modeling_qwen3.py`), rotary embedding on half heads.
//!
//! Invariants: a row's result depends on its own sequence, position and adapter only; nothing is
//! written to a cache before all inputs are checked. Not here: logits to tokens (`sampling`),
//! gradients (`backward`).

use crate::config::ModelConfig;
use crate::error::RunError;
use crate::kernels::attention::{Query, attend};
use crate::kernels::elementwise::{add, rms_norm, rope, silu_mul};
use crate::kernels::pairs::round;
use crate::kernels::{Isa, Runtime, math};
pub(crate) use crate::kv::KvCache;
use crate::kv_page::PageShape;
use crate::linear::{Group, Linear};
use crate::lora::Lora;
use crate::lora_pack::Input;
use crate::model::Model;

/// One sequence's part of a batch: the tokens to append to its cache (many for a prefill, one to
/// decode).
pub struct Slot<'a> {
    /// What the sequence holds so far.
    pub cache: &'a mut KvCache,
    /// Its adapter; `None` is the base model.
    pub lora: Option<&'a Lora>,
    /// What to append; not empty.
    pub tokens: &'a [u32],
}

/// What a layer's backward pass needs; all `[tokens, width]`.
#[derive(Default)]
pub(crate) struct LayerTrace {
    pub(crate) x: Vec<f32>,
    pub(crate) normed1: Vec<f32>,
    pub(crate) inverse1: Vec<f32>,
    /// Queries and keys before their heads are normalised, and the factor of each head; empty in
    /// other families.
    pub(crate) raw: [Vec<f32>; 2],
    pub(crate) inverse_heads: [Vec<f32>; 2],
    pub(crate) q: Vec<f32>,
    pub(crate) k: Vec<f32>,
    pub(crate) v: Vec<f32>,
    pub(crate) mixed: Vec<f32>,
    pub(crate) middle: Vec<f32>,
    pub(crate) normed2: Vec<f32>,
    pub(crate) inverse2: Vec<f32>,
    pub(crate) gate: Vec<f32>,
    pub(crate) up: Vec<f32>,
    pub(crate) act: Vec<f32>,
    /// `A·x` of each target's adapter.
    pub(crate) low: [Vec<f32>; 7],
}

/// What a backward pass needs of one sequence's forward pass.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) layers: Vec<LayerTrace>,
    pub(crate) x: Vec<f32>,
    pub(crate) inverse: Vec<f32>,
    /// cos and sin of each position, `[tokens, head_dim / 2]`.
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
}

/// Buffers kept between calls.
#[derive(Default)]
pub(crate) struct Workspace {
    x: Vec<f32>,
    normed: Vec<f32>,
    inverse: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// Queries and keys before their heads are normalised, and the factor of each head.
    raw: [Vec<f32>; 2],
    inverse_heads: [Vec<f32>; 2],
    mixed: Vec<f32>,
    wide: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    act: Vec<f32>,
    linear: Linear,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Workspace {
    fn fit(&mut self, config: &ModelConfig, rows: usize) {
        let h = config.hidden;
        let sizes = [
            (&mut self.x, h),
            (&mut self.normed, h),
            (&mut self.inverse, 1),
            (&mut self.q, config.q_width()),
            (&mut self.k, config.kv_width()),
            (&mut self.v, config.kv_width()),
            (&mut self.mixed, config.q_width()),
            (&mut self.wide, h),
            (&mut self.gate, config.ffn),
            (&mut self.up, config.ffn),
            (&mut self.act, config.ffn),
            (&mut self.cos, config.head_dim / 2),
            (&mut self.sin, config.head_dim / 2),
        ];
        for (buffer, width) in sizes {
            buffer.resize(rows * width, 0.0);
        }
    }

    /// Final hidden states after the last norm, `[rows, hidden]`, of the latest call.
    pub(crate) fn hidden(&self) -> &[f32] {
        &self.normed
    }
}

/// Runs the new tokens of all slots through the model and appends them to their caches.
///
/// [`Workspace::hidden`] then holds one row per token, slots in order. With a `trace` there must be
/// one slot with an empty cache. `between` is called before each layer, when no other thread of the
/// model's is at work: it may run other sequences, with a workspace of their own.
///
/// # Errors
///
/// [`RunError`] for empty slots, unknown ids, sequences beyond the model's positions, adapters or
/// caches of another shape; caches are unchanged then.
pub(crate) fn forward(
    model: &Model,
    rt: &Runtime,
    slots: &mut [Slot<'_>],
    ws: &mut Workspace,
    mut trace: Option<&mut Trace>,
    between: &mut dyn FnMut(),
) -> Result<(), RunError> {
    let config = model.config();
    check(model, slots)?;
    for slot in slots.iter_mut() {
        slot.cache.reserve(slot.tokens.len())?;
    }
    let rows: usize = slots.iter().map(|s| s.tokens.len()).sum();
    ws.fit(config, rows);
    let (isa, h, eps) = (rt.isa(), config.hidden, config.rms_eps);
    let groups = groups(slots);
    embed(model, slots, ws);
    if let Some(trace) = trace.as_deref_mut() {
        trace.layers.clear();
        trace.cos.clone_from(&ws.cos);
        trace.sin.clone_from(&ws.sin);
    }
    for layer in 0..config.layers {
        between();
        let spans = &model.layers[layer];
        let mut kept = trace.is_some().then(LayerTrace::default);
        rms_norm(isa, &ws.x, model.slice(&spans.norm1), eps, &mut ws.normed, &mut ws.inverse);
        if let Some(kept) = &mut kept {
            kept.x.clone_from(&ws.x);
            kept.normed1.clone_from(&ws.normed);
            kept.inverse1.clone_from(&ws.inverse);
        }
        let place = (layer, Input::Attention);
        ws.linear.apply(model, rt, place, &groups, &ws.normed, &mut [&mut ws.q, &mut ws.k, &mut ws.v]);
        keep_low(&ws.linear, place, &groups, &mut kept);
        norm_heads(model, isa, layer, ws);
        if let Some(kept) = &mut kept {
            kept.raw.clone_from(&ws.raw);
            kept.inverse_heads.clone_from(&ws.inverse_heads);
        }
        attention(model, rt, layer, slots, ws);
        let place = (layer, Input::Mixed);
        ws.linear.apply(model, rt, place, &groups, &ws.mixed, &mut [&mut ws.wide]);
        keep_low(&ws.linear, place, &groups, &mut kept);
        add(isa, &mut ws.x, &ws.wide);
        rms_norm(isa, &ws.x, model.slice(&spans.norm2), eps, &mut ws.normed, &mut ws.inverse);
        let place = (layer, Input::FeedForward);
        ws.linear.apply(model, rt, place, &groups, &ws.normed, &mut [&mut ws.gate, &mut ws.up]);
        keep_low(&ws.linear, place, &groups, &mut kept);
        silu_mul(isa, &ws.gate, &ws.up, &mut ws.act);
        let place = (layer, Input::Gated);
        ws.linear.apply(model, rt, place, &groups, &ws.act, &mut [&mut ws.wide]);
        keep_low(&ws.linear, place, &groups, &mut kept);
        if let (Some(trace), Some(mut kept)) = (trace.as_deref_mut(), kept) {
            kept.q.clone_from(&ws.q);
            kept.k.clone_from(&ws.k);
            kept.v.clone_from(&ws.v);
            kept.mixed.clone_from(&ws.mixed);
            kept.middle.clone_from(&ws.x);
            kept.normed2.clone_from(&ws.normed);
            kept.inverse2.clone_from(&ws.inverse);
            kept.gate.clone_from(&ws.gate);
            kept.up.clone_from(&ws.up);
            kept.act.clone_from(&ws.act);
            trace.layers.push(kept);
        }
        add(isa, &mut ws.x, &ws.wide);
    }
    for slot in slots.iter_mut() {
        slot.cache.advance(slot.tokens.len());
    }
    rms_norm(isa, &ws.x, model.slice(&model.norm), eps, &mut ws.normed, &mut ws.inverse);
    if let Some(trace) = trace {
        trace.x.clone_from(&ws.x);
        trace.inverse.clone_from(&ws.inverse);
    }
    assert_eq!(ws.normed.len(), rows * h);
    Ok(())
}

/// Logits `[rows, vocab]` of final hidden states `[rows, hidden]`.
pub(crate) fn head(model: &Model, rt: &Runtime, hidden: &[f32], logits: &mut [f32]) {
    Linear::default().head(model, rt, hidden, logits);
}

/// Everything that could be wrong with the slots, before anything is written.
fn check(model: &Model, slots: &[Slot<'_>]) -> Result<(), RunError> {
    let config = model.config();
    if slots.is_empty() {
        return Err(RunError::Empty);
    }
    for slot in slots {
        if slot.tokens.is_empty() {
            return Err(RunError::Empty);
        }
        if !slot.cache.fits(model) {
            return Err(RunError::CacheMismatch);
        }
        let tokens = slot.cache.len() + slot.tokens.len();
        if tokens > config.max_positions {
            return Err(RunError::TooLong { tokens, limit: config.max_positions });
        }
        model.check_ids(slot.tokens)?;
        if let Some(lora) = slot.lora {
            lora.check(config)?;
        }
    }
    Ok(())
}

/// Rows by adapter; neighbours that share one are multiplied together.
fn groups<'a>(slots: &[Slot<'a>]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut first = 0;
    for slot in slots {
        let rows = slot.tokens.len();
        if let Some(lora) = slot.lora {
            match groups.last_mut() {
                Some(last) if std::ptr::eq(last.lora, lora) && last.first + last.rows == first => {
                    last.rows += rows;
                }
                _ => groups.push(Group { first, rows, lora }),
            }
        }
        first += rows;
    }
    groups
}

/// Looks up embeddings and the rotary angles of every row.
fn embed(model: &Model, slots: &[Slot<'_>], ws: &mut Workspace) {
    let (h, half) = (model.config().hidden, model.frequencies.len());
    let table = model.matrix(&model.embed);
    let mut row = 0;
    for slot in slots {
        for (i, id) in slot.tokens.iter().enumerate() {
            table.row(*id as usize, &mut ws.x[row * h..][..h]);
            let position = (slot.cache.len() + i) as f64;
            for (j, frequency) in model.frequencies.iter().enumerate() {
                let (sin, cos) = math::sin_cos(position * frequency);
                ws.cos[row * half + j] = (cos * model.rope_factor) as f32;
                ws.sin[row * half + j] = (sin * model.rope_factor) as f32;
            }
            row += 1;
        }
    }
}

/// Keeps `A·x` of the maps that were just applied, for a backward pass.
fn keep_low(linear: &Linear, (layer, input): (usize, Input), groups: &[Group<'_>], kept: &mut Option<LayerTrace>) {
    if let (Some(kept), Some(group)) = (kept, groups.last()) {
        for target in input.targets() {
            kept.low[target.index()] = linear.low(group.lora, layer, *target);
        }
    }
}

/// Normalises each head of queries and keys, in the families that do.
fn norm_heads(model: &Model, isa: Isa, layer: usize, ws: &mut Workspace) {
    let Some(norms) = &model.layers[layer].head_norms else { return };
    let config = model.config();
    for (i, x) in [&mut ws.q, &mut ws.k].into_iter().enumerate() {
        let (raw, inverse) = (&mut ws.raw[i], &mut ws.inverse_heads[i]);
        raw.clone_from(x);
        inverse.resize(x.len() / config.head_dim, 0.0);
        rms_norm(isa, raw, model.slice(&norms[i]), config.rms_eps, x, inverse);
    }
}

/// Rotates queries and keys, writes keys and values to the caches, and mixes values.
fn attention(model: &Model, rt: &Runtime, layer: usize, slots: &mut [Slot<'_>], ws: &mut Workspace) {
    let (config, shape) = (model.config(), PageShape::of(model));
    let (isa, half) = (rt.isa(), config.head_dim / 2);
    let (qw, kvw) = (config.q_width(), config.kv_width());
    let mut row = 0;
    for slot in slots.iter_mut() {
        for ahead in 0..slot.tokens.len() {
            let (cos, sin) = (&ws.cos[row * half..][..half], &ws.sin[row * half..][..half]);
            rope(isa, &mut ws.q[row * qw..][..qw], cos, sin, 1.0);
            rope(isa, &mut ws.k[row * kvw..][..kvw], cos, sin, 1.0);
            if shape.pairs {
                round(isa, &mut ws.q[row * qw..][..qw]);
                round(isa, &mut ws.k[row * kvw..][..kvw]);
                round(isa, &mut ws.v[row * kvw..][..kvw]);
            }
            slot.cache.write(layer, ahead, &ws.k[row * kvw..][..kvw], &ws.v[row * kvw..][..kvw]);
            row += 1;
        }
    }
    let queries: Vec<Query<'_>> = slots
        .iter()
        .map(|slot| {
            let (pages, layer) = slot.cache.layer(layer);
            Query { pages, layer, start: slot.cache.len(), rows: slot.tokens.len() }
        })
        .collect();
    attend(rt, shape, config.heads, &queries, &ws.q, &mut ws.mixed);
}
