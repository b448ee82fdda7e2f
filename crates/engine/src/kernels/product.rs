//! Products by packed weights: `Y (op)= X·Wᵀ` for rows that decode and prefill alike.
//!
//! Place in the flow: `linear` hands one [`Acts`] (the rows, in the order the kernels read them) and the weights that
//! share it; products by plain matrices stay in `gemm`.
//!
//! Invariants: in the float forms `Y[i][j]` is `fma` over k = 0, 1, .. from zero, the order of `gemm`: so a weight that
//! is bf16 gives the bits of its f32 twin, whatever block a row falls in. Lanes are different outputs; threads split
//! panels of outputs, never k. Not here: 8-bit weights (`quant`).

use super::gemm::Into;
use super::lanes::Lanes;
use super::weights::{Form, PANEL, Weight};
use super::{Runtime, dispatch};

/// Rows per full block.
pub(super) const BLOCK_ROWS: usize = 16;
/// Products (multiplications) below which a call stays on one thread.
const SPLIT_FROM: usize = 1 << 19;

/// Rows `[m, k]` in blocks of 16, 8, 4, 2 and 1 rows, each block `[k][rows]`.
#[derive(Default)]
pub(crate) struct Acts {
    m: usize,
    k: usize,
    data: Vec<f32>,
}

/// Sizes of the blocks that `m` rows fall into, each with the first row.
pub(super) fn blocks(m: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let rows = [16, 8, 4, 2, 1].into_iter().find(|rows| first + rows <= m)?;
        first += rows;
        Some((first - rows, rows))
    })
}

impl Acts {
    /// Takes rows `[m, k]` that stand `width` apart in `x`.
    pub(crate) fn fill(&mut self, x: &[f32], width: usize, m: usize, k: usize) {
        assert!(m == 0 || (width >= k && x.len() >= (m - 1) * width + k), "too few values for the rows");
        (self.m, self.k) = (m, k);
        self.data.resize(m * k, 0.0);
        for (first, rows) in blocks(m) {
            let block = &mut self.data[first * k..][..rows * k];
            if rows == BLOCK_ROWS {
                // Constant widths let the compiler turn whole squares.
                let (block, _) = block.as_chunks_mut::<BLOCK_ROWS>();
                let from: [&[f32]; BLOCK_ROWS] = std::array::from_fn(|r| &x[(first + r) * width..][..k]);
                for (i, to) in block.iter_mut().enumerate() {
                    *to = std::array::from_fn(|r| from[r][i]);
                }
                continue;
            }
            for r in 0..rows {
                for (to, x) in block[r..].iter_mut().step_by(rows).zip(&x[(first + r) * width..][..k]) {
                    *to = *x;
                }
            }
        }
    }
}

/// One weight and where its products go, rows `width` apart.
pub(crate) struct Output<'a> {
    /// What to multiply by.
    pub(crate) weight: Weight<'a>,
    /// Row-major, at least `weight.n` wide.
    pub(crate) out: &'a mut [f32],
    /// Distance of its rows.
    pub(crate) width: usize,
    /// What happens to the sums.
    pub(crate) into: Into,
}

/// A checked output as pointers.
#[derive(Clone, Copy)]
struct Job<'a> {
    m: usize,
    weight: Weight<'a>,
    acts: *const f32,
    out: *mut f32,
    width: usize,
    into: Into,
}

// SAFETY: acts and weight are only read, and threads write disjoint columns of `out`; `multiply` waits for all of them
// while it holds the borrows the pointers came from.
unsafe impl Send for Job<'_> {}
// SAFETY: as above.
unsafe impl Sync for Job<'_> {}

/// Multiplies the rows of `acts` by every weight; all have k inputs and a float form.
pub(crate) fn multiply(rt: &Runtime, acts: &Acts, outputs: &mut [Output<'_>]) {
    let (m, k) = (acts.m, acts.k);
    if m == 0 {
        return;
    }
    let mut total = 0;
    for output in outputs.iter() {
        let Weight { n, k: inputs, form, .. } = output.weight;
        assert!(inputs == k && form != Form::Q8 && n > 0, "the weight is of another shape or form");
        assert!(output.width >= n && output.out.len() >= (m - 1) * output.width + n, "the output is too short");
        total += n.div_ceil(PANEL);
    }
    let isa = rt.isa();
    let jobs: [Option<Job<'_>>; 3] = std::array::from_fn(|i| {
        let Output { weight, out, width, into } = outputs.get_mut(i)?;
        let (width, into) = (*width, *into);
        Some(Job { m, weight: *weight, acts: acts.data.as_ptr(), out: out.as_mut_ptr(), width, into })
    });
    assert!(outputs.len() <= jobs.len(), "at most three weights share their input");
    let part = |from: usize, to: usize| {
        let mut before = 0;
        for job in jobs.into_iter().flatten() {
            let panels = job.weight.n.div_ceil(PANEL);
            let (from, to) = (from.saturating_sub(before).min(panels), to.saturating_sub(before).min(panels));
            if from < to {
                match job.weight.form {
                    Form::Bf16 => dispatch!(isa, bf16_body(job: Job<'_>, from: usize, to: usize)),
                    _ => dispatch!(isa, f32_body(job: Job<'_>, from: usize, to: usize)),
                }
            }
            before += panels;
        }
    };
    let tasks = if m * k * total * PANEL < SPLIT_FROM { 1 } else { rt.threads().min(total) };
    if tasks <= 1 {
        part(0, total);
    } else {
        rt.run(tasks, &|i| part(total * i / tasks, total * (i + 1) / tasks));
    }
}

#[inline(always)]
unsafe fn bf16_body<L: Lanes>(job: Job<'_>, from: usize, to: usize) {
    // SAFETY: the caller's contract.
    unsafe { panels::<L, true>(&job, from, to) }
}

#[inline(always)]
unsafe fn f32_body<L: Lanes>(job: Job<'_>, from: usize, to: usize) {
    // SAFETY: the caller's contract.
    unsafe { panels::<L, false>(&job, from, to) }
}

/// Panels `from..to` against all rows, four panels at a time so that few rows keep enough sums in flight.
#[inline(always)]
unsafe fn panels<L: Lanes, const BF16: bool>(job: &Job<'_>, from: usize, to: usize) {
    let mut p = from;
    while p < to {
        let (words, step) = job.weight.panel(p);
        // A narrow panel is the last one and stands alone.
        let four = p + 4 <= to && job.weight.panel(p + 3).1 == PANEL;
        let take = if four { 4 } else { 1 };
        let units = if BF16 { job.weight.k.div_ceil(2) } else { job.weight.k };
        let w = words.as_ptr();
        for (first, rows) in blocks(job.m) {
            let a = job.acts.wrapping_add(first * job.weight.k);
            let c = job.out.wrapping_add(first * job.width + p * PANEL);
            let at = Place { a, rows, w, step, apart: units * PANEL, c, left: job.weight.n - p * PANEL };
            // SAFETY: blocks lie within acts and out, panels within the weight.
            unsafe {
                match (L::TILE >= 16, rows, four) {
                    (true, 16, _) => tiles::<L, BF16, 16, 1>(job, at, take),
                    (true, 8, true) => tiles::<L, BF16, 8, 2>(job, at, take),
                    (true, 8, false) => tiles::<L, BF16, 8, 1>(job, at, take),
                    (_, 4 | 8 | 16, false) => tiles::<L, BF16, 4, 1>(job, at, take),
                    (true, 4, true) => tiles::<L, BF16, 4, 2>(job, at, take),
                    (_, 4 | 8 | 16, true) => tiles::<L, BF16, 4, 1>(job, at, take),
                    (_, 2, true) => tiles::<L, BF16, 2, 2>(job, at, take),
                    (_, 2, false) => tiles::<L, BF16, 2, 1>(job, at, take),
                    (_, _, true) => tiles::<L, BF16, 1, 4>(job, at, take),
                    (_, _, false) => tiles::<L, BF16, 1, 1>(job, at, take),
                }
            }
        }
        p += take;
    }
}

/// A block of rows against some panels.
#[derive(Clone, Copy)]
struct Place {
    /// `[k][rows]`.
    a: *const f32,
    rows: usize,
    /// First panel, and words from one step of k to the next.
    w: *const u32,
    step: usize,
    /// Words from one panel to the next.
    apart: usize,
    /// First row and column of the output.
    c: *mut f32,
    /// Columns of the output from there on.
    left: usize,
}

/// `take` panels, `V` at a time, against the block's rows, `M` at a time.
#[inline(always)]
unsafe fn tiles<L: Lanes, const BF16: bool, const M: usize, const V: usize>(job: &Job<'_>, at: Place, take: usize) {
    for v in (0..take).step_by(V) {
        for r in (0..at.rows).step_by(M) {
            let place = Place {
                a: at.a.wrapping_add(r),
                w: at.w.wrapping_add(v * at.apart),
                c: at.c.wrapping_add(r * job.width + v * PANEL),
                left: at.left - v * PANEL,
                ..at
            };
            // SAFETY: within what the caller vouches for.
            unsafe { tile::<L, BF16, M, V>(job, place) }
        }
    }
}

/// `M` rows against `V` panels.
///
/// Loops over constant bounds and pointers that wrap keep the sums in registers, with and without debug assertions.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
unsafe fn tile<L: Lanes, const BF16: bool, const M: usize, const V: usize>(job: &Job<'_>, at: Place) {
    let Place { mut a, rows, mut w, step, apart, c, left } = at;
    let panels: [usize; V] = std::array::from_fn(|v| v * apart);
    let k = job.weight.k;
    // SAFETY: rows, panels and k are in range by the caller's contract; a panel that sticks out of the output goes
    // through a buffer, and what is read beyond a narrow panel is padding or the next step.
    unsafe {
        let mut acc = [[L::splat(0.0); V]; M];
        if BF16 {
            for _ in 0..k / 2 {
                let pairs: [(L, L); V] = std::array::from_fn(|v| L::widen(w.wrapping_add(panels[v])));
                for v in 0..V {
                    L::prefetch(w.wrapping_add(panels[v] + AHEAD));
                }
                for r in 0..M {
                    let x = L::broadcast(a.wrapping_add(r));
                    for v in 0..V {
                        acc[r][v] = x.fma(pairs[v].0, acc[r][v]);
                    }
                }
                a = a.wrapping_add(rows);
                for r in 0..M {
                    let x = L::broadcast(a.wrapping_add(r));
                    for v in 0..V {
                        acc[r][v] = x.fma(pairs[v].1, acc[r][v]);
                    }
                }
                a = a.wrapping_add(rows);
                w = w.wrapping_add(step);
            }
            if k % 2 == 1 {
                for v in 0..V {
                    let (low, _) = L::widen(w.wrapping_add(panels[v]));
                    for r in 0..M {
                        acc[r][v] = L::broadcast(a.wrapping_add(r)).fma(low, acc[r][v]);
                    }
                }
            }
        } else {
            for _ in 0..k {
                let right: [L; V] = std::array::from_fn(|v| L::load(w.wrapping_add(panels[v]).cast()));
                for v in 0..V {
                    L::prefetch(w.wrapping_add(panels[v] + AHEAD));
                }
                for r in 0..M {
                    let x = L::broadcast(a.wrapping_add(r));
                    for v in 0..V {
                        acc[r][v] = x.fma(right[v], acc[r][v]);
                    }
                }
                a = a.wrapping_add(rows);
                w = w.wrapping_add(step);
            }
        }
        store::<L, M, V>(&acc, c, job.width, left, job.into);
    }
}

/// Words that a product asks for ahead of their use: what hides the way from main memory behind the sums.
const AHEAD: usize = 512;

/// Stores sums of `M` rows and `V` panels at `c`; `left` columns of the output remain from there.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
pub(super) unsafe fn store<L: Lanes, const M: usize, const V: usize>(
    acc: &[[L; V]; M],
    c: *mut f32,
    width: usize,
    left: usize,
    into: Into,
) {
    // SAFETY: the caller vouches for `M` rows of `min(left, 16·V)` columns at `c`.
    unsafe {
        for v in 0..V {
            let live = left.saturating_sub(v * PANEL).min(PANEL);
            for r in 0..M {
                let to = c.wrapping_add(r * width + v * PANEL);
                if live == PANEL {
                    store_lanes(acc[r][v], to, into);
                } else {
                    let mut buffer = [0f32; PANEL];
                    std::ptr::copy_nonoverlapping(to, buffer.as_mut_ptr(), live);
                    store_lanes(acc[r][v], buffer.as_mut_ptr(), into);
                    std::ptr::copy_nonoverlapping(buffer.as_ptr(), to, live);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn store_lanes<L: Lanes>(sum: L, to: *mut f32, into: Into) {
    // SAFETY: the caller vouches for 16 values at `to`.
    unsafe {
        match into {
            Into::Set => sum.store(to),
            Into::Add => L::load(to).add(sum).store(to),
            Into::Scaled(scale) => L::splat(scale).fma(sum, L::load(to)).store(to),
        }
    }
}

/// One row times one weight: `out (op)= W·x`.
pub(crate) struct Single<'a> {
    /// What to multiply by; a float form.
    pub(crate) weight: Weight<'a>,
    /// `[weight.k]`.
    pub(crate) x: &'a [f32],
    /// `[weight.n]`.
    pub(crate) out: &'a mut [f32],
    /// What happens to the sums.
    pub(crate) into: Into,
}

/// A panel of a [`Single`], as pointers.
#[derive(Clone, Copy)]
struct Strand {
    x: *const f32,
    w: *const u32,
    c: *mut f32,
    live: usize,
    into: Into,
}

/// Rows with weights of their own (one adapter each), four panels of the same kind at a time, so that no sum waits for
/// itself.
pub(crate) fn multiply_each(rt: &Runtime, singles: &mut [Single<'_>]) {
    for single in singles.iter() {
        let Weight { n, k, form, .. } = single.weight;
        assert!(form != Form::Q8 && single.x.len() >= k && single.out.len() >= n, "a row of another shape or form");
    }
    let work: usize = singles.iter().map(|s| s.weight.n * s.weight.k).sum();
    let tasks = if work < SPLIT_FROM { 1 } else { rt.threads().min(singles.len()) };
    let isa = rt.isa();
    if tasks <= 1 {
        dispatch!(isa, singles_body(singles: &mut [Single<'_>]));
        return;
    }
    let share = singles.len().div_ceil(tasks);
    let parts: Vec<std::sync::Mutex<&mut [Single<'_>]>> =
        singles.chunks_mut(share).map(std::sync::Mutex::new).collect();
    rt.run(parts.len(), &|i| {
        let mut part = parts[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let part: &mut [Single<'_>] = &mut part;
        dispatch!(isa, singles_body(part: &mut [Single<'_>]));
    });
}

#[inline(always)]
unsafe fn singles_body<L: Lanes>(singles: &mut [Single<'_>]) {
    let empty = Strand { x: std::ptr::null(), w: std::ptr::null(), c: std::ptr::null_mut(), live: 0, into: Into::Set };
    // Strands that wait for company, and what they have in common: form, step and k.
    let (mut waiting, mut count, mut kind) = ([empty; 4], 0, (Form::F32, 0, 0));
    for single in singles {
        let Weight { n, k, form, .. } = single.weight;
        for p in 0..n.div_ceil(PANEL) {
            let (words, step) = single.weight.panel(p);
            // SAFETY (all blocks): strands point into checked slices that are still borrowed.
            if count > 0 && (form, step, k) != kind {
                unsafe { strands::<L>(&waiting[..count], kind) };
                count = 0;
            }
            let c = single.out[p * PANEL..].as_mut_ptr();
            let live = (n - p * PANEL).min(PANEL);
            waiting[count] = Strand { x: single.x.as_ptr(), w: words.as_ptr(), c, live, into: single.into };
            (kind, count) = ((form, step, k), count + 1);
            if count == 4 {
                unsafe { strands::<L>(&waiting, kind) };
                count = 0;
            }
        }
    }
    unsafe { strands::<L>(&waiting[..count], kind) };
}

#[inline(always)]
unsafe fn strands<L: Lanes>(all: &[Strand], (form, step, k): (Form, usize, usize)) {
    // SAFETY: the caller's contract.
    unsafe {
        match (form, all) {
            (_, []) => {}
            (Form::Bf16, [a, b, c, d]) => strand::<L, true, 4>([a, b, c, d], step, k),
            (_, [a, b, c, d]) => strand::<L, false, 4>([a, b, c, d], step, k),
            // Loops, since a closure would be compiled without the wide instructions.
            (Form::Bf16, some) => {
                for one in some {
                    strand::<L, true, 1>([one], step, k);
                }
            }
            (_, some) => {
                for one in some {
                    strand::<L, false, 1>([one], step, k);
                }
            }
        }
    }
}

/// `G` rows against a panel each.
#[inline(always)]
unsafe fn strand<L: Lanes, const BF16: bool, const G: usize>(group: [&Strand; G], step: usize, k: usize) {
    let x: [*const f32; G] = std::array::from_fn(|g| group[g].x);
    let w: [*const u32; G] = std::array::from_fn(|g| group[g].w);
    // SAFETY: as in `tile`.
    unsafe {
        let mut acc = [L::splat(0.0); G];
        let (mut i, mut at) = (0, 0);
        if BF16 {
            while i + 1 < k {
                for g in 0..G {
                    let (low, high) = L::widen(w[g].wrapping_add(at));
                    acc[g] = L::broadcast(x[g].wrapping_add(i)).fma(low, acc[g]);
                    acc[g] = L::broadcast(x[g].wrapping_add(i + 1)).fma(high, acc[g]);
                }
                i += 2;
                at += step;
            }
            if i < k {
                for g in 0..G {
                    let (low, _) = L::widen(w[g].wrapping_add(at));
                    acc[g] = L::broadcast(x[g].wrapping_add(i)).fma(low, acc[g]);
                }
            }
        } else {
            while i < k {
                for g in 0..G {
                    let right = L::load(w[g].wrapping_add(at).cast());
                    acc[g] = L::broadcast(x[g].wrapping_add(i)).fma(right, acc[g]);
                }
                i += 1;
                at += step;
            }
        }
        for g in 0..G {
            store::<L, 1, 1>(&[[acc[g]]], group[g].c, 0, group[g].live, group[g].into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Isa;
    use super::super::weights::Spec;
    use super::*;
    use crate::rng::uniform;

    fn random(len: usize, stream: u64) -> Vec<f32> {
        (0..len).map(|i| uniform(5, stream, i as u64) as f32 - 0.5).collect()
    }

    /// The plain loop: what every path must give bit for bit.
    fn oracle(x: &[f32], w: &[f32], k: usize, c: &mut [f32], into: Into) {
        let n = w.len() / k;
        for (x, c) in x.chunks(k).zip(c.chunks_mut(n)) {
            for (w, c) in w.chunks(k).zip(c) {
                let sum = x.iter().zip(w).fold(0f32, |s, (x, w)| x.mul_add(*w, s));
                *c = match into {
                    Into::Set => sum,
                    Into::Add => *c + sum,
                    Into::Scaled(scale) => scale.mul_add(sum, *c),
                };
            }
        }
    }

    #[test]
    fn products_have_the_bits_of_the_plain_loop_on_every_path() {
        let rt = Runtime::new(2);
        for (m, n, k) in [(1, 1, 1), (1, 172, 64), (7, 40, 9), (2, 65, 33), (31, 24, 17), (70, 130, 128), (5, 8, 3)] {
            let (x, c0) = (random(m * k, 1), random(m * n, 3));
            let w: Vec<f32> = random(n * k, 2).iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect();
            for form in [Form::F32, Form::Bf16] {
                let mut end = 0;
                let spec = Spec::after(&mut end, n, k, form);
                let mut words = vec![0; end];
                spec.pack(&w, &mut words);
                let weight = spec.of(&words);
                for isa in [Isa::Scalar, Isa::Avx2, Isa::Avx512] {
                    let Some(rt) = rt.with_isa(isa) else { continue };
                    for into in [Into::Set, Into::Add, Into::Scaled(0.3)] {
                        let mut want = c0.clone();
                        oracle(&x, &w, k, &mut want, into);
                        let mut acts = Acts::default();
                        acts.fill(&x, k, m, k);
                        let (mut got, mut twin) = (c0.clone(), c0.clone());
                        let one = Output { weight, out: &mut got, width: n, into };
                        let two = Output { weight, out: &mut twin, width: n, into };
                        multiply(&rt, &acts, &mut [one, two]);
                        assert!(got == want && twin == want, "{m}x{n}x{k} {form:?} on {isa:?}");
                        let mut got = c0.clone();
                        let mut singles: Vec<Single<'_>> = x
                            .chunks(k)
                            .zip(got.chunks_mut(n))
                            .map(|(x, out)| Single { weight, x, out, into })
                            .collect();
                        multiply_each(&rt, &mut singles);
                        assert!(got == want, "{m}x{n}x{k} {form:?} on {isa:?}, one by one");
                    }
                }
            }
        }
    }
}
