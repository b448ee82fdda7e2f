//! The span index: every token of every record, sorted by what follows it.
//!
//! Place in the flow: built when a model is made, saved beside it, opened by the node that answers.
//! Invariants: built from the same records it is the same, bit for bit, and so is its root; a match
//! never crosses records, because a separator that no query holds ends each. Not here: what a match
//! is worth (`pay`), files (`store`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use openledger_protocol::{B256, content_hash, keccak, leaf, merkle, word};

use super::pay::{Answer, Corpus, SpanMatches, SpanRules, pay};
use super::rarity::millibits;
use super::suffix::{Searcher, buckets, suffix_array};
use super::{SpanError, first_bad_offset};

/// The most tokens and separators of one index; places are `u32`, with one kept as a mark.
pub(super) const MAX_SYMBOLS: u64 = 1 << 31;
/// The most bytes of all records' texts together.
pub(super) const MAX_TEXT_BYTES: u64 = 1 << 32;
/// Tokens, places or offsets under one leaf of the index's root: 1 KiB.
const CHUNK: usize = 256;
/// Stands for the end of a record among token ids.
const SEPARATOR: u32 = u32::MAX;

/// A record as it is indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedRecord {
    /// Its tokens, special ones left out.
    pub tokens: Vec<u32>,
    /// For each token the byte range of `text` it stands for; tokens inside one character share its
    /// range.
    pub offsets: Vec<(u32, u32)>,
    /// The canonical text.
    pub text: String,
}

/// All records of a model, ready to be searched for what an answer repeats.
///
/// About 19 bytes of memory a token: symbol, suffix and byte range, and the text itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanIndex {
    /// The distinct token ids, ascending; symbol `k + 1` is `vocabulary[k]`, symbol 0 ends a
    /// record.
    pub(super) vocabulary: Vec<u32>,
    /// All records' symbols, each record followed by symbol 0.
    pub(super) symbols: Vec<u32>,
    pub(super) suffixes: Vec<u32>,
    /// Byte range in the record's text of each symbol.
    pub(super) offsets: Vec<(u32, u32)>,
    /// Where each record begins in `symbols`, and the end.
    pub(super) starts: Vec<u32>,
    pub(super) texts: Vec<String>,
    /// The record that owns each record's cluster.
    pub(super) owners: Vec<u32>,
    buckets: Vec<u32>,
    /// Rarity of each symbol.
    rarity: Vec<u64>,
}

impl SpanIndex {
    /// Indexes `records` in order. Records with equal texts form a cluster that the first of them
    /// owns.
    ///
    /// **Cost:** `O(tokens)`.
    ///
    /// # Errors
    /// [`SpanError::RecordOffsets`] when a record's offsets do not fit, [`SpanError::TooLarge`]
    /// beyond 2³¹ tokens or 4 GiB of text.
    pub fn build(records: &[IndexedRecord]) -> Result<Self, SpanError> {
        check_size(records)?;
        let mut vocabulary: Vec<u32> = records.iter().flat_map(|r| r.tokens.iter().copied()).collect();
        vocabulary.sort_unstable();
        vocabulary.dedup();
        vocabulary.shrink_to_fit();
        let total = records.iter().map(|r| r.tokens.len() + 1).sum();
        let mut symbols = Vec::with_capacity(total);
        let mut offsets = Vec::with_capacity(total);
        let mut starts = vec![0];
        let mut first_with = BTreeMap::new();
        let mut owners = Vec::with_capacity(records.len());
        for (at, record) in (0u32..).zip(records) {
            if let Some(token) = first_bad_offset(record.tokens.len(), &record.offsets, &record.text) {
                return Err(SpanError::RecordOffsets { record: at as usize, token });
            }
            symbols.extend(record.tokens.iter().map(|id| symbol_of(&vocabulary, *id)));
            symbols.push(0);
            offsets.extend_from_slice(&record.offsets);
            let end = record.text.len() as u32;
            offsets.push((end, end));
            starts.push(symbols.len() as u32);
            owners.push(*first_with.entry(record.text.as_str()).or_insert(at));
        }
        let suffixes = suffix_array(&symbols, vocabulary.len() as u32);
        let texts = records.iter().map(|r| r.text.clone()).collect();
        Ok(Self::assemble(vocabulary, symbols, suffixes, offsets, starts, texts, owners))
    }

    /// Puts checked parts together and counts what follows from them.
    pub(super) fn assemble(
        vocabulary: Vec<u32>,
        symbols: Vec<u32>,
        suffixes: Vec<u32>,
        offsets: Vec<(u32, u32)>,
        starts: Vec<u32>,
        texts: Vec<String>,
        owners: Vec<u32>,
    ) -> Self {
        let buckets = buckets(&symbols, vocabulary.len() as u32);
        let tokens = (symbols.len() - texts.len()) as u64;
        let mut rarity: Vec<u64> =
            buckets.windows(2).map(|pair| millibits(u64::from(pair[1] - pair[0]), tokens)).collect();
        rarity[0] = 0;
        Self { vocabulary, symbols, suffixes, offsets, starts, texts, owners, buckets, rarity }
    }

    /// The same index with the datanet's clusters: `owners[i]` is the record that owns record `i`'s
    /// cluster.
    ///
    /// # Errors
    /// [`SpanError::Owners`] when the list does not name, for each record, one that owns itself.
    pub fn with_owners(mut self, owners: Vec<u32>) -> Result<Self, SpanError> {
        if let Some(record) = first_bad_owner(&owners, self.texts.len()) {
            return Err(SpanError::Owners { record });
        }
        self.owners = owners;
        Ok(self)
    }

    /// How many records are indexed.
    #[must_use]
    pub fn records(&self) -> usize {
        self.texts.len()
    }

    /// How many tokens are indexed, separators not counted.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.symbols.len() - self.texts.len()
    }

    /// The record that owns each record's cluster.
    #[must_use]
    pub fn owners(&self) -> &[u32] {
        &self.owners
    }

    /// How often `ids` stands in the records, a record counted as often as it holds them.
    #[must_use]
    pub fn count(&self, ids: &[u32]) -> usize {
        self.translate(ids).map_or(0, |symbols| self.searcher().range(&symbols).len())
    }

    /// The spans of `answer` that stand in the records, with weights; see [`SpanRules`] for what is
    /// paid.
    ///
    /// # Errors
    /// [`SpanError::AnswerOffsets`] when the answer's offsets do not fit its tokens and text.
    pub fn query(&self, answer: &Answer<'_>, rules: &SpanRules) -> Result<SpanMatches, SpanError> {
        pay(self, answer, rules)
    }

    /// The root that commits to the index: Merkle roots over tokens, suffix array and byte ranges
    /// in chunks of 1 KiB, and over the records, under one leaf with their numbers.
    ///
    /// Token leaves hash the ids as little-endian `u32` (a record's end is 2³² - 1); record leaves
    /// hash (place of its first token, content hash). Clusters are not part of it: they belong to
    /// the datanet's snapshot.
    #[must_use]
    pub fn root(&self) -> B256 {
        let id = |symbol: &u32| if *symbol == 0 { SEPARATOR } else { self.vocabulary[*symbol as usize - 1] };
        let ids: Vec<u32> = self.symbols.iter().map(id).collect();
        let offsets: Vec<u32> = self.offsets.iter().flat_map(|(start, end)| [*start, *end]).collect();
        let record = |(start, text): (&u32, &String)| leaf(tag("index-record"), &[word(*start), content_hash(text)]);
        let records: Vec<B256> = self.starts.iter().zip(&self.texts).map(record).collect();
        leaf(
            tag("span-index"),
            &[
                word(self.symbols.len() as u64),
                word(self.texts.len() as u64),
                chunk_root(tag("index-tokens"), &ids),
                chunk_root(tag("index-suffixes"), &self.suffixes),
                chunk_root(tag("index-offsets"), &offsets),
                merkle::root(&records),
            ],
        )
    }

    fn searcher(&self) -> Searcher<'_> {
        Searcher { text: &self.symbols, suffixes: &self.suffixes, buckets: &self.buckets }
    }

    /// The symbols of `ids`, or `None` when one of them stands in no record.
    fn translate(&self, ids: &[u32]) -> Option<Vec<u32>> {
        let symbols: Vec<u32> = ids.iter().map(|id| symbol_of(&self.vocabulary, *id)).collect();
        (!symbols.contains(&0)).then_some(symbols)
    }
}

impl Corpus for SpanIndex {
    fn records(&self) -> usize {
        self.texts.len()
    }

    fn tokens(&self) -> usize {
        Self::tokens(self)
    }

    fn owner(&self, record: u32) -> u32 {
        self.owners[record as usize]
    }

    fn text(&self, record: u32) -> &str {
        &self.texts[record as usize]
    }

    fn token_start(&self, record: u32, place: u32) -> u32 {
        self.offsets[(self.starts[record as usize] + place) as usize].0
    }

    fn token_end(&self, record: u32, place: u32) -> u32 {
        self.offsets[(self.starts[record as usize] + place) as usize].1
    }

    fn rarity(&self, id: u32) -> u64 {
        self.rarity[symbol_of(&self.vocabulary, id) as usize]
    }

    fn information(&self, record: u32) -> u64 {
        let range = self.starts[record as usize] as usize..self.starts[record as usize + 1] as usize;
        self.symbols[range].iter().map(|symbol| self.rarity[*symbol as usize]).sum()
    }

    fn maximal(&self, ids: &[u32]) -> Vec<Range<usize>> {
        let symbols: Vec<u32> = ids.iter().map(|id| symbol_of(&self.vocabulary, *id)).collect();
        let searcher = self.searcher();
        let mut spans = Vec::new();
        let mut covered = 0;
        for start in 0..symbols.len() {
            if covered == symbols.len() {
                break;
            }
            // Symbol 0 also ends records in the text, so a pattern stops before it.
            let known = symbols[start..].iter().position(|symbol| *symbol == 0).unwrap_or(symbols.len() - start);
            let end = start + searcher.longest(&symbols[start..start + known]);
            if end > covered {
                spans.push(start..end);
                covered = end;
            }
        }
        spans
    }

    fn first_places(&self, ids: &[u32], owners_max: usize) -> Option<BTreeMap<u32, u32>> {
        let Some(symbols) = self.translate(ids) else { return Some(BTreeMap::new()) };
        let mut places: BTreeMap<u32, u32> = BTreeMap::new();
        let mut owners = BTreeSet::new();
        for &at in &self.suffixes[self.searcher().range(&symbols)] {
            let record = self.starts.partition_point(|start| *start <= at) - 1;
            let place = at - self.starts[record];
            places.entry(record as u32).and_modify(|first| *first = place.min(*first)).or_insert(place);
            owners.insert(self.owners[record]);
            if owners.len() > owners_max {
                return None;
            }
        }
        Some(places)
    }
}

/// The symbol of a token id, or 0 when no record holds it.
fn symbol_of(vocabulary: &[u32], id: u32) -> u32 {
    vocabulary.binary_search(&id).map_or(0, |place| place as u32 + 1)
}

/// The first record whose owner is not one of the records, or does not own itself.
pub(super) fn first_bad_owner(owners: &[u32], records: usize) -> Option<usize> {
    let owns_itself = |owner: u32| owners.get(owner as usize) == Some(&owner);
    let bad = owners.iter().take(records).position(|owner| *owner as usize >= records || !owns_itself(*owner));
    bad.or((owners.len() != records).then_some(owners.len().min(records)))
}

fn check_size(records: &[IndexedRecord]) -> Result<(), SpanError> {
    let symbols: u64 = records.iter().map(|r| r.tokens.len() as u64 + 1).sum();
    let bytes: u64 = records.iter().map(|r| r.text.len() as u64).sum();
    for (what, count, limit) in [("tokens", symbols, MAX_SYMBOLS), ("bytes of text", bytes, MAX_TEXT_BYTES - 1)] {
        if count > limit {
            return Err(SpanError::TooLarge { what, count, limit });
        }
    }
    Ok(())
}

fn tag(name: &str) -> B256 {
    keccak(format!("openledger/{name}/v1"))
}

fn chunk_root(tag: B256, values: &[u32]) -> B256 {
    let chunk = |(index, values): (u64, &[u32])| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        leaf(tag, &[word(index), keccak(bytes)])
    };
    merkle::root(&(0u64..).zip(values.chunks(CHUNK)).map(chunk).collect::<Vec<_>>())
}
