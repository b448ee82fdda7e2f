//! Causal attention over a cache, forward.
//!
//! Place in the flow: `forward` appends keys and values to a [`HeadCache`] per key/value head and calls [`attend`];
//! `backward` recomputes the same probabilities with `gemm` and `elementwise`.
//!
//! Invariants: a score is summed over the head's width in order; the mix of values is summed over positions in four
//! sums by position modulo 4, folded `(0+1)+(2+3)`. A query sees exactly its own limit of positions, so that
//! neither the chunking of a prefill nor what else is in the batch can change a bit.

use super::elementwise::softmax_row;
use super::lanes::Lanes;
use super::{Runtime, dispatch};

/// Positions per page of keys.
const PAGE: usize = 16;
/// Products below which a call stays on one thread.
const SPLIT_FROM: usize = 1 << 19;

/// Keys and values of one key/value head, in the layout that [`attend`] reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeadCache {
    /// `[page][head_dim][16]`: 16 positions side by side, zeros beyond the end.
    keys: Vec<f32>,
    /// `[position][head_dim rounded up to 16]`.
    values: Vec<f32>,
    len: usize,
}

impl HeadCache {
    /// Appends one position.
    pub(crate) fn push(&mut self, key: &[f32], value: &[f32]) {
        let (page, slot) = (self.len / PAGE, self.len % PAGE);
        if slot == 0 {
            self.keys.resize((page + 1) * PAGE * key.len(), 0.0);
        }
        let keys = &mut self.keys[page * PAGE * key.len()..];
        for (to, x) in keys[slot..].iter_mut().step_by(PAGE).zip(key) {
            *to = *x;
        }
        self.values.extend_from_slice(value);
        self.len += 1;
        self.values.resize(self.len * value.len().next_multiple_of(PAGE), 0.0);
    }

    /// Forgets everything from position `len` on.
    pub(crate) fn truncate(&mut self, len: usize, head_dim: usize) {
        if len < self.len {
            self.len = len;
            // Stale keys of the last page are never read as live: softmax cuts at the limit, `push` overwrites.
            self.keys.truncate(len.div_ceil(PAGE) * PAGE * head_dim);
            self.values.truncate(len * head_dim.next_multiple_of(PAGE));
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        (self.keys.capacity() + self.values.capacity()) * size_of::<f32>()
    }
}

/// Dimensions of an attention call.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    /// Query heads.
    pub(crate) heads: usize,
    /// Width of a head.
    pub(crate) head_dim: usize,
    /// Position of the first row of queries.
    pub(crate) start: usize,
}

/// Attention of `rows` queries, row i at position `start + i`, over the caches of all key/value heads.
///
/// **Shapes:** `q` and `out` `[rows, heads·head_dim]`; `caches` one per key/value head, filled up to the last row's
/// position at least.
pub(crate) fn attend(rt: &Runtime, dims: Heads, caches: &[HeadCache], q: &[f32], out: &mut [f32]) {
    let Heads { heads, head_dim, start } = dims;
    let width = heads * head_dim;
    let rows = q.len() / width;
    assert!(q.len() == rows * width && out.len() == q.len() && heads.is_multiple_of(caches.len()));
    for cache in caches {
        assert!(
            cache.len >= start + rows
                && cache.keys.len() >= (start + rows).div_ceil(PAGE) * PAGE * head_dim
                && cache.values.len() >= (start + rows) * head_dim.next_multiple_of(PAGE)
        );
    }
    let (isa, group) = (rt.isa(), heads / caches.len());
    let job = Job { rows, width, group, head_dim, start, q: q.as_ptr(), out: out.as_mut_ptr() };
    let head = |kv: usize| {
        let (job, cache) = (job, &caches[kv]);
        dispatch!(isa, attend_body(job: Job, cache: &HeadCache, kv: usize));
    };
    if rows * (start + rows) * width < SPLIT_FROM {
        (0..caches.len()).for_each(head);
    } else {
        let head = &head;
        rt.run(caches.len(), &|kv| head(kv));
    }
}

/// A checked call as pointers.
#[derive(Clone, Copy)]
struct Job {
    rows: usize,
    width: usize,
    group: usize,
    head_dim: usize,
    start: usize,
    q: *const f32,
    out: *mut f32,
}

// SAFETY: `q` is only read, and threads write the columns of different heads; `attend` waits for all of them while it
// holds the borrows the pointers came from.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

/// All queries of the heads that share key/value head `kv`, in order of their row.
#[inline(always)]
unsafe fn attend_body<L: Lanes>(job: Job, cache: &HeadCache, kv: usize) {
    let stride = (job.start + job.rows).next_multiple_of(PAGE);
    let mut weights = vec![0f32; 4 * stride];
    let queries = job.rows * job.group;
    let mut i = 0;
    // SAFETY: queries `i..i + Q` exist; caches reach to the last row by the check in `attend`.
    unsafe {
        while L::TILE >= 16 && i + 4 <= queries {
            tile::<L, 4>(&job, cache, kv, i, &mut weights);
            i += 4;
        }
        while i < queries {
            tile::<L, 1>(&job, cache, kv, i, &mut weights);
            i += 1;
        }
    }
}

/// `Q` queries from the `first`-th on.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
unsafe fn tile<L: Lanes, const Q: usize>(job: &Job, cache: &HeadCache, kv: usize, first: usize, weights: &mut [f32]) {
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
        let mut key = cache.keys.as_ptr();
        for page in 0..most.div_ceil(PAGE) {
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
            let mut value = cache.values.as_ptr().wrapping_add(block);
            let mut weight = weights.as_ptr();
            for _ in 0..together / 4 {
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
            // Through memory, so that the loop above keeps its sums in registers.
            let mut kept = [[[0f32; PAGE]; 4]; Q];
            for i in 0..Q {
                for u in 0..4 {
                    sums[i][u].store(kept[i][u].as_mut_ptr());
                }
            }
            for (i, kept) in kept.iter_mut().enumerate() {
                for s in together..limits[i] {
                    let values = L::load(cache.values.as_ptr().wrapping_add(s * padded + block));
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
    use crate::rng::uniform;

    fn random(len: usize, stream: u64) -> Vec<f32> {
        (0..len).map(|i| 2.0 * uniform(3, stream, i as u64) as f32 - 1.0).collect()
    }

    /// Queries at positions 0..t over two key/value heads of width `d`, in chunks of `chunk` rows.
    fn run(rt: &Runtime, t: usize, d: usize, chunk: usize) -> Vec<f32> {
        let (q, k, v) = (random(t * 4 * d, 1), random(t * 2 * d, 2), random(t * 2 * d, 3));
        let mut caches = vec![HeadCache::default(); 2];
        let mut out = vec![0.0; q.len()];
        for (n, (q, out)) in q.chunks(chunk * 4 * d).zip(out.chunks_mut(chunk * 4 * d)).enumerate() {
            let start = n * chunk;
            for s in start..start + q.len() / (4 * d) {
                for (h, cache) in caches.iter_mut().enumerate() {
                    let at = (s * 2 + h) * d;
                    cache.push(&k[at..][..d], &v[at..][..d]);
                }
            }
            attend(rt, Heads { heads: 4, head_dim: d, start }, &caches, q, out);
        }
        out
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
