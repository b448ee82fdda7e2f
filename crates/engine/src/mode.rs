//! Numeric modes: which arithmetic an answer was computed in.
//!
//! Place in the flow: chosen when a model is loaded, carried by every receipt. Invariant: a mode
//! fixes every bit, on any processor, batch, chunking and thread count; a change of any rounding is
//! a new name. Not here: the arithmetic (`kernels`).

/// How a model's products are computed. Everything else is f32 in all modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum NumericMode {
    /// Weights as the checkpoint has them, f32 rows, fused multiply-adds in order of the inputs.
    /// The mode that trains and that claims are checked in.
    #[default]
    F32Fma,
    /// Weights, rows, keys and values rounded to bf16, products summed in f32 pair by pair
    /// (`kernels::pairs` defines the order), as processors with AVX512_BF16 do in
    /// one instruction; others are slower and give the same bits. Answers only: no gradients.
    Bf16Dot,
    /// As `Bf16Dot`, but base weights, and the rows they multiply, in 8 bits with a scale for 32 of
    /// them, bf16 for weights and f32 for rows; integer sums per block, blocks combined in order.
    /// Answers only: no gradients.
    Q8,
}

impl NumericMode {
    /// All modes.
    pub const ALL: [NumericMode; 3] = [NumericMode::F32Fma, NumericMode::Bf16Dot, NumericMode::Q8];

    /// The name that receipts carry.
    pub const fn name(self) -> &'static str {
        match self {
            NumericMode::F32Fma => "f32fma-1",
            NumericMode::Bf16Dot => "bf16dot-1",
            NumericMode::Q8 => "q8-2",
        }
    }

    /// Whether pairs of bf16 are multiplied: keys and values, and adapters that are bf16
    /// throughout.
    pub(crate) const fn by_pairs(self) -> bool {
        !matches!(self, NumericMode::F32Fma)
    }

    /// The mode of that name; `None` for one this engine does not compute.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

impl std::fmt::Display for NumericMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_found_by_the_names_that_receipts_carry_and_no_other() {
        for mode in NumericMode::ALL {
            assert_eq!(NumericMode::from_name(mode.name()), Some(mode));
        }
        assert_eq!(NumericMode::default().name(), "f32fma-1");
        assert!(["q8-1", "bf16dot-2", "f32fma", ""].iter().all(|name| NumericMode::from_name(name).is_none()));
    }
}
