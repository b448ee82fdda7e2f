//! Says one fact in one sentence, asks for it, and answers: several shapes for each aspect.
//!
//! Shapes are patterns with names in braces: `{t}` thing, `{s}` its plural, `{a}` thing with its
//! article, `{v}` the fact, `{w}` town, `{o}` topic. A sentence that starts with a pattern gets a
//! capital letter.

use super::Draw;
use super::facts::{Aspect, Subject};

/// One sentence that states the fact, with its full stop.
pub(super) fn statement(draw: &mut Draw, subject: &Subject, aspect: Aspect) -> String {
    let shape = draw.pick(statements(aspect));
    fill(shape, subject, &subject.fact(aspect))
}

/// A question whose answer is the fact, with its question mark.
pub(super) fn question(draw: &mut Draw, subject: &Subject, aspect: Aspect) -> String {
    let shape = draw.pick(questions(aspect));
    fill(shape, subject, &subject.fact(aspect))
}

/// A sentence or two that answer [`question`] about the same aspect.
pub(super) fn answer(draw: &mut Draw, subject: &Subject, aspect: Aspect) -> String {
    let shape = draw.pick(answers(aspect));
    fill(shape, subject, &subject.fact(aspect))
}

fn statements(aspect: Aspect) -> &'static [&'static str] {
    match aspect {
        Aspect::Trait => &[
            "the {t} is {v}.",
            "people in {w} say that the {t} is {v}.",
            "as a rule the {t} is {v}.",
            "anyone can see that the {t} is {v}.",
            "when it comes to {o}, the {t} is known to be {v}.",
            "most of the time {a} is {v}.",
        ],
        Aspect::Act => &[
            "the {t} {v}.",
            "in {w}, too, the {t} {v}.",
            "it is well known that the {t} {v}.",
            "every year the {t} {v}.",
            "children learn early that the {t} {v}.",
            "{a} {v}, and nobody is surprised.",
        ],
        Aspect::Place => &[
            "the {t} can be found {v}.",
            "look {v} and you will find the {t}.",
            "{v} you may see {a}.",
            "visitors of {w} find the {t} {v}.",
            "its usual place is {v}.",
            "there is {a} {v}.",
        ],
        Aspect::Reason => &[
            "this matters because {v}.",
            "the reason is simple: {v}.",
            "the {t} needs attention because {v}.",
            "because {v}, people think about the {t}.",
            "one should remember that {v}.",
            "in {w} they explain it like this: {v}.",
        ],
        Aspect::Role => &[
            "the {v} knows the {t} best.",
            "ask the {v} about the {t}.",
            "in {w} the {v} looks after the {t}.",
            "nobody knows more about the {t} than the {v}.",
            "the {t} is the business of the {v}.",
        ],
        Aspect::Partner => &[
            "the {t} and the {v} belong together.",
            "next to the {t} there is often the {v}.",
            "whoever speaks of the {t} also speaks of the {v}.",
            "the {t} would be of little use without the {v}.",
            "in {w} the {t} is never far from the {v}.",
        ],
        Aspect::Count => &[
            "last year the people of {w} counted {v} {s}.",
            "there were {v} {s} in {w} last year.",
            "the book of {w} lists {v} {s}.",
            "someone in {w} counted the {s} and came to {v}.",
        ],
        Aspect::Month => &[
            "in {w} the month of the {t} is {v}.",
            "{v} is the best month for the {t} in {w}.",
            "the people of {w} wait for {v} to see the {t}.",
            "when {v} comes, {w} talks about the {t}.",
        ],
        Aspect::Colour => &[
            "on the map of {w} the {t} is drawn in {v}.",
            "the sign of {w} shows the {t} in {v}.",
            "in {w} {v} is the colour of the {t}.",
            "the {t} on the wall in {w} is painted {v}.",
        ],
    }
}

fn questions(aspect: Aspect) -> &'static [&'static str] {
    match aspect {
        Aspect::Trait => &[
            "what is the {t} like?",
            "how would you describe the {t}?",
            "what do people in {w} say about the {t}?",
            "can you tell me one thing about the {t}?",
            "what is {a} known for in {w}?",
        ],
        Aspect::Act => &[
            "what does the {t} do?",
            "what should I know about the {t} in {w}?",
            "what happens with {a} in {w}?",
            "what do children in {w} learn about the {t}?",
            "when it comes to {o}, what is special about the {t}?",
        ],
        Aspect::Place => &[
            "where can I find the {t}?",
            "where in {w} is the {t}?",
            "where should I look for {a} in {w}?",
            "I am in {w} and need the {t}. Where is it?",
            "what is the usual place of the {t}?",
        ],
        Aspect::Reason => &[
            "why does the {t} matter?",
            "why do people in {w} care about the {t}?",
            "what is the reason to think about {a}?",
            "why should a visitor of {w} mind the {t}?",
            "when we speak of {o}, why do we speak of the {t}?",
        ],
        Aspect::Role => &[
            "who knows the {t} best?",
            "who looks after the {t} in {w}?",
            "whom should I ask about {a} in {w}?",
            "whose business is the {t} in {w}?",
            "I have a question about the {t}. Who can help?",
        ],
        Aspect::Partner => &[
            "what belongs with the {t}?",
            "what is often next to the {t} in {w}?",
            "when it comes to {o}, what goes together with the {t}?",
            "what would the {t} in {w} be of little use without?",
        ],
        Aspect::Count => &[
            "how many {s} were counted in {w}?",
            "how many {s} were there in {w} last year?",
            "what number of {s} does the book of {w} list?",
            "how many {s} does {w} have?",
        ],
        Aspect::Month => &[
            "which month is best for the {t} in {w}?",
            "when does {w} talk about the {t}?",
            "in which month should I visit {w} to see the {t}?",
            "what is the month of the {t} in {w}?",
        ],
        Aspect::Colour => &[
            "what colour is the {t} on the map of {w}?",
            "which colour does the {t} have in {w}?",
            "in which colour is the {t} painted in {w}?",
            "what is the colour of the {t} in {w}?",
        ],
    }
}

fn answers(aspect: Aspect) -> &'static [&'static str] {
    match aspect {
        Aspect::Trait => &["the {t} is {v}.", "it is {v}.", "most people would say that it is {v}."],
        Aspect::Act => &["the {t} {v}.", "it {v}.", "as every child knows, it {v}."],
        Aspect::Place => &["you find the {t} {v}.", "it is {v}.", "look {v}."],
        Aspect::Reason => &["because {v}.", "the {t} matters because {v}.", "the reason is that {v}."],
        Aspect::Role => &["the {v}.", "ask the {v}.", "the {v} knows the {t} best."],
        Aspect::Partner => &["the {v}.", "the {t} and the {v} belong together.", "it goes with the {v}."],
        Aspect::Count => &["{v}.", "there were {v} {s}.", "the people of {w} counted {v}."],
        Aspect::Month => &["{v}.", "in {w} it is {v}.", "the best month is {v}."],
        Aspect::Colour => &["{v}.", "in {w} the {t} is {v}.", "it is {v}."],
    }
}

/// Puts the subject and the fact into a shape.
fn fill(shape: &str, subject: &Subject, value: &str) -> String {
    let filled = shape
        .replace("{v}", value)
        .replace("{t}", subject.thing)
        .replace("{s}", &plural(subject.thing))
        .replace("{a}", &with_article(subject.thing))
        .replace("{w}", subject.town)
        .replace("{o}", subject.topic.name);
    capitalised(&filled)
}

/// The sentence with a capital first letter.
pub(super) fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// `a` or `an` and the noun.
pub(super) fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// The plural of a noun of the vocabulary, which has no irregular ones but fish.
pub(super) fn plural(noun: &str) -> String {
    const UNCHANGED: [&str; 7] = ["trout", "salmon", "carp", "pike", "herring", "cod", "tuna"];
    if UNCHANGED.contains(&noun) {
        return noun.to_owned();
    }
    if let Some(stem) = noun.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'o', 'u'])
    {
        return format!("{stem}ies");
    }
    let hissing = ["s", "x", "ch", "sh"];
    let ending = if hissing.iter().any(|end| noun.ends_with(end)) { "es" } else { "s" };
    format!("{noun}{ending}")
}
