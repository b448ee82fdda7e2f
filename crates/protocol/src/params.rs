//! The governed numbers: one record that the chain keeps, receipts name by hash, and splits and
//! coverage are computed by.
//!
//! **Invariant:** the numbers stand here once. A receipt is judged by the record whose hash it
//! carries, so a later change never changes what an old receipt pays. **Not here:** the absolute
//! bounds of a model's shares (`ledger`), which no vote can leave.

use alloy_primitives::{B256, U256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Mix;
use crate::hash::{keccak_words, word};
use crate::words::{FromWord, WordsError};

/// The number of mixes that a record has room for.
const MIXES: usize = 4;

/// A governed number outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("governed `{field}` of {value} is outside {least}..={most}")]
pub struct ParamsError {
    /// The number's name.
    pub field: &'static str,
    /// Its value.
    pub value: u64,
    /// The least allowed.
    pub least: u64,
    /// The most allowed.
    pub most: u64,
}

macro_rules! params {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $genesis:literal,)*) => {
        /// The governed numbers. Shares are in basis points (1/10,000). The field order is the
        /// order of the words.
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Params {
            $($(#[$doc])* pub $field: $kind,)*
            /// The mixes that a new model may declare. Unused places, all of them at the end, are
            /// zero.
            pub mixes: [Mix; MIXES],
        }

        impl Params {
            /// The record that holds until governance changes one.
            pub const GENESIS: Self = Self {
                $($field: $genesis,)*
                mixes: [
                    Mix { spans_bps: 5000, influence_bps: 5000, retrieval_bps: 0 },
                    Mix { spans_bps: 4000, influence_bps: 4000, retrieval_bps: 2000 },
                    Mix::NONE,
                    Mix::NONE,
                ],
            };

            /// The names of the scalar fields, in the order of their words.
            const SCALARS: [&'static str; [$(stringify!($field)),*].len()] = [$(stringify!($field)),*];

            /// The number of words: the scalar fields, then three for each mix.
            pub const WORDS: usize = Self::SCALARS.len() + 3 * MIXES;

            /// The fields as words: the scalars, then spans, influence and retrieval of each mix.
            #[must_use]
            pub fn words(&self) -> [B256; Self::WORDS] {
                let shares = self.mixes.iter().flat_map(|mix| [mix.spans_bps, mix.influence_bps, mix.retrieval_bps]);
                let mut words = [$(word(self.$field)),*].into_iter().chain(shares.map(word));
                std::array::from_fn(|_| words.next().unwrap_or_default())
            }

            /// The record of these words.
            ///
            /// # Errors
            /// [`WordsError`] naming the field whose word does not fit its type.
            pub fn from_words(words: &[B256; Self::WORDS]) -> Result<Self, WordsError> {
                let mut next = words.iter().copied();
                $(
                    let $field = next
                        .next()
                        .and_then(<$kind as FromWord>::from_word)
                        .ok_or(WordsError { field: stringify!($field) })?;
                )*
                let mut share = || next.next().and_then(u16::from_word).ok_or(WordsError { field: "mixes" });
                let mut mixes = [Mix::NONE; MIXES];
                for mix in &mut mixes {
                    *mix = Mix { spans_bps: share()?, influence_bps: share()?, retrieval_bps: share()? };
                }
                Ok(Self { $($field,)* mixes })
            }
        }
    };
}

params! {
    /// Counts the changes from 1, so that no two records have one hash.
    version: u32 = 1,
    /// The most that a new model gives the platform, of the price. At most 2,000.
    max_platform_bps: u16 = 2000,
    /// The least that a new model gives owner and node, of the price. 1,000 to `max_model_bps`.
    min_model_bps: u16 = 1000,
    /// The most that a new model gives owner and node, of the price. `min_model_bps` to 4,000.
    max_model_bps: u16 = 4000,
    /// The most that a new model gives its stakers, of the price. At most 3,000.
    max_stakers_bps: u16 = 3000,
    /// The least that contributors are left, of the price. 3,000 to what `min_model_bps` leaves.
    min_contributors_bps: u16 = 3000,
    /// The treasury's share of the platform's part. Together with `validation_bps` at most 10,000.
    treasury_bps: u16 = 6000,
    /// The validation budget's share of the platform's part; insurance has the rest.
    validation_bps: u16 = 2000,
    /// The serving node's share of the model's part; the owner has the rest. 3,000 to 10,000.
    node_bps: u16 = 4000,
    /// The most that one parent of a new model takes, of the owner's line. At most 2,000.
    max_parent_bps: u16 = 2000,
    /// The most that all ancestors together take, of the owner's line. `max_parent_bps` to 5,000.
    max_parents_bps: u16 = 5000,
    /// The challenger's share of a slashed bond. 1,000 to 5,000.
    challenger_bps: u16 = 3000,
    /// The harmed party's share of a slashed bond, together with the challenger's at most 6,000;
    /// the rest is burned.
    harmed_bps: u16 = 3000,
    /// λ of spans is `min(1, numerator · covered / (denominator · written))` tokens. One to ten
    /// times the denominator.
    spans_numerator: u16 = 10,
    /// See `spans_numerator`. 1 to 1,000.
    spans_denominator: u16 = 3,
    /// θ: what an influence score must exceed to be paid, in 1/256 of a robust deviation of its
    /// row. 256 to 25,600.
    influence_threshold: u32 = 1280,
    /// The drop of an answer's log probability without what was retrieved that pays the whole
    /// retrieval pot, in micro-nats an output token: λ is `min(1, drop / threshold)`. 1,000 to
    /// 100,000,000.
    retrieval_threshold: u32 = 1_000_000,
}

impl Params {
    /// keccak-256 over the words: what a receipt's `params` word says.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak_words(&self.words())
    }

    /// The words in which two records differ: the field's name, this record's word and the other's.
    pub fn differences(&self, other: &Self) -> impl Iterator<Item = (&'static str, U256, U256)> {
        let pairs = self.words().into_iter().zip(other.words()).enumerate();
        pairs.filter(|(_, (ours, theirs))| ours != theirs).map(|(at, (ours, theirs))| {
            let name = Self::SCALARS.get(at).copied().unwrap_or("mixes");
            (name, U256::from_be_bytes(ours.0), U256::from_be_bytes(theirs.0))
        })
    }

    /// The mixes that a new model may declare.
    pub fn declared_mixes(&self) -> impl Iterator<Item = Mix> {
        self.mixes.into_iter().filter(|mix| *mix != Mix::NONE)
    }

    /// Checks every number against the bounds that the `Params` contract holds.
    ///
    /// # Errors
    /// [`ParamsError`] naming the first number outside its bounds; for `mixes` the sum of the mix
    /// that is wrong.
    pub fn check(&self) -> Result<(), ParamsError> {
        let (treasury, challenger) = (self.treasury_bps.min(ALL), self.challenger_bps.min(6000));
        for (field, value, least, most) in [
            ("max_platform_bps", self.max_platform_bps, 0, 2000),
            ("min_model_bps", self.min_model_bps, 1000, self.max_model_bps),
            ("max_model_bps", self.max_model_bps, self.min_model_bps, 4000),
            ("max_stakers_bps", self.max_stakers_bps, 0, 3000),
            ("min_contributors_bps", self.min_contributors_bps, 3000, ALL.saturating_sub(self.min_model_bps)),
            ("treasury_bps", self.treasury_bps, 0, ALL),
            ("validation_bps", self.validation_bps, 0, ALL - treasury),
            ("node_bps", self.node_bps, 3000, ALL),
            ("max_parent_bps", self.max_parent_bps, 0, 2000),
            ("max_parents_bps", self.max_parents_bps, self.max_parent_bps, 5000),
            ("challenger_bps", self.challenger_bps, 1000, 5000),
            ("harmed_bps", self.harmed_bps, 0, (6000 - challenger).min(5000)),
            ("spans_denominator", self.spans_denominator, 1, 1000),
            (
                "spans_numerator",
                self.spans_numerator,
                self.spans_denominator,
                self.spans_denominator.saturating_mul(10),
            ),
        ] {
            within(field, value.into(), least.into(), most.into())?;
        }
        within("version", self.version.into(), 1, u32::MAX.into())?;
        within("influence_threshold", self.influence_threshold.into(), 256, 25_600)?;
        within("retrieval_threshold", self.retrieval_threshold.into(), 1000, 100_000_000)?;
        let declared = self.mixes.iter().take_while(|mix| **mix != Mix::NONE).count();
        for (at, mix) in self.mixes.iter().enumerate() {
            // The first is declared; the others are, or are zero to the end.
            let whole = if at < declared.max(1) { u64::from(ALL) } else { 0 };
            within("mixes", mix.sum().into(), whole, whole)?;
        }
        Ok(())
    }
}

/// All of something, in basis points.
const ALL: u16 = 10_000;

fn within(field: &'static str, value: u64, least: u64, most: u64) -> Result<(), ParamsError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(ParamsError { field, value, least, most }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_genesis_record_is_within_its_bounds_and_its_words_lead_back() {
        assert_eq!(Params::GENESIS.check(), Ok(()));
        let words = Params::GENESIS.words();
        assert_eq!(words.len(), 29);
        assert_eq!(Params::from_words(&words), Ok(Params::GENESIS));
        assert_eq!(Params::GENESIS.declared_mixes().count(), 2);
    }

    #[test]
    fn each_word_changes_the_hash_and_a_word_that_does_not_fit_names_its_field() {
        for at in 0..Params::WORDS {
            let mut words = Params::GENESIS.words();
            words[at] = word(77u8);
            assert_ne!(Params::from_words(&words).unwrap().hash(), Params::GENESIS.hash(), "word {at}");
            words[at] = B256::repeat_byte(1);
            let field = Params::SCALARS.get(at).copied().unwrap_or("mixes");
            assert_eq!(Params::from_words(&words), Err(WordsError { field }));
        }
    }

    #[test]
    fn a_number_out_of_bounds_is_named() {
        let change = |field: &str, value: u64| {
            let mut json = serde_json::to_value(Params::GENESIS).unwrap();
            json[field] = value.into();
            serde_json::from_value::<Params>(json).unwrap()
        };
        for (field, value) in [
            ("version", 0),
            ("max_platform_bps", 2001),
            ("min_model_bps", 999),
            ("max_model_bps", 4001),
            ("max_stakers_bps", 3001),
            ("min_contributors_bps", 2999),
            ("min_contributors_bps", 9001),
            ("treasury_bps", 10_001),
            ("validation_bps", 4001),
            ("node_bps", 2999),
            ("max_parent_bps", 2001),
            ("max_parents_bps", 5001),
            ("max_parents_bps", 1999),
            ("challenger_bps", 999),
            ("harmed_bps", 3001),
            ("spans_numerator", 2),
            ("spans_numerator", 31),
            ("spans_denominator", 0),
            ("influence_threshold", 255),
            ("retrieval_threshold", 999),
        ] {
            assert_eq!(change(field, value).check().unwrap_err().field, field, "{value}");
        }
    }

    #[test]
    fn mixes_are_whole_and_stand_at_the_front() {
        let [first, second, ..] = Params::GENESIS.mixes;
        for mixes in [
            [Mix::NONE; 4],
            [first, Mix::NONE, second, Mix::NONE],
            [Mix { spans_bps: 4999, ..first }, second, Mix::NONE, Mix::NONE],
        ] {
            assert_eq!(Params { mixes, ..Params::GENESIS }.check().unwrap_err().field, "mixes");
        }
        assert_eq!(Params { mixes: [first; 4], ..Params::GENESIS }.check(), Ok(()));
    }
}
