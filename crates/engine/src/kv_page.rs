//! How keys and values lie in a page, in both forms that attention reads.
//!
//! Place in the flow: `kv` writes pages by it and `kernels::attention` reads them. Not here: who
//! owns a page (`kv`).

use crate::model::Model;

/// Positions in a page.
pub(crate) const PAGE: usize = 16;

/// How a layer's keys and values lie in a page, head by head: the keys `[head_dim][16]`, 16
/// positions side by side, then the values `[16][head_dim rounded up to 16]`, all f32.
///
/// In pairs of bf16, the even one in the low half, two neighbours of a key share a word, `[head_dim
/// / 2][16]`, and two neighbouring positions of a value, `[8][head_dim rounded up to 16]`: what
/// [`pairs`](super::pairs) multiplies as it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageShape {
    /// Key/value heads.
    pub(crate) kv_heads: usize,
    /// Width of a head; even, since rotary embedding has two halves.
    pub(crate) head_dim: usize,
    /// Whether in pairs; what is written must be rounded then.
    pub(crate) pairs: bool,
}

impl PageShape {
    /// The shape for that model.
    pub(crate) fn of(model: &Model) -> Self {
        let config = model.config();
        Self { kv_heads: config.kv_heads, head_dim: config.head_dim, pairs: model.mode().by_pairs() }
    }

    /// Words of one head's keys, which its values follow.
    pub(crate) fn keys(self) -> usize {
        PAGE * self.head_dim / self.per_word()
    }

    /// Words of one head.
    pub(crate) fn head(self) -> usize {
        self.keys() + PAGE * self.head_dim.next_multiple_of(PAGE) / self.per_word()
    }

    /// Numbers in a word.
    fn per_word(self) -> usize {
        if self.pairs { 2 } else { 1 }
    }

    /// Words of one layer.
    pub(crate) fn layer(self) -> usize {
        self.kv_heads * self.head()
    }

    /// Writes keys and values `[kv_heads, head_dim]` of place `at` into a layer of a page; places
    /// are written in order.
    pub(crate) fn write(self, layer: &mut [u32], at: usize, keys: &[f32], values: &[f32]) {
        let (d, padded) = (self.head_dim, self.head_dim.next_multiple_of(PAGE));
        let heads = layer.chunks_exact_mut(self.head());
        for ((head, key), value) in heads.zip(keys.chunks_exact(d)).zip(values.chunks_exact(d)) {
            let (to_keys, to_values) = head.split_at_mut(self.keys());
            let to_keys = to_keys[at..].iter_mut().step_by(PAGE);
            let to_values = to_values[at / self.per_word() * padded..].iter_mut().zip(value);
            if !self.pairs {
                to_keys.zip(key).for_each(|(to, x)| *to = x.to_bits());
                to_values.for_each(|(to, x)| *to = x.to_bits());
                continue;
            }
            to_keys.zip(key.as_chunks::<2>().0).for_each(|(to, [even, odd])| *to = pair(*even, *odd));
            if at.is_multiple_of(2) {
                to_values.for_each(|(to, x)| *to = pair(*x, 0.0));
            } else {
                to_values.for_each(|(to, x)| *to = *to & 0xffff | x.to_bits());
            }
        }
    }
}

/// Two values that are rounded already in one word.
#[inline(always)]
pub(crate) fn pair(even: f32, odd: f32) -> u32 {
    even.to_bits() >> 16 | odd.to_bits() & 0xffff_0000
}
