//! The innermost loop of every product by packed weights: rows against panels of 16 outputs.
//!
//! Place in the flow: `product` and `attention` choose how many rows and panels go together and
//! where the sums end; the loop over k stands here once. A [`Step`] says what one row of words
//! means: f32, bf16 widened to f32, or pairs of bf16.
//!
//! Invariant: a sum's order over k depends on the step only, never on `M` or `V`. Not here: which
//! step (`product`).

use super::lanes::Lanes;

/// Prefetch distance in words: it hides the latency of main memory behind the sums.
const AHEAD: usize = 512;
/// Words of a cache line, and of one row of a panel.
const LINE: usize = 16;

/// Software prefetch of the next operands while the sums of a product are computed.
pub(super) struct Prefetch<'a> {
    spans: &'a [&'a [u32]],
    /// Words of the first span that were prefetched.
    at: usize,
    /// Prefetches to skip before the first one: a line that comes too early is evicted again.
    wait: usize,
}

impl<'a> Prefetch<'a> {
    /// The part of `spans` for task `i` of `tasks`, which takes `steps` steps.
    pub(super) fn part(spans: &'a [&'a [u32]], (i, tasks): (usize, usize), steps: usize) -> Self {
        let spans = &spans[spans.len() * i / tasks..spans.len() * (i + 1) / tasks];
        let lines = spans.iter().map(|span| span.len().div_ceil(LINE)).sum();
        Self { spans, at: 0, wait: steps.saturating_sub(lines) }
    }

    /// Start of the next `steps` lines, some of which may lie beyond the spans; `otherwise` when
    /// nothing is left.
    #[inline(always)]
    fn take(&mut self, steps: usize, otherwise: *const u32) -> *const u32 {
        if self.wait >= steps {
            self.wait -= steps;
            return otherwise;
        }
        let Some((span, rest)) = self.spans.split_first() else { return otherwise };
        let start = span[self.at..].as_ptr();
        self.at += steps * LINE;
        if self.at >= span.len() {
            (self.spans, self.at) = (rest, 0);
        }
        start
    }

    /// As [`take`](Self::take) for a tile of `V` panels.
    #[inline(always)]
    pub(super) fn tile<const V: usize>(&mut self, steps: usize, panels: [*const u32; V]) -> [*const u32; V] {
        let mut starts = panels;
        for start in &mut starts {
            *start = self.take(steps, *start);
        }
        starts
    }
}

/// What one row of 16 words adds to 16 sums.
pub(super) trait Step<L: Lanes> {
    /// Rows of activations that meet one row of words.
    const HALVES: usize;
    /// Sixteen weights, ready to multiply.
    type Right: Copy;
    /// One activation for all of them.
    type Left: Copy;
    /// Reads 16 words; the second value is for the second half, where there is one.
    unsafe fn right(p: *const u32) -> [Self::Right; 2];
    /// Reads one word for all lanes.
    unsafe fn left(p: *const u32) -> Self::Left;
    /// Adds the products to the sums.
    unsafe fn add(sum: L, left: Self::Left, right: Self::Right) -> L;
    /// Words of activations, a row, for `k` inputs.
    fn halves(k: usize) -> usize {
        k
    }
}

/// f32 weights and activations.
pub(super) struct Floats;

// SAFETY of every block below: reading is the caller's promise.
impl<L: Lanes> Step<L> for Floats {
    const HALVES: usize = 1;
    type Right = L;
    type Left = L;

    #[inline(always)]
    unsafe fn right(p: *const u32) -> [L; 2] {
        // SAFETY: see the head of this block.
        let right = unsafe { L::load(p.cast()) };
        [right, right]
    }

    #[inline(always)]
    unsafe fn left(p: *const u32) -> L {
        // SAFETY: see the head of this block.
        unsafe { L::broadcast(p.cast()) }
    }

    #[inline(always)]
    unsafe fn add(sum: L, left: L, right: L) -> L {
        // SAFETY: see the head of this block.
        unsafe { left.fma(right, sum) }
    }
}

/// Pairs of bf16 weights, widened; f32 activations: the sums of [`Floats`] for the same values.
pub(super) struct Widened;

impl<L: Lanes> Step<L> for Widened {
    const HALVES: usize = 2;
    type Right = L;
    type Left = L;

    #[inline(always)]
    unsafe fn right(p: *const u32) -> [L; 2] {
        // SAFETY: see the head of the first block.
        let (low, high) = unsafe { L::widen(p) };
        [low, high]
    }

    #[inline(always)]
    unsafe fn left(p: *const u32) -> L {
        // SAFETY: see the head of the first block.
        unsafe { L::broadcast(p.cast()) }
    }

    #[inline(always)]
    unsafe fn add(sum: L, left: L, right: L) -> L {
        // SAFETY: see the head of the first block.
        unsafe { left.fma(right, sum) }
    }
}

/// Where rows of activations stand.
#[derive(Clone, Copy)]
pub(super) struct Left {
    /// First word of the first row.
    pub(super) at: *const u32,
    /// Words from one row to the next.
    pub(super) row: usize,
    /// Words from one step of k to the next.
    pub(super) step: usize,
}

/// Sums of `M` rows against `V` panels whose rows of words are `step` apart, over `halves` words of
/// a row; `next` is memory to be read after that, a line for every step.
#[inline(always)]
pub(super) unsafe fn sums<L: Lanes, S: Step<L>, const M: usize, const V: usize>(
    left: Left,
    panels: [*const u32; V],
    step: usize,
    halves: usize,
    next: [*const u32; V],
) -> [[L; V]; M] {
    // SAFETY: the caller's contract.
    unsafe { added::<L, S, M, V>([[L::splat(0.0); V]; M], left, panels, step, halves, next) }
}

/// As [`sums`], going on from those in `acc`.
///
/// Loops over constant bounds and pointers that wrap keep the sums in registers, with and without
/// debug assertions.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
pub(super) unsafe fn added<L: Lanes, S: Step<L>, const M: usize, const V: usize>(
    mut acc: [[L; V]; M],
    left: Left,
    panels: [*const u32; V],
    step: usize,
    halves: usize,
    next: [*const u32; V],
) -> [[L; V]; M] {
    let (mut a, mut at) = (left.at, 0);
    // SAFETY: rows, panels and steps are in range by the caller's contract; prefetching beyond is a
    // hint.
    unsafe {
        for i in 0..halves / S::HALVES {
            let right: [[S::Right; 2]; V] = std::array::from_fn(|v| S::right(panels[v].wrapping_add(at)));
            // A single row outruns its hints: they then only stand in the way of the processor's
            // own.
            if M > 1 {
                for v in 0..V {
                    L::prefetch(panels[v].wrapping_add(at + AHEAD));
                    L::prefetch(next[v].wrapping_add(i * LINE));
                }
            }
            for half in 0..S::HALVES {
                for r in 0..M {
                    let x = S::left(a.wrapping_add(r * left.row));
                    for v in 0..V {
                        acc[r][v] = S::add(acc[r][v], x, right[v][half]);
                    }
                }
                a = a.wrapping_add(left.step);
            }
            at += step;
        }
        if !halves.is_multiple_of(S::HALVES) {
            for v in 0..V {
                let [right, _] = S::right(panels[v].wrapping_add(at));
                for r in 0..M {
                    acc[r][v] = S::add(acc[r][v], S::left(a.wrapping_add(r * left.row)), right);
                }
            }
        }
        acc
    }
}
