//! All arithmetic over arrays, and the only unsafe code of the engine.
//!
//! Place in the flow: `forward` and `backward` call [`Runtime`] methods; the runtime picks the
//! instruction set once and, for large products, splits *output columns* among threads.
//!
//! Invariants: every output element is summed over its inner dimension in index order by fused
//! multiply-adds from zero (in mode `bf16dot-1` the odd one of each pair first), or in 16 strided
//! lanes and a fixed tree; so that neither lane width, tiling, batch nor thread count can change a
//! bit. Every function checks its slices before it takes pointers.
//!
//! Not here: what the products mean (`forward`, `backward`).

#![expect(unsafe_code, reason = "SIMD intrinsics and disjoint writes from threads; each block says why it is sound")]

pub(crate) mod attention;
pub(crate) mod elementwise;
pub(crate) mod gemm;
mod lanes;
pub(crate) mod math;
pub(crate) mod pairs;
mod pool;
pub(crate) mod product;
pub(crate) mod quant;
pub(crate) mod region;
mod runtime;
mod tile;
pub(crate) mod weights;
mod wide;

pub use runtime::{Isa, Runtime};
pub use wide::{Wide, widest};

/// Runs generic kernel `$body::<L>(args)` compiled for the runtime's instruction set.
///
/// The wrappers carry the target features; the body is `#[inline(always)]`, so that it is compiled
/// anew in each.
macro_rules! dispatch {
    ($isa:expr, $body:ident($($arg:ident: $ty:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        #[allow(clippy::too_many_arguments)]
        unsafe fn avx512($($arg: $ty),*) {
            // SAFETY: the caller's contract is the body's.
            unsafe { $body::<crate::kernels::lanes::Avx512>($($arg),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        #[allow(clippy::too_many_arguments)]
        unsafe fn avx2($($arg: $ty),*) {
            // SAFETY: the caller's contract is the body's.
            unsafe { $body::<crate::kernels::lanes::Avx2>($($arg),*) }
        }
        match $isa {
            // SAFETY: `Isa` holds these values only after the processor was asked for the features;
            // the rest is the body's contract, which the calling function establishes.
            #[cfg(target_arch = "x86_64")]
            crate::kernels::Isa::Avx512 => unsafe { avx512($($arg),*) },
            #[cfg(target_arch = "x86_64")]
            crate::kernels::Isa::Avx2 => unsafe { avx2($($arg),*) },
            #[cfg(target_arch = "aarch64")]
            crate::kernels::Isa::Neon => unsafe { $body::<crate::kernels::lanes::Neon>($($arg),*) },
            _ => unsafe { $body::<crate::kernels::lanes::Scalar>($($arg),*) },
        }
    }};
}
pub(crate) use dispatch;
