//! The part of a record that a model reads when the whole is too long for it.
//!
//! Place in the flow: training reads this part and attribution indexes it, so that both speak of
//! the same text. **Invariant:** a context is shortened from its end, and left out when none of its
//! words fits. A question or an answer is never shortened for a context's sake. **Invariant:** the
//! part follows from text, tokenizer and limit alone. **Not here:** tokenizers, which come in as a
//! function.

use std::borrow::Cow;
use std::ops::Range;

use crate::{Body, canonicalise};

/// Label before the words of a context in a canonical text.
const LABEL: &str = "Context: ";

/// Where the context of a dialog stands in its canonical text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextPlace {
    /// The context's words.
    pub words: Range<usize>,
    /// The words with the label before them and the line end after them.
    pub line: Range<usize>,
}

/// The bytes of a canonical text to leave out so that the rest fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The bytes left out; empty when nothing is.
    pub bytes: Range<usize>,
    /// Number of tokens that the rest has less than the whole.
    pub tokens: usize,
}

impl Body {
    /// Where the context stands in [`Body::canonical_text`]; `None` without one.
    #[must_use]
    pub fn context_place(&self) -> Option<ContextPlace> {
        let Self::Dialog { context: Some(context), .. } = self else { return None };
        let words = LABEL.len()..LABEL.len() + canonicalise(context).len();
        Some(ContextPlace { line: 0..words.end + 1, words })
    }
}

impl Cut {
    /// What of `text` does not fit into `room` tokens: the end of its context, or the context as a
    /// whole.
    ///
    /// `tokens` gives the byte range of each token of a text. A text that fits, has no context, or
    /// is too long even without it loses nothing, or the context: what is beyond `room` then is the
    /// caller's to cut.
    #[must_use]
    pub fn to_fit(
        text: &str,
        context: Option<&ContextPlace>,
        room: usize,
        tokens: &dyn Fn(&str) -> Vec<Range<usize>>,
    ) -> Self {
        let Some(place) = context else { return Self::default() };
        let whole = tokens(text);
        if whole.len() <= room {
            return Self::default();
        }
        // The first token may begin with the space of the label, the last may hold the line end.
        let within = whole.iter().filter(|token| token.end > place.words.start && token.start < place.words.end);
        let ends: Vec<usize> = within.map(|token| token.end.min(place.words.end)).collect();
        let mut kept = ends.len().saturating_sub(whole.len() - room);
        while kept > 0 {
            // White space before the cut would stand at a line's end, where canonical texts have
            // none.
            let words = text[place.words.start..ends[kept - 1]].trim_end();
            if words.is_empty() {
                break;
            }
            let mut cut = Self { bytes: place.words.start + words.len()..place.words.end, tokens: 0 };
            let left = tokens(&cut.rest(text)).len();
            if left <= room {
                cut.tokens = whole.len().saturating_sub(left);
                return cut;
            }
            // Tokens beside the cut can fall apart, so that the rest has more of them than were
            // kept.
            kept = kept.saturating_sub(left - room);
        }
        let mut cut = Self { bytes: place.line.clone(), tokens: 0 };
        cut.tokens = whole.len().saturating_sub(tokens(&cut.rest(text)).len());
        cut
    }

    /// The text without what is left out.
    #[must_use]
    pub fn rest<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.bytes.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned([&text[..self.bytes.start], &text[self.bytes.end..]].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token a word, the white space before it included.
    fn tokens(text: &str) -> Vec<Range<usize>> {
        let mut out: Vec<Range<usize>> = Vec::new();
        for (at, c) in text.char_indices() {
            let starts = out.is_empty() || c.is_whitespace() && !text[out[out.len() - 1].clone()].trim().is_empty();
            match out.last_mut() {
                Some(last) if !starts => last.end = at + c.len_utf8(),
                _ => out.push(at..at + c.len_utf8()),
            }
        }
        out
    }

    fn dialog(context: &str) -> (String, Option<ContextPlace>) {
        let (prompt, response) = ("Who rings?".to_owned(), "The ferryman.".to_owned());
        let body = Body::Dialog { prompt, response, context: Some(context.to_owned()) };
        (body.canonical_text(), body.context_place())
    }

    fn rest(context: &str, room: usize) -> String {
        let (text, place) = dialog(context);
        Cut::to_fit(&text, place.as_ref(), room, &tokens).rest(&text).into_owned()
    }

    #[test]
    fn the_place_of_a_context_is_where_its_words_stand() {
        let (text, place) = dialog(" Two bells,\r\nthen none. ");
        let place = place.unwrap();
        assert_eq!(&text[place.words], "Two bells,\nthen none.");
        assert_eq!(&text[place.line], "Context: Two bells,\nthen none.\n");
        assert_eq!(Body::Text { text: "Context: a".into() }.context_place(), None);
    }

    #[test]
    fn a_context_that_is_too_long_loses_its_end() {
        let whole = "Context: one two three four\nQuestion: Who rings?\nAnswer: The ferryman.";
        assert_eq!(rest("one two three four", 11), whole);
        assert_eq!(rest("one two three four", 10), whole.replace(" four", ""));
        assert_eq!(rest("one two three four", 8), whole.replace(" two three four", ""));
        assert_eq!(rest("one two three four", 7), "Question: Who rings?\nAnswer: The ferryman.");
        let (text, place) = dialog("one two three four");
        assert_eq!(Cut::to_fit(&text, place.as_ref(), 8, &tokens).tokens, 3);
        assert_eq!(Cut::to_fit(&text, place.as_ref(), 6, &tokens).tokens, 5);
        assert_eq!(Cut::to_fit(&text, None, 1, &tokens), Cut::default());
    }

    #[test]
    fn question_and_answer_stay_whole_when_they_alone_are_too_long() {
        assert_eq!(rest("one two", 3), "Question: Who rings?\nAnswer: The ferryman.");
    }

    #[test]
    fn no_cut_leaves_white_space_at_a_line_end_or_halves_a_character() {
        let context = "für  \u{1f6a2} über \u{e9}t\u{e9} und mehr";
        for room in 0..14 {
            let rest = rest(context, room);
            assert_eq!(canonicalise(&rest), rest, "{room}");
        }
    }
}
