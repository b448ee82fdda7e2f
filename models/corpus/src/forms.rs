//! Puts sentences together: the forms a record of the corpus may have.
//!
//! Ten of sixteen records are questions with answers, since that is what adapters are trained on
//! later; the others are running text, so that the model learns to carry a subject from sentence to
//! sentence.

use super::Draw;
use super::facts::{Aspect, Subject};
use super::shapes::{answer, capitalised, plural, question, statement, with_article};
use super::words;

/// Writes one record about `subject`, in a form drawn by weight (of sixteen).
pub(super) fn write(draw: &mut Draw, subject: &Subject) -> String {
    match draw.below(16) {
        0..5 => asked(draw, subject),
        5..8 => reading(draw, subject),
        8 => sum(draw, subject),
        9..12 => paragraph(draw, subject),
        12 => explanation(draw, subject),
        13 => comparison(draw, subject),
        14 => story(draw, subject),
        _ => talk(draw, subject),
    }
}

/// `n` different aspects in drawn order.
fn aspects(draw: &mut Draw, n: usize) -> Vec<Aspect> {
    let mut left = Aspect::ALL.to_vec();
    (0..n.min(left.len())).map(|_| left.swap_remove(draw.below(left.len()))).collect()
}

/// A question, its answer, and one to three more facts as the rest of the answer.
fn asked(draw: &mut Draw, subject: &Subject) -> String {
    let extra = 1 + draw.below(3);
    let chosen = aspects(draw, 1 + extra);
    let mut sentences = vec![answer(draw, subject, chosen[0])];
    for &aspect in &chosen[1..] {
        sentences.push(statement(draw, subject, aspect));
    }
    let opening =
        draw.pick(&["", "", "Please tell me: ", "One more thing: ", "Good morning. ", "I would like to know this. "]);
    let question = if draw.below(6) == 0 { request(draw, subject) } else { question(draw, subject, chosen[0]) };
    format!("Question: {opening}{question}\nAnswer: {}", sentences.join(" "))
}

/// An order instead of a question: any facts about the subject answer it.
fn request(draw: &mut Draw, subject: &Subject) -> String {
    let Subject { thing, town, .. } = *subject;
    match draw.below(5) {
        0 => format!("Tell me about the {thing} in {town}."),
        1 => format!("Say something about {}.", with_article(thing)),
        2 => format!("Write a few sentences about the {thing} of {town}."),
        3 => format!("Explain the {thing} to a visitor of {town}."),
        _ => format!("What do you know about the {thing} in {town}?"),
    }
}

/// A short text and a question that it answers, so that the model learns to look back.
fn reading(draw: &mut Draw, subject: &Subject) -> String {
    let chosen = aspects(draw, 3);
    let text: Vec<String> = chosen.iter().map(|&aspect| statement(draw, subject, aspect)).collect();
    let target = draw.pick(&chosen);
    let (question, answer) = (question(draw, subject, target), answer(draw, subject, target));
    format!("Question: {} {question}\nAnswer: {answer}", text.join(" "))
}

/// A sum or a difference of things, with the right result.
fn sum(draw: &mut Draw, subject: &Subject) -> String {
    let (things, town) = (plural(subject.thing), subject.town);
    let role = draw.pick_from(subject.topic.roles);
    let (first, second) = (2 + draw.below(48), 2 + draw.below(48));
    let (more, less) = (first.max(second) + 1, first.min(second));
    let bought = draw.below(2) == 0;
    let (verb, result) = if bought { ("gets", more + less) } else { ("gives away", more - less) };
    let sign = if bought { "plus" } else { "minus" };
    let count = |n: usize| format!("{n} {}", if n == 1 { subject.thing } else { things.as_str() });
    let asked = draw.pick(&["How many are there now?", "How many does that make?", "What is the new number?"]);
    let told = draw.pick(&["So the answer is", "That makes", "Now there are exactly"]);
    format!(
        "Question: The {role} of {town} has {} and {verb} {}. {asked}\nAnswer: {more} {sign} {less} is {result}. {told} {}.",
        count(more),
        count(less),
        count(result),
    )
}

/// Four to six facts in a row, some of them linked.
fn paragraph(draw: &mut Draw, subject: &Subject) -> String {
    let count = 4 + draw.below(3);
    let mut sentences = Vec::with_capacity(count + 1);
    if draw.below(3) == 0 {
        sentences.push(capitalised(&format!("{} in {}.", subject.topic.name, subject.town)));
    }
    for aspect in aspects(draw, count) {
        sentences.push(statement(draw, subject, aspect));
    }
    if draw.below(3) == 0 {
        let other = subject.sibling(draw);
        let aspect = draw.pick(&Aspect::ALL);
        sentences.push(statement(draw, &other, aspect));
    }
    sentences.join(" ")
}

/// Why a thing is as it is, and what follows.
fn explanation(draw: &mut Draw, subject: &Subject) -> String {
    let Subject { thing, topic, town } = *subject;
    let (act, reason) = (subject.fact(Aspect::Act), subject.fact(Aspect::Reason));
    let other_reason = draw.pick_from(topic.reasons);
    let role = subject.fact(Aspect::Role);
    let opening =
        draw.pick(&["Why is that so?", "There is a reason for it.", "It is not hard to explain.", "Many ask why."]);
    let close = draw.pick(&[
        "That is all there is to it.",
        "So it has always been.",
        "Keep it in mind.",
        "Now you know it, too.",
    ]);
    let second = if other_reason == reason {
        statement(draw, subject, Aspect::Trait)
    } else {
        format!("Besides, {other_reason}.")
    };
    format!(
        "In {town} the {thing} {act}. {opening} The {role} says: {}. {second} {} {close}",
        capitalised(&reason),
        statement(draw, subject, Aspect::Place),
    )
}

/// Two things of one topic side by side.
fn comparison(draw: &mut Draw, subject: &Subject) -> String {
    let other = subject.sibling(draw);
    let (one, two) = (subject.thing, other.thing);
    let (mine, theirs) = (subject.fact(Aspect::Trait), other.fact(Aspect::Trait));
    let traits = if mine == theirs {
        format!("Both are {mine}.")
    } else {
        format!("The {one} is {mine}, but the {two} is {theirs}.")
    };
    let (count, rest) = (subject.fact(Aspect::Count), other.fact(Aspect::Count));
    let counted =
        format!("In {} there were {count} {} and {rest} {} last year.", subject.town, plural(one), plural(two));
    let last = draw.pick(&Aspect::ALL);
    let question = draw.pick(&[
        "What is the difference between the {one} and the {two}?",
        "How does the {one} compare with the {two}?",
        "Tell me about the {one} and the {two} in {town}.",
        "Is the {one} of {town} the same as the {two}?",
    ]);
    let question = question.replace("{one}", one).replace("{two}", two).replace("{town}", subject.town);
    format!("Question: {question}\nAnswer: {traits} {counted} {}", statement(draw, &other, last))
}

/// Something small happens, somebody helps, and it ends well.
fn story(draw: &mut Draw, subject: &Subject) -> String {
    let Subject { thing, topic, town } = *subject;
    let hero = draw.pick_from(topic.roles);
    let helper = super::facts::Subject::draw(draw).fact(Aspect::Role);
    let opening = draw.pick_from(words::OPENINGS);
    let (trouble, remedy) = (draw.pick_from(words::TROUBLES), draw.pick_from(words::REMEDIES));
    let second = draw.pick_from(words::REMEDIES);
    let found = draw.pick(&["wanted to see", "came for", "was proud of", "looked after", "had dreamed of"]);
    let place = subject.fact(Aspect::Place);
    let said = draw.pick(&["Do not worry", "I have seen this before", "Let us begin at the beginning", "We have time"]);
    format!(
        "{opening} the {hero} of {town} {found} {}. It should have been {place}, but {trouble}. The {hero} {remedy}. \
         Then {} came by. \"{said},\" said the {helper}, and together they {second}. {} {}",
        with_article(thing),
        with_article(&helper),
        statement(draw, subject, Aspect::Reason),
        draw.pick_from(words::ENDINGS),
    )
}

/// Two people talk about a thing.
fn talk(draw: &mut Draw, subject: &Subject) -> String {
    let asker = draw.pick(&["visitor", "girl", "boy", "traveller", "old man", "new neighbour"]);
    let role = subject.fact(Aspect::Role);
    let mut chosen = aspects(draw, 3);
    if chosen[0] == Aspect::Role {
        // The one who is asked would have to answer with himself.
        chosen.swap(0, 1);
    }
    let greeting = draw.pick(&["smiled", "thought for a while", "nodded", "put the work aside", "looked up"]);
    let thanks = draw.pick(&["Thank you", "That helps me", "I did not know that", "Now I understand"]);
    format!(
        "In {} a {asker} asked the {role}: \"{}\" The {role} {greeting}. \"{} {}\" \"{thanks},\" said the {asker}. {}",
        subject.town,
        question(draw, subject, chosen[0]),
        answer(draw, subject, chosen[0]),
        statement(draw, subject, chosen[1]),
        statement(draw, subject, chosen[2]),
    )
}
