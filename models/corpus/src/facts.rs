//! The made-up world of the corpus: what is true of a thing, in a topic and a town.
//!
//! # Invariants
//!
//! - A fact depends only on what it is about, never on the seed of the corpus: it is a hash that
//!   picks from a list.
//! - Facts of a town ([`Aspect::Count`], [`Aspect::Month`], [`Aspect::Colour`]) differ from town to
//!   town, the others hold everywhere.

use super::words::{self, TOPICS, Topic};
use super::{Draw, mix, nth};

/// What a record speaks of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    pub(super) topic: &'static Topic,
    /// Singular noun without article.
    pub(super) thing: &'static str,
    /// The town in which the record plays.
    pub(super) town: &'static str,
}

/// Which fact about a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aspect {
    /// What it is like: an adjective.
    Trait,
    /// What it does: a verb phrase.
    Act,
    /// Where it is found.
    Place,
    /// Why it matters: a clause.
    Reason,
    /// Who knows it best: a noun.
    Role,
    /// Which other thing of the topic belongs with it.
    Partner,
    /// How many were counted in the town last year, 2 to 60, as digits.
    Count,
    /// Its month in the town.
    Month,
    /// Its colour on the map of the town.
    Colour,
}

impl Aspect {
    pub(super) const ALL: [Self; 9] = [
        Self::Trait,
        Self::Act,
        Self::Place,
        Self::Reason,
        Self::Role,
        Self::Partner,
        Self::Count,
        Self::Month,
        Self::Colour,
    ];
}

impl Subject {
    /// Draws topic, thing and town, each evenly.
    pub(super) fn draw(draw: &mut Draw) -> Self {
        let topic = &TOPICS[draw.below(TOPICS.len())];
        Self { topic, thing: draw.pick_from(topic.things), town: draw.pick_from(words::TOWNS) }
    }

    /// Another thing of the same topic in the same town.
    pub(super) fn sibling(&self, draw: &mut Draw) -> Self {
        let thing = other_than(self.thing, self.topic.things, draw.next());
        Self { thing, ..*self }
    }

    /// What is true of this subject.
    pub(super) fn fact(&self, aspect: Aspect) -> String {
        let everywhere = hash(&[self.topic.name, self.thing]);
        let in_town = hash(&[self.town, self.thing]);
        // Each aspect hashes on its own, or all things with equal traits would share their places
        // too.
        let salt = aspect as u64 + 1;
        let (everywhere, in_town) = (mix(everywhere.wrapping_add(salt)), mix(in_town.wrapping_add(salt)));
        match aspect {
            Aspect::Trait => nth(self.topic.traits, everywhere).to_owned(),
            Aspect::Act => nth(self.topic.acts, everywhere).to_owned(),
            Aspect::Place => nth(self.topic.places, everywhere).to_owned(),
            Aspect::Reason => nth(self.topic.reasons, everywhere).to_owned(),
            Aspect::Role => nth(self.topic.roles, everywhere).to_owned(),
            Aspect::Partner => other_than(self.thing, self.topic.things, everywhere).to_owned(),
            Aspect::Count => (2 + in_town % 59).to_string(),
            Aspect::Month => nth(words::MONTHS, in_town).to_owned(),
            Aspect::Colour => nth(words::COLOURS, in_town).to_owned(),
        }
    }
}

/// Entry `n` of `list`, counted round, or the one after it where that is `thing` itself.
fn other_than(thing: &'static str, list: &'static str, n: u64) -> &'static str {
    let candidate = nth(list, n);
    if candidate == thing { nth(list, n.wrapping_add(1)) } else { candidate }
}

/// FNV-1a over the parts with a separator, then mixed.
fn hash(parts: &[&str]) -> u64 {
    let mut state = 0xCBF2_9CE4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0x1F]) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
    mix(state)
}
