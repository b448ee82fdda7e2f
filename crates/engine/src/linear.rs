//! A layer's linear maps: base weights in the model's numeric mode, biases, adapters row by row.
//!
//! Place in the flow: `forward` calls [`Linear::apply`] once per input (queries, keys and values
//! share one) and [`Linear::head`] for logits.
//!
//! Invariants: a row's result depends on the row and its adapter only: `y = W·x`, then `+ bias`,
//! then `fma(scale, B·(A·x), y)` per map. In modes `bf16dot-1` and `q8-2` factors that are bf16
//! throughout are multiplied by pairs, others in f32. Rows of one adapter are multiplied together,
//! rows alone with theirs side by side; the sums are the same. Not here: what the maps mean
//! (`forward`).

use crate::kernels::Runtime;
use crate::kernels::elementwise::add;
use crate::kernels::gemm::Accumulate;
use crate::kernels::pairs::pair_row;
use crate::kernels::product::{Acts, Output, Row, Single, multiply, multiply_each};
use crate::kernels::quant::{self, QuantActs, QuantOutput};
use crate::kernels::weights::{Form, Weight};
use crate::lora::Lora;
use crate::lora_pack::{Factors, Input};
use crate::model::Model;
use crate::shapes::Target;

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
    /// Those of rows alone that their B takes as pairs, by map, then by group.
    low_pairs: Vec<u32>,
}

/// Whether products by a weight of that form take their rows as pairs of bf16.
fn by_pairs(model: &Model, form: Form) -> bool {
    model.mode().by_pairs() && form == Form::Pairs
}

impl Linear {
    /// Logits `[rows, vocab]` of final hidden states `[rows, hidden]`.
    pub(crate) fn head(&mut self, model: &Model, rt: &Runtime, hidden: &[f32], logits: &mut [f32]) {
        self.base(model, rt, hidden, &mut [(model.head_weight(), logits)], &[]);
    }

    /// `y = W·x + bias` plus each group's adapter, for all maps of `layer` that read `input`.
    ///
    /// **Shapes:** `x` `[rows, inputs]`, `outs` by place in [`Input::targets`], each
    /// `[rows, outputs]`.
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
        // Rows alone wait for memory when their factors' turn comes; the base's sums, of many rows,
        // do not.
        let alone = groups.iter().filter(|group| group.rows == 1);
        let prefetch: Vec<&[u32]> = alone.filter_map(|group| group.lora.factor_words(layer, input)).collect();
        let ready = self.base(model, rt, x, &mut products, &prefetch);
        for (target, out) in input.targets().iter().zip(outs.iter_mut()) {
            if let Some(bias) = &spans.bias[target.index()] {
                let bias = model.slice(bias);
                out.chunks_exact_mut(bias.len()).for_each(|row| add(rt.isa(), row, bias));
            }
        }
        self.low.clear();
        if !groups.is_empty() {
            self.adapters(model, rt, (layer, input), groups, x, outs, ready);
        }
    }

    /// `A·x` of one map, `[rows, rank]`, as the latest [`Linear::apply`] with a single group left
    /// it.
    pub(crate) fn low(&self, lora: &Lora, layer: usize, target: Target) -> Vec<f32> {
        for input in Input::ALL {
            let Some(at) = input.targets().iter().position(|t| *t == target) else { continue };
            let Some(Factors { a, b }) = lora.factors(layer, input) else { continue };
            let Some((first, b)) = b[at] else { continue };
            return self.low.chunks_exact(a.n).flat_map(|row| row[first..][..b.k].iter().copied()).collect();
        }
        Vec::new()
    }

    /// `out = W·x` for weights of one form; `prefetch` is memory that will be read after that.
    /// Whether `self.acts` now holds `x`, and then whether as pairs.
    fn base(
        &mut self,
        model: &Model,
        rt: &Runtime,
        x: &[f32],
        products: &mut [(Weight<'_>, &mut [f32])],
        prefetch: &[&[u32]],
    ) -> Option<bool> {
        let (k, form) = products.first().map(|(weight, _)| (weight.k, weight.form))?;
        if form == Form::Q8 {
            self.quant.fill(rt.isa(), x, x.len() / k, k);
            let mut outputs: Vec<QuantOutput<'_>> =
                products.iter_mut().map(|(weight, out)| QuantOutput { weight: *weight, out }).collect();
            quant::multiply(rt, &self.quant, &mut outputs, prefetch);
            return None;
        }
        let pairs = by_pairs(model, form);
        self.acts.fill(rt.isa(), pairs, x, k, x.len() / k, k);
        let mut outputs: Vec<Output<'_>> = products
            .iter_mut()
            .map(|(weight, out)| Output { weight: *weight, width: weight.n, out, into: Accumulate::Set })
            .collect();
        multiply(rt, &self.acts, &mut outputs, prefetch);
        Some(pairs)
    }

    /// Adds every group's adapter; `ready` says whether `self.acts` holds all of `x`, and whether
    /// as pairs.
    #[expect(clippy::too_many_arguments, reason = "one product, named operands")]
    fn adapters(
        &mut self,
        model: &Model,
        rt: &Runtime,
        (layer, input): (usize, Input),
        groups: &[Group<'_>],
        x: &[f32],
        outs: &mut [&mut [f32]],
        ready: Option<bool>,
    ) {
        let k = input.targets()[0].dims(model.config()).1;
        let rows = x.len() / k;
        // After a product in 8 bits nothing holds `x` yet.
        let ready = ready.unwrap_or_else(|| {
            self.acts.fill(rt.isa(), true, x, k, rows, k);
            true
        });
        let found: Vec<(&Group<'_>, Factors<'_>)> =
            groups.iter().filter_map(|g| Some((g, g.lora.factors(layer, input)?))).collect();
        self.low.resize(found.iter().map(|(g, f)| g.rows * f.a.n).sum(), 0.0);

        let pairs = |weight: Weight<'_>| by_pairs(model, weight.form);
        let mut singles = Vec::with_capacity(found.len());
        let mut left = self.low.as_mut_slice();
        for (group, factors) in &found {
            let (low, rest) = left.split_at_mut(group.rows * factors.a.n);
            left = rest;
            let (weight, x) = (factors.a, &x[group.first * k..][..group.rows * k]);
            if group.rows == 1 {
                let x = if pairs(weight) { Row::Pairs(self.acts.row(group.first)) } else { Row::Floats(x) };
                singles.push(Single { weight, x, out: low, into: Accumulate::Set });
                continue;
            }
            let acts = if ready == pairs(weight) && group.rows == rows {
                &self.acts
            } else {
                self.group_acts.fill(rt.isa(), pairs(weight), x, k, group.rows, k);
                &self.group_acts
            };
            multiply(rt, acts, &mut [Output { weight, out: low, width: weight.n, into: Accumulate::Set }], &[]);
        }
        multiply_each(rt, &mut singles);

        self.low_pairs.clear();
        for (at, _) in outs.iter().enumerate() {
            let mut start = 0;
            for (group, factors) in &found {
                if let (1, Some((first, b))) = (group.rows, factors.b[at])
                    && pairs(b)
                {
                    let end = self.low_pairs.len();
                    self.low_pairs.resize(end + b.k.div_ceil(2), 0);
                    pair_row(&self.low[start + first..][..b.k], &mut self.low_pairs[end..]);
                }
                start += group.rows * factors.a.n;
            }
        }
        let mut low_pairs = self.low_pairs.as_slice();
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
                let into = Accumulate::Scaled(group.lora.scale_of(layer, *target));
                if group.rows > 1 {
                    self.low_acts.fill(rt.isa(), pairs(b), &low[first..], factors.a.n, group.rows, b.k);
                    multiply(rt, &self.low_acts, &mut [Output { weight: b, out: y, width: n, into }], &[]);
                    continue;
                }
                let x = if pairs(b) {
                    let (own, rest) = low_pairs.split_at(b.k.div_ceil(2));
                    low_pairs = rest;
                    Row::Pairs(own)
                } else {
                    Row::Floats(&low[first..][..b.k])
                };
                singles.push(Single { weight: b, x, out: y, into });
            }
        }
        multiply_each(rt, &mut singles);
    }
}
