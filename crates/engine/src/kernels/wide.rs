//! Safe code of other crates, compiled for the widest instructions at hand.
//!
//! Attribution multiplies long rows in f64; this lets it do so at full width without unsafe code of
//! its own. **Invariant:** only speed depends on the processor, provided that the work rounds the
//! same whether it fuses or not.

/// Work that gains from wide instructions.
pub trait Wide {
    /// What it gives.
    type Output;

    /// Does the work. Mark it `#[inline(always)]`, with all that it calls in its loops: only then
    /// is it compiled anew for the wide instructions. `FUSE` says whether fused multiply-add is an
    /// instruction, so that it costs nothing.
    fn run<const FUSE: bool>(self) -> Self::Output;
}

/// Does `work` compiled for AVX-512, AVX2 or the baseline, whichever the processor has.
pub fn widest<W: Wide>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,fma")]
        fn avx512<W: Wide>(work: W) -> W::Output {
            work.run::<true>()
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<W: Wide>(work: W) -> W::Output {
            work.run::<true>()
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX-512 F and FMA.
            return unsafe { avx512(work) };
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA.
            return unsafe { avx2(work) };
        }
    }
    work.run::<false>()
}
