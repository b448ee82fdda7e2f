//! Pairs of bf16: the arithmetic of mode `bf16dot-1`.
//!
//! Place in the flow: a [`Step`] of `product` and `attention`, and the rounding of all that such a
//! step multiplies.
//!
//! **Definition.** Weights and activations are rounded to bf16, to nearest, ties to even;
//! magnitudes below 2^-55 become zero. A sum takes inputs in pairs `(2i, 2i + 1)`: first the
//! product of the odd ones, then that of the even ones, each by an f32 fused multiply-add from zero
//! on; an odd last input is paired with zeros. That is what `vdpbf16ps` computes (Intel's Software
//! Developer's Manual and, by the test below, AMD's Zen 4), apart from numbers below f32's normal
//! range, which it flushes to zero. Here none can arise: factors of at least 2^-55 with 8 bits have
//! products, and hence sums, that are whole multiples of 2^-124. So two plain multiply-adds give
//! the instruction's bits on every processor.
//!
//! Not here: what is multiplied when (`product`, `attention`).

use super::lanes::Lanes;
use super::tile::Step;
use super::{Isa, dispatch};

/// Magnitudes below this become zero: 2^-55.
const LEAST: f32 = f32::from_bits((127 - 55) << 23);

/// `x` as the mode multiplies it: a bf16, none of them tiny.
#[inline(always)]
pub(crate) fn rounded(x: f32) -> f32 {
    let bits = x.to_bits();
    let even = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    let even = if x.is_nan() { f32::NAN.to_bits() } else { even };
    let tiny = f32::from_bits(even).abs() < LEAST;
    f32::from_bits(if tiny { even & 0x8000_0000 } else { even })
}

/// Whether rounding would change none of them.
pub(crate) fn are_rounded(values: &[f32]) -> bool {
    values.iter().all(|x| x.to_bits() == rounded(*x).to_bits())
}

/// Rounds all of `x`.
pub(crate) fn round(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, round_body(x: &mut [f32]));
}

#[inline(always)]
unsafe fn round_body<L: Lanes>(x: &mut [f32]) {
    for x in x {
        *x = rounded(*x);
    }
}

/// Rounds a row of values and puts them in pairs, the even one in the low half.
#[inline(always)]
pub(crate) fn pair_row(x: &[f32], pairs: &mut [u32]) {
    let (whole, last) = x.as_chunks::<2>();
    for (pair, [even, odd]) in pairs.iter_mut().zip(whole) {
        *pair = rounded(*even).to_bits() >> 16 | rounded(*odd).to_bits();
    }
    if let ([even], Some(pair)) = (last, pairs.get_mut(whole.len())) {
        *pair = rounded(*even).to_bits() >> 16;
    }
}

/// Pairs by two fused multiply-adds, on any processor.
pub(super) struct Pairs;

impl<L: Lanes> Step<L> for Pairs {
    const HALVES: usize = 1;
    type Right = (L, L);
    type Left = (L, L);

    #[inline(always)]
    unsafe fn right(p: *const u32) -> [(L, L); 2] {
        // SAFETY: the caller vouches for 16 words.
        let right = unsafe { L::widen(p) };
        [right, right]
    }

    #[inline(always)]
    unsafe fn left(p: *const u32) -> (L, L) {
        // SAFETY: the caller vouches for one word.
        unsafe {
            let pair = p.read();
            (L::splat(f32::from_bits(pair << 16)), L::splat(f32::from_bits(pair & 0xffff_0000)))
        }
    }

    #[inline(always)]
    unsafe fn add(sum: L, left: (L, L), right: (L, L)) -> L {
        // SAFETY: no memory is touched.
        unsafe { left.0.fma(right.0, left.1.fma(right.1, sum)) }
    }

    fn halves(k: usize) -> usize {
        k.div_ceil(2)
    }
}

/// Whether the instruction is there and may be used on `isa`.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_instruction(isa: Isa) -> bool {
    isa == Isa::Avx512 && is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::Dot;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::lanes::Avx512;
    use super::super::tile::Step;

    /// Pairs by `vdpbf16ps`.
    pub(in super::super) struct Dot;

    // SAFETY of every block below: the methods are inlined into functions that enable AVX-512 with
    // BF16, which run only after the processor was asked for them; pointers are the caller's
    // promise.
    impl Step<Avx512> for Dot {
        const HALVES: usize = 1;
        type Right = __m512bh;
        type Left = __m512bh;

        #[inline(always)]
        unsafe fn right(p: *const u32) -> [__m512bh; 2] {
            // SAFETY: see the head of this block; both types are 64 bytes of no invalid value.
            let right = unsafe { std::mem::transmute::<__m512i, __m512bh>(p.cast::<__m512i>().read_unaligned()) };
            [right, right]
        }

        #[inline(always)]
        unsafe fn left(p: *const u32) -> __m512bh {
            // SAFETY: as above.
            unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(p.read() as i32)) }
        }

        #[inline(always)]
        unsafe fn add(sum: Avx512, left: __m512bh, right: __m512bh) -> Avx512 {
            // SAFETY: see the head of this block.
            unsafe { Avx512(_mm512_dpbf16_ps(sum.0, right, left)) }
        }

        fn halves(k: usize) -> usize {
            k.div_ceil(2)
        }
    }
}

/// Runs generic kernel `$body::<L, S>(args)` of pairs, by the instruction where it may be used.
macro_rules! dispatch_pairs {
    ($isa:expr, $body:ident($($arg:ident: $ty:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
        #[allow(clippy::too_many_arguments)]
        unsafe fn instruction($($arg: $ty),*) {
            // SAFETY: the caller's contract is the body's.
            unsafe { $body::<crate::kernels::lanes::Avx512, crate::kernels::pairs::Dot>($($arg),*) }
        }
        #[inline(always)]
        #[allow(clippy::too_many_arguments)]
        unsafe fn two_steps<L: crate::kernels::lanes::Lanes>($($arg: $ty),*) {
            // SAFETY: the caller's contract is the body's.
            unsafe { $body::<L, crate::kernels::pairs::Pairs>($($arg),*) }
        }
        #[cfg(target_arch = "x86_64")]
        let done = crate::kernels::pairs::has_instruction($isa);
        #[cfg(not(target_arch = "x86_64"))]
        let done = false;
        if done {
            // SAFETY: the processor has the instruction; the rest is the body's contract.
            #[cfg(target_arch = "x86_64")]
            unsafe { instruction($($arg),*) };
        } else {
            dispatch!($isa, two_steps($($arg: $ty),*));
        }
    }};
}
pub(super) use dispatch_pairs;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::draw;

    #[test]
    fn rounding_goes_to_the_nearest_even_and_drops_what_is_tiny() {
        for (x, want) in [
            (1.0, 1.0),
            (1.003_906_2, 1.0),
            (1.011_718_8, 1.015_625),
            (-0.0, -0.0),
            (f32::MIN_POSITIVE, 0.0),
            (-1e-30, -0.0),
            (LEAST, LEAST),
            (f32::MAX, f32::INFINITY),
        ] {
            assert_eq!(rounded(x).to_bits(), f32::to_bits(want), "{x:e}");
        }
        assert!(rounded(f32::from_bits(0x7fff_ffff)).is_nan());
        for i in 0..100_000 {
            let x = f32::from_bits(draw(1, 1, i) as u32);
            if x.abs() >= LEAST {
                assert_eq!(rounded(x), half::bf16::from_f32(x).to_f32(), "{x:e}");
                assert!(are_rounded(&[rounded(x)]));
            }
        }
    }

    /// One value for a draw: often plain, at times zero, the least, or as large as can be without
    /// overflow of a sum.
    #[cfg(target_arch = "x86_64")]
    fn value(draw: u64) -> f32 {
        let sign = (draw as u32 & 1) << 31;
        let exponent = match draw >> 60 {
            0 => return f32::from_bits(sign),
            1 => 127 - 55,
            2 => 127 + 40,
            3..6 => 127 - 55 + (draw >> 32) as u32 % 96,
            _ => 127 - 4 + (draw >> 32) as u32 % 8,
        };
        f32::from_bits(sign | exponent << 23 | (draw as u32 >> 8 & 0x7f) << 16)
    }

    #[test]
    fn two_multiply_adds_give_the_bits_of_the_instruction() {
        #[cfg(target_arch = "x86_64")]
        if has_instruction(Isa::Avx512) {
            use super::super::lanes::Avx512;
            use super::super::tile::{Left, sums};

            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
            unsafe fn both(a: &[u32], w: &[u32], out: &mut [[f32; 16]; 2]) {
                let left = Left { at: a.as_ptr(), row: 0, step: 1 };
                // SAFETY: as many words and rows of 16 words are there.
                unsafe {
                    let [[one]] = sums::<Avx512, Dot, 1, 1>(left, [w.as_ptr()], 16, a.len(), [w.as_ptr()]);
                    let [[two]] = sums::<Avx512, Pairs, 1, 1>(left, [w.as_ptr()], 16, a.len(), [w.as_ptr()]);
                    one.store(out[0].as_mut_ptr());
                    two.store(out[1].as_mut_ptr());
                }
            }
            let mut seen = std::collections::BTreeSet::new();
            for run in 0..4000 {
                let at = |stream: u64, i: usize| value(draw(run, stream, i as u64));
                let pair = |stream, i: usize| at(stream, 2 * i).to_bits() >> 16 | at(stream, 2 * i + 1).to_bits();
                let k = 1 + run as usize % 24;
                let a: Vec<u32> = (0..k).map(|i| pair(1, i)).collect();
                let mut w: Vec<u32> = (0..16 * k).map(|i| pair(2, i)).collect();
                // Half of the lanes take back most of what they added, so that sums cancel.
                for i in (1..k).step_by(2).filter(|i| a[*i] == a[*i - 1]) {
                    for lane in 0..8 {
                        w[16 * i + lane] = w[16 * (i - 1) + lane] ^ 0x8000_8000;
                    }
                }
                let mut out = [[0f32; 16]; 2];
                // SAFETY: the processor has the instructions.
                unsafe { both(&a, &w, &mut out) };
                assert_eq!(out[0].map(f32::to_bits), out[1].map(f32::to_bits), "run {run}, {k} pairs");
                seen.extend(out[0].map(f32::to_bits));
            }
            assert!(seen.len() > 30_000, "the cases are too much alike: {} results", seen.len());
            return;
        }
        eprintln!("skipped: this processor has no AVX512_BF16");
    }
}
