//! Elementary functions built from IEEE add, multiply, fma, divide and square root only.
//!
//! Place in the flow: softmax, SiLU, rotary tables, sampling, learning-rate schedules. Invariant:
//! no call reaches libm, whose last bits differ between platforms; these give the same bits
//! everywhere. Not here: anything that runs over arrays (`elementwise`).

use std::f64::consts::{FRAC_PI_2, LN_2, LOG2_E};

/// e^x in f32, for any finite x; relative error below 2 units in the last place, 0 below -87.
///
/// Branch-free, so that it vectorises. Source: Cephes `expf`, the exponent inserted through the
/// bits of the rounding sum.
#[inline(always)]
pub(crate) fn exp_f32(x: f32) -> f32 {
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    // 1.5·2^23: adding it rounds to a whole number, which then stands in the low bits.
    let shifted = x.mul_add(std::f32::consts::LOG2_E, 12_582_912.0);
    let n = shifted - 12_582_912.0;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p =
        1.398_2e-3_f32.mul_add(r, 8.333_452e-3).mul_add(r, 4.166_579_6e-2).mul_add(r, 1.666_666_5e-1).mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// e^x in f64; relative error about 1e-15. Overflows to infinity, underflows to 0 below -700.
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x < -700.0 {
        return 0.0;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    let n = (x * LOG2_E).round_ties_even();
    let r = n.mul_add(-1.908_214_929_270_587_7e-10, n.mul_add(-6.931_471_803_691_238e-1, x));
    // Taylor to r^13/13!: |r| <= 0.35 leaves less than 1e-17.
    let mut p = 1.0;
    for k in (1..=13).rev() {
        p = p * r / f64::from(k) + 1.0;
    }
    p * f64::from_bits(((1023 + n as i64) as u64) << 52)
}

/// Natural logarithm in f64 of a positive normal number; relative error about 1e-15.
pub(crate) fn ln(x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        return if x == 0.0 { f64::NEG_INFINITY } else { f64::NAN };
    }
    if x.is_infinite() {
        return x;
    }
    let (x, bias) = if x < f64::MIN_POSITIVE { (x * (1u64 << 54) as f64, -54.0) } else { (x, 0.0) };
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) as i64 - 1023) as f64 + bias;
    let mut m = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1.0;
    }
    // ln m = 2 artanh(s), |s| <= 0.1716.
    let s = (m - 1.0) / (m + 1.0);
    let (z, mut p) = (s * s, 0.0);
    for k in (0..=11).rev() {
        p = p * z + 1.0 / f64::from(2 * k + 1);
    }
    exponent * LN_2 + 2.0 * s * p
}

/// Sine and cosine in f64 for |x| up to about 1e6; absolute error about 1e-15.
pub(crate) fn sin_cos(x: f64) -> (f64, f64) {
    let n = (x / FRAC_PI_2).round_ties_even();
    // π/2 in two parts (Cody and Waite); fma keeps the first product exact.
    let r = n.mul_add(-6.123_233_995_736_766e-17, n.mul_add(-FRAC_PI_2, x));
    let z = r * r;
    let (mut s, mut c) = (1.0, 1.0);
    for k in (1..=9).rev() {
        s = 1.0 - s * z / f64::from((2 * k) * (2 * k + 1));
        c = 1.0 - c * z / f64::from((2 * k - 1) * (2 * k));
    }
    let sin = r * s;
    match (n as i64).rem_euclid(4) {
        0 => (sin, c),
        1 => (c, -sin),
        2 => (-sin, -c),
        _ => (-c, sin),
    }
}

/// base^n for a whole n by squaring, in a fixed order.
pub(crate) fn powi(base: f64, n: u64) -> f64 {
    let (mut result, mut square, mut left) = (1.0, base, n);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f64_functions_agree_with_the_standard_library() {
        for i in -4000..4000 {
            let x = f64::from(i) * 0.0173;
            assert!((exp(x) / x.exp() - 1.0).abs() < 4e-15, "exp {x}");
            let (s, c) = sin_cos(x * 50.0);
            assert!((s - (x * 50.0).sin()).abs() < 1e-13, "sin {x}");
            assert!((c - (x * 50.0).cos()).abs() < 1e-13, "cos {x}");
            let y = exp(x);
            assert!((ln(y) - y.ln()).abs() < 1e-14 * (1.0 + x.abs()), "ln {y}");
        }
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
    }

    #[test]
    fn f32_exponential_is_within_a_few_units_in_the_last_place() {
        for i in -8600..8700 {
            let x = i as f32 * 0.01;
            let want = f64::from(x).exp();
            let error = (f64::from(exp_f32(x)) / want - 1.0).abs();
            assert!(error < 3e-7, "exp({x}): relative error {error}");
        }
    }

    #[test]
    fn whole_powers_match_repeated_multiplication() {
        assert_eq!(powi(0.5, 10), 1.0 / 1024.0);
        assert_eq!(powi(3.0, 0), 1.0);
    }
}
