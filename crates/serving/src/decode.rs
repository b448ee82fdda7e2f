//! From ids to the text that is answered: stop texts, byte offsets, and what may already be shown.
//!
//! # Invariants
//!
//! - The text is what the ids decode to, cut before the first stop text; offsets are byte ranges of it, in order, on
//!   character boundaries, and together cover it.
//! - What [`Written::push`] has shown is never taken back: it is a prefix of the final text.

use openledger_engine::Tokenizer;

/// The text of `ids` cut before the first of `stop`, the byte range of each id in it, and whether a stop was found.
pub(crate) fn render(tokenizer: &Tokenizer, ids: &[u32], stop: &[String]) -> (String, Vec<(u32, u32)>, bool) {
    let (mut text, ranges) = tokenizer.decode_with_offsets(ids);
    let cut = first_stop(&text, stop);
    if let Some(at) = cut {
        text.truncate(at);
    }
    let end = text.len();
    let place = |at: usize| u32::try_from(at.min(end)).unwrap_or(u32::MAX);
    let offsets = ranges.into_iter().map(|range| (place(range.start), place(range.end))).collect();
    (text, offsets, cut.is_some())
}

/// Where the earliest stop text starts.
fn first_stop(text: &str, stop: &[String]) -> Option<usize> {
    stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min()
}

/// An answer as far as it has come.
#[derive(Default)]
pub(crate) struct Written {
    ids: Vec<u32>,
    text: String,
    shown: usize,
}

impl Written {
    /// Adds an id of `tokenizer`; the text that became certain, and whether a text of `stop` is complete.
    pub(crate) fn push(&mut self, tokenizer: &Tokenizer, stop: &[String], id: u32) -> (&str, bool) {
        self.ids.push(id);
        // An id may complete a character of those before it, so that the text is made anew each time: quadratic in the
        // length of the answer, which the context bounds.
        let (text, _, stopped) = render(tokenizer, &self.ids, stop);
        self.text = text;
        let certain = if stopped { self.text.len() } else { certain(&self.text, stop) };
        let from = self.shown.min(self.text.len());
        let until = certain.max(from);
        self.shown = until;
        (self.text.get(from..until).unwrap_or_default(), stopped)
    }

    pub(crate) fn into_ids(self) -> Vec<u32> {
        self.ids
    }
}

/// How much of `text` no later id can change: not an incomplete character at its end, nor what may begin a stop text.
fn certain(text: &str, stop: &[String]) -> usize {
    let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    let may_begin = |at: usize| stop.iter().any(|stop| !stop.is_empty() && stop.starts_with(&whole[at..]));
    whole.char_indices().map(|(at, _)| at).find(|at| may_begin(*at)).unwrap_or(whole.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokenizer() -> Tokenizer {
        let texts = ["the owl sat on the stone", "the stone by the river", "zwölf Eulen 🦉 am Fluß"];
        Tokenizer::train_bpe(texts.iter(), 300, &["<|end|>"]).unwrap()
    }

    /// Pushes `ids` one by one until a stop; the text shown and the final text.
    fn write(tokenizer: &Tokenizer, ids: &[u32], stop: &[String]) -> (String, String, Vec<(u32, u32)>) {
        let mut writer = Written::default();
        let mut shown = String::new();
        for id in ids {
            let (text, stopped) = writer.push(tokenizer, stop, *id);
            shown.push_str(text);
            if stopped {
                break;
            }
        }
        let (text, offsets, _) = render(tokenizer, &writer.into_ids(), stop);
        (shown, text, offsets)
    }

    #[test]
    fn an_answer_ends_before_its_stop_text_even_across_tokens() {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode("the owl sat on the stone by the river", false);
        let (shown, text, offsets) = write(&tokenizer, &ids, &["n the st".into(), "river".into()]);
        assert_eq!(text, "the owl sat o");
        assert_eq!(shown, text);
        assert_eq!(offsets.last().unwrap().1 as usize, text.len());
    }

    #[test]
    fn what_might_begin_a_stop_text_is_held_back() {
        assert_eq!(certain("abc\nQues", &["\nQuestion".into()]), 3);
        assert_eq!(certain("abc\nQuiet", &["\nQuestion".into()]), 9);
        assert_eq!(certain("abc\u{FFFD}", &[]), 3);
    }

    proptest! {
        #[test]
        fn offsets_map_every_byte_of_any_ids(ids in prop::collection::vec(0u32..300, 0..40)) {
            let tokenizer = tokenizer();
            let (text, offsets, _) = render(&tokenizer, &ids, &[]);
            prop_assert_eq!(offsets.len(), ids.len());
            let mut covered = 0;
            for (start, end) in &offsets {
                prop_assert!(start <= end && *start <= covered, "a gap before {start}, covered {covered}");
                prop_assert!(text.is_char_boundary(*start as usize) && text.is_char_boundary(*end as usize));
                covered = covered.max(*end);
            }
            prop_assert_eq!(covered as usize, text.len());
            if !text.contains(char::REPLACEMENT_CHARACTER) {
                // Without broken characters each id that ends on a boundary wrote exactly its own bytes.
                let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.piece(*id).to_vec()).collect();
                prop_assert_eq!(text.as_bytes(), &bytes[..]);
            }
        }

        #[test]
        fn what_was_shown_is_a_prefix_of_the_answer(
            ids in prop::collection::vec(0u32..300, 0..40),
            stop in prop::collection::vec("[a-z ]{1,3}", 0..3),
        ) {
            let tokenizer = tokenizer();
            let (shown, text, offsets) = write(&tokenizer, &ids, &stop);
            prop_assert!(text.starts_with(&shown), "{shown:?} of {text:?}");
            prop_assert!(stop.iter().all(|stop| !text.contains(stop.as_str())));
            prop_assert!(offsets.iter().all(|(start, end)| start <= end && *end as usize <= text.len()));
        }
    }
}
