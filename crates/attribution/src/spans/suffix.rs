//! Suffix arrays over integers, built by induced sorting, and searches in them.
//!
//! Place in the flow: under the span index (symbols are tokens) and under the prompt filter
//! (symbols are bytes). Invariants: the suffix array of a string is unique, so every sort gives
//! the same bits; building is `O(n)` time and memory. Not here: what the symbols mean, and where a
//! record ends (its separator is a symbol like others).

use std::ops::Range;

/// Marks a place of the array that is not filled yet; strings are shorter than that.
const EMPTY: u32 = u32::MAX;

/// The suffix array of `text`, whose symbols are at most `max`.
///
/// **Order:** suffixes ascending, a suffix before any longer one that starts with it. **Cost:**
/// `O(n + max)`.
///
/// # Source
/// Nong, Zhang and Chan, "Two efficient algorithms for linear time suffix array construction"
/// (SA-IS).
pub(crate) fn suffix_array(text: &[u32], max: u32) -> Vec<u32> {
    let n = text.len();
    assert!(n < EMPTY as usize, "callers bound the text");
    if n < 2 {
        return (0..n as u32).collect();
    }
    // A suffix is small when it is less than the next one.
    let mut small = vec![false; n];
    for i in (0..n - 1).rev() {
        small[i] = if text[i] == text[i + 1] { small[i + 1] } else { text[i] < text[i + 1] };
    }
    let sorter = Sorter::new(text, &small, max as usize);
    let is_lms = |i: usize| i > 0 && small[i] && !small[i - 1];
    let lms: Vec<u32> = (1..n).filter(|&i| is_lms(i)).map(|i| i as u32).collect();
    let mut suffixes = vec![EMPTY; n];
    sorter.induce(&lms, &mut suffixes);
    if lms.len() > 1 {
        let mut sorted: Vec<u32> = suffixes.iter().copied().filter(|&i| is_lms(i as usize)).collect();
        let (names, last) = name_pieces(text, &lms, &sorted);
        for (slot, rank) in sorted.iter_mut().zip(suffix_array(&names, last)) {
            *slot = lms[rank as usize];
        }
        sorter.induce(&sorted, &mut suffixes);
    }
    suffixes
}

/// Names the pieces between neighbouring LMS places by their order: the names in text order and the
/// largest name.
fn name_pieces(text: &[u32], lms: &[u32], sorted: &[u32]) -> (Vec<u32>, u32) {
    let mut place = vec![EMPTY; text.len()];
    for (k, &i) in lms.iter().enumerate() {
        place[i as usize] = k as u32;
    }
    // A piece reaches to the next LMS symbol, itself included; the last one to the end of the text.
    let piece = |i: u32| {
        let end = lms.get(place[i as usize] as usize + 1).map_or(text.len(), |&next| next as usize + 1);
        (&text[i as usize..end], end == text.len())
    };
    let mut names = vec![0; lms.len()];
    let mut name = 0;
    for pair in sorted.windows(2) {
        let ((left, left_last), (right, right_last)) = (piece(pair[0]), piece(pair[1]));
        // The end of the text is less than any symbol, so a piece that meets it equals no other.
        if left != right || left_last || right_last {
            name += 1;
        }
        names[place[pair[1] as usize] as usize] = name;
    }
    (names, name)
}

/// The buckets of a text and the two induction passes over them.
struct Sorter<'a> {
    text: &'a [u32],
    small: &'a [bool],
    /// Where each symbol's bucket begins; its large suffixes stand first.
    large_at: Vec<u32>,
    /// Where the small suffixes of each bucket begin.
    small_at: Vec<u32>,
}

impl<'a> Sorter<'a> {
    fn new(text: &'a [u32], small: &'a [bool], max: usize) -> Self {
        let mut large_at = vec![0u32; max + 2];
        let mut large = vec![0u32; max + 1];
        for (&symbol, &is_small) in text.iter().zip(small) {
            large_at[symbol as usize + 1] += 1;
            large[symbol as usize] += u32::from(!is_small);
        }
        for symbol in 0..=max {
            large_at[symbol + 1] += large_at[symbol];
        }
        let small_at = large_at.iter().zip(&large).map(|(at, count)| at + count).collect();
        Self { text, small, large_at, small_at }
    }

    /// Fills `suffixes` from the LMS places in the order given: large suffixes left to right, small
    /// ones back.
    fn induce(&self, lms: &[u32], suffixes: &mut [u32]) {
        suffixes.fill(EMPTY);
        let symbol = |i: u32| self.text[i as usize] as usize;
        let mut next = self.small_at.clone();
        for &i in lms {
            suffixes[next[symbol(i)] as usize] = i;
            next[symbol(i)] += 1;
        }
        next.clone_from(&self.large_at);
        let last = self.text.len() as u32 - 1;
        suffixes[next[symbol(last)] as usize] = last;
        next[symbol(last)] += 1;
        for k in 0..suffixes.len() {
            let i = suffixes[k];
            if i != EMPTY && i > 0 && !self.small[i as usize - 1] {
                let slot = &mut next[symbol(i - 1)];
                suffixes[*slot as usize] = i - 1;
                *slot += 1;
            }
        }
        next.clone_from(&self.large_at);
        for k in (0..suffixes.len()).rev() {
            let i = suffixes[k];
            if i != EMPTY && i > 0 && self.small[i as usize - 1] {
                let slot = &mut next[symbol(i - 1) + 1];
                *slot -= 1;
                suffixes[*slot as usize] = i - 1;
            }
        }
    }
}

/// Where each symbol's suffixes begin: `max + 2` places, the last one the length of the text.
pub(crate) fn buckets(text: &[u32], max: u32) -> Vec<u32> {
    let mut starts = vec![0u32; max as usize + 2];
    for &symbol in text {
        starts[symbol as usize + 1] += 1;
    }
    for symbol in 0..=max as usize {
        starts[symbol + 1] += starts[symbol];
    }
    starts
}

/// Whether `suffixes` is the suffix array of `text`, in `O(n)`: a permutation in which neighbours
/// are in order, first by symbol and then by the rank of what follows.
pub(crate) fn is_suffix_array(text: &[u32], suffixes: &[u32]) -> bool {
    let n = text.len();
    if suffixes.len() != n {
        return false;
    }
    // Ranks from 1, and 0 for the empty suffix that follows the last symbol.
    let mut rank = vec![0u32; n + 1];
    for (place, &i) in (1u32..).zip(suffixes) {
        match rank[..n].get_mut(i as usize) {
            Some(slot) if *slot == 0 => *slot = place,
            _ => return false,
        }
    }
    let key = |i: u32| (text[i as usize], rank[i as usize + 1]);
    suffixes.windows(2).all(|pair| key(pair[0]) < key(pair[1]))
}

/// A text with its suffix array and buckets, to search in.
#[derive(Clone, Copy)]
pub(crate) struct Searcher<'a> {
    pub(crate) text: &'a [u32],
    pub(crate) suffixes: &'a [u32],
    pub(crate) buckets: &'a [u32],
}

impl Searcher<'_> {
    /// The length of the longest prefix of `pattern` that stands in the text.
    ///
    /// One binary search that never compares again what both ends of the interval share with the
    /// pattern (Manber and Myers); the neighbours of the pattern's place are among the probes.
    pub(crate) fn longest(&self, pattern: &[u32]) -> usize {
        let Some(bucket) = self.bucket(pattern) else { return 0 };
        let (mut low, mut high) = (bucket.start, bucket.end);
        let (mut shared_low, mut shared_high) = (1, 1);
        let mut best = usize::from(low < high);
        while low < high {
            let middle = low + (high - low) / 2;
            let (shared, less) = self.compare(middle, pattern, shared_low.min(shared_high));
            best = best.max(shared);
            if shared == pattern.len() {
                return shared;
            }
            if less {
                (low, shared_low) = (middle + 1, shared);
            } else {
                (high, shared_high) = (middle, shared);
            }
        }
        best
    }

    /// The ranks of the suffixes that start with `pattern`.
    pub(crate) fn range(&self, pattern: &[u32]) -> Range<usize> {
        let Some(bucket) = self.bucket(pattern) else { return 0..0 };
        let start = self.bound(pattern, bucket.clone(), false);
        start..self.bound(pattern, start..bucket.end, true)
    }

    /// The first rank in `ranks` whose suffix is not before `pattern` (`after`: nor starts with
    /// it).
    fn bound(&self, pattern: &[u32], ranks: Range<usize>, after: bool) -> usize {
        let (mut low, mut high) = (ranks.start, ranks.end);
        let (mut shared_low, mut shared_high) = (1, 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let (shared, less) = self.compare(middle, pattern, shared_low.min(shared_high));
            if less || after && shared == pattern.len() {
                (low, shared_low) = (middle + 1, shared);
            } else {
                (high, shared_high) = (middle, shared);
            }
        }
        low
    }

    /// How much the suffix of `rank` shares with `pattern` (`known` is known), and whether it is
    /// less than it.
    fn compare(&self, rank: usize, pattern: &[u32], known: usize) -> (usize, bool) {
        let suffix = &self.text[self.suffixes[rank] as usize..];
        let more = suffix[known..].iter().zip(&pattern[known..]).take_while(|(a, b)| a == b).count();
        let shared = known + more;
        (shared, shared < pattern.len() && suffix.get(shared).is_none_or(|symbol| *symbol < pattern[shared]))
    }

    fn bucket(&self, pattern: &[u32]) -> Option<Range<usize>> {
        let first = *pattern.first()? as usize;
        let (start, end) = (*self.buckets.get(first)?, *self.buckets.get(first + 1)?);
        Some(start as usize..end as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(text: &[u32]) -> Vec<u32> {
        let mut suffixes: Vec<u32> = (0..text.len() as u32).collect();
        suffixes.sort_by_key(|&i| &text[i as usize..]);
        suffixes
    }

    #[test]
    fn repetitive_texts_are_sorted_like_any_other() {
        let thue: Vec<u32> = (0..4096u32).map(|i| i.count_ones() % 2).collect();
        let (mut a, mut b) = (vec![1u32], vec![1u32, 0]);
        while b.len() < 3000 {
            let next = [b.clone(), a].concat();
            (a, b) = (b, next);
        }
        let texts = [vec![], vec![3], vec![0; 500], (0..300).collect(), (0..300).rev().collect(), thue, b];
        for text in texts {
            let max = text.iter().copied().max().unwrap_or(0);
            assert_eq!(suffix_array(&text, max), naive(&text));
        }
    }

    proptest! {
        #[test]
        fn induced_sorting_equals_plain_sorting(alphabet in 1u32..6, seed in prop::collection::vec(0u32..1000, 0..300)) {
            let text: Vec<u32> = seed.iter().map(|x| x % alphabet).collect();
            let suffixes = suffix_array(&text, alphabet);
            prop_assert_eq!(&suffixes, &naive(&text));
            prop_assert!(is_suffix_array(&text, &suffixes));
            if text.len() > 1 {
                let mut wrong = suffixes;
                wrong.swap(0, text.len() / 2);
                prop_assert!(text.len() / 2 == 0 || !is_suffix_array(&text, &wrong));
            }
        }

        #[test]
        fn searches_find_what_a_scan_finds(
            text in prop::collection::vec(0u32..3, 0..120),
            pattern in prop::collection::vec(0u32..4, 1..8),
        ) {
            let (suffixes, buckets) = (suffix_array(&text, 3), buckets(&text, 3));
            let searcher = Searcher { text: &text, suffixes: &suffixes, buckets: &buckets };
            let count = |part: &[u32]| text.windows(part.len()).filter(|window| *window == part).count();
            prop_assert_eq!(searcher.range(&pattern).len(), count(&pattern));
            let longest = (1..=pattern.len()).rev().find(|&l| count(&pattern[..l]) > 0).unwrap_or(0);
            prop_assert_eq!(searcher.longest(&pattern), longest);
        }
    }
}
