//! Causal attention over pages of keys and values, forward.
//!
//! Place in the flow: `forward` writes keys and values to the pages of a
//! [`KvCache`](crate::KvCache) and calls [`attend`] once a layer for the rows of all sequences;
//! `backward` recomputes the same probabilities with `gemm` and `elementwise`.
//!
//! Invariants: a score is summed over the head's width in order; the mix of values is summed over
//! positions in four sums by position modulo 4, folded `(0+1)+(2+3)`. Pages are walked in order and
//! hold a multiple of 4 positions, so that where they lie changes nothing. A query sees exactly its
//! own limit of positions, so that neither the chunking of a prefill nor what else is in the batch
//! can change a bit.

use std::cell::RefCell;
use std::sync::Arc;

use super::elementwise::{exponentials, softmax_row};
use super::gemm::Accumulate;
use super::lanes::Lanes;
use super::pairs::{dispatch_pairs, rounded};
use super::product::store;
use super::tile::{Floats, Left, Step, added, sums};
use super::{Runtime, dispatch};
use crate::kv::Page;
use crate::kv_page::{PAGE, PageShape, pair};

/// Products below which a call stays on one thread.
const SPLIT_FROM: usize = 1 << 19;

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

/// Attention of the rows of all `queries`, each row at its position, over all earlier positions of
/// its own sequence; by pairs of bf16 where `shape` has them, for which queries must be rounded.
///
/// **Shapes:** `q` and `out` `[all rows, heads·head_dim]`; an even `head_dim`.
pub(crate) fn attend(rt: &Runtime, shape: PageShape, heads: usize, queries: &[Query<'_>], q: &[f32], out: &mut [f32]) {
    let (width, group) = (heads * shape.head_dim, heads / shape.kv_heads);
    let rows: usize = queries.iter().map(|query| query.rows).sum();
    assert!(q.len() == rows * width && out.len() == q.len() && heads.is_multiple_of(shape.kv_heads));
    assert!(shape.head_dim.is_multiple_of(2), "rotary embedding has two halves");
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
        SCRATCH.with_borrow_mut(|scratch| {
            if shape.pairs {
                dispatch_pairs!(isa, pairs_body(job: &Job<'_>, head: usize, kv: usize, scratch: &mut Scratch));
            } else {
                dispatch!(isa, floats_body(job: &Job<'_>, head: usize, kv: usize, scratch: &mut Scratch));
            }
        });
    };
    let tasks = jobs.len() * shape.kv_heads;
    if work < SPLIT_FROM {
        (0..tasks).for_each(task);
    } else {
        rt.run(tasks, &task);
    }
}

/// Queries that go through the scores together.
const TOGETHER: usize = 12;

thread_local! {
    /// Buffers of each thread, kept between calls.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    /// Queries in the order of a product's activations, `[words][queries]`.
    q: Vec<u32>,
    /// Scores, then probabilities, `[queries][positions, up to whole pages]`.
    weights: Vec<f32>,
    /// Probabilities in pairs, `[queries][positions / 2]`.
    weight_pairs: Vec<u32>,
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

// SAFETY: `q` is only read, and threads write the columns of different heads or rows of different
// jobs; `attend` waits for all of them while it holds the borrows the pointers came from.
unsafe impl Send for Job<'_> {}
// SAFETY: as above.
unsafe impl Sync for Job<'_> {}

impl Job<'_> {
    /// Where query `i` of the heads that share key/value head `kv` begins in `q` and `out`; in
    /// order of rows.
    fn offset(&self, kv: usize, i: usize) -> usize {
        i / self.group * self.width + (kv * self.group + i % self.group) * self.head_dim
    }

    /// Positions that query `i` sees.
    fn limit(&self, i: usize) -> usize {
        self.start + i / self.group + 1
    }

    /// Factor of the scores.
    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// All positions, up to whole pages.
    fn stride(&self) -> usize {
        (self.start + self.rows).next_multiple_of(PAGE)
    }
}

/// Sizes of the groups that `n` queries go in, each with the first one.
fn groups(n: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let take = [TOGETHER, 4, 3, 2, 1].into_iter().find(|take| *take <= most && first + take <= n)?;
        first += take;
        Some((first - take, take))
    })
}

/// Makes room for `len` words.
fn fit(buffer: &mut Vec<u32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
}

/// All queries of the heads that share key/value head `kv`, whose part of a page begins at `head`,
/// in f32.
#[inline(always)]
unsafe fn floats_body<L: Lanes>(job: &Job<'_>, head: usize, kv: usize, scratch: &mut Scratch) {
    let Scratch { q, weights, .. } = scratch;
    if weights.len() < TOGETHER * job.stride() {
        weights.resize(TOGETHER * job.stride(), 0.0);
    }
    fit(q, TOGETHER * job.head_dim);
    for (first, count) in groups(job.rows * job.group, if L::TILE >= 16 { TOGETHER } else { 1 }) {
        // SAFETY: these queries exist; pages reach to the last row by the check in `attend`.
        unsafe {
            for i in 0..count {
                let row = std::slice::from_raw_parts(job.q.add(job.offset(kv, first + i)), job.head_dim);
                q[i..].iter_mut().step_by(count).zip(row).for_each(|(to, x)| *to = x.to_bits());
            }
            let key = |page: usize| job.pages[page].data.as_ptr().wrapping_add(head);
            score::<L, Floats>(job, q, key, first, count, weights);
            let most = job.limit(first + count - 1).next_multiple_of(PAGE);
            for i in 0..count {
                softmax_row(&mut weights[i * job.stride()..][..most], job.limit(first + i), job.scale());
            }
            let at = |i| weights.as_ptr().wrapping_add(i * job.stride());
            match count {
                TOGETHER => {
                    mix::<L, 6>(job, head, kv, first, at(0));
                    mix::<L, 6>(job, head, kv, first + 6, at(6));
                }
                4 => mix::<L, 4>(job, head, kv, first, at(0)),
                3 => mix::<L, 3>(job, head, kv, first, at(0)),
                2 => mix::<L, 2>(job, head, kv, first, at(0)),
                _ => mix::<L, 1>(job, head, kv, first, at(0)),
            }
        }
    }
}

/// Scores of queries `first..first + count`, which stand in `q`, against all pages that the last of
/// them sees.
#[inline(always)]
unsafe fn score<L: Lanes, S: Step<L>>(
    job: &Job<'_>,
    q: &[u32],
    key: impl Fn(usize) -> *const u32,
    first: usize,
    count: usize,
    weights: &mut [f32],
) {
    let (pages, words) = (job.limit(first + count - 1).div_ceil(PAGE), S::halves(job.head_dim));
    let left = Left { at: q.as_ptr(), row: 1, step: count };
    let mut page = 0;
    while page < pages {
        let c = weights.as_mut_ptr().wrapping_add(page * PAGE);
        let two = page + 1 < pages && L::TILE >= 16;
        let keys = [key(page), key(if two { page + 1 } else { page })];
        let next = [key((page + 2).min(pages - 1)), key((page + 3).min(pages - 1))];
        // SAFETY: the pages exist, and rows of the weights are whole pages long.
        unsafe {
            match (count, two) {
                (TOGETHER, true) => scores::<L, S, TOGETHER, 2>(job, left, keys, words, next, c),
                (TOGETHER, false) => scores::<L, S, TOGETHER, 1>(job, left, [keys[0]], words, [next[0]], c),
                (4, true) => scores::<L, S, 4, 2>(job, left, keys, words, next, c),
                (4, false) => scores::<L, S, 4, 1>(job, left, [keys[0]], words, [next[0]], c),
                (3, true) => scores::<L, S, 3, 2>(job, left, keys, words, next, c),
                (3, false) => scores::<L, S, 3, 1>(job, left, [keys[0]], words, [next[0]], c),
                (2, true) => scores::<L, S, 2, 2>(job, left, keys, words, next, c),
                (2, false) => scores::<L, S, 2, 1>(job, left, [keys[0]], words, [next[0]], c),
                (_, true) => scores::<L, S, 1, 2>(job, left, keys, words, next, c),
                (_, false) => scores::<L, S, 1, 1>(job, left, [keys[0]], words, [next[0]], c),
            }
        }
        page += if two { 2 } else { 1 };
    }
}

#[inline(always)]
unsafe fn scores<L: Lanes, S: Step<L>, const M: usize, const V: usize>(
    job: &Job<'_>,
    left: Left,
    keys: [*const u32; V],
    words: usize,
    next: [*const u32; V],
    c: *mut f32,
) {
    // SAFETY: the caller's contract.
    unsafe {
        let acc = sums::<L, S, M, V>(left, keys, PAGE, words, next);
        store::<L, M, V>(&acc, c, job.stride(), V * PAGE, Accumulate::Set);
    }
}

/// Mixes values for `Q` queries from the `first`-th on, whose probabilities begin at `weights`.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
unsafe fn mix<L: Lanes, const Q: usize>(job: &Job<'_>, head: usize, kv: usize, first: usize, weights: *const f32) {
    let stride = job.stride();
    let together = job.limit(first) / 4 * 4;
    let padded = job.head_dim.next_multiple_of(PAGE);
    // SAFETY (all blocks): offsets lie within out; pages and positions below the limits exist in
    // the cache; `weights` has `Q` rows of `stride` values.
    unsafe {
        for block in (0..padded).step_by(PAGE) {
            let mut sums = [[L::splat(0.0); 4]; Q];
            let at = head + PAGE * job.head_dim + block;
            let values = |page: usize| job.pages[page].data.as_ptr().wrapping_add(at).cast::<f32>();
            let mut weight = weights;
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
                for s in together..job.limit(first + i) {
                    let values = L::load(values(s / PAGE).wrapping_add(s % PAGE * padded));
                    let sum = &mut kept[s % 4];
                    let weight = L::broadcast(weights.wrapping_add(i * stride + s));
                    weight.fma(values, L::load(sum.as_ptr())).store(sum.as_mut_ptr());
                }
                let [a, b, c, d] = std::array::from_fn(|u| L::load(kept[u].as_ptr()));
                let out = job.out.add(job.offset(kv, first + i) + block);
                store::<L, 1, 1>(&[[a.add(b).add(c.add(d))]], out, 0, job.head_dim - block, Accumulate::Set);
            }
        }
    }
}

/// As [`floats_body`], by pairs. Positions beyond a query's limit have probability 0, which adds
/// nothing: no sum of [`pairs`](super::pairs) is ever a negative zero.
#[inline(always)]
unsafe fn pairs_body<L: Lanes, S: Step<L>>(job: &Job<'_>, head: usize, kv: usize, scratch: &mut Scratch) {
    let Scratch { q, weights, weight_pairs } = scratch;
    let (stride, d) = (job.stride(), job.head_dim);
    if weights.len() < TOGETHER * stride {
        weights.resize(TOGETHER * stride, 0.0);
    }
    fit(q, TOGETHER * d / 2);
    fit(weight_pairs, TOGETHER * stride / 2);
    for (first, count) in groups(job.rows * job.group, if L::TILE >= 16 { TOGETHER } else { 1 }) {
        // SAFETY: these queries exist; pages reach to the last row by the check in `attend`.
        unsafe {
            for i in 0..count {
                let row = std::slice::from_raw_parts(job.q.add(job.offset(kv, first + i)), d);
                for (to, [even, odd]) in q[i..].iter_mut().step_by(count).zip(row.as_chunks::<2>().0) {
                    *to = pair(*even, *odd);
                }
            }
            let key = |page: usize| job.pages[page].data.as_ptr().wrapping_add(head);
            score::<L, S>(job, q, key, first, count, weights);
            let most = job.limit(first + count - 1).next_multiple_of(PAGE);
            for i in 0..count {
                let weights = &mut weights[i * stride..][..most];
                let inverse = exponentials(weights, job.limit(first + i), job.scale());
                let pairs = weight_pairs[i * stride / 2..].iter_mut();
                for (to, [even, odd]) in pairs.zip(weights.as_chunks::<2>().0) {
                    *to = pair(rounded(even * inverse), rounded(odd * inverse));
                }
            }
            let at = |i: usize| weight_pairs.as_ptr().wrapping_add(i * stride / 2);
            match count {
                TOGETHER => {
                    mix_pairs::<L, S, 6>(job, head, kv, first, at(0));
                    mix_pairs::<L, S, 6>(job, head, kv, first + 6, at(6));
                }
                4 => mix_pairs::<L, S, 4>(job, head, kv, first, at(0)),
                3 => mix_pairs::<L, S, 3>(job, head, kv, first, at(0)),
                2 => mix_pairs::<L, S, 2>(job, head, kv, first, at(0)),
                _ => mix_pairs::<L, S, 1>(job, head, kv, first, at(0)),
            }
        }
    }
}

/// Mixes values for `Q` queries from the `first`-th on, whose pairs of probabilities begin at
/// `weights`.
#[inline(always)]
unsafe fn mix_pairs<L: Lanes, S: Step<L>, const Q: usize>(
    job: &Job<'_>,
    head: usize,
    kv: usize,
    first: usize,
    weights: *const u32,
) {
    let padded = job.head_dim.next_multiple_of(PAGE);
    let mut block = 0;
    // SAFETY: the caller's contract.
    unsafe {
        while block < padded {
            if block + 4 * PAGE <= padded && L::TILE >= 16 {
                mix_block::<L, S, Q, 4>(job, head, kv, first, weights, block);
                block += 4 * PAGE;
            } else {
                mix_block::<L, S, Q, 1>(job, head, kv, first, weights, block);
                block += PAGE;
            }
        }
    }
}

/// `V` panels of the head's width from column `block` on.
#[inline(always)]
unsafe fn mix_block<L: Lanes, S: Step<L>, const Q: usize, const V: usize>(
    job: &Job<'_>,
    head: usize,
    kv: usize,
    first: usize,
    weights: *const u32,
    block: usize,
) {
    let (words, padded) = (PAGE / 2, job.head_dim.next_multiple_of(PAGE));
    let at = head + words * job.head_dim + block;
    // SAFETY: pages and probabilities are there for all positions that these queries see; offsets
    // lie within out.
    unsafe {
        let mut acc = [[L::splat(0.0); V]; Q];
        for page in 0..job.limit(first + Q - 1).div_ceil(PAGE) {
            let values = job.pages[page].data.as_ptr().wrapping_add(at);
            let panels: [*const u32; V] = std::array::from_fn(|v| values.wrapping_add(v * PAGE));
            let left = Left { at: weights.wrapping_add(page * words), row: job.stride() / 2, step: 1 };
            acc = added::<L, S, Q, V>(acc, left, panels, padded, words, panels);
        }
        for (i, acc) in acc.iter().enumerate() {
            let out = job.out.add(job.offset(kv, first + i) + block);
            store::<L, 1, V>(&[*acc], out, 0, job.head_dim - block, Accumulate::Set);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Isa;
    use super::super::pairs::round;
    use super::*;
    use crate::KvCache;
    use crate::rng::uniform;

    fn random(len: usize, stream: u64) -> Vec<f32> {
        (0..len).map(|i| 2.0 * uniform(3, stream, i as u64) as f32 - 1.0).collect()
    }

    /// Queries at positions 0..t over two key/value heads of width `d`, in chunks of `chunk` rows.
    fn run(rt: &Runtime, by_pairs: bool, t: usize, d: usize, chunk: usize) -> Vec<f32> {
        let (mut q, mut k, mut v) = (random(t * 4 * d, 1), random(t * 2 * d, 2), random(t * 2 * d, 3));
        if by_pairs {
            [&mut q, &mut k, &mut v].into_iter().for_each(|x| round(rt.isa(), x));
        }
        let shape = PageShape { kv_heads: 2, head_dim: d, pairs: by_pairs };
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

    /// As [`contiguous`], by pairs: the odd one of two first, in the scores as in the mix.
    fn contiguous_pairs(t: usize, d: usize) -> Vec<f32> {
        let [q, k, v] = [(4, 1), (2, 2), (2, 3)].map(|(heads, stream)| random(t * heads * d, stream));
        let [q, k, v] = [q, k, v].map(|x| x.into_iter().map(rounded).collect::<Vec<f32>>());
        let mut out = vec![0.0; q.len()];
        for (row, head) in (0..t).flat_map(|row| (0..4).map(move |head| (row, head))) {
            let (q, at) = (&q[(row * 4 + head) * d..][..d], |s: usize| (s * 2 + head / 2) * d);
            let swapped = |n: usize| (0..n).map(|i| i ^ 1);
            let score = |s: usize| swapped(d).fold(0f32, |sum, i| q[i].mul_add(k[at(s) + i], sum));
            let mut weights: Vec<f32> = (0..=row).map(score).collect();
            weights.resize((row + 1).next_multiple_of(PAGE), 0.0);
            softmax_row(&mut weights, row + 1, 1.0 / (d as f32).sqrt());
            for i in 0..d {
                let seen = swapped((row + 1).next_multiple_of(2)).filter(|s| *s <= row);
                out[(row * 4 + head) * d + i] =
                    seen.fold(0f32, |sum, s| rounded(weights[s]).mul_add(v[at(s) + i], sum));
            }
        }
        out
    }

    #[test]
    fn pages_give_the_bits_of_keys_and_values_that_lie_side_by_side() {
        for (t, d) in [(1, 8), (16, 16), (37, 24), (50, 64)] {
            assert_eq!(run(&Runtime::new(1), false, t, d, 7), contiguous(t, d), "{t} positions, width {d}");
            assert_eq!(run(&Runtime::new(1), true, t, d, 7), contiguous_pairs(t, d), "{t} positions, width {d}");
        }
    }

    #[test]
    fn attention_has_the_same_bits_for_any_chunk_thread_count_and_instruction_set() {
        let rt = Runtime::new(2);
        for d in [8, 16, 24, 64, 80] {
            for by_pairs in [false, true] {
                let want = run(&rt.with_isa(Isa::Scalar).unwrap(), by_pairs, 37, d, 37);
                for isa in Isa::ALL {
                    let Some(rt) = rt.with_isa(isa) else { continue };
                    for chunk in [1, 5, 16, 37] {
                        assert_eq!(run(&rt, by_pairs, 37, d, chunk), want, "{isa:?}, width {d}, chunk {chunk}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_position_sees_only_its_own_value() {
        let out = run(&Runtime::new(1), false, 3, 8, 1);
        let v = random(3 * 2 * 8, 3);
        for head in 0..4 {
            let want = &v[head / 2 * 8..][..8];
            for (got, want) in out[head * 8..][..8].iter().zip(want) {
                assert!((got - want).abs() < 1e-6);
            }
        }
    }
}
