//! Row-wise and element-wise kernels: norms, SiLU, rotary embedding, softmax, optimiser update.
//!
//! Place in the flow: between the products of `forward` and `backward`. Invariants: sums run in 16
//! strided lanes and are folded in a fixed tree; the code is plain Rust that the compiler
//! vectorises, and IEEE forbids it to change a bit by doing so. Not here: products (`gemm`),
//! attention.

use super::lanes::Lanes;
use super::math::exp_f32;
use super::{Isa, dispatch};

/// Folds 16 lanes in the order every reduction uses.
#[inline(always)]
pub(super) fn fold(mut lanes: [f32; 16]) -> f32 {
    let mut width = 8;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Sum of `a[i]·b[i]` in 16 strided lanes.
#[inline(always)]
fn lane_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let (a16, a_tail) = a.as_chunks::<16>();
    let (b16, b_tail) = b.as_chunks::<16>();
    for (x, y) in a16.iter().zip(b16) {
        for i in 0..16 {
            lanes[i] = x[i].mul_add(y[i], lanes[i]);
        }
    }
    for (lane, (x, y)) in lanes.iter_mut().zip(a_tail.iter().zip(b_tail)) {
        *lane = x.mul_add(*y, *lane);
    }
    fold(lanes)
}

/// RMS norm of each row: `out = x · w / sqrt(mean(x²) + eps)`; `inverse` keeps the factor of each
/// row.
///
/// **Shapes:** `x`, `out` `[rows, w.len()]`, `inverse` `[rows]`.
pub(crate) fn rms_norm(isa: Isa, x: &[f32], w: &[f32], eps: f32, out: &mut [f32], inverse: &mut [f32]) {
    assert!(x.len() == out.len() && x.len() == inverse.len() * w.len());
    dispatch!(isa, rms_norm_body(x: &[f32], w: &[f32], eps: f32, out: &mut [f32], inverse: &mut [f32]));
}

#[inline(always)]
unsafe fn rms_norm_body<L: Lanes>(x: &[f32], w: &[f32], eps: f32, out: &mut [f32], inverse: &mut [f32]) {
    let h = w.len();
    for ((x, out), inverse) in x.chunks_exact(h).zip(out.chunks_exact_mut(h)).zip(inverse) {
        let factor = 1.0 / (lane_dot(x, x) / h as f32 + eps).sqrt();
        *inverse = factor;
        for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
            *out = x * factor * w;
        }
    }
}

/// Backward of [`rms_norm`]: adds the gradient of `x` to `dx`, and that of `w` to `dw` when given.
pub(crate) fn rms_norm_back(
    isa: Isa,
    x: &[f32],
    w: &[f32],
    inverse: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dw: Option<&mut [f32]>,
) {
    assert!(x.len() == dy.len() && x.len() == dx.len() && x.len() == inverse.len() * w.len());
    let mut none = [];
    let dw = dw.map_or(none.as_mut_slice(), |dw| dw);
    dispatch!(isa, rms_norm_back_body(
        x: &[f32], w: &[f32], inverse: &[f32], dy: &[f32], dx: &mut [f32], dw: &mut [f32]
    ));
}

#[inline(always)]
unsafe fn rms_norm_back_body<L: Lanes>(
    x: &[f32],
    w: &[f32],
    inverse: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
) {
    let h = w.len();
    let mut scaled = vec![0f32; h];
    let rows = x.chunks_exact(h).zip(dy.chunks_exact(h)).zip(dx.chunks_exact_mut(h)).zip(inverse);
    for (((x, dy), dx), &r) in rows {
        for ((s, dy), w) in scaled.iter_mut().zip(dy).zip(w) {
            *s = dy * w;
        }
        let pull = lane_dot(&scaled, x) * r * r * r / h as f32;
        for ((dx, s), x) in dx.iter_mut().zip(&scaled).zip(x) {
            *dx += s.mul_add(r, -(x * pull));
        }
        // Empty when the caller does not want it.
        for ((dw, dy), x) in dw.iter_mut().zip(dy).zip(x) {
            *dw = (dy * r).mul_add(*x, *dw);
        }
    }
}

/// `out = silu(gate) · up`, element by element.
pub(crate) fn silu_mul(isa: Isa, gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(gate.len() == up.len() && gate.len() == out.len());
    dispatch!(isa, silu_mul_body(gate: &[f32], up: &[f32], out: &mut [f32]));
}

#[inline(always)]
unsafe fn silu_mul_body<L: Lanes>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
        *out = g / (1.0 + exp_f32(-g)) * u;
    }
}

/// Backward of [`silu_mul`]: gradients of `gate` and `up` from that of the output.
pub(crate) fn silu_mul_back(isa: Isa, gate: &[f32], up: &[f32], dout: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    assert!([up.len(), dout.len(), dgate.len(), dup.len()].iter().all(|&n| n == gate.len()));
    dispatch!(isa, silu_mul_back_body(
        gate: &[f32], up: &[f32], dout: &[f32], dgate: &mut [f32], dup: &mut [f32]
    ));
}

#[inline(always)]
unsafe fn silu_mul_back_body<L: Lanes>(gate: &[f32], up: &[f32], dout: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    let inputs = gate.iter().zip(up).zip(dout);
    for (((g, u), d), (dg, du)) in inputs.zip(dgate.iter_mut().zip(dup)) {
        let sigmoid = 1.0 / (1.0 + exp_f32(-g));
        *du = d * (g * sigmoid);
        // silu' = σ·(1 + g·(1 − σ))
        *dg = d * u * (sigmoid * g.mul_add(1.0 - sigmoid, 1.0));
    }
}

/// `a += b`.
pub(crate) fn add(isa: Isa, a: &mut [f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    dispatch!(isa, add_body(a: &mut [f32], b: &[f32]));
}

#[inline(always)]
unsafe fn add_body<L: Lanes>(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

/// Rotates the halves of each head by the angles of its position (the layout of Hugging Face's
/// Llama).
///
/// **Shapes:** `x` is one row of whole heads of width `2·cos.len()`. `turn` is 1 forward, -1
/// backward.
pub(crate) fn rope(isa: Isa, x: &mut [f32], cos: &[f32], sin: &[f32], turn: f32) {
    assert!(cos.len() == sin.len() && x.len().is_multiple_of(2 * cos.len()));
    dispatch!(isa, rope_body(x: &mut [f32], cos: &[f32], sin: &[f32], turn: f32));
}

#[inline(always)]
unsafe fn rope_body<L: Lanes>(x: &mut [f32], cos: &[f32], sin: &[f32], turn: f32) {
    let half = cos.len();
    for head in x.chunks_exact_mut(2 * half) {
        let (lower, upper) = head.split_at_mut(half);
        for ((a, b), (c, s)) in lower.iter_mut().zip(upper).zip(cos.iter().zip(sin)) {
            let s = s * turn;
            let (x, y) = (*a, *b);
            *a = x.mul_add(*c, -(y * s));
            *b = y.mul_add(*c, x * s);
        }
    }
}

/// Softmax of the first `limit` values of `x` times `scale`; the rest becomes 0.
#[inline(always)]
pub(super) fn softmax_row(x: &mut [f32], limit: usize, scale: f32) {
    let inverse = exponentials(x, limit, scale);
    for x in &mut x[..limit] {
        *x *= inverse;
    }
}

/// As [`softmax_row`], but for the last factor, which it gives.
#[inline(always)]
pub(super) fn exponentials(x: &mut [f32], limit: usize, scale: f32) -> f32 {
    let (live, dead) = x.split_at_mut(limit);
    dead.fill(0.0);
    let (chunks, tail) = live.as_chunks_mut::<16>();
    // What the loops carry is a copy apart from what the tail indexes, so that it stays in a
    // register; and no closures, which would be compiled without the wide instructions.
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in chunks.iter_mut() {
        for i in 0..16 {
            chunk[i] *= scale;
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    let mut last = lanes;
    for (lane, x) in last.iter_mut().zip(tail.iter_mut()) {
        *x *= scale;
        *lane = if *x > *lane { *x } else { *lane };
    }
    let max = last.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let mut sums = [0f32; 16];
    for chunk in chunks.iter_mut() {
        for i in 0..16 {
            chunk[i] = exp_f32(chunk[i] - max);
            sums[i] += chunk[i];
        }
    }
    let mut last = sums;
    for (sum, x) in last.iter_mut().zip(tail) {
        *x = exp_f32(*x - max);
        *sum += *x;
    }
    1.0 / fold(last)
}

/// Causal softmax of the rows of `x` `[rows, width]`: row i keeps `first + i` values, scaled by
/// `scale`.
pub(crate) fn softmax_rows(isa: Isa, x: &mut [f32], width: usize, first: usize, scale: f32) {
    assert!(x.len().is_multiple_of(width) && first + x.len() / width <= width + 1);
    dispatch!(isa, softmax_rows_body(x: &mut [f32], width: usize, first: usize, scale: f32));
}

#[inline(always)]
unsafe fn softmax_rows_body<L: Lanes>(x: &mut [f32], width: usize, first: usize, scale: f32) {
    for (i, row) in x.chunks_exact_mut(width).enumerate() {
        softmax_row(row, first + i, scale);
    }
}

/// Backward of a row-wise softmax: `dp = p · (dp − Σ p·dp) · scale`, in place.
///
/// **Shapes:** both `[rows, width]`.
pub(crate) fn softmax_rows_back(isa: Isa, p: &[f32], dp: &mut [f32], width: usize, scale: f32) {
    assert_eq!(p.len(), dp.len());
    dispatch!(isa, softmax_rows_back_body(p: &[f32], dp: &mut [f32], width: usize, scale: f32));
}

#[inline(always)]
unsafe fn softmax_rows_back_body<L: Lanes>(p: &[f32], dp: &mut [f32], width: usize, scale: f32) {
    for (p, dp) in p.chunks_exact(width).zip(dp.chunks_exact_mut(width)) {
        let mean = lane_dot(p, dp);
        for (dp, p) in dp.iter_mut().zip(p) {
            *dp = p * (*dp - mean) * scale;
        }
    }
}

/// Maximum of a row and the sum of `exp(x − max)`: the two parts of its log-sum-exp.
pub(crate) fn max_and_sum_exp(isa: Isa, x: &[f32]) -> (f32, f32) {
    let mut out = (0.0, 0.0);
    let slot = &mut out;
    dispatch!(isa, max_and_sum_exp_body(x: &[f32], slot: &mut (f32, f32)));
    out
}

#[inline(always)]
unsafe fn max_and_sum_exp_body<L: Lanes>(x: &[f32], slot: &mut (f32, f32)) {
    let (chunks, tail) = x.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    let max = lanes.iter().chain(tail).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    let mut sums = [0f32; 16];
    for chunk in chunks {
        for i in 0..16 {
            sums[i] += exp_f32(chunk[i] - max);
        }
    }
    for (sum, x) in sums.iter_mut().zip(tail) {
        *sum += exp_f32(x - max);
    }
    *slot = (max, fold(sums));
}

/// `x = exp(x − max) · factor`: turns logits into scaled probabilities.
pub(crate) fn exp_scale(isa: Isa, x: &mut [f32], max: f32, factor: f32) {
    dispatch!(isa, exp_scale_body(x: &mut [f32], max: f32, factor: f32));
}

#[inline(always)]
unsafe fn exp_scale_body<L: Lanes>(x: &mut [f32], max: f32, factor: f32) {
    for x in x {
        *x = exp_f32(*x - max) * factor;
    }
}

/// Constants of one AdamW step, computed once in f64 and rounded.
#[derive(Clone, Copy)]
pub(crate) struct AdamStep {
    /// Factor that clips the gradient.
    pub(crate) grad_scale: f32,
    /// Decay of the first moment.
    pub(crate) beta1: f32,
    /// Decay of the second moment.
    pub(crate) beta2: f32,
    /// Learning rate over the first moment's bias correction.
    pub(crate) rate: f32,
    /// 1 over the root of the second moment's bias correction.
    pub(crate) root: f32,
    /// Added to the root of the second moment.
    pub(crate) eps: f32,
    /// 1 − learning rate · weight decay.
    pub(crate) keep: f32,
}

/// One AdamW update (Loshchilov and Hutter 2019), element by element.
pub(crate) fn adamw(isa: Isa, step: AdamStep, x: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    assert!(x.len() == g.len() && x.len() == m.len() && x.len() == v.len());
    dispatch!(isa, adamw_body(step: AdamStep, x: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]));
}

#[inline(always)]
unsafe fn adamw_body<L: Lanes>(step: AdamStep, x: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    for ((x, g), (m, v)) in x.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
        let g = g * step.grad_scale;
        *m = step.beta1.mul_add(*m, (1.0 - step.beta1) * g);
        *v = step.beta2.mul_add(*v, (1.0 - step.beta2) * (g * g));
        let denominator = v.sqrt().mul_add(step.root, step.eps);
        *x = step.keep.mul_add(*x, -(step.rate * (*m / denominator)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::uniform;

    fn random(len: usize, stream: u64) -> Vec<f32> {
        (0..len).map(|i| 6.0 * uniform(9, stream, i as u64) as f32 - 3.0).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let run = |isa: Isa| {
            let (x, y, w) = (random(3 * 172, 1), random(3 * 172, 2), random(172, 3));
            let (mut out, mut inverse) = (vec![0.0; x.len()], vec![0.0; 3]);
            rms_norm(isa, &x, &w, 1e-5, &mut out, &mut inverse);
            let (mut dx, mut dw) = (y.clone(), w.clone());
            rms_norm_back(isa, &x, &w, &inverse, &y, &mut dx, Some(&mut dw));
            let mut act = vec![0.0; x.len()];
            silu_mul(isa, &x, &y, &mut act);
            let (mut dg, mut du) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            silu_mul_back(isa, &x, &y, &out, &mut dg, &mut du);
            let mut p = x.clone();
            softmax_rows(isa, &mut p, 172, 40, 0.35);
            let mut dp = y.clone();
            softmax_rows_back(isa, &p, &mut dp, 172, 0.35);
            let (max, sum) = max_and_sum_exp(isa, &x);
            let mut e = x.clone();
            exp_scale(isa, &mut e, max, 1.0 / sum);
            let (mut q, mut m, mut v) = (x.clone(), y.clone(), e.clone());
            let step =
                AdamStep { grad_scale: 0.7, beta1: 0.9, beta2: 0.999, rate: 1e-2, root: 1.3, eps: 1e-8, keep: 0.999 };
            adamw(isa, step, &mut q, &out, &mut m, &mut v);
            [out, inverse, dx, dw, act, dg, du, p, dp, vec![max, sum], e, q, m, v]
        };
        let want = run(Isa::Scalar);
        for isa in [Isa::Avx2, Isa::Avx512] {
            if isa.is_available() {
                assert_eq!(run(isa), want, "{isa:?}");
            }
        }
    }

    #[test]
    fn softmax_keeps_only_the_causal_part() {
        let mut x = random(2 * 20, 4);
        softmax_rows(Isa::Scalar, &mut x, 20, 3, 1.0);
        for (row, limit) in x.chunks(20).zip([3, 4]) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(row[..limit].iter().all(|p| *p > 0.0) && row[limit..].iter().all(|p| *p == 0.0));
        }
    }
}
