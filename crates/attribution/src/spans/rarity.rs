//! How surprising a token is, in integers.
//!
//! Place in the flow: weights of spans. Invariant: no float, so that every machine gets the same
//! milli-bits. Not here: which tokens are counted (the index).

/// `log₂ x` in units of 2⁻³², rounded down; `x` is at least 1.
///
/// Bit by bit: squaring the mantissa doubles its logarithm, and what overflows is the next bit.
fn log2_q32(x: u64) -> u64 {
    assert!(x > 0, "zero has no logarithm");
    let zeros = x.leading_zeros();
    let mut mantissa = x << zeros;
    let mut log = u64::from(63 - zeros);
    for _ in 0..32 {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let carry = (square >> 64) as u64;
        mantissa = (square >> carry) as u64;
        log = log << 1 | carry;
    }
    log
}

/// `log₂ x` in milli-bits, rounded down; zero for zero.
pub(crate) fn log2_millibits(x: u64) -> u64 {
    if x == 0 { 0 } else { (log2_q32(x) * 1000) >> 32 }
}

/// `-log₂(count / total)` in milli-bits, rounded down; what was never counted is as surprising as
/// nothing: zero.
pub(crate) fn millibits(count: u64, total: u64) -> u64 {
    if count == 0 || count >= total {
        return 0;
    }
    ((log2_q32(total) - log2_q32(count)) * 1000) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_whole_bits() {
        for k in 0..40 {
            assert_eq!((millibits(1, 1 << k), log2_millibits(1 << k)), (1000 * k, 1000 * k));
        }
    }

    #[test]
    fn millibits_are_within_one_of_the_logarithm() {
        for (count, total) in [(1, 3), (7, 1000), (999, 1000), (1, u64::MAX), (12_345, 987_654_321)] {
            let exact = 1000.0 * (total as f64 / count as f64).log2();
            assert!((millibits(count, total) as f64 - exact).abs() <= 1.0, "{count}/{total}");
        }
    }

    #[test]
    fn what_is_everywhere_or_nowhere_weighs_nothing() {
        assert_eq!((millibits(0, 5), millibits(5, 5)), (0, 0));
    }
}
