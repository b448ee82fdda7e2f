//! MinHash: 128 hashes of a set, whose agreement estimates the Jaccard index; 32 bands of 4 rows as
//! bucket keys.
//!
//! A pair of Jaccard index 0.8 misses all bands with a chance of (1 − 0.8⁴)³² ≈ 5·10⁻⁸.

/// Bands of a signature: bucket keys of a record.
pub(super) const BANDS: usize = 32;
const ROWS: usize = 4;
const HASHES: usize = BANDS * ROWS;

/// The least hash of a set under each of 128 hash functions.
pub(super) struct Signature([u64; HASHES]);

/// A fixed bijection of 64 bits that leaves no pattern (the finaliser of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

impl Signature {
    /// The signature of a set of shingles.
    pub(super) fn of(set: &[u64]) -> Self {
        // Far from the small numbers that a set of plain counters would hold.
        let seeds: [u64; HASHES] = std::array::from_fn(|at| mix(0x9e37_79b9_7f4a_7c15 ^ at as u64));
        let mut least = [u64::MAX; HASHES];
        for &shingle in set {
            for (least, seed) in least.iter_mut().zip(seeds) {
                *least = (*least).min(mix(shingle ^ seed));
            }
        }
        Self(least)
    }

    /// One key a band; equal keys in any band make a candidate.
    pub(super) fn bands(&self) -> [u64; BANDS] {
        std::array::from_fn(|band| {
            self.0[band * ROWS..][..ROWS].iter().fold(mix(band as u64), |key, &row| mix(key ^ row).rotate_left(5))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_estimates_the_jaccard_index() {
        let set = |from: u64, to: u64| (from..to).map(mix).collect::<Vec<_>>();
        let (one, other) = (Signature::of(&set(0, 900)), Signature::of(&set(100, 1000)));
        let agree = one.0.iter().zip(other.0).filter(|(a, b)| **a == *b).count();
        // Jaccard 0.8 of 128: 102 expected, standard deviation 4.5.
        assert!((89..=116).contains(&agree), "{agree}");
    }
}
