//! Finds held-out records that training has as good as seen.
//!
//! Two records are compared by the sets of their runs of five words (or ids): the Jaccard index of
//! the sets, exactly, for every training record that shares a run that is not everywhere. Not here:
//! which copies are paid (`datanet`).

use std::collections::{BTreeMap, BTreeSet};

use openledger_protocol::fold;

use crate::record::{Content, TrainRecord};

/// Words in a run.
const RUN: usize = 5;
/// Share of common runs from which records count as the same: the threshold of duplicate detection.
const NEAR_MILLIONTHS: u64 = 800_000;
/// A run in more training records than this is boilerplate and brings no pair to light.
const COMMON: usize = 1_000;

/// A held-out record that stands in training too, or nearly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The held-out record's place.
    pub held_out: usize,
    /// The place of the training record that is nearest to it; the first of equals.
    pub training: usize,
    /// Jaccard index of their runs of five words, in millionths.
    pub similarity: u64,
}

/// The held-out records whose nearest training record shares at least 0.8 of its runs of words, in
/// order of place.
///
/// **Cost:** linear in the text, times the number of records that share a run.
#[must_use]
pub fn near_identical(records: &[TrainRecord], is_held_out: impl Fn(usize) -> bool) -> Vec<Overlap> {
    let runs: Vec<BTreeSet<u64>> = records.iter().map(runs).collect();
    let mut postings: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (place, set) in runs.iter().enumerate().filter(|(place, _)| !is_held_out(*place)) {
        for run in set {
            postings.entry(*run).or_default().push(place);
        }
    }
    let mut found = Vec::new();
    for (held_out, set) in runs.iter().enumerate().filter(|(place, _)| is_held_out(*place)) {
        let candidates: BTreeSet<usize> =
            set.iter().filter_map(|run| postings.get(run)).filter(|p| p.len() <= COMMON).flatten().copied().collect();
        let nearest = candidates
            .into_iter()
            .map(|training| Overlap { held_out, training, similarity: jaccard(set, &runs[training]) })
            .filter(|overlap| overlap.similarity >= NEAR_MILLIONTHS)
            // The first of equals: later ones must be strictly nearer.
            .reduce(|best, next| if next.similarity > best.similarity { next } else { best });
        found.extend(nearest);
    }
    found
}

/// |a ∩ b| / |a ∪ b| in millionths, rounded down; two empty sets have nothing in common.
fn jaccard(a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> u64 {
    let common = a.intersection(b).count() as u64;
    let all = (a.len() + b.len()) as u64 - common;
    (common * 1_000_000).checked_div(all).unwrap_or(0)
}

/// The hashes of a record's runs of five words or ids; a shorter record is one run.
fn runs(record: &TrainRecord) -> BTreeSet<u64> {
    let items: Vec<u64> = match &record.content {
        Content::Text { text, .. } => {
            fold(&text.to_lowercase()).split(' ').filter(|w| !w.is_empty()).map(|w| fnv(w.as_bytes())).collect()
        }
        Content::Ids { ids, .. } => ids.iter().map(|id| fnv(&id.to_le_bytes())).collect(),
    };
    let width = RUN.min(items.len()).max(1);
    items.windows(width).map(|run| fnv(&run.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>())).collect()
}

/// FNV-1a: good enough to tell runs apart, and the same everywhere.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "the grey heron stands in the shallow water near the old bridge and waits for a small fish \
                        while the miller counts the sacks that came with the morning boat from the other side";

    fn check(held_out: &str, expected: Option<usize>) {
        let records = [
            TrainRecord::text("held", held_out),
            TrainRecord::text("other", "quite another text about bread and the price of flour in a dry year"),
            TrainRecord::text("same", TEXT),
        ];
        let found = near_identical(&records, |place| place == 0);
        assert_eq!(found.first().map(|o| o.training), expected, "{found:?}");
    }

    #[test]
    fn a_copy_with_other_spaces_and_capitals_is_named() {
        check(&TEXT.replace(' ', "  ").to_uppercase(), Some(2));
    }

    #[test]
    fn a_copy_with_one_more_word_is_named() {
        check(&format!("{TEXT} again"), Some(2));
    }

    #[test]
    fn a_text_that_shares_only_its_beginning_is_not_named() {
        check("the grey heron stands in the shallow water and thinks of something else entirely today", None);
    }
}
