//! Near copies: clusters of records that say nearly the same, and the share of a record that is its
//! own.
//!
//! # Place in the flow
//!
//! `node` feeds accepted records in order of registration; clusters are reported to reviewers, and
//! a record's [`Placement::multiplier`] scales its training weight. `shingles` makes sets of word
//! sequences, `minhash` finds candidates.
//!
//! # Invariants
//!
//! - **First registrant wins.** A record joins the cluster of its earliest near copy; no later
//!   record moves an earlier one.
//! - **Exact.** MinHash only proposes; a pair counts when its Jaccard index over 5-word shingles is
//!   at least 4/5, in integers.
//! - **Deterministic.** No randomness: the same texts in the same order give the same clusters.
//!
//! # Not here
//!
//! Exact copies (refused before, by [`crate::Dedup`]); paraphrases, which share no words in order
//! and are left to review.
//!
//! # Source
//!
//! `docs/formats.md` for the canonical text; method and numbers: 128 hashes, 32 bands of 4 rows,
//! threshold 0.8.

mod minhash;
mod shingles;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use minhash::{BANDS, Signature};
use shingles::{NEAR_WORDS, SPAN_WORDS, grams, words};

/// A multiplier of one: the whole record is its own.
pub const WHOLE: u16 = u16::MAX;

/// A bucket keeps its earliest members only, so that a flood of equal texts cannot make an import
/// quadratic.
const BUCKET_MEMBERS: usize = 32;

/// Where a record stands among those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The earliest record of its cluster: itself when it has no near copy before it.
    pub owner: u32,
    /// The near copy that brought it into the cluster.
    pub near: Option<Near>,
    /// The share of its words outside spans of 12 or more words of earlier records, in 1/65,535,
    /// rounded down.
    pub multiplier: u16,
    /// The record that said most of the other words first (of equals the earliest); itself when all
    /// are its own.
    pub source: u32,
}

/// A pair's likeness: Jaccard index = `shared` / `union` over sets of 5-word shingles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    /// The earlier record.
    pub earlier: u32,
    /// Shingles in both.
    pub shared: u32,
    /// Shingles in either.
    pub union: u32,
}

/// Records that say nearly the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The earliest.
    pub owner: u32,
    /// All of them, in order; the owner first.
    pub members: Vec<u32>,
}

/// The clusters of a sequence of texts; records are known by their place in it, from 0.
///
/// **Memory:** about 17 bytes a word for spans, 8 a word for shingles, 1 KiB a record for buckets.
#[derive(Debug, Default)]
pub struct Clusters {
    placements: Vec<Placement>,
    shingles: Vec<Box<[u64]>>,
    buckets: HashMap<u64, Vec<u32>>,
    /// Which record said each span first.
    spans: HashMap<u64, u32>,
}

impl Clusters {
    /// The clusters of `texts` (canonical), earliest first.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut clusters = Self::default();
        for text in texts {
            clusters.add(text);
        }
        clusters
    }

    /// Places the next record by its canonical text.
    ///
    /// # Panics
    /// At 2³² records, which is more than one process holds.
    pub fn add(&mut self, text: &str) -> Placement {
        let place = u32::try_from(self.placements.len()).expect("fewer than 2^32 records");
        let words = words(text);
        let mut set = grams(&words, NEAR_WORDS);
        set.sort_unstable();
        set.dedup();

        let bands = Signature::of(&set).bands();
        let near = self.nearest(&set, &bands);
        let owner = near.map_or(place, |near| self.placements[near.earlier as usize].owner);
        let (multiplier, source) = self.take_spans(&words, place);
        let placement = Placement { owner, near, multiplier, source };
        for band in bands {
            let bucket = self.buckets.entry(band).or_default();
            if bucket.len() < BUCKET_MEMBERS {
                bucket.push(place);
            }
        }
        self.shingles.push(set.into_boxed_slice());
        self.placements.push(placement);
        placement
    }

    /// The earliest record that is near enough.
    fn nearest(&self, set: &[u64], bands: &[u64; BANDS]) -> Option<Near> {
        let mut candidates: Vec<u32> =
            bands.iter().filter_map(|band| self.buckets.get(band)).flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.into_iter().find_map(|earlier| {
            let (shared, union) = shingles::overlap(set, &self.shingles[earlier as usize]);
            (union > 0 && 5 * u64::from(shared) >= 4 * u64::from(union)).then_some(Near { earlier, shared, union })
        })
    }

    /// The share of words that no earlier record's spans cover, and who said most of the others
    /// first; then remembers this record's spans.
    fn take_spans(&mut self, words: &[String], place: u32) -> (u16, u32) {
        let spans = grams(words, SPAN_WORDS);
        let (mut covered, mut end) = (0, 0);
        let mut said: BTreeMap<u32, usize> = BTreeMap::new();
        for (at, span) in spans.iter().enumerate() {
            if let Some(&first) = self.spans.get(span) {
                let stop = (at + SPAN_WORDS).min(words.len());
                let fresh = stop - at.max(end);
                *said.entry(first).or_default() += fresh;
                covered += fresh;
                end = stop;
            }
        }
        for span in spans {
            self.spans.entry(span).or_insert(place);
        }
        let own = (words.len() - covered) as u64;
        let share = if words.is_empty() { 0 } else { own * u64::from(WHOLE) / words.len() as u64 };
        let source =
            said.into_iter().max_by_key(|&(first, words)| (words, Reverse(first))).map_or(place, |(first, _)| first);
        (u16::try_from(share).expect("a share of at most one"), source)
    }

    /// Where each record stands, in order.
    #[must_use]
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// The clusters of two records or more, by owner.
    #[must_use]
    pub fn clusters(&self) -> Vec<Cluster> {
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); self.placements.len()];
        for (place, placement) in (0u32..).zip(&self.placements) {
            members[placement.owner as usize].push(place);
        }
        let all = (0u32..).zip(members).map(|(owner, members)| Cluster { owner, members });
        all.filter(|cluster| cluster.members.len() > 1).collect()
    }
}
