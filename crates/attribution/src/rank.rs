//! Which records an answer rests on most, for people.
//!
//! Place in the flow: from credits to lists on pages and in answers to audits. **Invariant:** each
//! layer counts alike, whatever the unit of its scores. Not here: what is paid (`ledger`).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use openledger_protocol::{Credits, Layer, RecordRef};

/// A record with what it contributes to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    /// The record.
    pub record: RecordRef,
    /// Its parts of the sums of the spans layer and the influence layer, each in millionths and
    /// rounded down, added up.
    pub weight_ppm: u64,
    /// Its score by spans, in milli-bits; zero without one.
    pub spans: u64,
    /// Its score by influence; zero without one.
    pub influence: u64,
}

/// The records of `credits` that spans or influence found, heaviest first, of equals the one of the
/// smaller title; `count` of them at most.
#[must_use]
pub fn top_records(credits: &Credits, count: usize) -> Vec<Ranked> {
    let mut ranked: BTreeMap<RecordRef, Ranked> = BTreeMap::new();
    for layer in [Layer::Spans, Layer::Influence] {
        let scores = || credits.scores.iter().filter(|score| score.layer == layer);
        let sum: u128 = scores().map(|score| u128::from(score.score)).sum();
        for score in scores() {
            let part = u64::try_from(u128::from(score.score) * 1_000_000 / sum.max(1)).unwrap_or(u64::MAX);
            let record = score.record;
            let entry = ranked.entry(record).or_insert(Ranked { record, weight_ppm: 0, spans: 0, influence: 0 });
            entry.weight_ppm = entry.weight_ppm.saturating_add(part);
            let own = if layer == Layer::Spans { &mut entry.spans } else { &mut entry.influence };
            *own = own.saturating_add(score.score);
        }
    }
    let mut ranked: Vec<Ranked> = ranked.into_values().collect();
    ranked.sort_by_key(|entry| (Reverse(entry.weight_ppm), entry.record));
    ranked.truncate(count);
    ranked
}

#[cfg(test)]
mod tests {
    use openledger_protocol::{B256, ContributionId, DatanetId, Score};

    use super::*;

    fn record(index: u32) -> RecordRef {
        RecordRef { contribution: ContributionId(B256::ZERO), index }
    }

    fn credits(scores: &[(Layer, u32, u64)]) -> Credits {
        let score = |&(layer, index, score)| Score { layer, datanet: DatanetId(1), record: record(index), score };
        Credits { scores: scores.iter().map(score).collect(), ..Credits::default() }
    }

    #[test]
    fn layers_count_alike_whatever_their_unit() {
        let credits = credits(&[
            (Layer::Spans, 1, 30_000),
            (Layer::Spans, 2, 10_000),
            (Layer::Influence, 2, 9),
            (Layer::Influence, 3, 1),
            (Layer::Rest, 7, 1_000_000),
        ]);
        let top = top_records(&credits, 10);
        let told: Vec<_> = top.iter().map(|r| (r.record.index, r.weight_ppm, r.spans, r.influence)).collect();
        assert_eq!(told, [(2, 1_150_000, 10_000, 9), (1, 750_000, 30_000, 0), (3, 100_000, 0, 1)]);
        assert_eq!(top_records(&credits, 1), top[..1]);
    }

    #[test]
    fn of_equals_the_smaller_title_comes_first_and_nothing_ranks_nothing() {
        let equal = credits(&[(Layer::Influence, 5, 2), (Layer::Influence, 4, 2)]);
        assert_eq!(top_records(&equal, 9).iter().map(|r| r.record.index).collect::<Vec<_>>(), [4, 5]);
        assert!(top_records(&credits(&[(Layer::Spans, 1, u64::MAX)]), 0).is_empty());
        assert!(top_records(&Credits::default(), 9).is_empty());
    }
}
