//! From matches to weights: what of an answer is paid to which records.
//!
//! Place in the flow: between the search (an index, or the naive scan that checks it) and credits.
//! The rules, in order:
//!
//! 1. Candidates are the maximal token matches that are rare enough ([`SpanRules`]), unless they
//!    are boilerplate.
//! 2. A candidate is widened byte by byte in the record where that goes furthest, because
//!    tokenizers cut the same words differently at edges, and then cut back to whole tokens of the
//!    answer that lie inside the equal bytes.
//! 3. Heaviest first, a candidate takes its tokens that nobody has and the prompt does not hold;
//!    what is left of it in one piece must be rare enough again, so that every listed span stands
//!    by itself.
//! 4. A piece pays every cluster that holds it bytewise the same share, rounded down; a text that
//!    was paid already in this answer is not paid again; no cluster earns more than its owner's
//!    record holds.
//!
//! Invariant: tokens find, bytes decide. Not here: how matches are found, what a milli-bit is
//! worth.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use openledger_protocol::{Coverage, Params};

use super::rarity::log2_millibits;
use super::suffix::{Searcher, buckets, suffix_array};
use super::{SpanError, first_bad_offset};

/// What is paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanRules {
    /// The least rarity of a span, in milli-bits: the sum of `-log₂ p(token)` over its tokens.
    pub min_millibits: u64,
    /// How far, in milli-bits, a span's rarity must exceed `log₂` of the tokens indexed, if that
    /// asks for more: a span of `log₂ n + b` bits stands among `n` independent tokens by chance
    /// once in `2ᵇ` such corpora.
    pub beyond_chance_millibits: Option<u64>,
    /// A span in more clusters than this *and* than the next figure says is boilerplate and pays
    /// nobody.
    pub common_records: usize,
    /// Clusters per hundred thousand records that make a span boilerplate; with few records the
    /// floor above rules.
    pub common_per_100k: usize,
}

impl Default for SpanRules {
    /// 24 bits, and 64 beyond chance; boilerplate is what stands in more than 8 clusters and more
    /// than 0.1 % of the records.
    ///
    /// Calibrated on fresh texts from the sources of four datanets, first 200 tokens each: 24 bits
    /// alone would pay 60 to 78 % of their tokens, which is how the field writes and no debt to
    /// anyone. Where records are not cut from one template (school mathematics) the default pays
    /// about 6 %, near the 5 % that OLMoTrace shows.
    fn default() -> Self {
        Self { min_millibits: 24_000, beyond_chance_millibits: Some(64_000), common_records: 8, common_per_100k: 100 }
    }
}

impl SpanRules {
    /// The least rarity of a span in a corpus of `tokens`.
    fn least(&self, tokens: usize) -> u64 {
        let beyond = self.beyond_chance_millibits.map(|beyond| log2_millibits(tokens as u64).saturating_add(beyond));
        self.min_millibits.max(beyond.unwrap_or(0)).max(1)
    }

    /// The most clusters that share a span before it is boilerplate.
    fn owners_max(&self, records: usize) -> usize {
        self.common_records.max(records.saturating_mul(self.common_per_100k) / 100_000).max(1)
    }
}

/// An answer with the prompt it was given to.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The answer's tokens.
    pub ids: &'a [u32],
    /// The answer's text.
    pub text: &'a str,
    /// For each token the byte range of `text` it wrote; tokens inside one character share its
    /// range.
    pub offsets: &'a [(u32, u32)],
    /// The prompt as the model saw it.
    pub prompt: &'a str,
}

/// A stretch of the answer and a record that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanMatch {
    /// The record that holds it: the cluster's owner if that does, else its first member that does.
    pub record: u32,
    /// The record that is paid: the owner of the cluster.
    pub owner: u32,
    /// Where it begins in the record's text, in bytes.
    pub record_offset: u32,
    /// Where it stands in the answer's text, in bytes.
    pub output: Range<u32>,
    /// The tokens of the answer.
    pub tokens: Range<usize>,
    /// How many clusters share it.
    pub clusters: usize,
    /// This cluster's share of its rarity, in milli-bits.
    pub weight: u64,
}

/// All spans of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpanMatches {
    /// The spans, ordered by (output offset, record).
    pub spans: Vec<SpanMatch>,
    /// The paid records (cluster owners), ascending, and the sum of their weights in milli-bits.
    pub scores: Vec<(u32, u64)>,
    /// Tokens of the answer that lie in spans.
    pub covered: usize,
    /// Tokens of the answer that wrote at least one byte.
    pub written: usize,
}

impl SpanMatches {
    /// λ in millionths: `min(1, numerator · covered / (denominator · written))` with the governed
    /// fraction, rounded down; so the fraction's inverse, 30 % in the first record, is the coverage
    /// that pays the whole pot.
    #[must_use]
    pub fn coverage(&self, params: &Params) -> u32 {
        let full = u128::from(Coverage::FULL);
        let covered = u128::from(params.spans_numerator) * full * self.covered as u128;
        let part = covered.checked_div(u128::from(params.spans_denominator) * self.written as u128);
        part.unwrap_or(0).min(full) as u32
    }
}

/// What the rules ask of the records; the index answers by searching, the reference by scanning.
pub(super) trait Corpus {
    fn records(&self) -> usize;
    /// Tokens of all records.
    fn tokens(&self) -> usize;
    fn owner(&self, record: u32) -> u32;
    fn text(&self, record: u32) -> &str;
    /// Byte offset in the record's text of its token at `place`.
    fn token_start(&self, record: u32, place: u32) -> u32;
    /// Where that token ends.
    fn token_end(&self, record: u32, place: u32) -> u32;
    /// Milli-bits of a token id; zero for one that no record holds.
    fn rarity(&self, id: u32) -> u64;
    /// Milli-bits of all tokens of a record.
    fn information(&self, record: u32) -> u64;
    /// Ranges of `ids` that stand in some record and lie in no longer such range, by start.
    fn maximal(&self, ids: &[u32]) -> Vec<Range<usize>>;
    /// For each record that holds `ids` the first place it does; `None` when more than `owners_max`
    /// clusters do.
    fn first_places(&self, ids: &[u32], owners_max: usize) -> Option<BTreeMap<u32, u32>>;
}

/// Where record and answer are equal around a token match: bytes of the answer, and the record's
/// bytes lie `shift` further.
#[derive(Clone)]
struct Run {
    record: u32,
    output: Range<usize>,
    shift: i64,
}

struct Candidate {
    tokens: Range<usize>,
    runs: Vec<Run>,
    weight: u64,
}

/// Applies the rules of this module.
pub(super) fn pay(corpus: &impl Corpus, answer: &Answer<'_>, rules: &SpanRules) -> Result<SpanMatches, SpanError> {
    if let Some(token) = first_bad_offset(answer.ids.len(), answer.offsets, answer.text) {
        return Err(SpanError::AnswerOffsets { token });
    }
    let mut payer = Payer::new(corpus, answer, rules);
    let mut candidates = payer.candidates();
    if !candidates.is_empty() {
        payer.exclude_prompt();
    }
    candidates.sort_by_key(|candidate| (std::cmp::Reverse(candidate.weight), candidate.tokens.start));
    for candidate in &candidates {
        for piece in payer.free_pieces(candidate.tokens.clone()) {
            payer.pay_piece(piece, &candidate.runs);
        }
    }
    Ok(payer.finish())
}

struct Payer<'a, C> {
    corpus: &'a C,
    answer: &'a Answer<'a>,
    /// The least rarity of a span.
    least: u64,
    /// The least rarity of what counts as repeated from the prompt.
    prompt_least: u64,
    owners_max: usize,
    /// Milli-bits of each token of the answer.
    rarity: Vec<u64>,
    /// Tokens that may still be paid.
    free: Vec<bool>,
    /// Texts of this answer that were paid.
    paid: BTreeSet<&'a str>,
    /// What each cluster may still earn.
    left: BTreeMap<u32, u64>,
    matches: SpanMatches,
}

impl<'a, C: Corpus> Payer<'a, C> {
    fn new(corpus: &'a C, answer: &'a Answer<'a>, rules: &SpanRules) -> Self {
        let wrote = |(start, end): &(u32, u32)| start < end;
        // A token that wrote nothing (an end mark) is neither paid nor counted.
        let rarity = answer
            .ids
            .iter()
            .zip(answer.offsets)
            .map(|(id, o)| if wrote(o) { corpus.rarity(*id) } else { 0 })
            .collect();
        let written = answer.offsets.iter().filter(|offset| wrote(offset)).count();
        Self {
            corpus,
            answer,
            least: rules.least(corpus.tokens()),
            prompt_least: rules.min_millibits.max(1),
            owners_max: rules.owners_max(corpus.records()),
            rarity,
            free: answer.offsets.iter().map(wrote).collect(),
            paid: BTreeSet::new(),
            left: BTreeMap::new(),
            matches: SpanMatches { written, ..SpanMatches::default() },
        }
    }

    fn weigh(&self, tokens: Range<usize>) -> u64 {
        self.rarity[tokens].iter().sum()
    }

    fn bytes(&self, tokens: &Range<usize>) -> Range<usize> {
        self.answer.offsets[tokens.start].0 as usize..self.answer.offsets[tokens.end - 1].1 as usize
    }

    /// Rules 1 and 2.
    fn candidates(&self) -> Vec<Candidate> {
        let heavy = |tokens: &Range<usize>| self.weigh(tokens.clone()) >= self.least;
        let maximal = self.corpus.maximal(self.answer.ids).into_iter().filter(heavy);
        maximal.filter_map(|tokens| self.widen(tokens)).filter(|candidate| heavy(&candidate.tokens)).collect()
    }

    /// The candidate around a token match, or `None` when it is boilerplate or its bytes differ
    /// after all.
    fn widen(&self, tokens: Range<usize>) -> Option<Candidate> {
        let runs = self.runs(&tokens)?;
        // The first of the longest, so that the order of records decides ties.
        let best = runs.iter().rev().max_by_key(|run| run.output.len())?;
        let offsets = self.answer.offsets;
        let start = offsets.partition_point(|offset| (offset.0 as usize) < best.output.start);
        let end = offsets.partition_point(|offset| offset.1 as usize <= best.output.end);
        (start < end).then(|| Candidate { tokens: start..end, weight: self.weigh(start..end), runs })
    }

    /// The equal bytes around `tokens` in each record that holds them; `None` when that is
    /// boilerplate.
    fn runs(&self, tokens: &Range<usize>) -> Option<Vec<Run>> {
        let places = self.corpus.first_places(&self.answer.ids[tokens.clone()], self.owners_max)?;
        Some(places.into_iter().filter_map(|(record, place)| self.run(tokens, record, place)).collect())
    }

    fn run(&self, tokens: &Range<usize>, record: u32, place: u32) -> Option<Run> {
        // Both texts are aligned where a token begins that shares no character with the one before
        // it.
        let offsets = self.answer.offsets;
        let clean = |token: &usize| {
            let place = place + (token - tokens.start) as u32;
            offsets[*token].0 >= offsets[token - 1].1
                && self.corpus.token_start(record, place) >= self.corpus.token_end(record, place - 1)
        };
        let anchor = (tokens.start + 1..tokens.end).find(clean).unwrap_or(tokens.start);
        let at = offsets[anchor].0 as usize;
        let there = self.corpus.token_start(record, place + (anchor - tokens.start) as u32) as usize;
        let (output, text) = (self.answer.text.as_bytes(), self.corpus.text(record).as_bytes());
        let same = |(a, b): &(&u8, &u8)| a == b;
        let before = output[..at].iter().rev().zip(text[..there].iter().rev()).take_while(same).count();
        let after = output[at..].iter().zip(&text[there..]).take_while(same).count();
        let run = Run { record, output: at - before..at + after, shift: there as i64 - at as i64 };
        (!run.output.is_empty()).then_some(run)
    }

    /// Takes from the free tokens those that repeat at least `min_millibits` of the prompt, which
    /// is small enough to be no corpus.
    fn exclude_prompt(&mut self) {
        let prompt: Vec<u32> = self.answer.prompt.bytes().map(u32::from).collect();
        let output: Vec<u32> = self.answer.text.bytes().map(u32::from).collect();
        let (suffixes, buckets) = (suffix_array(&prompt, 255), buckets(&prompt, 255));
        let searcher = Searcher { text: &prompt, suffixes: &suffixes, buckets: &buckets };
        for start in 0..self.answer.ids.len() {
            let from = self.answer.offsets[start].0 as usize;
            let until = from + searcher.longest(&output[from..]);
            let end = self.answer.offsets.partition_point(|offset| offset.1 as usize <= until).max(start);
            if self.weigh(start..end) >= self.prompt_least {
                self.free[start..end].fill(false);
            }
        }
    }

    /// The runs of free tokens in `tokens`.
    fn free_pieces(&self, tokens: Range<usize>) -> Vec<Range<usize>> {
        let mut pieces: Vec<Range<usize>> = Vec::new();
        for token in tokens.filter(|token| self.free[*token]) {
            match pieces.last_mut() {
                Some(piece) if piece.end == token => piece.end += 1,
                _ => pieces.push(token..token + 1),
            }
        }
        pieces
    }

    /// Rules 3 and 4 for one piece; `runs` are those of the candidate it is part of.
    fn pay_piece(&mut self, tokens: Range<usize>, runs: &[Run]) {
        let weight = self.weigh(tokens.clone());
        if weight < self.least {
            return;
        }
        let bytes = self.bytes(&tokens);
        let text = &self.answer.text[bytes.clone()];
        // A part of a match may stand in more records than the whole did.
        let Some(more) = self.runs(&tokens) else { return };
        let holds = |run: &&Run| run.output.start <= bytes.start && bytes.end <= run.output.end;
        let mut holders: BTreeMap<u32, &Run> = BTreeMap::new();
        for run in more.iter().chain(runs).filter(holds) {
            let owner = self.corpus.owner(run.record);
            // The owner itself first, then the first member.
            let rank = |run: &Run| (run.record != owner, run.record);
            let best = holders.entry(owner).or_insert(run);
            if rank(run) < rank(best) {
                *best = run;
            }
        }
        if holders.is_empty() || holders.len() > self.owners_max || !self.paid.insert(text) {
            return;
        }
        self.free[tokens.clone()].fill(false);
        self.matches.covered += tokens.len();
        let clusters = holders.len();
        let share = weight / clusters as u64;
        for (owner, run) in holders {
            let left = self.left.entry(owner).or_insert_with(|| self.corpus.information(owner));
            let weight = share.min(*left);
            *left -= weight;
            if weight > 0 {
                self.matches.spans.push(SpanMatch {
                    record: run.record,
                    owner,
                    record_offset: (bytes.start as i64 + run.shift) as u32,
                    output: bytes.start as u32..bytes.end as u32,
                    tokens: tokens.clone(),
                    clusters,
                    weight,
                });
            }
        }
    }

    fn finish(mut self) -> SpanMatches {
        self.matches.spans.sort_by_key(|span| (span.output.start, span.record));
        let mut scores: BTreeMap<u32, u64> = BTreeMap::new();
        for span in &self.matches.spans {
            *scores.entry(span.owner).or_default() += span.weight;
        }
        self.matches.scores = scores.into_iter().collect();
        self.matches
    }
}
