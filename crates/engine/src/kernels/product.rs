//! Products by packed weights: `Y (op)= X·Wᵀ` for rows that decode and prefill alike.
//!
//! Place in the flow: `linear` hands one [`Acts`] (the rows, in the order the kernels read them)
//! and the weights that share it; products by plain matrices stay in `gemm`.
//!
//! Invariants: with f32 rows `Y[i][j]` is `fma` over k = 0, 1, .. from zero, the order of `gemm`:
//! so a weight that is bf16 gives the bits of its f32 twin; with rows in pairs it is the sum that
//! `pairs` defines. Neither depends on the block a row falls in. Lanes are different outputs;
//! threads split panels of outputs, never k. Not here: 8-bit weights (`quant`).

use super::gemm::Accumulate;
use super::lanes::Lanes;
use super::pairs::{dispatch_pairs, pair_row};
use super::tile::{Floats, Left, Prefetch, Step, Widened, sums};
use super::weights::{Form, PANEL, Weight};
use super::{Isa, Runtime, dispatch};

/// Products (multiplications) below which a call stays on one thread.
const SPLIT_FROM: usize = 1 << 19;

/// Rows `[m, k]` in blocks of 16, 12, 8, 4, 2 and 1 rows, each block `[k][rows]` f32, or
/// `[k/2][rows]` pairs of bf16.
#[derive(Default)]
pub(crate) struct Acts {
    m: usize,
    k: usize,
    pairs: bool,
    /// Words of a row.
    words: usize,
    data: Vec<u32>,
    /// The pairs row by row, `[m][k/2]`.
    rows: Vec<u32>,
}

/// Sizes of the blocks that `m` rows fall into, each with the first row. Twelve rows and two panels
/// fill the registers; 16 rows, a common step of decoding, go together, so that main memory is read
/// at one pace.
fn blocks(m: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = m - first;
        let rows = if left == 16 { 16 } else { [12, 8, 4, 2, 1].into_iter().find(|rows| *rows <= left)? };
        first += rows;
        Some((first - rows, rows))
    })
}

impl Acts {
    /// Takes rows `[m, k]` that stand `width` apart in `x`; as pairs of bf16 when asked to.
    pub(crate) fn fill(&mut self, isa: Isa, pairs: bool, x: &[f32], width: usize, m: usize, k: usize) {
        assert!(m == 0 || (width >= k && x.len() >= (m - 1) * width + k), "too few values for the rows");
        (self.m, self.k, self.pairs) = (m, k, pairs);
        self.words = if pairs { k.div_ceil(2) } else { k };
        self.data.resize(m * self.words, 0);
        if pairs {
            self.rows.resize(m * self.words, 0);
        }
        let acts = self;
        dispatch!(isa, fill_body(acts: &mut Acts, x: &[f32], width: usize));
    }

    /// Row `i` as pairs; they must have been asked for.
    pub(crate) fn row(&self, i: usize) -> &[u32] {
        assert!(self.pairs);
        &self.rows[i * self.words..][..self.words]
    }
}

#[inline(always)]
unsafe fn fill_body<L: Lanes>(acts: &mut Acts, x: &[f32], width: usize) {
    let words = acts.words;
    for (first, rows) in blocks(acts.m) {
        let block = &mut acts.data[first * words..][..rows * words];
        for r in 0..rows {
            let x = &x[(first + r) * width..][..acts.k];
            let to = block[r..].iter_mut().step_by(rows);
            if acts.pairs {
                let row = &mut acts.rows[(first + r) * words..][..words];
                pair_row(x, row);
                to.zip(row).for_each(|(to, pair)| *to = *pair);
            } else {
                to.zip(x).for_each(|(to, x)| *to = x.to_bits());
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
    pub(crate) into: Accumulate,
}

/// A checked output as pointers.
#[derive(Clone, Copy)]
struct Job<'a> {
    m: usize,
    weight: Weight<'a>,
    acts: *const u32,
    out: *mut f32,
    width: usize,
    into: Accumulate,
}

// SAFETY: acts and weight are only read, and threads write disjoint columns of `out`; `multiply`
// waits for all of them while it holds the borrows the pointers came from.
unsafe impl Send for Job<'_> {}
// SAFETY: as above.
unsafe impl Sync for Job<'_> {}

/// Multiplies the rows of `acts` by every weight; all have k inputs and a float form, pairs where
/// `acts` are pairs. `prefetch` is memory that will be read after that.
pub(crate) fn multiply(rt: &Runtime, acts: &Acts, outputs: &mut [Output<'_>], prefetch: &[&[u32]]) {
    let (m, k, pairs) = (acts.m, acts.k, acts.pairs);
    if m == 0 {
        return;
    }
    let mut total = 0;
    for output in outputs.iter() {
        let Weight { n, k: inputs, form, .. } = output.weight;
        let fits = if pairs { form == Form::Pairs } else { form != Form::Q8 };
        assert!(inputs == k && fits && n > 0, "the weight is of another shape or form");
        assert!(output.width >= n && output.out.len() >= (m - 1) * output.width + n, "the output is too short");
        total += n.div_ceil(PANEL);
    }
    // Lines that can be asked for while a panel is multiplied: one for each of its rows of words
    // and each of our blocks.
    let steps = k.div_ceil(2) * blocks(m).count();
    let isa = rt.isa();
    let jobs: [Option<Job<'_>>; 3] = std::array::from_fn(|i| {
        let Output { weight, out, width, into } = outputs.get_mut(i)?;
        let (width, into) = (*width, *into);
        Some(Job { m, weight: *weight, acts: acts.data.as_ptr(), out: out.as_mut_ptr(), width, into })
    });
    assert!(outputs.len() <= jobs.len(), "at most three weights share their input");
    let part = |from: usize, to: usize, task: (usize, usize)| {
        let prefetch = &mut Prefetch::part(prefetch, task, (to - from) * steps);
        let mut before = 0;
        for job in jobs.into_iter().flatten() {
            let own = job.weight.n.div_ceil(PANEL);
            let (from, to) = (from.saturating_sub(before).min(own), to.saturating_sub(before).min(own));
            if from < to {
                match job.weight.form {
                    _ if pairs => {
                        dispatch_pairs!(isa, panels(job: Job<'_>, from: usize, to: usize, prefetch: &mut Prefetch<'_>))
                    }
                    Form::F32 => {
                        dispatch!(isa, f32_body(job: Job<'_>, from: usize, to: usize, prefetch: &mut Prefetch<'_>))
                    }
                    _ => dispatch!(isa, bf16_body(job: Job<'_>, from: usize, to: usize, prefetch: &mut Prefetch<'_>)),
                }
            }
            before += own;
        }
    };
    let tasks = if m * k * total * PANEL < SPLIT_FROM { 1 } else { rt.threads().min(total) };
    if tasks <= 1 {
        part(0, total, (0, 1));
    } else {
        rt.run(tasks, &|i| part(total * i / tasks, total * (i + 1) / tasks, (i, tasks)));
    }
}

#[inline(always)]
unsafe fn bf16_body<L: Lanes>(job: Job<'_>, from: usize, to: usize, prefetch: &mut Prefetch<'_>) {
    // SAFETY: the caller's contract.
    unsafe { panels::<L, Widened>(job, from, to, prefetch) }
}

#[inline(always)]
unsafe fn f32_body<L: Lanes>(job: Job<'_>, from: usize, to: usize, prefetch: &mut Prefetch<'_>) {
    // SAFETY: the caller's contract.
    unsafe { panels::<L, Floats>(job, from, to, prefetch) }
}

/// Panels `from..to` against all rows, four panels at a time so that few rows keep enough sums in
/// flight.
#[inline(always)]
unsafe fn panels<L: Lanes, S: Step<L>>(job: Job<'_>, from: usize, to: usize, prefetch: &mut Prefetch<'_>) {
    let words = S::halves(job.weight.k);
    let mut p = from;
    if job.m == 1 {
        // SAFETY: the caller's contract.
        p = unsafe { runs::<L, S>(&job, from, to, words) };
    }
    while p < to {
        let (panel, step) = job.weight.panel(p);
        // A narrow panel is the last one and stands alone.
        let four = p + 4 <= to && job.weight.panel(p + 3).1 == PANEL;
        let take = if four { 4 } else { 1 };
        let apart = if four { job.weight.apart() } else { 0 };
        for (first, rows) in blocks(job.m) {
            let left = Left { at: job.acts.wrapping_add(first * words), row: 1, step: rows };
            let c = job.out.wrapping_add(first * job.width + p * PANEL);
            let at = Place { left, rows, w: panel.as_ptr(), step, apart, words, c, columns: job.weight.n - p * PANEL };
            // SAFETY: blocks lie within acts and out, panels within the weight.
            unsafe {
                match (L::TILE >= 16, rows, four) {
                    (true, 16, _) => tiles::<L, S, 16, 1>(&job, at, take, prefetch),
                    (true, 12, true) => tiles::<L, S, 12, 2>(&job, at, take, prefetch),
                    (true, 12, false) => tiles::<L, S, 12, 1>(&job, at, take, prefetch),
                    (true, 8, true) => tiles::<L, S, 8, 2>(&job, at, take, prefetch),
                    (true, 8, false) => tiles::<L, S, 8, 1>(&job, at, take, prefetch),
                    (true, 4, true) => tiles::<L, S, 4, 4>(&job, at, take, prefetch),
                    (_, 4 | 8 | 12 | 16, _) => tiles::<L, S, 4, 1>(&job, at, take, prefetch),
                    (_, 2, true) => tiles::<L, S, 2, 2>(&job, at, take, prefetch),
                    (_, 2, false) => tiles::<L, S, 2, 1>(&job, at, take, prefetch),
                    (_, _, true) => tiles::<L, S, 1, 4>(&job, at, take, prefetch),
                    (_, _, false) => tiles::<L, S, 1, 1>(&job, at, take, prefetch),
                }
            }
        }
        p += take;
    }
}

/// One row against four runs of neighbouring panels side by side; returns the first panel that is
/// left over.
///
/// Memory is what a single row waits for, and the processor finds the pattern of every stretch of
/// memory anew: so the four stretches are as long as can be.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
unsafe fn runs<L: Lanes, S: Step<L>>(job: &Job<'_>, from: usize, to: usize, words: usize) -> usize {
    // A narrow panel is the last one.
    let wide = to.min(job.weight.n / PANEL);
    let run = wide.saturating_sub(from) / 4;
    let left = Left { at: job.acts, row: 0, step: 1 };
    for p in from..from + run {
        let w: [*const u32; 4] = std::array::from_fn(|v| job.weight.panel(p + v * run).0.as_ptr());
        // SAFETY: panels lie within the weight, and their columns within the output.
        unsafe {
            let [sums] = sums::<L, S, 1, 4>(left, w, PANEL, words, w);
            for v in 0..4 {
                store_lanes(sums[v], job.out.wrapping_add((p + v * run) * PANEL), job.into);
            }
        }
    }
    from + 4 * run
}

/// A block of rows and the panels it meets.
#[derive(Clone, Copy)]
struct Place {
    left: Left,
    rows: usize,
    /// First panel, and words from one step of k to the next.
    w: *const u32,
    step: usize,
    /// Words from one panel to the next.
    apart: usize,
    /// Words of a row of activations.
    words: usize,
    /// First row and column of the output.
    c: *mut f32,
    /// Columns of the output from there on.
    columns: usize,
}

/// `take` panels, `V` at a time, against the block's rows, `M` at a time.
#[inline(always)]
unsafe fn tiles<L: Lanes, S: Step<L>, const M: usize, const V: usize>(
    job: &Job<'_>,
    at: Place,
    take: usize,
    prefetch: &mut Prefetch<'_>,
) {
    for v in (0..take).step_by(V) {
        let w: [*const u32; V] = std::array::from_fn(|i| at.w.wrapping_add((v + i) * at.apart));
        for r in (0..at.rows).step_by(M) {
            let left = Left { at: at.left.at.wrapping_add(r), ..at.left };
            let c = at.c.wrapping_add(r * job.width + v * PANEL);
            // SAFETY: within what the caller vouches for; a panel that sticks out of the output
            // goes through a buffer, and what is read beyond a narrow panel is padding or the next
            // step.
            unsafe {
                let acc = sums::<L, S, M, V>(left, w, at.step, at.words, prefetch.tile(at.words / S::HALVES, w));
                store::<L, M, V>(&acc, c, job.width, at.columns - v * PANEL, job.into);
            }
        }
    }
}

/// Stores sums of `M` rows and `V` panels at `c`; `left` columns of the output remain from there.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
pub(super) unsafe fn store<L: Lanes, const M: usize, const V: usize>(
    acc: &[[L; V]; M],
    c: *mut f32,
    width: usize,
    left: usize,
    into: Accumulate,
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
unsafe fn store_lanes<L: Lanes>(sum: L, to: *mut f32, into: Accumulate) {
    // SAFETY: the caller vouches for 16 values at `to`.
    unsafe {
        match into {
            Accumulate::Set => sum.store(to),
            Accumulate::Add => L::load(to).add(sum).store(to),
            Accumulate::Scaled(scale) => L::splat(scale).fma(sum, L::load(to)).store(to),
        }
    }
}

/// A row of activations in the form its product needs.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    /// `[k]`.
    Floats(&'a [f32]),
    /// `[k/2]` pairs of bf16.
    Pairs(&'a [u32]),
}

/// One row times one weight: `out (op)= W·x`.
pub(crate) struct Single<'a> {
    /// What to multiply by; a float form, [`Form::Pairs`] for a row of pairs.
    pub(crate) weight: Weight<'a>,
    /// `weight.k` inputs.
    pub(crate) x: Row<'a>,
    /// `[weight.n]`.
    pub(crate) out: &'a mut [f32],
    /// What happens to the sums.
    pub(crate) into: Accumulate,
}

/// How strands multiply: those of one kind may go together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Floats,
    Widened,
    Pairs,
}

impl Single<'_> {
    fn kind(&self) -> Kind {
        match (self.x, self.weight.form) {
            (Row::Pairs(_), _) => Kind::Pairs,
            (Row::Floats(_), Form::F32) => Kind::Floats,
            (Row::Floats(_), _) => Kind::Widened,
        }
    }
}

/// A panel of a [`Single`], as pointers.
#[derive(Clone, Copy)]
struct Strand {
    x: *const u32,
    w: *const u32,
    c: *mut f32,
    live: usize,
    into: Accumulate,
}

/// Rows with weights of their own (one adapter each), four panels of the same kind at a time, so
/// that no sum waits for itself.
pub(crate) fn multiply_each(rt: &Runtime, singles: &mut [Single<'_>]) {
    for single in singles.iter() {
        let Weight { n, k, form, .. } = single.weight;
        let fits = match single.x {
            Row::Floats(x) => form != Form::Q8 && x.len() >= k,
            Row::Pairs(x) => form == Form::Pairs && x.len() >= k.div_ceil(2),
        };
        assert!(fits && single.out.len() >= n, "a row of another shape or form");
    }
    let work: usize = singles.iter().map(|s| s.weight.n * s.weight.k).sum();
    let tasks = if work < SPLIT_FROM { 1 } else { rt.threads().min(singles.len()) };
    let isa = rt.isa();
    if tasks <= 1 {
        dispatch_pairs!(isa, singles_body(singles: &mut [Single<'_>]));
        return;
    }
    let share = singles.len().div_ceil(tasks);
    let parts: Vec<std::sync::Mutex<&mut [Single<'_>]>> =
        singles.chunks_mut(share).map(std::sync::Mutex::new).collect();
    rt.run(parts.len(), &|i| {
        let mut part = parts[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let part: &mut [Single<'_>] = &mut part;
        dispatch_pairs!(isa, singles_body(part: &mut [Single<'_>]));
    });
}

/// `S` is the step for pairs.
#[inline(always)]
unsafe fn singles_body<L: Lanes, S: Step<L>>(singles: &mut [Single<'_>]) {
    let empty =
        Strand { x: std::ptr::null(), w: std::ptr::null(), c: std::ptr::null_mut(), live: 0, into: Accumulate::Set };
    // Strands that wait for company, and what they have in common: kind, step and k.
    let (mut waiting, mut count, mut common) = ([empty; 4], 0, (Kind::Floats, 0, 0));
    for single in singles {
        let kind = single.kind();
        let Weight { n, k, .. } = single.weight;
        let x = match single.x {
            Row::Floats(x) => x.as_ptr().cast(),
            Row::Pairs(x) => x.as_ptr(),
        };
        for p in 0..n.div_ceil(PANEL) {
            let (words, step) = single.weight.panel(p);
            // SAFETY (all blocks): strands point into checked slices that are still borrowed.
            if count > 0 && (kind, step, k) != common {
                unsafe { strands::<L, S>(&waiting[..count], common) };
                count = 0;
            }
            let c = single.out[p * PANEL..].as_mut_ptr();
            let live = (n - p * PANEL).min(PANEL);
            waiting[count] = Strand { x, w: words.as_ptr(), c, live, into: single.into };
            (common, count) = ((kind, step, k), count + 1);
            if count == 4 {
                unsafe { strands::<L, S>(&waiting, common) };
                count = 0;
            }
        }
    }
    unsafe { strands::<L, S>(&waiting[..count], common) };
}

#[inline(always)]
unsafe fn strands<L: Lanes, S: Step<L>>(all: &[Strand], (kind, step, k): (Kind, usize, usize)) {
    // SAFETY: the caller's contract.
    unsafe {
        match kind {
            Kind::Floats => grouped::<L, Floats>(all, step, k),
            Kind::Widened => grouped::<L, Widened>(all, step, k),
            Kind::Pairs => grouped::<L, S>(all, step, S::halves(k)),
        }
    }
}

#[inline(always)]
unsafe fn grouped<L: Lanes, S: Step<L>>(all: &[Strand], step: usize, words: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        if let [a, b, c, d] = all {
            strand::<L, S, 4>([a, b, c, d], step, words);
            return;
        }
        // A loop, since a closure would be compiled without the wide instructions.
        for one in all {
            strand::<L, S, 1>([one], step, words);
        }
    }
}

/// `G` rows against a panel each.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
unsafe fn strand<L: Lanes, S: Step<L>, const G: usize>(group: [&Strand; G], step: usize, words: usize) {
    let x: [*const u32; G] = std::array::from_fn(|g| group[g].x);
    let w: [*const u32; G] = std::array::from_fn(|g| group[g].w);
    // SAFETY: as in `tile`.
    unsafe {
        let mut acc = [L::splat(0.0); G];
        let (mut i, mut at) = (0, 0);
        while i + S::HALVES <= words {
            for g in 0..G {
                let right = S::right(w[g].wrapping_add(at));
                for half in 0..S::HALVES {
                    acc[g] = S::add(acc[g], S::left(x[g].wrapping_add(i + half)), right[half]);
                }
            }
            i += S::HALVES;
            at += step;
        }
        if i < words {
            for g in 0..G {
                let [right, _] = S::right(w[g].wrapping_add(at));
                acc[g] = S::add(acc[g], S::left(x[g].wrapping_add(i)), right);
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
    fn oracle(x: &[f32], w: &[f32], k: usize, c: &mut [f32], into: Accumulate) {
        let n = w.len() / k;
        for (x, c) in x.chunks(k).zip(c.chunks_mut(n)) {
            for (w, c) in w.chunks(k).zip(c) {
                let sum = x.iter().zip(w).fold(0f32, |s, (x, w)| x.mul_add(*w, s));
                *c = match into {
                    Accumulate::Set => sum,
                    Accumulate::Add => *c + sum,
                    Accumulate::Scaled(scale) => scale.mul_add(sum, *c),
                };
            }
        }
    }

    /// The plain loop over pairs: the odd input first.
    fn pairs_oracle(x: &[f32], w: &[f32], k: usize, c: &mut [f32], into: Accumulate) {
        let turned = |values: &[f32]| -> Vec<f32> {
            let rows =
                values.chunks(k).flat_map(|row| row.chunks(2).flat_map(|pair| [pair.get(1).copied(), Some(pair[0])]));
            rows.map(|x| super::super::pairs::rounded(x.unwrap_or(0.0))).collect()
        };
        oracle(&turned(x), &turned(w), k.next_multiple_of(2), c, into);
    }

    #[test]
    fn products_have_the_bits_of_the_plain_loop_on_every_path() {
        let rt = Runtime::new(2);
        for (m, n, k) in [
            (1, 1, 1),
            (1, 172, 64),
            (7, 40, 9),
            (2, 65, 33),
            (31, 24, 17),
            (70, 130, 128),
            (5, 8, 3),
            (16, 64, 20),
            (12, 70, 8),
        ] {
            let (x, c0) = (random(m * k, 1), random(m * n, 3));
            let w: Vec<f32> = random(n * k, 2).iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect();
            for (form, pairs) in [(Form::F32, false), (Form::Bf16, false), (Form::Pairs, false), (Form::Pairs, true)] {
                let mut end = 0;
                let spec = Spec::after(&mut end, n, k, form);
                let mut words = vec![0; end];
                spec.pack(&w, &mut words);
                let weight = spec.of(&words);
                for isa in Isa::ALL {
                    let Some(rt) = rt.with_isa(isa) else { continue };
                    for into in [Accumulate::Set, Accumulate::Add, Accumulate::Scaled(0.3)] {
                        let mut want = c0.clone();
                        let plain = if pairs { pairs_oracle } else { oracle };
                        plain(&x, &w, k, &mut want, into);
                        let mut acts = Acts::default();
                        acts.fill(isa, pairs, &x, k, m, k);
                        let (mut got, mut twin) = (c0.clone(), c0.clone());
                        let one = Output { weight, out: &mut got, width: n, into };
                        let two = Output { weight, out: &mut twin, width: n, into };
                        multiply(&rt, &acts, &mut [one, two], &[&words[..], &words[end / 2..]]);
                        assert!(got == want && twin == want, "{m}x{n}x{k} {form:?} on {isa:?}");
                        let mut got = c0.clone();
                        let mut singles: Vec<Single<'_>> = x
                            .chunks(k)
                            .zip(got.chunks_mut(n))
                            .enumerate()
                            .map(|(i, (x, out))| {
                                let x = if pairs { Row::Pairs(acts.row(i)) } else { Row::Floats(x) };
                                Single { weight, x, out, into }
                            })
                            .collect();
                        multiply_each(&rt, &mut singles);
                        assert!(got == want, "{m}x{n}x{k} {form:?} on {isa:?}, one by one");
                    }
                }
            }
        }
    }
}
