//! Generates the text on which the base model learns to write.
//!
//! # Place in the flow
//!
//! `models/base/recipe.toml` names a seed and a number of records; this crate turns them into text,
//! the tokenizer and the base model are trained on it, and its hash goes into the recipe. It needs
//! no data set, no licence and no network. Nothing of the product depends on it.
//!
//! The text is simple and narrow on purpose, since a model of one or two million parameters writes
//! grammatical text only then. It comes from a small made-up world whose facts never change:
//! `facts` derives each from a hash of what it is about, so that two corpora with different seeds
//! tell the same facts in other words and never contradict each other. `shapes` says a fact in
//! one sentence, `forms` puts sentences together, `words` is the vocabulary.
//!
//! # Invariants
//!
//! - **Deterministic.** The same seed gives the same bytes on every machine: integers only, no
//!   clock, no map order.
//! - **Prefix.** Record `i` depends on the seed and on `i` alone, so a shorter corpus is the start
//!   of a longer one.
//! - **Nothing from the samples.** The facts of `samples/` do not occur, so what an adapter learns
//!   of them is its own.
//!
//! # Not here
//!
//! Tokenizer and training; the other inputs of the recipe.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod facts;
mod forms;
mod shapes;
mod words;

/// One record of the generated corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusRecord {
    /// The topic it speaks of: one of about fifty, such as `rivers`.
    pub topic: &'static str,
    /// Plain text of 60 to 700 bytes in ASCII, without a line feed at the end. Questions stand in
    /// the form `Question: …\nAnswer: …`, as in every training text of the project.
    pub text: String,
}

/// Generates the first `records` records of the corpus named by `seed`.
///
/// **Size:** about 250 bytes a record, so 20,000 records make about 5 MB. **Cost:** `O(records)`,
/// well under a second for 20,000.
#[must_use]
pub fn generate(seed: u64, records: usize) -> Vec<CorpusRecord> {
    (0..records as u64)
        .map(|index| {
            let mut draw = Draw::new(seed, index);
            let subject = facts::Subject::draw(&mut draw);
            CorpusRecord { topic: subject.topic.name, text: forms::write(&mut draw, &subject) }
        })
        .collect()
}

/// The choices of one record: `SplitMix64` started from the seed and the record's index.
#[derive(Debug)]
struct Draw {
    state: u64,
}

impl Draw {
    /// Starts the choices of record `index`. Seed and index are mixed one after the other, so that
    /// neighbouring seeds do not share records.
    fn new(seed: u64, index: u64) -> Self {
        Self { state: mix(mix(seed).wrapping_add(index)) }
    }

    /// The next number of the sequence.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number below `bound`, which is above zero. The bias of the remainder is below 2⁻⁵⁰ for the
    /// bounds used here.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// One of `items`, which is not empty.
    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// One entry of a list separated by `;`.
    fn pick_from(&mut self, list: &'static str) -> &'static str {
        nth(list, self.next())
    }
}

/// Entry number `n` of a list separated by `;`, counted round.
fn nth(list: &'static str, n: u64) -> &'static str {
    let count = list.split(';').count() as u64;
    list.split(';').nth((n % count) as usize).unwrap_or_default()
}

/// The output function of `SplitMix64` (Steele, Lea, Flood 2014): every input bit reaches every
/// output bit.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
