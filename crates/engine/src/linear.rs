//! A layer's linear maps: base weights in the model's numeric mode, biases, adapters row by row.
//!
//! Place in the flow: `forward` calls [`Linear::apply`] once per input (queries, keys and values share one) and
//! [`Linear::head`] for logits.
//!
//! Invariants: a row's result depends on the row and its adapter only: `y = W·x`, then `+ bias`, then
//! `fma(scale, B·(A·x), y)` per map. Rows of one adapter are multiplied together, rows alone with theirs side by
//! side; the sums are the same. Not here: what the maps mean (`forward`).

use crate::kernels::Runtime;
use crate::kernels::elementwise::add;
use crate::kernels::gemm::Into;
use crate::kernels::product::{Acts, Output, Single, multiply, multiply_each};
use crate::kernels::quant::{self, QuantActs, QuantOutput};
use crate::kernels::weights::{Form, Weight};
use crate::lora::{Lora, Target};
use crate::lora_pack::{Factors, Input};
use crate::model::Model;

/// Consecutive rows with one adapter.
pub(crate) struct Group<'a> {
    pub(crate) first: usize,
    pub(crate) rows: usize,
    pub(crate) lora: &'a Lora,
}

/// Buffers of the linear maps, kept between calls.
#[derive(Default)]
pub(crate) struct Linear {
    acts: Acts,
    quant: QuantActs,
    group_acts: Acts,
    low_acts: Acts,
    /// `A·x` of every group in order, each `[rows, sum of ranks]`.
    low: Vec<f32>,
}

impl Linear {
    /// Logits `[rows, vocab]` of final hidden states `[rows, hidden]`.
    pub(crate) fn head(&mut self, model: &Model, rt: &Runtime, hidden: &[f32], logits: &mut [f32]) {
        self.base(rt, hidden, &mut [(model.head_weight(), logits)]);
    }

    /// `y = W·x + bias` plus each group's adapter, for all maps of `layer` that read `input`.
    ///
    /// **Shapes:** `x` `[rows, inputs]`, `outs` by place in [`Input::targets`], each `[rows, outputs]`.
    pub(crate) fn apply(
        &mut self,
        model: &Model,
        rt: &Runtime,
        (layer, input): (usize, Input),
        groups: &[Group<'_>],
        x: &[f32],
        outs: &mut [&mut [f32]],
    ) {
        let spans = &model.layers[layer];
        let mut products: Vec<(Weight<'_>, &mut [f32])> = input
            .targets()
            .iter()
            .zip(outs.iter_mut())
            .map(|(target, out)| (model.matrix(&spans.linear[target.index()]), &mut **out))
            .collect();
        let float = self.base(rt, x, &mut products);
        for (target, out) in input.targets().iter().zip(outs.iter_mut()) {
            if let Some(bias) = &spans.bias[target.index()] {
                let bias = model.slice(bias);
                out.chunks_exact_mut(bias.len()).for_each(|row| add(rt.isa(), row, bias));
            }
        }
        self.low.clear();
        if !groups.is_empty() {
            self.adapters(model, rt, (layer, input), groups, x, outs, float);
        }
    }

    /// `A·x` of one map, `[rows, rank]`, as the latest [`Linear::apply`] with a single group left it.
    pub(crate) fn low(&self, lora: &Lora, layer: usize, target: Target) -> Vec<f32> {
        for input in Input::ALL {
            let Some(at) = input.targets().iter().position(|t| *t == target) else { continue };
            let Some(Factors { a, b }) = lora.factors(layer, input) else { continue };
            let Some((first, b)) = b[at] else { continue };
            return self.low.chunks_exact(a.n).flat_map(|row| row[first..][..b.k].iter().copied()).collect();
        }
        Vec::new()
    }

    /// `out = W·x` for weights of one form. Whether `self.acts` now holds `x`.
    fn base(&mut self, rt: &Runtime, x: &[f32], products: &mut [(Weight<'_>, &mut [f32])]) -> bool {
        let Some(first) = products.first() else { return false };
        let (k, form) = (first.0.k, first.0.form);
        if form == Form::Q8 {
            self.quant.fill(rt.isa(), x, x.len() / k, k);
            let mut outputs: Vec<QuantOutput<'_>> =
                products.iter_mut().map(|(weight, out)| QuantOutput { weight: *weight, out }).collect();
            quant::multiply(rt, &self.quant, &mut outputs);
            return false;
        }
        self.acts.fill(x, k, x.len() / k, k);
        let mut outputs: Vec<Output<'_>> = products
            .iter_mut()
            .map(|(weight, out)| Output { weight: *weight, width: weight.n, out, into: Into::Set })
            .collect();
        multiply(rt, &self.acts, &mut outputs);
        true
    }

    /// Adds every group's adapter; `ready` says whether `self.acts` holds all of `x`.
    #[expect(clippy::too_many_arguments, reason = "one product, named operands")]
    fn adapters(
        &mut self,
        model: &Model,
        rt: &Runtime,
        (layer, input): (usize, Input),
        groups: &[Group<'_>],
        x: &[f32],
        outs: &mut [&mut [f32]],
        ready: bool,
    ) {
        let k = input.targets()[0].dims(model.config()).1;
        let rows = x.len() / k;
        let found: Vec<(&Group<'_>, Factors<'_>)> =
            groups.iter().filter_map(|g| Some((g, g.lora.factors(layer, input)?))).collect();
        self.low.resize(found.iter().map(|(g, f)| g.rows * f.a.n).sum(), 0.0);

        let mut singles = Vec::with_capacity(found.len() * outs.len());
        let mut left = self.low.as_mut_slice();
        for (group, factors) in &found {
            let (low, rest) = left.split_at_mut(group.rows * factors.a.n);
            left = rest;
            let x = &x[group.first * k..][..group.rows * k];
            if group.rows == 1 {
                singles.push(Single { weight: factors.a, x, out: low, into: Into::Set });
                continue;
            }
            let acts = if ready && group.rows == rows {
                &self.acts
            } else {
                self.group_acts.fill(x, k, group.rows, k);
                &self.group_acts
            };
            multiply(rt, acts, &mut [Output { weight: factors.a, out: low, width: factors.a.n, into: Into::Set }]);
        }
        multiply_each(rt, &mut singles);

        let mut singles = Vec::with_capacity(found.len() * outs.len());
        for (at, (target, out)) in input.targets().iter().zip(outs.iter_mut()).enumerate() {
            let n = target.dims(model.config()).0;
            let (mut out, mut row, mut start) = (&mut **out, 0, 0);
            for (group, factors) in &found {
                let low = &self.low[start..][..group.rows * factors.a.n];
                start += low.len();
                let Some((first, b)) = factors.b[at] else { continue };
                let (_, rest) = out.split_at_mut((group.first - row) * n);
                let (y, rest) = rest.split_at_mut(group.rows * n);
                (out, row) = (rest, group.first + group.rows);
                let into = Into::Scaled(group.lora.scale_of(layer, *target));
                if group.rows == 1 {
                    singles.push(Single { weight: b, x: &low[first..][..b.k], out: y, into });
                } else {
                    self.low_acts.fill(&low[first..], factors.a.n, group.rows, b.k);
                    multiply(rt, &self.low_acts, &mut [Output { weight: b, out: y, width: n, into }]);
                }
            }
        }
        multiply_each(rt, &mut singles);
    }
}
