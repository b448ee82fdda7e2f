//! Sixteen f32 lanes on each instruction set.
//!
//! Place in the flow: under `gemm` and `attention`. Invariant: a type here always stands for 16
//! lanes (one AVX-512 register, two AVX ones, four NEON ones, or an array), and its operations are
//! IEEE single operations per lane; so a kernel written once gives the same bits on all of them.

/// Sixteen independent f32 lanes.
pub(super) trait Lanes: Copy {
    /// How many values of this type a kernel may keep as accumulators.
    const TILE: usize;
    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self;
    /// All lanes the value at `p`, which must be readable.
    unsafe fn broadcast(p: *const f32) -> Self;
    /// Reads 16 values; `p` must be valid for that.
    unsafe fn load(p: *const f32) -> Self;
    /// Writes 16 values; `p` must be valid for that.
    unsafe fn store(self, p: *mut f32);
    /// `self·b + c` with one rounding.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// Reads 16 pairs of bf16 and widens them: the lower halves, the upper halves; `p` must be
    /// valid for 16 words.
    unsafe fn widen(p: *const u32) -> (Self, Self);
    /// Hints that the line at `p` is needed soon; any `p` will do.
    unsafe fn prefetch(_p: *const u32) {}
}

impl Scalar {
    /// `self · b`.
    #[inline(always)]
    pub(super) fn times(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * b.0[i]))
    }
}

/// The portable form; `mul_add` is the IEEE fused operation on every target.
#[derive(Clone, Copy)]
pub(super) struct Scalar([f32; 16]);

impl Lanes for Scalar {
    const TILE: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 16])
    }

    #[inline(always)]
    unsafe fn broadcast(p: *const f32) -> Self {
        // SAFETY: the caller vouches for one readable value.
        Self([unsafe { p.read_unaligned() }; 16])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller vouches for 16 readable values; an array of f32 needs no more than
        // their alignment.
        Self(unsafe { p.cast::<[f32; 16]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: as in `load`, for writing.
        unsafe { p.cast::<[f32; 16]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + b.0[i]))
    }

    #[inline(always)]
    unsafe fn widen(p: *const u32) -> (Self, Self) {
        // SAFETY: the caller vouches for 16 readable words.
        let words = unsafe { p.cast::<[u32; 16]>().read_unaligned() };
        (
            Self(std::array::from_fn(|i| f32::from_bits(words[i] << 16))),
            Self(std::array::from_fn(|i| f32::from_bits(words[i] & 0xffff_0000))),
        )
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use crate::kernels::lanes::Lanes;

    /// Two AVX registers.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(pub(in super::super) __m256, pub(in super::super) __m256);

    // SAFETY of every block below: the methods are inlined into functions that enable AVX2 and FMA,
    // which run only after the processor was asked for them; pointers are the caller's promise.
    impl Lanes for Avx2 {
        const TILE: usize = 4;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
        }

        #[inline(always)]
        unsafe fn broadcast(p: *const f32) -> Self {
            // SAFETY: see the head of this block.
            unsafe {
                let x = _mm256_broadcastss_ps(_mm_load_ss(p));
                Self(x, x)
            }
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(_mm256_loadu_ps(p), _mm256_loadu_ps(p.wrapping_add(8))) }
        }

        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: see the head of this block.
            unsafe {
                _mm256_storeu_ps(p, self.0);
                _mm256_storeu_ps(p.wrapping_add(8), self.1);
            }
        }

        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1)) }
        }

        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(_mm256_add_ps(self.0, b.0), _mm256_add_ps(self.1, b.1)) }
        }

        #[inline(always)]
        unsafe fn widen(p: *const u32) -> (Self, Self) {
            // SAFETY: see the head of this block.
            unsafe {
                let p = p.cast::<__m256i>();
                let (a, b) = (_mm256_loadu_si256(p), _mm256_loadu_si256(p.wrapping_add(1)));
                let low = |x| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(x));
                let high = |x| _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(0xffff_0000_u32 as i32)));
                (Self(low(a), low(b)), Self(high(a), high(b)))
            }
        }

        #[inline(always)]
        unsafe fn prefetch(p: *const u32) {
            // SAFETY: see the head of this block; a hint cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }
    }

    /// One AVX-512 register.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(pub(in super::super) __m512);

    // SAFETY of every block below: as above, with AVX-512F.
    impl Lanes for Avx512 {
        const TILE: usize = 16;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(_mm512_set1_ps(x)) }
        }

        #[inline(always)]
        unsafe fn broadcast(p: *const f32) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(_mm512_broadcastss_ps(_mm_load_ss(p))) }
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(p.cast::<__m512>().read_unaligned()) }
        }

        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: see the head of this block.
            unsafe { p.cast::<__m512>().write_unaligned(self.0) }
        }

        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(_mm512_fmadd_ps(self.0, b.0, c.0)) }
        }

        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(_mm512_add_ps(self.0, b.0)) }
        }

        #[inline(always)]
        unsafe fn widen(p: *const u32) -> (Self, Self) {
            // SAFETY: see the head of this block.
            unsafe {
                let x = p.cast::<__m512i>().read_unaligned();
                let high = _mm512_and_si512(x, _mm512_set1_epi32(0xffff_0000_u32 as i32));
                (Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(x))), Self(_mm512_castsi512_ps(high)))
            }
        }

        #[inline(always)]
        unsafe fn prefetch(p: *const u32) {
            // SAFETY: see the head of this block; a hint cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use crate::kernels::lanes::Lanes;

    /// Four NEON registers.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Neon(pub(in super::super) [float32x4_t; 4]);

    // SAFETY of every block below: NEON is part of every 64-bit ARM target; pointers are the
    // caller's promise.
    impl Lanes for Neon {
        const TILE: usize = 4;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self([vdupq_n_f32(x); 4]) }
        }

        #[inline(always)]
        unsafe fn broadcast(p: *const f32) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self([vld1q_dup_f32(p); 4]) }
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(std::array::from_fn(|i| vld1q_f32(p.wrapping_add(4 * i)))) }
        }

        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            for (i, x) in self.0.into_iter().enumerate() {
                // SAFETY: see the head of this block.
                unsafe { vst1q_f32(p.wrapping_add(4 * i), x) }
            }
        }

        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(std::array::from_fn(|i| vfmaq_f32(c.0[i], self.0[i], b.0[i]))) }
        }

        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: see the head of this block.
            unsafe { Self(std::array::from_fn(|i| vaddq_f32(self.0[i], b.0[i]))) }
        }

        #[inline(always)]
        unsafe fn widen(p: *const u32) -> (Self, Self) {
            // SAFETY: see the head of this block.
            unsafe {
                let words: [uint32x4_t; 4] = std::array::from_fn(|i| vld1q_u32(p.wrapping_add(4 * i)));
                let high = vdupq_n_u32(0xffff_0000);
                (
                    Self(words.map(|x| vreinterpretq_f32_u32(vshlq_n_u32::<16>(x)))),
                    Self(words.map(|x| vreinterpretq_f32_u32(vandq_u32(x, high)))),
                )
            }
        }
    }
}
