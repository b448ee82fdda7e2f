//! Kernels.
pub(crate) mod math;
