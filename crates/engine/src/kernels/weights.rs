//! Weights in the order the kernels read them, in four number formats.
//!
//! Place in the flow: `packed` lays tensors out in a [`Region`](super::region::Region) by
//! [`Spec`]s; `product` multiplies by them; `forward` looks up embedding rows and `backward` asks
//! for plain rows again.
//!
//! **Layout.** A weight `[n, k]` (n outputs, k inputs) lies in panels of 16 outputs, each panel one
//! run of memory, so that a product is a single stream:
//! - [`Form::F32`]: `[k][16]` f32.
//! - [`Form::Bf16`]: `[k/2][16]` pairs of bf16, the even k in the low half; an odd k's partner is 0
//!   and never multiplied.
//! - [`Form::Pairs`]: as `Bf16`, and no value is smaller than mode `bf16dot-1` multiplies.
//! - [`Form::Q8`]: `[k/64]` times two blocks of 32 inputs: 16 pairs of bf16 scales, the first
//!   block's in the low half, then `[16][16][4]` bytes, each the 8-bit weight plus 128, so that the
//!   processor's unsigned-by-signed dot product applies. 34 bytes hold 32 weights, and every row of
//!   16 words is a cache line.
//!
//! The last panel of the float forms is 8 wide when 8 outputs suffice; kernels then read 8 words
//! too far and drop those lanes, for which 8 words of padding stand at the end.
//!
//! **Invariant:** `F32` and, for values that are such already, `Bf16` and `Pairs` lose nothing. Not
//! here: files, arithmetic.

use super::pairs;

/// Outputs per panel.
pub(crate) const PANEL: usize = 16;
/// Inputs per 8-bit block.
pub(crate) const BLOCK: usize = 32;
/// Words per panel and two blocks of the 8-bit form: the scales, then the bytes.
pub(crate) const Q8_WORDS: usize = PANEL + PANEL * 2 * BLOCK / 4;
/// Words behind a narrow last panel that a kernel may read.
const PADDING: usize = 8;

/// A number format of packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// 32-bit floats.
    F32,
    /// Upper halves of 32-bit floats.
    Bf16,
    /// Bytes with a bf16 scale for 32 of them.
    Q8,
    /// Upper halves of 32-bit floats, none of them tiny: what [`pairs`](super::pairs) may multiply.
    Pairs,
}

impl Form {
    /// The smallest float form that holds all `values` without loss.
    pub(crate) fn holding(values: &[f32]) -> Self {
        if pairs::are_rounded(values) {
            Form::Pairs
        } else if are_bf16(values) {
            Form::Bf16
        } else {
            Form::F32
        }
    }
}

/// Where and how one weight lies in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spec {
    /// First word; a multiple of 16.
    pub(crate) offset: usize,
    /// Outputs.
    pub(crate) n: usize,
    /// Inputs.
    pub(crate) k: usize,
    /// Number format.
    pub(crate) form: Form,
}

impl Spec {
    /// A weight behind `end` words; `end` moves past it.
    pub(crate) fn after(end: &mut usize, n: usize, k: usize, form: Form) -> Self {
        let spec = Self { offset: *end, n, k, form };
        *end += spec.words();
        spec
    }

    /// Words taken, padding included; a multiple of 16.
    pub(crate) fn words(&self) -> usize {
        let width = match self.form {
            Form::Q8 => self.n.next_multiple_of(PANEL),
            Form::F32 | Form::Bf16 | Form::Pairs => self.n.next_multiple_of(PANEL / 2),
        };
        let used = match self.form {
            Form::F32 => width * self.k,
            Form::Bf16 | Form::Pairs => width * self.k.div_ceil(2),
            Form::Q8 => width / PANEL * self.k.div_ceil(2 * BLOCK) * Q8_WORDS,
        };
        (used + PADDING).next_multiple_of(PANEL)
    }

    /// The weight in `words`, the whole region.
    pub(crate) fn of<'a>(&self, words: &'a [u32]) -> Weight<'a> {
        Weight { n: self.n, k: self.k, form: self.form, words: &words[self.offset..][..self.words()] }
    }

    /// Packs row-major `values` `[n, k]` into `words`, the whole region.
    ///
    /// Values that are not bf16 are rounded to the nearest one, ties to even, in [`Form::Bf16`] and
    /// [`Form::Pairs`]; tiny ones become zero in the latter.
    pub(crate) fn pack(&self, values: &[f32], words: &mut [u32]) {
        assert_eq!(values.len(), self.n * self.k, "a weight has n·k values");
        let words = &mut words[self.offset..][..self.words()];
        let bf16 = |x: &f32| u32::from(half::bf16::from_f32(*x).to_bits());
        for (j, row) in values.chunks_exact(self.k.max(1)).enumerate() {
            let (at, step) = panel(self.form, self.n, self.k, j / PANEL);
            let column = j % PANEL;
            match self.form {
                Form::F32 => {
                    for (slot, x) in words[at + column..].iter_mut().step_by(step).zip(row) {
                        *slot = x.to_bits();
                    }
                }
                Form::Bf16 => {
                    for (slot, pair) in words[at + column..].iter_mut().step_by(step).zip(row.chunks(2)) {
                        *slot = bf16(&pair[0]) | pair.get(1).map_or(0, bf16) << 16;
                    }
                }
                Form::Pairs => {
                    for (slot, pair) in words[at + column..].iter_mut().step_by(step).zip(row.chunks(2)) {
                        pairs::pair_row(pair, std::slice::from_mut(slot));
                    }
                }
                Form::Q8 => {
                    for (blocks, values) in words[at..].chunks_exact_mut(Q8_WORDS).zip(row.chunks(2 * BLOCK)) {
                        let (scales, words) = blocks.split_at_mut(PANEL);
                        scales[column] = 0;
                        for (half, values) in values.chunks(BLOCK).enumerate() {
                            let values = whole(values);
                            let scale = bf16(&scale(&values));
                            scales[column] |= scale << (16 * half);
                            let quants = bytes(&steps(&values, f32::from_bits(scale << 16)));
                            let words = words[half * PANEL * BLOCK / 4 + column..].iter_mut().step_by(PANEL);
                            for (word, four) in words.zip(quants.as_chunks::<4>().0) {
                                *word = u32::from_le_bytes(*four) ^ 0x8080_8080;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// First word of panel `p` and the words from one step of k to the next.
fn panel(form: Form, n: usize, k: usize, p: usize) -> (usize, usize) {
    let narrow = (p + 1) * PANEL > n.next_multiple_of(PANEL / 2);
    let width = if narrow { PANEL / 2 } else { PANEL };
    match form {
        Form::F32 => (p * PANEL * k, width),
        Form::Bf16 | Form::Pairs => (p * PANEL * k.div_ceil(2), width),
        Form::Q8 => (p * k.div_ceil(2 * BLOCK) * Q8_WORDS, Q8_WORDS),
    }
}

/// Up to 32 numbers, and zeros.
#[inline(always)]
pub(crate) fn whole(values: &[f32]) -> [f32; BLOCK] {
    let mut whole = [0f32; BLOCK];
    whole[..values.len()].copy_from_slice(values);
    whole
}

// Loops in all three, since closures would be compiled without the wide instructions.

/// The step with which the largest magnitude of a block is 127 of them.
#[inline(always)]
pub(crate) fn scale(values: &[f32; BLOCK]) -> f32 {
    let mut largest = *values;
    for x in &mut largest {
        *x = x.abs();
    }
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            largest[i] = if largest[i] > largest[i + half] { largest[i] } else { largest[i + half] };
        }
    }
    largest[0] / 127.0
}

/// Within four million of it f32 holds whole numbers only, so that adding it rounds to one, whose
/// low byte is the sum's.
const WHOLE: f32 = (3 << 22) as f32;

/// How many steps of `scale` each value is, as whole numbers: to the nearest, ties to even, at most
/// 127 either way; none for steps below f32's normal range.
#[inline(always)]
pub(crate) fn steps(values: &[f32; BLOCK], scale: f32) -> [f32; BLOCK] {
    let inverse = if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
    let mut steps = [0f32; BLOCK];
    for (step, x) in steps.iter_mut().zip(values) {
        let x = x * inverse;
        // What is no number becomes -127, on every processor.
        let x = if x > -127.0 { x } else { -127.0 };
        let x = if x < 127.0 { x } else { 127.0 };
        *step = (x + WHOLE) - WHOLE;
    }
    steps
}

/// Whole numbers as bytes.
#[inline(always)]
pub(crate) fn bytes(steps: &[f32; BLOCK]) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    for (byte, x) in bytes.iter_mut().zip(steps) {
        *byte = (x + WHOLE).to_bits() as u8;
    }
    bytes
}

/// Whether every value is a bf16 already.
pub(crate) fn are_bf16(values: &[f32]) -> bool {
    values.iter().all(|x| x.to_bits() & 0xffff == 0)
}

/// A packed weight `[n, k]`.
#[derive(Clone, Copy)]
pub(crate) struct Weight<'a> {
    /// Outputs.
    pub(crate) n: usize,
    /// Inputs.
    pub(crate) k: usize,
    /// Number format.
    pub(crate) form: Form,
    words: &'a [u32],
}

impl Weight<'_> {
    /// Words of panel `p` and the words from one step of k to the next. The slice reaches to the
    /// weight's end.
    pub(super) fn panel(&self, p: usize) -> (&[u32], usize) {
        let (at, step) = panel(self.form, self.n, self.k, p);
        (&self.words[at..], step)
    }

    /// Words from one panel of a float form to the next.
    pub(super) fn apart(&self) -> usize {
        panel(self.form, self.n, self.k, 1).0
    }

    /// Row `j` (the weights of output j) as f32, `[k]`.
    pub(crate) fn row(&self, j: usize, out: &mut [f32]) {
        assert!(j < self.n && out.len() == self.k, "row {j} of a weight [{}, {}]", self.n, self.k);
        let ((words, step), column) = (self.panel(j / PANEL), j % PANEL);
        match self.form {
            Form::F32 => {
                for (x, word) in out.iter_mut().zip(words[column..].iter().step_by(step)) {
                    *x = f32::from_bits(*word);
                }
            }
            Form::Bf16 | Form::Pairs => {
                for (pair, word) in out.chunks_mut(2).zip(words[column..].iter().step_by(step)) {
                    let halves = [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)];
                    pair.copy_from_slice(&halves[..pair.len()]);
                }
            }
            Form::Q8 => {
                for (out, blocks) in out.chunks_mut(2 * BLOCK).zip(words.chunks_exact(Q8_WORDS)) {
                    let (scales, bytes) = blocks.split_at(PANEL);
                    let scales = [scales[column] << 16, scales[column] & 0xffff_0000].map(f32::from_bits);
                    let bytes = bytes[column..].iter().step_by(PANEL).flat_map(|word| word.to_le_bytes());
                    for (i, (x, byte)) in out.iter_mut().zip(bytes).enumerate() {
                        *x = f32::from((byte ^ 0x80) as i8) * scales[i / BLOCK];
                    }
                }
            }
        }
    }

    /// All rows as f32, row-major `[n, k]`; for backward passes and for writing files.
    pub(crate) fn rows(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.n * self.k, "a weight has n·k values");
        for (j, row) in out.chunks_exact_mut(self.k.max(1)).enumerate() {
            self.row(j, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::uniform;

    fn random(len: usize) -> Vec<f32> {
        (0..len).map(|i| uniform(11, 1, i as u64) as f32 - 0.5).collect()
    }

    fn round_trip(form: Form, n: usize, k: usize, values: &[f32]) -> Vec<f32> {
        let mut end = 16;
        let spec = Spec::after(&mut end, n, k, form);
        let mut words = vec![0; end];
        spec.pack(values, &mut words);
        let mut back = vec![0.0; n * k];
        spec.of(&words).rows(&mut back);
        back
    }

    #[test]
    fn floats_come_back_as_they_went_in() {
        for (n, k) in [(1, 1), (7, 5), (8, 64), (16, 33), (24, 576), (41, 2)] {
            let values = random(n * k);
            assert_eq!(round_trip(Form::F32, n, k, &values), values);
            let rounded: Vec<f32> = values.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect();
            assert!(are_bf16(&rounded) && !are_bf16(&values));
            assert_eq!(round_trip(Form::Bf16, n, k, &values), rounded, "{n}x{k}");
            assert_eq!(round_trip(Form::Pairs, n, k, &values), rounded, "{n}x{k}");
            assert_eq!([Form::holding(&rounded), Form::holding(&values)], [Form::Pairs, Form::F32]);
            let tiny: Vec<f32> = rounded.iter().map(|x| x * 1e-30).map(|x| half::bf16::from_f32(x).to_f32()).collect();
            assert_eq!(Form::holding(&tiny), Form::Bf16);
            assert!(round_trip(Form::Pairs, n, k, &tiny).iter().all(|x| *x == 0.0));
        }
    }

    #[test]
    fn bytes_come_back_within_a_step_of_their_block() {
        let (n, k) = (21, 70);
        let values = random(n * k);
        let back = round_trip(Form::Q8, n, k, &values);
        for (values, back) in values.chunks(k).zip(back.chunks(k)) {
            for (values, back) in values.chunks(BLOCK).zip(back.chunks(BLOCK)) {
                let step = values.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
                // The scale is a bf16: off by 2^-9 at most, which moves the largest by a quarter of
                // a step.
                assert!(values.iter().zip(back).all(|(x, y)| (x - y).abs() <= 0.751 * step));
            }
        }
        assert_eq!(round_trip(Form::Q8, 2, 3, &[0.0; 6]), [0.0; 6]);
    }

    #[test]
    fn steps_are_whole_numbers_to_the_nearest_even_and_never_beyond_127() {
        let of = |x: f32, scale: f32| bytes(&steps(&[x; BLOCK], scale))[7] as i8;
        for (x, want) in [(0.5, 0), (1.5, 2), (-2.5, -2), (-3.5, -4), (126.6, 127), (128.0, 127), (-300.0, -127)] {
            assert_eq!(of(x, 1.0), want, "{x}");
            assert_eq!(of(x * 0.125, 0.125), want, "{x}");
        }
        assert_eq!([of(f32::NAN, 1.0), of(f32::INFINITY, 1.0), of(1e-40, 1e-42)], [-127, 127, 0]);
        let mut block = [0.25; BLOCK];
        block[19] = -12.7;
        assert_eq!(scale(&block), 0.1);
    }
}
