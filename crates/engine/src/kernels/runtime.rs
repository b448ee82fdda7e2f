//! The instruction set and the threads that a model computes with.
//!
//! Invariant: neither changes a result; both are chosen once, here. Not here: the kernels
//! themselves.

use std::sync::Arc;

use super::pool::Pool;

/// An instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Portable code, fused multiply-add by `f32::mul_add`; slow where the processor is not asked
    /// for it.
    Scalar,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F/BW/DQ/VL.
    Avx512,
    /// What every 64-bit ARM processor has.
    Neon,
}

impl Isa {
    /// All of them, whether this processor has them or not.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon];

    /// The widest set this processor has.
    pub fn detect() -> Self {
        [Isa::Avx512, Isa::Avx2, Isa::Neon].into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Scalar)
    }

    /// Whether this processor has the set.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            match self {
                Isa::Scalar => true,
                Isa::Neon => false,
                Isa::Avx2 => avx2,
                Isa::Avx512 => {
                    avx2 && is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512vl")
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Isa::Scalar || (self == Isa::Neon && cfg!(target_arch = "aarch64"))
        }
    }
}

/// Threads and instruction set that a model computes with; cheap to clone, never changes a result.
#[derive(Clone)]
pub struct Runtime {
    isa: Isa,
    pool: Arc<Pool>,
}

impl Runtime {
    /// `threads` threads (at least 1, the caller's included) on the widest instruction set at hand.
    pub fn new(threads: usize) -> Self {
        Self { isa: Isa::detect(), pool: Arc::new(Pool::new(threads.max(1))) }
    }

    /// The same threads on instruction set `isa`, or `None` when this processor lacks it.
    pub fn with_isa(&self, isa: Isa) -> Option<Self> {
        isa.is_available().then(|| Self { isa, pool: Arc::clone(&self.pool) })
    }

    /// The instruction set in use; the processor has it.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// A runtime of the same instruction set that uses the calling thread only.
    pub(crate) fn single(&self) -> Self {
        Self { isa: self.isa, pool: Arc::new(Pool::new(1)) }
    }

    /// Calls `f(i)` for every `i < tasks`, on any of the threads, and waits for all.
    pub(crate) fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        self.pool.run(tasks, f);
    }
}

impl Default for Runtime {
    /// As many threads as the machine offers.
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("isa", &self.isa).field("threads", &self.threads()).finish()
    }
}
