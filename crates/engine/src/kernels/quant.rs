//! Products by 8-bit weights: integer dot products in blocks of 32 inputs, combined in f32 in a
//! fixed order.
//!
//! Place in the flow: `linear` in mode `q8-2`, instead of `product`. Rows are quantised block by
//! block as weights are ([`steps`]), with an f32 scale; a block's sum of products is an integer
//! below 2^24, hence exact in f32 on every instruction set.
//!
//! Invariants: `Y[i][j]` is `fma(sum of block, scale of weight · scale of row, Y)` over blocks in
//! order from zero; so the bits depend on row and weight only. Lanes are different outputs; threads
//! split panels of outputs. Not here: float weights (`product`), adapters (always float).

use super::lanes::{Lanes, Scalar};
use super::product::store;
use super::tile::Prefetch;
use super::weights::{BLOCK, Form, PANEL, Weight, bytes, scale, steps, whole};
use super::{Isa, Runtime, dispatch};
use crate::kernels::gemm::Accumulate;

/// Blocks of a row of `k` inputs: an even number, the last one of zeros where need be.
const fn blocks(k: usize) -> usize {
    2 * k.div_ceil(2 * BLOCK)
}

/// Groups of four inputs per block.
const GROUPS: usize = BLOCK / 4;
/// Words per row and block: the bytes, the scale, and minus 128 times their sum.
const ROW_WORDS: usize = GROUPS + 2;
/// Products (multiplications) below which a call stays on one thread.
const SPLIT_FROM: usize = 1 << 21;
/// Words that a product asks for ahead of their use.
const AHEAD: usize = 512;

/// Quantised rows in groups of 8, 4, 2 and 1, each `[block][10][rows]` words.
#[derive(Default)]
pub(crate) struct QuantActs {
    m: usize,
    k: usize,
    words: Vec<u32>,
}

/// Sizes of the groups that `m` rows fall into, each with the first row.
fn groups(m: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let rows = [8, 4, 2, 1].into_iter().find(|rows| first + rows <= m)?;
        first += rows;
        Some((first - rows, rows))
    })
}

impl QuantActs {
    /// Quantises rows `[m, k]`.
    pub(crate) fn fill(&mut self, isa: Isa, x: &[f32], m: usize, k: usize) {
        assert_eq!(x.len(), m * k, "rows have k values");
        (self.m, self.k) = (m, k);
        self.words.resize(m * blocks(k) * ROW_WORDS, 0);
        let words = self.words.as_mut_slice();
        dispatch!(isa, fill_body(x: &[f32], m: usize, k: usize, words: &mut [u32]));
    }
}

#[inline(always)]
unsafe fn fill_body<L: Lanes>(x: &[f32], m: usize, k: usize, words: &mut [u32]) {
    let per_row = blocks(k) * ROW_WORDS;
    for (first, rows) in groups(m) {
        let words = &mut words[first * per_row..][..rows * per_row];
        for r in 0..rows {
            let row = &x[(first + r) * k..][..k];
            let (full, rest) = row.as_chunks::<BLOCK>();
            let mut words = words.chunks_exact_mut(ROW_WORDS * rows);
            for (values, words) in full.iter().zip(&mut words) {
                fill_block(values, &mut words[r..], rows);
            }
            let mut rest = whole(rest);
            for words in words {
                fill_block(&rest, &mut words[r..], rows);
                rest = [0.0; BLOCK];
            }
        }
    }
}

/// One block of one of `rows` rows.
#[inline(always)]
fn fill_block(values: &[f32; BLOCK], words: &mut [u32], rows: usize) {
    let scale = scale(values);
    let mut steps = steps(values, scale);
    let bytes = bytes(&steps);
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            steps[i] += steps[i + half];
        }
    }
    // At most 32·127 at any time, so that every sum is exact.
    let offset = (-128.0 * steps[0]) as i32 as u32;
    let words = words.iter_mut().step_by(rows);
    let filled = bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four));
    words.zip(filled.chain([scale.to_bits(), offset])).for_each(|(to, word)| *to = word);
}

/// One weight and where its products go, rows `weight.n` apart.
pub(crate) struct QuantOutput<'a> {
    /// What to multiply by; of form [`Form::Q8`].
    pub(crate) weight: Weight<'a>,
    /// `[m, weight.n]`.
    pub(crate) out: &'a mut [f32],
}

/// A checked output as pointers.
#[derive(Clone, Copy)]
struct Job<'a> {
    m: usize,
    weight: Weight<'a>,
    acts: *const u32,
    out: *mut f32,
}

// SAFETY: acts and weight are only read, and threads write disjoint columns of `out`; `multiply`
// waits for all of them while it holds the borrows the pointers came from.
unsafe impl Send for Job<'_> {}
// SAFETY: as above.
unsafe impl Sync for Job<'_> {}

/// Multiplies the rows of `acts` by every weight. `prefetch` is memory that will be read after
/// that.
pub(crate) fn multiply(rt: &Runtime, acts: &QuantActs, outputs: &mut [QuantOutput<'_>], prefetch: &[&[u32]]) {
    let (m, k) = (acts.m, acts.k);
    let mut total = 0;
    for output in outputs.iter() {
        let Weight { n, k: inputs, form, .. } = output.weight;
        assert!(inputs == k && form == Form::Q8 && output.out.len() == m * n, "weight or output of another shape");
        total += n.div_ceil(PANEL);
    }
    let jobs: [Option<Job<'_>>; 3] = std::array::from_fn(|i| {
        let QuantOutput { weight, out } = outputs.get_mut(i)?;
        Some(Job { m, weight: *weight, acts: acts.words.as_ptr(), out: out.as_mut_ptr() })
    });
    assert!(outputs.len() <= jobs.len(), "at most three weights share their input");
    let kind = Kind::of(rt.isa());
    let steps = blocks(k) * groups(m).count();
    let part = |from: usize, to: usize, task: (usize, usize)| {
        let mut prefetch = Prefetch::part(prefetch, task, (to - from) * steps * GROUPS);
        let mut before = 0;
        for job in jobs.into_iter().flatten() {
            let panels = job.weight.n.div_ceil(PANEL);
            let (from, to) = (from.saturating_sub(before).min(panels), to.saturating_sub(before).min(panels));
            if from < to {
                kind.run(job, from, to, &mut prefetch);
            }
            before += panels;
        }
    };
    let tasks = if m * k * total * PANEL < SPLIT_FROM { 1 } else { rt.threads().min(total) };
    if tasks <= 1 {
        part(0, total, (0, 1));
    } else {
        rt.run(tasks, &|i| part(total * i / tasks, total * (i + 1) / tasks, (i, tasks)));
    }
}

/// Which instructions multiply bytes.
#[derive(Clone, Copy)]
enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Kind {
    fn of(isa: Isa) -> Self {
        match isa {
            Isa::Scalar => Kind::Scalar,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if is_x86_feature_detected!("avx512vnni") => Kind::Vnni,
            #[cfg(target_arch = "x86_64")]
            _ => Kind::Avx2,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Kind::Neon,
            #[cfg(not(target_arch = "x86_64"))]
            _ => Kind::Scalar,
        }
    }

    fn run(self, job: Job<'_>, from: usize, to: usize, prefetch: &mut Prefetch<'_>) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
        unsafe fn vnni(job: Job<'_>, from: usize, to: usize, prefetch: &mut Prefetch<'_>) {
            // SAFETY: the caller's contract is the body's.
            unsafe { panels::<super::lanes::Avx512>(&job, from, to, prefetch) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(job: Job<'_>, from: usize, to: usize, prefetch: &mut Prefetch<'_>) {
            // SAFETY: the caller's contract is the body's.
            unsafe { panels::<super::lanes::Avx2>(&job, from, to, prefetch) }
        }
        // SAFETY: the processor was asked for the features; `multiply` checked the job.
        unsafe {
            match self {
                Kind::Scalar => panels::<Scalar>(&job, from, to, prefetch),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => avx2(job, from, to, prefetch),
                #[cfg(target_arch = "x86_64")]
                Kind::Vnni => vnni(job, from, to, prefetch),
                #[cfg(target_arch = "aarch64")]
                Kind::Neon => panels::<super::lanes::Neon>(&job, from, to, prefetch),
            }
        }
    }
}

/// Sixteen integer sums of products of bytes.
trait Quads: Lanes {
    /// Rows that share one reading of the weights.
    const ROWS: usize;
    /// Sixteen sums.
    type Sums: Copy;
    /// Weights of 16 outputs for four inputs.
    type Bytes: Copy;
    /// All sums at what takes the weights' offset of 128 back: the value at `offset`, where weights
    /// count as unsigned.
    unsafe fn start(offset: *const u32) -> Self::Sums;
    /// Reads 16 words of weights.
    unsafe fn bytes(p: *const u32) -> Self::Bytes;
    /// Adds the products with the four bytes at `x`.
    unsafe fn dot(sums: Self::Sums, bytes: Self::Bytes, x: *const u32) -> Self::Sums;
    /// The sums as floats; exact, as they stay below 2^24.
    unsafe fn floats(sums: Self::Sums) -> Self;
    /// `self · b`.
    unsafe fn mul(self, b: Self) -> Self;
}

#[inline(always)]
unsafe fn panels<Q: Quads>(job: &Job<'_>, mut from: usize, to: usize, prefetch: &mut Prefetch<'_>) {
    let per_row = blocks(job.weight.k) * ROW_WORDS;
    if job.m == 1 {
        // SAFETY: as below.
        from = unsafe { if Q::TILE >= 16 { runs::<Q, 4>(job, from, to) } else { runs::<Q, 2>(job, from, to) } };
    }
    for p in from..to {
        for (first, rows) in groups(job.m) {
            let [prefetch] = prefetch.tile(blocks(job.weight.k) * GROUPS, [job.weight.panel(p).0.as_ptr()]);
            let x = job.acts.wrapping_add(first * per_row);
            for r in (0..rows).step_by(rows.min(Q::ROWS)) {
                let (x, first) = (x.wrapping_add(r), first + r);
                // SAFETY: rows and panels lie within the job.
                unsafe {
                    match rows.min(Q::ROWS) {
                        8 => tile::<Q, 8, 1>(job, x, rows, first, [p], prefetch),
                        4 => tile::<Q, 4, 1>(job, x, rows, first, [p], prefetch),
                        2 => tile::<Q, 2, 1>(job, x, rows, first, [p], prefetch),
                        _ => tile::<Q, 1, 1>(job, x, rows, first, [p], prefetch),
                    }
                }
            }
        }
    }
}

/// One row against `V` runs of neighbouring panels side by side, as in `product`; returns the first
/// panel that is left over.
#[inline(always)]
unsafe fn runs<Q: Quads, const V: usize>(job: &Job<'_>, from: usize, to: usize) -> usize {
    let run = (to - from) / V;
    for p in from..from + run {
        // SAFETY: the caller vouches for the panels.
        unsafe { tile::<Q, 1, V>(job, job.acts, 1, 0, std::array::from_fn(|v| p + v * run), job.acts) }
    }
    from + V * run
}

/// `M` rows from `first` on, of a group of `rows`, against `V` panels; `prefetch` is memory to be
/// read after that.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
unsafe fn tile<Q: Quads, const M: usize, const V: usize>(
    job: &Job<'_>,
    mut x: *const u32,
    rows: usize,
    first: usize,
    panels: [usize; V],
    mut prefetch: *const u32,
) {
    let w: [*const u32; V] = std::array::from_fn(|v| job.weight.panel(panels[v]).0.as_ptr());
    let mut at = 0;
    // SAFETY: the caller vouches for rows and panels.
    unsafe {
        let mut acc = [[[Q::splat(0.0); 1]; M]; V];
        for _ in 0..blocks(job.weight.k) / 2 {
            let scales: [(Q, Q); V] = std::array::from_fn(|v| Q::widen(w[v].wrapping_add(at)));
            at += PANEL;
            for half in 0..2 {
                let offsets = x.wrapping_add((GROUPS + 1) * rows);
                let mut sums: [[Q::Sums; M]; V] =
                    std::array::from_fn(|_| std::array::from_fn(|r| Q::start(offsets.wrapping_add(r))));
                for group in 0..GROUPS {
                    for v in 0..V {
                        let words = w[v].wrapping_add(at);
                        let bytes = Q::bytes(words);
                        // A single row outruns its hints.
                        if M > 1 {
                            Q::prefetch(words.wrapping_add(AHEAD));
                            Q::prefetch(prefetch);
                        }
                        for r in 0..M {
                            sums[v][r] = Q::dot(sums[v][r], bytes, x.wrapping_add(group * rows + r));
                        }
                    }
                    at += PANEL;
                    prefetch = prefetch.wrapping_add(PANEL);
                }
                for v in 0..V {
                    let scales = if half == 0 { scales[v].0 } else { scales[v].1 };
                    for r in 0..M {
                        let scale = scales.mul(Q::broadcast(x.wrapping_add(GROUPS * rows + r).cast()));
                        acc[v][r][0] = Q::floats(sums[v][r]).fma(scale, acc[v][r][0]);
                    }
                }
                x = x.wrapping_add(ROW_WORDS * rows);
            }
        }
        let n = job.weight.n;
        for v in 0..V {
            let column = panels[v] * PANEL;
            store::<Q, M, 1>(&acc[v], job.out.wrapping_add(first * n + column), n, n - column, Accumulate::Set);
        }
    }
}

impl Quads for Scalar {
    const ROWS: usize = 1;
    type Sums = [i32; 16];
    type Bytes = [[u8; 4]; 16];

    #[inline(always)]
    unsafe fn start(_: *const u32) -> Self::Sums {
        [0; 16]
    }

    #[inline(always)]
    unsafe fn bytes(p: *const u32) -> Self::Bytes {
        // SAFETY: the caller vouches for 16 readable words.
        unsafe { p.cast::<[u32; 16]>().read_unaligned() }.map(|w| (w ^ 0x8080_8080).to_le_bytes())
    }

    #[inline(always)]
    unsafe fn dot(sums: Self::Sums, bytes: Self::Bytes, x: *const u32) -> Self::Sums {
        // SAFETY: the caller vouches for one readable word.
        let x = unsafe { x.read() }.to_le_bytes();
        std::array::from_fn(|i| (0..4).fold(sums[i], |s, j| s + i32::from(bytes[i][j] as i8) * i32::from(x[j] as i8)))
    }

    #[inline(always)]
    unsafe fn floats(sums: Self::Sums) -> Self {
        let floats = sums.map(|s| s as f32);
        // SAFETY: 16 values are there.
        unsafe { Self::load(floats.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        self.times(b)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::lanes::{Avx2, Avx512};
    use super::Quads;

    // SAFETY of every block below: the methods are inlined into functions that enable the
    // instructions, which run only after the processor was asked for them; pointers are the
    // caller's promise.
    impl Quads for Avx2 {
        const ROWS: usize = 2;
        type Sums = [__m256i; 2];
        type Bytes = [__m256i; 2];

        #[inline(always)]
        unsafe fn start(_: *const u32) -> Self::Sums {
            // SAFETY: see the head of this block.
            unsafe { [_mm256_setzero_si256(); 2] }
        }

        #[inline(always)]
        unsafe fn bytes(p: *const u32) -> Self::Bytes {
            // SAFETY: see the head of this block.
            unsafe {
                let (p, sign) = (p.cast::<__m256i>(), _mm256_set1_epi8(-128));
                [p, p.wrapping_add(1)].map(|p| _mm256_xor_si256(_mm256_loadu_si256(p), sign))
            }
        }

        #[inline(always)]
        unsafe fn dot(sums: Self::Sums, bytes: Self::Bytes, x: *const u32) -> Self::Sums {
            // SAFETY: see the head of this block. With the row's magnitudes unsigned and its signs
            // on the weights, no pair of products exceeds 2·127², so that the 16-bit sums never
            // saturate.
            unsafe {
                let x = _mm256_set1_epi32(x.read() as i32);
                let (size, ones) = (_mm256_abs_epi8(x), _mm256_set1_epi16(1));
                std::array::from_fn(|i| {
                    let pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(bytes[i], x));
                    _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs, ones))
                })
            }
        }

        #[inline(always)]
        unsafe fn floats(sums: Self::Sums) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])) }
        }

        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(_mm256_mul_ps(self.0, b.0), _mm256_mul_ps(self.1, b.1)) }
        }
    }

    impl Quads for Avx512 {
        const ROWS: usize = 8;
        type Sums = __m512i;
        type Bytes = __m512i;

        #[inline(always)]
        unsafe fn start(offset: *const u32) -> Self::Sums {
            // SAFETY: see the head of the previous block.
            unsafe { _mm512_set1_epi32(offset.read() as i32) }
        }

        #[inline(always)]
        unsafe fn bytes(p: *const u32) -> Self::Bytes {
            // SAFETY: see the head of the previous block.
            unsafe { p.cast::<__m512i>().read_unaligned() }
        }

        #[inline(always)]
        unsafe fn dot(sums: Self::Sums, bytes: Self::Bytes, x: *const u32) -> Self::Sums {
            // SAFETY: see the head of the previous block.
            unsafe { _mm512_dpbusd_epi32(sums, bytes, _mm512_set1_epi32(x.read() as i32)) }
        }

        #[inline(always)]
        unsafe fn floats(sums: Self::Sums) -> Self {
            // SAFETY: see the head of the previous block.
            unsafe { Self(_mm512_cvtepi32_ps(sums)) }
        }

        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: see the head of the previous block.
            unsafe { Self(_mm512_mul_ps(self.0, b.0)) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::super::lanes::Neon;
    use super::Quads;

    // SAFETY of every block below: NEON is part of every 64-bit ARM target; pointers are the
    // caller's promise.
    impl Quads for Neon {
        const ROWS: usize = 2;
        type Sums = [int32x4_t; 4];
        type Bytes = [int8x16_t; 4];

        #[inline(always)]
        unsafe fn start(_: *const u32) -> Self::Sums {
            // SAFETY: see the head of this block.
            unsafe { [vdupq_n_s32(0); 4] }
        }

        #[inline(always)]
        unsafe fn bytes(p: *const u32) -> Self::Bytes {
            // SAFETY: see the head of this block.
            unsafe {
                let sign = vdupq_n_u32(0x8080_8080);
                std::array::from_fn(|i| vreinterpretq_s8_u32(veorq_u32(vld1q_u32(p.wrapping_add(4 * i)), sign)))
            }
        }

        #[inline(always)]
        unsafe fn dot(sums: Self::Sums, bytes: Self::Bytes, x: *const u32) -> Self::Sums {
            // SAFETY: see the head of this block. Products of 8 bits fit into 16, sums of two of
            // them into 32.
            unsafe {
                let x = vreinterpretq_s8_u32(vdupq_n_u32(x.read()));
                std::array::from_fn(|i| {
                    let low = vpaddlq_s16(vmull_s8(vget_low_s8(bytes[i]), vget_low_s8(x)));
                    let high = vpaddlq_s16(vmull_high_s8(bytes[i], x));
                    vaddq_s32(sums[i], vpaddq_s32(low, high))
                })
            }
        }

        #[inline(always)]
        unsafe fn floats(sums: Self::Sums) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(sums.map(|s| vcvtq_f32_s32(s))) }
        }

        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(std::array::from_fn(|i| vmulq_f32(self.0[i], b.0[i]))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::weights::Spec;
    use super::*;
    use crate::rng::uniform;

    fn random(len: usize, stream: u64) -> Vec<f32> {
        (0..len).map(|i| uniform(5, stream, i as u64) as f32 - 0.5).collect()
    }

    #[test]
    fn blocks_of_bytes_give_the_bits_of_the_plain_loop_on_every_path() {
        let rt = Runtime::new(2);
        for (m, n, k) in [(1, 1, 1), (1, 172, 64), (7, 40, 9), (2, 65, 33), (31, 24, 70), (17, 192, 576)] {
            let (x, w) = (random(m * k, 1), random(n * k, 2));
            let mut want = Vec::new();
            for x in x.chunks(k) {
                for w in w.chunks(k) {
                    want.push(x.chunks(BLOCK).zip(w.chunks(BLOCK)).fold(0f32, |acc, (x, w)| {
                        let (x, w) = (whole(x), whole(w));
                        let (xs, ws) = (scale(&x), half::bf16::from_f32(scale(&w)).to_f32());
                        let (x, w) = (bytes(&steps(&x, xs)), bytes(&steps(&w, ws)));
                        let sum: i32 = x.iter().zip(w).map(|(x, w)| i32::from(*x as i8) * i32::from(w as i8)).sum();
                        (sum as f32).mul_add(ws * xs, acc)
                    }));
                }
            }
            let mut end = 0;
            let spec = Spec::after(&mut end, n, k, Form::Q8);
            let mut words = vec![0; end];
            spec.pack(&w, &mut words);
            for isa in Isa::ALL {
                let Some(rt) = rt.with_isa(isa) else { continue };
                let mut acts = QuantActs::default();
                acts.fill(isa, &x, m, k);
                let mut got = vec![0.0; m * n];
                multiply(
                    &rt,
                    &acts,
                    &mut [QuantOutput { weight: spec.of(&words), out: &mut got }],
                    &[&words, &[], &words[end / 2..]],
                );
                assert!(got == want, "{m}x{n}x{k} on {isa:?}");
            }
        }
    }
}
