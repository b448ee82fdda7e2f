//! Causal attention over pages of keys and values, forward.
//!
//! Place in the flow: `forward` writes keys and values to the pages of a [`KvCache`](crate::KvCache) and calls [`attend`]
//! once a layer for the rows of all sequences; `backward` recomputes the same probabilities with `gemm` and `elementwise`.
//!
//! Invariants: a score is summed over the head's width in order; the mix of values is summed over positions in four
//! sums by position modulo 4, folded `(0+1)+(2+3)`. Pages are walked in order and hold a multiple of 4 positions, so that
//! where they lie changes nothing. A query sees exactly its own limit of positions, so that neither the chunking of a
//! prefill nor what else is in the batch can change a bit.

use std::sync::Arc;

use super::elementwise::softmax_row;
use super::lanes::Lanes;
use super::{Runtime, dispatch};
use crate::config::ModelConfig;
use crate::kv::Page;

/// Positions in a page.
pub(crate) const PAGE: usize = 16;
/// Products below which a call stays on one thread.
const SPLIT_FROM: usize = 1 << 19;

/// How a layer's keys and values lie in a page: for each head the keys `[head_dim][16]`, 16 positions side by side, then
/// the values `[16][head_dim rounded up to 16]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageShape {
    /// Key/value heads.
    pub(crate) kv_heads: usize,
    /// Width of a head.
    pub(crate) head_dim: usize,
}

impl PageShape {
    /// The shape for models of that configuration.
    pub(crate) fn of(config: &ModelConfig) -> Self {
        Self { kv_heads: config.kv_heads, head_dim: config.head_dim }
    }

    /// Floats of one head.
    fn head(self) -> usize {
        PAGE * (self.head_dim + self.head_dim.next_multiple_of(PAGE))
    }

    /// Floats of one layer.
    pub(crate) fn layer(self) -> usize {
        self.kv_heads * self.head()
    }

    /// Writes keys and values `[kv_heads, head_dim]` of place `at` into a layer of a page.
    pub(crate) fn write(self, layer: &mut [f32], at: usize, keys: &[f32], values: &[f32]) {
        let (d, padded) = (self.head_dim, self.head_dim.next_multiple_of(PAGE));
        let heads = layer.chunks_exact_mut(self.head());
        for ((head, key), value) in heads.zip(keys.chunks_exact(d)).zip(values.chunks_exact(d)) {
            let (to_keys, to_values) = head.split_at_mut(PAGE * d);
            for (to, x) in to_keys[at..].iter_mut().step_by(PAGE).zip(key) {
                *to = *x;
            }
            to_values[at * padded..][..d].copy_from_slice(value);
        }
    }
}

/// The rows of one sequence in an attention call.
pub(crate) struct Query<'a> {
    /// Its pages, filled up to the last row's position at least.
    pub(crate) pages: &'a [Arc<Page>],
    /// Where the layer begins in each.
    pub(crate) layer: usize,
    /// Position of its first row.
    pub(crate) start: usize,
    /// Number of rows; they follow those of the queries before.
    pub(crate) rows: usize,
}

/// Attention of the rows of all `queries`, each row at its position, over all earlier positions of its own sequence.
///
/// **Shapes:** `q` and `out` `[all rows, heads·head_dim]`.
pub(crate) fn attend(rt: &Runtime, shape: PageShape, heads: usize, queries: &[Query<'_>], q: &[f32], out: &mut [f32]) {
    let (width, group) = (heads * shape.head_dim, heads / shape.kv_heads);
    let rows: usize = queries.iter().map(|query| query.rows).sum();
    assert!(q.len() == rows * width && out.len() == q.len() && heads.is_multiple_of(shape.kv_heads));
    let (mut jobs, mut first, mut work) = (Vec::with_capacity(queries.len()), 0, 0);
    for query in queries {
        let end = query.start + query.rows;
        assert!(query.pages.len() >= end.div_ceil(PAGE));
        assert!(query.pages.iter().all(|page| page.data.len() >= query.layer + shape.layer()));
        work += query.rows * end * width;
        // SAFETY: the rows of this query lie within both slices, by the sum above.
        let (q, out) = unsafe { (q.as_ptr().add(first * width), out.as_mut_ptr().add(first * width)) };
        let (rows, start, head_dim) = (query.rows, query.start, shape.head_dim);
        jobs.push(Job { rows, width, group, head_dim, start, q, out, pages: query.pages, layer: query.layer });
        first += rows;
    }
    let (isa, jobs) = (rt.isa(), jobs.as_slice());
    let task = |index: usize| {
        let (job, kv) = (&jobs[index / shape.kv_heads], index % shape.kv_heads);
        let head = job.layer + kv * shape.head();
        dispatch!(isa, attend_body(job: &Job<'_>, head: usize, kv: usize));
    };
    let tasks = jobs.len() * shape.kv_heads;
    if work < SPLIT_FROM {
        (0..tasks).for_each(task);
    } else {
        rt.run(tasks, &task);
    }
}

/// A checked query as pointers.
struct Job<'a> {
    rows: usize,
    width: usize,
    group: usize,
    head_dim: usize,
    start: usize,
    q: *const f32,
    out: *mut f32,
    pages: &'a [Arc<Page>],
    layer: usize,
}

// SAFETY: `q` is only read, and threads write the columns of different heads or rows of different jobs; `attend` waits for
// all of them while it holds the borrows the pointers came from.
unsafe impl Send for Job<'_> {}
// SAFETY: as above.
unsafe impl Sync for Job<'_> {}

/// All queries of the heads that share key/value head `kv`, whose part of a page begins at `head`, in order of their row.
#[inline(always)]
unsafe fn attend_body<L: Lanes>(job: &Job<'_>, head: usize, kv: usize) {
    let stride = (job.start + job.rows).next_multiple_of(PAGE);
    let mut weights = vec![0f32; 4 * stride];
    let queries = job.rows * job.group;
    let mut i = 0;
    // SAFETY: queries `i..i + Q` exist; pages reach to the last row by the check in `attend`.
    unsafe {
        while L::TILE >= 16 && i + 4 <= queries {
            tile::<L, 4>(job, head, kv, i, &mut weights);
            i += 4;
        }
        while i < queries {
            tile::<L, 1>(job, head, kv, i, &mut weights);
            i += 1;
        }
    }
}

/// `Q` queries from the `first`-th on.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
unsafe fn tile<L: Lanes, const Q: usize>(job: &Job<'_>, head: usize, kv: usize, first: usize, weights: &mut [f32]) {
    let stride = weights.len() / 4;
    let offset = |i: usize| {
        let query = first + i;
        query / job.group * job.width + (kv * job.group + query % job.group) * job.head_dim
    };
    let limits: [usize; Q] = std::array::from_fn(|i| job.start + (first + i) / job.group + 1);
    let (least, most) = (limits[0], limits[Q - 1]);
    let scale = 1.0 / (job.head_dim as f32).sqrt();
    let padded = job.head_dim.next_multiple_of(PAGE);
    // SAFETY (all blocks): offsets lie within q and out; pages and positions below `most` exist in the cache, the last
    // page whole; `weights` has `Q` rows of `stride >= most` rounded up to a page.
    unsafe {
        let q: [*const f32; Q] = std::array::from_fn(|i| job.q.add(offset(i)));
        for page in 0..most.div_ceil(PAGE) {
            let mut key = job.pages[page].data.as_ptr().wrapping_add(head);
            let mut sums = [L::splat(0.0); Q];
            for d in 0..job.head_dim {
                let keys = L::load(key);
                for i in 0..Q {
                    sums[i] = L::broadcast(q[i].wrapping_add(d)).fma(keys, sums[i]);
                }
                key = key.wrapping_add(PAGE);
            }
            for i in 0..Q {
                sums[i].store(weights.as_mut_ptr().wrapping_add(i * stride + page * PAGE));
            }
        }
        for (i, limit) in limits.into_iter().enumerate() {
            softmax_row(&mut weights[i * stride..][..most.next_multiple_of(PAGE)], limit, scale);
        }
        let together = least / 4 * 4;
        for block in (0..padded).step_by(PAGE) {
            let mut sums = [[L::splat(0.0); 4]; Q];
            let values = |page: usize| job.pages[page].data.as_ptr().wrapping_add(head + PAGE * job.head_dim + block);
            let mut weight = weights.as_ptr();
            for page in 0..together.div_ceil(PAGE) {
                let mut value = values(page);
                for _ in 0..(together - page * PAGE).min(PAGE) / 4 {
                    for u in 0..4 {
                        let values = L::load(value);
                        for i in 0..Q {
                            let weight = L::broadcast(weight.wrapping_add(i * stride + u));
                            sums[i][u] = weight.fma(values, sums[i][u]);
                        }
                        value = value.wrapping_add(padded);
                    }
                    weight = weight.wrapping_add(4);
                }
            }
            // Through memory, so that the loop above keeps its sums in registers.
            let mut kept = [[[0f32; PAGE]; 4]; Q];
            for i in 0..Q {
                for u in 0..4 {
                    sums[i][u].store(kept[i][u].as_mut_ptr());
                }
            }
            for (i, kept) in kept.iter_mut().enumerate() {
                for s in together..limits[i] {
                    let values = L::load(values(s / PAGE).wrapping_add(s % PAGE * padded));
                    let sum = &mut kept[s % 4];
                    let weight = L::splat(weights[i * stride + s]);
                    weight.fma(values, L::load(sum.as_ptr())).store(sum.as_mut_ptr());
                }
                let [a, b, c, d] = std::array::from_fn(|u| L::load(kept[u].as_ptr()));
                let mut buffer = [0f32; PAGE];
                a.add(b).add(c.add(d)).store(buffer.as_mut_ptr());
                let live = PAGE.min(job.head_dim - block);
                std::ptr::copy_nonoverlapping(buffer.as_ptr(), job.out.add(offset(i) + block), live);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Isa;
    use super::*;
    use crate::KvCache;
    use crate::rng::uniform;

    fn random(len: usize, stream: u64) -> Vec<f32> {
        (0..len).map(|i| 2.0 * uniform(3, stream, i as u64) as f32 - 1.0).collect()
    }

    /// Queries at positions 0..t over two key/value heads of width `d`, in chunks of `chunk` rows.
    fn run(rt: &Runtime, t: usize, d: usize, chunk: usize) -> Vec<f32> {
        let (q, k, v) = (random(t * 4 * d, 1), random(t * 2 * d, 2), random(t * 2 * d, 3));
        let shape = PageShape { kv_heads: 2, head_dim: d };
        let mut cache = KvCache::shaped(shape, 2);
        let mut out = vec![0.0; q.len()];
        for (n, (q, out)) in q.chunks(chunk * 4 * d).zip(out.chunks_mut(chunk * 4 * d)).enumerate() {
            let (start, rows) = (n * chunk, q.len() / (4 * d));
            cache.reserve(rows).unwrap();
            for i in 0..rows {
                let at = (start + i) * 2 * d;
                cache.write(1, i, &k[at..][..2 * d], &v[at..][..2 * d]);
            }
            let (pages, layer) = cache.layer(1);
            attend(rt, shape, 4, &[Query { pages, layer, start, rows }], q, out);
            cache.advance(rows);
        }
        out
    }

    /// The same sums over keys and values that lie side by side, one at a time.
    fn contiguous(t: usize, d: usize) -> Vec<f32> {
        let (q, k, v) = (random(t * 4 * d, 1), random(t * 2 * d, 2), random(t * 2 * d, 3));
        let mut out = vec![0.0; q.len()];
        for (row, head) in (0..t).flat_map(|row| (0..4).map(move |head| (row, head))) {
            let (q, at) = (&q[(row * 4 + head) * d..][..d], |s: usize| (s * 2 + head / 2) * d);
            let score = |s: usize| (0..d).fold(0f32, |sum, i| q[i].mul_add(k[at(s) + i], sum));
            let mut weights: Vec<f32> = (0..=row).map(score).collect();
            weights.resize((row + 1).next_multiple_of(PAGE), 0.0);
            softmax_row(&mut weights, row + 1, 1.0 / (d as f32).sqrt());
            for i in 0..d {
                let mut sums = [0f32; 4];
                for s in 0..=row {
                    sums[s % 4] = weights[s].mul_add(v[at(s) + i], sums[s % 4]);
                }
                out[(row * 4 + head) * d + i] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
            }
        }
        out
    }

    #[test]
    fn pages_give_the_bits_of_keys_and_values_that_lie_side_by_side() {
        for (t, d) in [(1, 8), (16, 16), (37, 24), (50, 64)] {
            assert_eq!(run(&Runtime::new(1), t, d, 7), contiguous(t, d), "{t} positions, width {d}");
        }
    }

    #[test]
    fn attention_has_the_same_bits_for_any_chunk_thread_count_and_instruction_set() {
        let rt = Runtime::new(2);
        for d in [8, 16, 24] {
            let want = run(&rt.with_isa(Isa::Scalar).unwrap(), 37, d, 37);
            for isa in [Isa::Scalar, Isa::Avx2, Isa::Avx512] {
                let Some(rt) = rt.with_isa(isa) else { continue };
                for chunk in [1, 5, 16, 37] {
                    assert_eq!(run(&rt, 37, d, chunk), want, "{isa:?}, width {d}, chunk {chunk}");
                }
            }
        }
    }

    #[test]
    fn the_first_position_sees_only_its_own_value() {
        let out = run(&Runtime::new(1), 3, 8, 1);
        let v = random(3 * 2 * 8, 3);
        for head in 0..4 {
            let want = &v[head / 2 * 8..][..8];
            for (got, want) in out[head * 8..][..8].iter().zip(want) {
                assert!((got - want).abs() < 1e-6);
            }
        }
    }
}
