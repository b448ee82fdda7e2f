//! One adapter out of several, each with a weight.
//!
//! Place in the flow: `serving` answers with an ensemble as with any other adapter; its parts and
//! weights are what a split of royalties names. Invariants: the result is the weighted sum of the
//! parts' products, exactly as a concatenation of ranks; the same parts and weights give the same
//! numbers, and so the same hash, in whatever order they are named. Not here: who is owed what
//! (`ledger`).

use crate::error::LoadError;
use crate::lora::{Lora, LoraConfig, Low, MAX_RANK};
use crate::model::Model;
use crate::shapes::{Factor, Target};

impl Lora {
    /// The adapter with `ΔW = Σ weight · scale · B·A` over `parts`.
    ///
    /// Parts are taken in order of [`Lora::hash`]. On each map that any of them has, A is their A's
    /// stacked (ranks add up) and B their B's side by side, each value multiplied by
    /// `weight · scale` (rounded to f32 once before and once after the product); the ensemble's own
    /// scale is 1. This is `add_weighted_adapter(combination_type="cat")` of PEFT. Weights need not
    /// sum to 1 and may be negative.
    ///
    /// The hash is [`Lora::hash`] of the result, as for any adapter: it names the numbers, so a
    /// verifier who has parts and weights rebuilds the ensemble and compares.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] when there are no parts, a part is named twice, parts were made
    /// for models of different shapes or for another shape than `model`'s, a weight is zero or not
    /// finite, or the ranks on one map sum beyond the limit of 512.
    pub fn ensemble(model: &Model, parts: &[(&Lora, f32)]) -> Result<Lora, LoadError> {
        let refuse = |what: String| Err(LoadError::Unsupported { what });
        if parts.is_empty() {
            return refuse("an ensemble without adapters".into());
        }
        let mut named = Vec::with_capacity(parts.len());
        for (i, (part, weight)) in parts.iter().enumerate() {
            if let Err(error) = part.check(model.config()) {
                return refuse(format!("part {i} of an ensemble: {error}"));
            }
            if !weight.is_finite() || *weight == 0.0 {
                return refuse(format!("weight {weight} of part {i} of an ensemble"));
            }
            named.push((part.hash(), *part, *weight));
        }
        named.sort_by_key(|part| part.0);
        if named.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return refuse("an ensemble that names an adapter twice (add their weights)".into());
        }
        let layers = model.config().layers;
        let ranks: Vec<usize> = (0..layers)
            .flat_map(|layer| Target::ALL.map(|target| (layer, target)))
            .map(|(layer, target)| {
                named.iter().filter_map(|(_, lora, _)| lora.pair(layer, target)).map(|p| p.rank).sum()
            })
            .collect();
        let rank = ranks.iter().copied().max().unwrap_or(0);
        if rank > MAX_RANK {
            return refuse(format!("an ensemble whose ranks sum to {rank} (limit {MAX_RANK})"));
        }
        let low = |rank: usize| Low { rank, alpha: rank as f32 };
        let maps: Vec<Option<Low>> = ranks.into_iter().map(|rank| (rank > 0).then(|| low(rank))).collect();
        let targets = named.iter().flat_map(|(_, lora, _)| lora.config().targets.clone()).collect();
        let config = LoraConfig { rank, alpha: rank as f32, targets, rslora: false }.checked()?;
        let mut out = Lora::with_maps(model.config(), config, &maps);
        let mut params = vec![0f32; out.num_params()];
        for module in out.modules() {
            let values = &mut params[module.range.clone()];
            let mut done = 0;
            for (_, lora, weight) in &named {
                let Some(pair) = lora.pair(module.layer, module.target) else { continue };
                match module.factor {
                    Factor::A => {
                        let a = &lora.params()[pair.a_range.clone()];
                        values[done * module.cols..][..a.len()].copy_from_slice(a);
                    }
                    Factor::B => {
                        let strength = weight * pair.scale;
                        let b = lora.params()[pair.b_range.clone()].chunks_exact(pair.rank);
                        for (row, b) in values.chunks_exact_mut(module.cols).zip(b) {
                            row[done..][..pair.rank].iter_mut().zip(b).for_each(|(x, b)| *x = strength * b);
                        }
                    }
                }
                done += pair.rank;
            }
        }
        if let Some(index) = params.iter().position(|x| !x.is_finite()) {
            return Err(LoadError::NotFinite { name: "ensemble".into(), index });
        }
        out.update(|own| own.copy_from_slice(&params));
        out.keep_packed_only();
        Ok(out)
    }
}
