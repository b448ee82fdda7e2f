//! Exact per-item LoRA gradients.
//!
//! Place in the flow: from the engine, for records when a cache is built and for queries when they
//! are scored. Invariant: items with equal tokens and loss share one row, so a copy changes
//! nothing. Not here: what is done with them.

use std::collections::BTreeMap;
use std::ops::Range;

use openledger_engine::{Lora, Model, Scratch, lora_gradient};
use openledger_protocol::{B256, sha256};

use super::InfluenceError;

/// The most values of one set of gradients: 4 GiB.
pub(super) const MAX_VALUES: usize = 1 << 30;

/// Tokens whose loss is attributed, or attributed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The tokens.
    pub ids: Vec<u32>,
    /// The loss is the mean negative log-likelihood of `ids[loss_from..]`; 1 for a record.
    pub loss_from: usize,
}

impl Item {
    /// A record: all its tokens but the first count.
    #[must_use]
    pub fn record(ids: Vec<u32>) -> Self {
        Self { ids, loss_from: 1 }
    }

    /// SHA-256 over `loss_from` and the tokens, each as little-endian `u32`.
    #[must_use]
    pub fn hash(&self) -> B256 {
        let head = u32::try_from(self.loss_from).unwrap_or(u32::MAX);
        sha256(std::iter::once(&head).chain(&self.ids).flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>())
    }
}

/// The gradients of items with respect to an adapter, in the order of its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// `[rows, parameters]`, row-major: the distinct items in order of first appearance.
    pub(super) values: Vec<f32>,
    /// The row of each item.
    pub(super) row_of: Vec<u32>,
    /// [`Item::hash`] of each item.
    pub(super) hashes: Vec<B256>,
    /// The parameters of each LoRA factor, in order.
    pub(super) modules: Vec<Range<usize>>,
    /// Mean loss of each row, in nats.
    losses: Vec<f32>,
}

impl Gradients {
    /// Runs every distinct item forward and backward, calling `progress(done, all)` after each. An
    /// item of which nothing counts has no gradient: a row of zeros.
    ///
    /// **Cost:** one backward pass an item; **memory:** 4 bytes a parameter and item.
    ///
    /// # Errors
    /// [`InfluenceError::Item`] when the engine refuses one, [`InfluenceError::NotFinite`] when a
    /// gradient is not finite, [`InfluenceError::TooLarge`] beyond 2³⁰ values.
    pub fn compute(
        model: &Model,
        lora: &Lora,
        items: &[Item],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, InfluenceError> {
        let hashes: Vec<B256> = items.iter().map(Item::hash).collect();
        let mut distinct = Vec::new();
        let mut rows = BTreeMap::new();
        let row_of = (0..items.len()).map(|index| {
            *rows.entry(hashes[index]).or_insert_with(|| {
                distinct.push(index);
                distinct.len() as u32 - 1
            })
        });
        let row_of: Vec<u32> = row_of.collect();
        let parameters = lora.num_params();
        if distinct.len().saturating_mul(parameters) > MAX_VALUES {
            return Err(InfluenceError::TooLarge { rows: distinct.len(), parameters, limit: MAX_VALUES });
        }
        let mut values = Vec::with_capacity(distinct.len() * parameters);
        let mut losses = Vec::with_capacity(distinct.len());
        let mut scratch = Scratch::default();
        for (done, &index) in distinct.iter().enumerate() {
            let Item { ids, loss_from } = &items[index];
            let (loss, gradient) = if *loss_from >= ids.len() {
                (0.0, vec![0.0; parameters])
            } else {
                lora_gradient(model, lora, ids, *loss_from, &mut scratch)
                    .map_err(|source| InfluenceError::Item { index, source })?
            };
            if !gradient.iter().all(|value| value.is_finite()) {
                return Err(InfluenceError::NotFinite { index });
            }
            values.extend_from_slice(&gradient);
            losses.push(loss);
            progress(done + 1, distinct.len());
        }
        let modules = lora.modules().iter().map(|module| module.range.clone()).collect();
        Ok(Self { values, row_of, hashes, modules, losses })
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.row_of.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row_of.is_empty()
    }

    /// Parameters of the adapter.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.modules.last().map_or(0, |module| module.end)
    }

    /// The gradient of item `index` in the order of the adapter's parameters, or `None` beyond the
    /// last item.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        let row = *self.row_of.get(index)? as usize;
        self.values.get(row * self.parameters()..(row + 1) * self.parameters())
    }

    /// The mean loss of item `index` in nats, or `None` beyond the last item.
    #[must_use]
    pub fn loss(&self, index: usize) -> Option<f32> {
        self.losses.get(*self.row_of.get(index)? as usize).copied()
    }
}
