//! Chance as a function: every draw is named by a seed, a stream and a counter.
//!
//! Place in the flow: initial weights and sampling. Invariant: a draw depends on nothing but its
//! name, so that runs can be repeated, resumed and checked. Not here: cryptographic randomness;
//! these draws can be predicted.

use crate::kernels::math;

/// Uniform 64 bits for draw `counter` of `stream` under `seed` (two rounds of the SplitMix64
/// finaliser).
pub fn draw(seed: u64, stream: u64, counter: u64) -> u64 {
    let mixed = finalise(seed ^ finalise(stream.wrapping_add(0x9e37_79b9_7f4a_7c15)));
    finalise(mixed.wrapping_add(counter.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Uniform in `[0, 1)` with 53 bits.
pub fn uniform(seed: u64, stream: u64, counter: u64) -> f64 {
    (draw(seed, stream, counter) >> 11) as f64 / (1u64 << 53) as f64
}

/// Standard normal by Box and Muller, from draws `2·counter` and `2·counter + 1`.
pub(crate) fn normal(seed: u64, stream: u64, counter: u64) -> f64 {
    // The first uniform is moved into (0, 1], so that its logarithm is finite.
    let radius = (-2.0 * math::ln(1.0 - uniform(seed, stream, 2 * counter))).sqrt();
    let (_, cos) = math::sin_cos(std::f64::consts::TAU * uniform(seed, stream, 2 * counter + 1));
    radius * cos
}

/// Stafford's variant 13 of the MurmurHash3 finaliser, as in SplitMix64.
fn finalise(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_named_by_seed_stream_and_counter() {
        let base = draw(1, 2, 3);
        assert_eq!(base, draw(1, 2, 3));
        for other in [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let n = 20_000;
        let xs: Vec<f64> = (0..n).map(|i| normal(7, 0, i)).collect();
        let mean = xs.iter().sum::<f64>() / n as f64;
        let var = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.03 && (var - 1.0).abs() < 0.05, "mean {mean}, variance {var}");
    }
}
