//! The transformer, backward: gradients of one record's loss by hand.
//!
//! Place in the flow: [`lora_gradient`] is what `attribution` projects and what
//! [`LoraTrainer`](crate::LoraTrainer) sums; [`full_gradient`] is for pre-training. Invariants: a
//! record's gradient depends on that record, the weights and nothing else (no batch, no padding);
//! sums run in the order of `gemm`. Logits exist for 64 positions at a time; attention weights are
//! recomputed in blocks of 64 rows. Not here: optimisers (`train`).

use std::ops::Range;

use crate::error::RunError;
use crate::forward::{KvCache, LayerTrace, Slot, Trace, Workspace, forward, head};
use crate::kernels::elementwise::{
    add, exp_scale, max_and_sum_exp, rms_norm_back, rope, silu_mul_back, softmax_rows, softmax_rows_back,
};
use crate::kernels::gemm::{Accumulate, Left, Packed, Right, Shape, gemm};
use crate::kernels::{Runtime, math};
use crate::lora::Lora;
use crate::mode::NumericMode;
use crate::model::Model;
use crate::shapes::Target;

/// Rows of logits, or of attention weights, that exist at once.
const BLOCK: usize = 64;

/// Buffers reused between gradient calls; holds nothing of meaning between them.
#[derive(Default)]
pub struct Scratch {
    ws: Workspace,
    trace: Trace,
    logits: Vec<f32>,
    dx: Vec<f32>,
    dnormed: Vec<f32>,
    dact: Vec<f32>,
    dgate: Vec<f32>,
    dup: Vec<f32>,
    dmixed: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    draw: Vec<f32>,
    rows: Vec<f32>,
    low: Vec<f32>,
    turned: Vec<f32>,
    weights: Vec<f32>,
    dweights: Vec<f32>,
}

/// Mean negative log-likelihood (nats) of `ids[loss_from..]` and its gradient.
///
/// **Shapes:** the gradient is flat, in the order of [`Lora::params`]. `loss_from = 1` scores
/// everything that can be. **Precision:** f32 kernels, the loss summed in f64 in order of position;
/// the same bits on every machine.
///
/// # Errors
///
/// [`RunError`] when the record cannot be run or nothing would be scored.
pub fn lora_gradient(
    model: &Model,
    lora: &Lora,
    ids: &[u32],
    loss_from: usize,
    scratch: &mut Scratch,
) -> Result<(f32, Vec<f32>), RunError> {
    let count = scored(ids, loss_from)?;
    let mut grads = vec![0.0; lora.num_params()];
    let wanted = Wanted::Lora(lora, &mut grads);
    let record = Record { ids, loss_from, weight: 1.0 / count as f32 };
    let sum = gradient(model, model.runtime(), record, wanted, scratch)?;
    Ok(((sum / count as f64) as f32, grads))
}

/// As [`lora_gradient`], for all weights of the base model, in the order of [`Model::params`].
///
/// # Errors
///
/// As [`lora_gradient`].
pub fn full_gradient(
    model: &Model,
    ids: &[u32],
    loss_from: usize,
    scratch: &mut Scratch,
) -> Result<(f32, Vec<f32>), RunError> {
    let count = scored(ids, loss_from)?;
    let mut grads = vec![0.0; model.num_params()];
    let record = Record { ids, loss_from, weight: 1.0 / count as f32 };
    let sum = gradient(model, model.runtime(), record, Wanted::Full(&mut grads), scratch)?;
    Ok(((sum / count as f64) as f32, grads))
}

/// Number of tokens whose loss counts.
pub(crate) fn scored(ids: &[u32], loss_from: usize) -> Result<usize, RunError> {
    if loss_from == 0 || loss_from >= ids.len() {
        return Err(RunError::NothingToScore { loss_from, tokens: ids.len() });
    }
    Ok(ids.len() - loss_from)
}

/// One record and the factor of each of its tokens in the loss.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) ids: &'a [u32],
    pub(crate) loss_from: usize,
    pub(crate) weight: f32,
}

/// Which gradient to compute; the buffer must be zero and as long as the parameters.
pub(crate) enum Wanted<'a> {
    /// Of the adapter only.
    Lora(&'a Lora, &'a mut [f32]),
    /// Of all base weights, without an adapter.
    Full(&'a mut [f32]),
}

impl<'a> Wanted<'a> {
    /// Gradient of a base tensor, if wanted.
    fn full(&mut self, range: &Range<usize>) -> Option<&mut [f32]> {
        match self {
            Wanted::Lora(..) => None,
            Wanted::Full(grads) => Some(&mut grads[range.clone()]),
        }
    }
}

/// Sum of negative log-likelihoods (nats) over the scored tokens; adds `weight` times its gradient.
pub(crate) fn gradient(
    model: &Model,
    rt: &Runtime,
    record: Record<'_>,
    mut wanted: Wanted<'_>,
    s: &mut Scratch,
) -> Result<f64, RunError> {
    scored(record.ids, record.loss_from)?;
    model.check_ids(record.ids)?;
    if model.mode() != NumericMode::F32Fma {
        return Err(RunError::NoGradient { mode: model.mode().name() });
    }
    let config = model.config();
    let (isa, h) = (rt.isa(), config.hidden);
    // The last token is only predicted, never read.
    let tokens = &record.ids[..record.ids.len() - 1];
    let lora = match &wanted {
        Wanted::Lora(lora, _) => Some(*lora),
        Wanted::Full(_) => None,
    };
    let mut cache = KvCache::new(model);
    let mut slots = [Slot { cache: &mut cache, lora, tokens }];
    forward(model, rt, &mut slots, &mut s.ws, Some(&mut s.trace), &mut || ())?;

    let rows = tokens.len();
    zeros(&mut s.dnormed, rows * h);
    let loss = loss_and_head(model, rt, record, &mut wanted, s);
    zeros(&mut s.dx, rows * h);
    let norm = model.slice(&model.norm);
    let dw = wanted.full(&model.norm);
    rms_norm_back(isa, &s.trace.x, norm, &s.trace.inverse, &s.dnormed, &mut s.dx, dw);
    let mut layers = std::mem::take(&mut s.trace.layers);
    while let Some(trace) = layers.pop() {
        layer_back(model, rt, layers.len(), &trace, &mut wanted, s);
    }
    if let Some(dembed) = wanted.full(&model.embed) {
        for (id, dx) in tokens.iter().zip(s.dx.chunks_exact(h)) {
            add(isa, &mut dembed[*id as usize * h..][..h], dx);
        }
    }
    Ok(loss)
}

/// Loss, and the gradient of the final hidden states (into `dnormed`) and of the head.
fn loss_and_head(model: &Model, rt: &Runtime, record: Record<'_>, wanted: &mut Wanted<'_>, s: &mut Scratch) -> f64 {
    let (h, v, isa) = (model.config().hidden, model.config().vocab, rt.isa());
    let first = record.loss_from - 1;
    let hidden = &s.ws.hidden()[first * h..];
    let dhidden = &mut s.dnormed[first * h..];
    let mut loss = 0.0;
    let head_rows = model.rows(&model.head, &mut s.rows);
    let blocks = hidden.chunks(BLOCK * h).zip(dhidden.chunks_mut(BLOCK * h));
    for ((hidden, dhidden), next) in blocks.zip(record.ids[record.loss_from..].chunks(BLOCK)) {
        let m = next.len();
        s.logits.resize(m * v, 0.0);
        head(model, rt, hidden, &mut s.logits);
        for (row, id) in s.logits.chunks_exact_mut(v).zip(next) {
            let (max, sum) = max_and_sum_exp(isa, row);
            loss += math::ln(f64::from(sum)) - f64::from(row[*id as usize] - max);
            exp_scale(isa, row, max, record.weight / sum);
            row[*id as usize] -= record.weight;
        }
        let weight = Right::Rows(head_rows, h);
        gemm(rt, Shape { m, n: h, k: v }, Left::rows(&s.logits, v), weight, dhidden, h, Accumulate::Set);
        if let Some(dhead) = wanted.full(&model.head) {
            let left = Left::transposed(&s.logits, v);
            gemm(rt, Shape { m: v, n: h, k: m }, left, Right::Rows(hidden, h), dhead, h, Accumulate::Add);
        }
    }
    loss
}

/// One layer: takes the gradient of its output in `s.dx` and leaves that of its input there.
fn layer_back(model: &Model, rt: &Runtime, layer: usize, trace: &LayerTrace, wanted: &mut Wanted<'_>, s: &mut Scratch) {
    let config = model.config();
    let (isa, spans) = (rt.isa(), &model.layers[layer]);
    let rows = trace.inverse1.len();
    let h = config.hidden;
    // An adapter's gradient does not need what lies below the first layer.
    let below = layer > 0 || matches!(wanted, Wanted::Full(_));
    let mut back = Back { model, rt, layer, low: &mut s.low, turned: &mut s.turned, rows: &mut s.rows };

    zeros(&mut s.dact, rows * config.ffn);
    back.linear(Target::Down, &trace.act, &trace.low, &s.dx, Some((&mut s.dact, Accumulate::Set)), wanted);
    s.dgate.resize(rows * config.ffn, 0.0);
    s.dup.resize(rows * config.ffn, 0.0);
    silu_mul_back(isa, &trace.gate, &trace.up, &s.dact, &mut s.dgate, &mut s.dup);
    back.linear(Target::Gate, &trace.normed2, &trace.low, &s.dgate, Some((&mut s.dnormed, Accumulate::Set)), wanted);
    back.linear(Target::Up, &trace.normed2, &trace.low, &s.dup, Some((&mut s.dnormed, Accumulate::Add)), wanted);
    let dw = wanted.full(&spans.norm2);
    rms_norm_back(isa, &trace.middle, model.slice(&spans.norm2), &trace.inverse2, &s.dnormed, &mut s.dx, dw);

    zeros(&mut s.dmixed, rows * config.q_width());
    back.linear(Target::O, &trace.mixed, &trace.low, &s.dx, Some((&mut s.dmixed, Accumulate::Set)), wanted);
    zeros(&mut s.dq, rows * config.q_width());
    zeros(&mut s.dk, rows * config.kv_width());
    zeros(&mut s.dv, rows * config.kv_width());
    let outputs = [&mut s.dq, &mut s.dk, &mut s.dv];
    attention_back(model, rt, trace, &s.dmixed, outputs, &mut s.weights, &mut s.dweights);
    let half = config.head_dim / 2;
    for (width, dx) in [(config.q_width(), &mut s.dq), (config.kv_width(), &mut s.dk)] {
        for (r, dx) in dx.chunks_exact_mut(width).enumerate() {
            rope(isa, dx, &s.trace.cos[r * half..][..half], &s.trace.sin[r * half..][..half], -1.0);
        }
    }
    if let Some(norms) = &spans.head_norms {
        for (i, dx) in [&mut s.dq, &mut s.dk].into_iter().enumerate() {
            let dw = wanted.full(&norms[i]);
            zeros(&mut s.draw, dx.len());
            let (norm, inverse) = (model.slice(&norms[i]), &trace.inverse_heads[i]);
            rms_norm_back(isa, &trace.raw[i], norm, inverse, dx, &mut s.draw, dw);
            std::mem::swap(dx, &mut s.draw);
        }
    }
    let inputs =
        [(Target::Q, &s.dq, Accumulate::Set), (Target::K, &s.dk, Accumulate::Add), (Target::V, &s.dv, Accumulate::Add)];
    for (target, dy, into) in inputs {
        let dx = below.then_some((&mut s.dnormed, into));
        back.linear(target, &trace.normed1, &trace.low, dy, dx, wanted);
    }
    if below {
        let dw = wanted.full(&spans.norm1);
        rms_norm_back(isa, &trace.x, model.slice(&spans.norm1), &trace.inverse1, &s.dnormed, &mut s.dx, dw);
    }
    assert_eq!(s.dx.len(), rows * h);
}

/// What the linear maps of one layer share.
struct Back<'a> {
    model: &'a Model,
    rt: &'a Runtime,
    layer: usize,
    low: &'a mut Vec<f32>,
    turned: &'a mut Vec<f32>,
    /// A weight as plain rows.
    rows: &'a mut Vec<f32>,
}

impl Back<'_> {
    /// Backward of one linear map with its adapter: gradients of its input (set or added) and of
    /// its weights.
    fn linear(
        &mut self,
        target: Target,
        x: &[f32],
        low: &[Vec<f32>; 7],
        dy: &[f32],
        dx: Option<(&mut Vec<f32>, Accumulate)>,
        wanted: &mut Wanted<'_>,
    ) {
        let (rt, span) = (self.rt, &self.model.layers[self.layer].linear[target.index()]);
        let (out, inp) = target.dims(self.model.config());
        let m = dy.len() / out;
        let mut dx = dx.map(|(dx, into)| {
            let weight = Right::Rows(self.model.rows(span, self.rows), inp);
            gemm(rt, Shape { m, n: inp, k: out }, Left::rows(dy, out), weight, dx, inp, into);
            dx
        });
        let (lora, grads) = match wanted {
            Wanted::Full(grads) => {
                let shape = Shape { m: out, n: inp, k: m };
                let dw = &mut grads[span.clone()];
                gemm(rt, shape, Left::transposed(dy, out), Right::Rows(x, inp), dw, inp, Accumulate::Add);
                if let Some(bias) = &self.model.layers[self.layer].bias[target.index()] {
                    let db = &mut grads[bias.clone()];
                    dy.chunks_exact(out).for_each(|row| add(rt.isa(), db, row));
                }
                return;
            }
            Wanted::Lora(lora, grads) => (lora, grads),
        };
        let Some(pair) = lora.pair(self.layer, target) else { return };
        let (rank, scale) = (pair.rank, pair.scale);
        let (a, b) = (&lora.params()[pair.a_range.clone()], &lora.params()[pair.b_range.clone()]);
        // dlow = scale · dy·B
        zeros(self.low, m * rank);
        let scaled = Accumulate::Scaled(scale);
        gemm(rt, Shape { m, n: rank, k: out }, Left::rows(dy, out), Right::Rows(b, rank), self.low, rank, scaled);
        // dA = dlowᵀ·x
        let da = &mut grads[pair.a_range.clone()];
        let shape = Shape { m: rank, n: inp, k: m };
        gemm(rt, shape, Left::transposed(self.low, rank), Right::Rows(x, inp), da, inp, Accumulate::Add);
        // dBᵀ = scale · lowᵀ·dy, in this orientation so that lanes run along the wide side.
        zeros(self.turned, rank * out);
        let left = Left::transposed(&low[target.index()], rank);
        gemm(rt, Shape { m: rank, n: out, k: m }, left, Right::Rows(dy, out), self.turned, out, scaled);
        for (o, row) in grads[pair.b_range.clone()].chunks_exact_mut(rank).enumerate() {
            for (r, g) in row.iter_mut().enumerate() {
                *g += self.turned[r * out + o];
            }
        }
        if let Some(dx) = &mut dx {
            let left = Left::rows(self.low, rank);
            gemm(rt, Shape { m, n: inp, k: rank }, left, Right::Rows(a, inp), dx, inp, Accumulate::Add);
        }
    }
}

/// Backward of causal attention: adds to the (zeroed) gradients of rotated queries, rotated keys,
/// and values.
fn attention_back(
    model: &Model,
    rt: &Runtime,
    trace: &LayerTrace,
    dmixed: &[f32],
    [dq, dk, dv]: [&mut Vec<f32>; 3],
    p: &mut Vec<f32>,
    dp: &mut Vec<f32>,
) {
    let config = model.config();
    let (isa, d) = (rt.isa(), config.head_dim);
    let (qw, kvw) = (config.q_width(), config.kv_width());
    let rows = trace.q.len() / qw;
    let scale = 1.0 / (d as f32).sqrt();
    let group = config.heads / config.kv_heads;
    for kv in 0..config.kv_heads {
        let column = |x: &[f32]| -> Vec<f32> {
            x.chunks_exact(kvw).flat_map(|row| row[kv * d..][..d].iter().copied()).collect()
        };
        let (keys, values) = (column(&trace.k), column(&trace.v));
        let keys_t = Packed::transposed(&keys, rows, d);
        let values_t = Packed::transposed(&values, rows, d);
        for head in kv * group..(kv + 1) * group {
            for first in (0..rows).step_by(BLOCK) {
                let m = BLOCK.min(rows - first);
                let seen = first + m;
                let at = first * qw + head * d;
                let query = Left { data: &trace.q[at..], row: qw, col: 1 };
                let dout = Left { data: &dmixed[at..], row: qw, col: 1 };
                p.resize(m * seen, 0.0);
                dp.resize(m * seen, 0.0);
                let wide = Shape { m, n: seen, k: d };
                gemm(rt, wide, query, Right::Packed(&keys_t), p, seen, Accumulate::Set);
                softmax_rows(isa, p, seen, first + 1, scale);
                gemm(rt, wide, dout, Right::Packed(&values_t), dp, seen, Accumulate::Set);
                softmax_rows_back(isa, p, dp, seen, scale);
                let narrow = Shape { m, n: d, k: seen };
                gemm(rt, narrow, Left::rows(dp, seen), Right::Rows(&keys, d), &mut dq[at..], qw, Accumulate::Set);
                let tall = Shape { m: seen, n: d, k: m };
                let (q_rows, dout_rows) = (Right::Rows(&trace.q[at..], qw), Right::Rows(&dmixed[at..], qw));
                gemm(rt, tall, Left::transposed(dp, seen), q_rows, &mut dk[kv * d..], kvw, Accumulate::Add);
                gemm(rt, tall, Left::transposed(p, seen), dout_rows, &mut dv[kv * d..], kvw, Accumulate::Add);
            }
        }
    }
}

/// `len` zeros.
fn zeros(buffer: &mut Vec<f32>, len: usize) {
    buffer.clear();
    buffer.resize(len, 0.0);
}
