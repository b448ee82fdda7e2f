//! The definition of a span, spelt out: a scan over every record for every start.
//!
//! Place in the flow: tests compare the index with it, and so can anyone who doubts an index.
//! Invariant: no suffix array and no shared search code; only the rules of payment are the same.
//! **Cost:** answer × corpus, so small inputs only.

use std::collections::BTreeMap;
use std::ops::Range;

use super::pay::{Answer, Corpus, SpanMatches, SpanRules, pay};
use super::rarity::millibits;
use super::{IndexedRecord, SpanError, first_bad_offset};

/// The spans of `answer` in `records`, found by scanning; `owners` as in
/// [`super::SpanIndex::with_owners`].
///
/// # Errors
/// [`SpanError::RecordOffsets`] or [`SpanError::AnswerOffsets`] when offsets do not fit,
/// [`SpanError::Owners`] when `owners` does not fit the records.
pub fn naive_spans(
    records: &[IndexedRecord],
    owners: &[u32],
    answer: &Answer<'_>,
    rules: &SpanRules,
) -> Result<SpanMatches, SpanError> {
    for (at, record) in records.iter().enumerate() {
        if let Some(token) = first_bad_offset(record.tokens.len(), &record.offsets, &record.text) {
            return Err(SpanError::RecordOffsets { record: at, token });
        }
    }
    if let Some(record) = super::index::first_bad_owner(owners, records.len()) {
        return Err(SpanError::Owners { record });
    }
    pay(&Scan { records, owners }, answer, rules)
}

struct Scan<'a> {
    records: &'a [IndexedRecord],
    owners: &'a [u32],
}

impl Scan<'_> {
    fn holds(&self, ids: &[u32]) -> bool {
        self.records.iter().any(|record| record.tokens.windows(ids.len()).any(|window| window == ids))
    }
}

impl Corpus for Scan<'_> {
    fn records(&self) -> usize {
        self.records.len()
    }

    fn tokens(&self) -> usize {
        self.records.iter().map(|record| record.tokens.len()).sum()
    }

    fn owner(&self, record: u32) -> u32 {
        self.owners[record as usize]
    }

    fn text(&self, record: u32) -> &str {
        &self.records[record as usize].text
    }

    fn token_start(&self, record: u32, place: u32) -> u32 {
        self.records[record as usize].offsets[place as usize].0
    }

    fn token_end(&self, record: u32, place: u32) -> u32 {
        self.records[record as usize].offsets[place as usize].1
    }

    fn rarity(&self, id: u32) -> u64 {
        let all = self.records.iter().flat_map(|record| &record.tokens);
        millibits(all.clone().filter(|token| **token == id).count() as u64, all.count() as u64)
    }

    fn information(&self, record: u32) -> u64 {
        self.records[record as usize].tokens.iter().map(|id| self.rarity(*id)).sum()
    }

    fn maximal(&self, ids: &[u32]) -> Vec<Range<usize>> {
        let ends = (0..ids.len()).flat_map(|start| (start + 1..=ids.len()).map(move |end| start..end));
        let found: Vec<Range<usize>> = ends.filter(|span| self.holds(&ids[span.clone()])).collect();
        let inside = |a: &Range<usize>, b: &Range<usize>| a != b && b.start <= a.start && a.end <= b.end;
        found.iter().filter(|span| !found.iter().any(|other| inside(span, other))).cloned().collect()
    }

    fn first_places(&self, ids: &[u32], owners_max: usize) -> Option<BTreeMap<u32, u32>> {
        let first = |record: &IndexedRecord| record.tokens.windows(ids.len()).position(|window| window == ids);
        let places: BTreeMap<u32, u32> =
            (0u32..).zip(self.records).filter_map(|(at, record)| Some((at, first(record)? as u32))).collect();
        let mut owners: Vec<u32> = places.keys().map(|record| self.owners[*record as usize]).collect();
        owners.sort_unstable();
        owners.dedup();
        (owners.len() <= owners_max).then_some(places)
    }
}
