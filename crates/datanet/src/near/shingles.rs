//! Words and sequences of words, as sets of 64-bit hashes.
//!
//! Words are lower-cased runs of letters and digits, so case and punctuation hide nothing. Hashes
//! are the first eight bytes of SHA-256, so that nobody can cheaply craft a text whose shingles
//! collide with another's.

use sha2::{Digest, Sha256};

/// Words of a shingle for near copies.
pub(super) const NEAR_WORDS: usize = 5;
/// Words of a span that counts as taken over.
pub(super) const SPAN_WORDS: usize = 12;

pub(super) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// The hash of each sequence of `length` words, in order; of all the words when there are fewer;
/// nothing for no words.
pub(super) fn grams(words: &[String], length: usize) -> Vec<u64> {
    if words.is_empty() {
        return Vec::new();
    }
    words.windows(length.min(words.len())).map(hash).collect()
}

fn hash(words: &[String]) -> u64 {
    let mut hasher = Sha256::new();
    for word in words {
        hasher.update(word.as_bytes());
        hasher.update(b" "); // no word holds a space, so sequences of other words hash other bytes
    }
    let digest: [u8; 32] = hasher.finalize().into();
    u64::from_be_bytes(std::array::from_fn(|at| digest[at]))
}

/// The sizes of intersection and union of two sorted sets.
pub(super) fn overlap(one: &[u64], other: &[u64]) -> (u32, u32) {
    let (mut i, mut j, mut shared, mut union) = (0, 0, 0, 0);
    while i < one.len() || j < other.len() {
        let order = match (one.get(i), other.get(j)) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        };
        i += usize::from(order.is_le());
        j += usize::from(order.is_ge());
        shared += u32::from(order.is_eq());
        union += 1;
    }
    (shared, union)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ignore_case_and_punctuation() {
        assert_eq!(words("It's 5-o'clock, ÉTÉ!"), ["it", "s", "5", "o", "clock", "été"]);
        assert_eq!(grams(&words("a b c"), 5).len(), 1);
        assert_eq!(grams(&words("a b c d e f"), 5).len(), 2);
        assert!(grams(&words(" .,"), 5).is_empty());
    }

    #[test]
    fn overlap_counts_sets() {
        assert_eq!(overlap(&[1, 2, 3], &[2, 3, 4, 5]), (2, 5));
        assert_eq!(overlap(&[], &[1]), (0, 1));
        assert_eq!(overlap(&[], &[]), (0, 0));
    }
}
