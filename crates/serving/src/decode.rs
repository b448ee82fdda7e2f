//! From ids to the text that is answered: stop texts, byte offsets, and what may already be shown.
//!
//! # Invariants
//!
//! - The text is what the ids decode to, cut before the first stop text; offsets are byte ranges of
//!   it, in order, on character boundaries, and together cover it.
//! - What [`Written::push`] has shown is never taken back: it is a prefix of the final text.

use openledger_engine::Tokenizer;

/// What the text of an answer depends on beside its ids.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Frame<'a> {
    /// Texts before the first of which the answer is cut.
    pub(crate) stop: &'a [String],
    /// A stop text counts only if it ends beyond the text of that many ids.
    pub(crate) min_tokens: usize,
    /// Whether the answer goes on with a text ([`continues`]).
    pub(crate) continues: bool,
}

/// Whether an answer to a prompt of these ids goes on with a text, so that its first space is part
/// of it: special tokens alone are no text.
pub(crate) fn continues(tokenizer: &Tokenizer, prompt: &[u32]) -> bool {
    prompt.iter().any(|id| !tokenizer.piece(*id).is_empty())
}

/// The text of `ids` in `frame`, the byte range of each id in it, and whether a stop text was
/// found.
pub(crate) fn render(tokenizer: &Tokenizer, ids: &[u32], frame: Frame<'_>) -> (String, Vec<(u32, u32)>, bool) {
    let (mut text, ranges) =
        if frame.continues { tokenizer.decode_continuation(ids) } else { tokenizer.decode_with_offsets(ids) };
    let cut = match frame.min_tokens {
        0 => first_stop(&text, frame.stop, 0),
        // Not before there is an id beyond them.
        least => ranges.get(least).and_then(|_| first_stop(&text, frame.stop, ranges[least - 1].end)),
    };
    if let Some(at) = cut {
        text.truncate(at);
    }
    let end = text.len();
    let place = |at: usize| u32::try_from(at.min(end)).unwrap_or(u32::MAX);
    let offsets = ranges.into_iter().map(|range| (place(range.start), place(range.end))).collect();
    (text, offsets, cut.is_some())
}

/// Where the earliest stop text starts that ends beyond byte `beyond` of `text`.
fn first_stop(text: &str, stop: &[String], beyond: usize) -> Option<usize> {
    let first = |stop: &String| {
        // The first place from which it can end beyond.
        let mut from = (beyond + 1).saturating_sub(stop.len()).min(text.len());
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text[from..].find(stop.as_str()).map(|at| from + at)
    };
    stop.iter().filter(|stop| !stop.is_empty()).filter_map(first).min()
}

/// An answer as far as it has come.
#[derive(Default)]
pub(crate) struct Written {
    ids: Vec<u32>,
    text: String,
    shown: usize,
}

impl Written {
    /// Adds an id of `tokenizer`; the text that became certain, and whether a stop text of `frame`
    /// is complete.
    pub(crate) fn push(&mut self, tokenizer: &Tokenizer, frame: Frame<'_>, id: u32) -> (&str, bool) {
        self.ids.push(id);
        // An id may complete a character of those before it, so the text is decoded again each
        // time: quadratic in the length of the answer, which the context bounds.
        let (text, _, stopped) = render(tokenizer, &self.ids, frame);
        self.text = text;
        let certain = if stopped { self.text.len() } else { certain(&self.text, frame.stop) };
        let from = self.shown.min(self.text.len());
        let until = certain.max(from);
        self.shown = until;
        (self.text.get(from..until).unwrap_or_default(), stopped)
    }

    pub(crate) fn into_ids(self) -> Vec<u32> {
        self.ids
    }
}

/// How much of `text` no later id can change: not an incomplete character at its end, nor what may
/// begin a stop text.
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
    fn write(tokenizer: &Tokenizer, ids: &[u32], frame: Frame<'_>) -> (String, String, Vec<(u32, u32)>) {
        let mut writer = Written::default();
        let mut shown = String::new();
        for id in ids {
            let (text, stopped) = writer.push(tokenizer, frame, *id);
            shown.push_str(text);
            if stopped {
                break;
            }
        }
        let (text, offsets, _) = render(tokenizer, &writer.into_ids(), frame);
        (shown, text, offsets)
    }

    #[test]
    fn an_answer_ends_before_its_stop_text_even_across_tokens() {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode("the owl sat on the stone by the river", false);
        let (shown, text, offsets) = write(&tokenizer, &ids, stops(&["n the st".into(), "river".into()]));
        assert_eq!(text, "the owl sat o");
        assert_eq!(shown, text);
        assert_eq!(offsets.last().unwrap().1 as usize, text.len());
    }

    fn stops(stop: &[String]) -> Frame<'_> {
        Frame { stop, ..Frame::default() }
    }

    #[test]
    fn a_stop_text_counts_only_beyond_the_least_number_of_tokens() {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode("the owl the owl the owl", false);
        let stop = ["owl".to_owned()];
        let end = |min_tokens| write(&tokenizer, &ids, Frame { min_tokens, ..stops(&stop) }).1;
        let first = (1..).find(|count| tokenizer.decode(&ids[..*count]).contains("owl")).unwrap();
        assert_eq!(end(0), "the ");
        // It ends within the first ids, however many it began in.
        assert_eq!((end(first - 1), end(first)), ("the ".to_owned(), "the owl the ".to_owned()));
        assert_eq!(end(ids.len()), "the owl the owl the owl");
    }

    /// A tokenizer that spells a space as `▁` and puts one before every text, as Llama 2's does; id
    /// 1 starts a text.
    fn spaced() -> Tokenizer {
        let special = |id: u32, content: &str| {
            serde_json::json!({
                "id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false,
            })
        };
        let json = serde_json::json!({
            "added_tokens": [special(0, "<unk>"), special(1, "<s>")],
            "normalizer": { "type": "Prepend", "prepend": "▁" },
            "decoder": { "type": "Sequence", "decoders": [
                { "type": "Replace", "pattern": { "String": "▁" }, "content": " " }, { "type": "ByteFallback" },
                { "type": "Fuse" }, { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
            ] },
            "model": {
                "type": "BPE", "unk_token": "<unk>", "merges": ["▁ a"],
                "vocab": { "<unk>": 0, "<s>": 1, "▁": 2, "a": 3, "▁a": 4 },
            },
        });
        Tokenizer::from_json(json.to_string().into_bytes()).unwrap()
    }

    #[test]
    fn an_answer_keeps_its_first_space_where_it_goes_on_with_a_text() {
        let tokenizer = spaced();
        let after = |prompt: &[u32]| {
            let frame = Frame { continues: continues(&tokenizer, prompt), ..Frame::default() };
            write(&tokenizer, &[4, 4], frame)
        };
        assert_eq!(after(&[1, 4]), (" a a".to_owned(), " a a".to_owned(), vec![(0, 2), (2, 4)]));
        // After special tokens alone a text begins.
        assert_eq!(after(&[1]), ("a a".to_owned(), "a a".to_owned(), vec![(0, 1), (1, 3)]));
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
            let (text, offsets, _) = render(&tokenizer, &ids, Frame::default());
            prop_assert_eq!(offsets.len(), ids.len());
            let mut covered = 0;
            for (start, end) in &offsets {
                prop_assert!(start <= end && *start <= covered, "a gap before {start}, covered {covered}");
                prop_assert!(text.is_char_boundary(*start as usize) && text.is_char_boundary(*end as usize));
                covered = covered.max(*end);
            }
            prop_assert_eq!(covered as usize, text.len());
            if !text.contains(char::REPLACEMENT_CHARACTER) {
                // Without broken characters each id that ends on a boundary wrote exactly its own
                // bytes.
                let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.piece(*id).to_vec()).collect();
                prop_assert_eq!(text.as_bytes(), &bytes[..]);
            }
        }

        #[test]
        fn what_was_shown_is_a_prefix_of_the_answer(
            ids in prop::collection::vec(0u32..300, 0..40),
            stop in prop::collection::vec("[a-z ]{1,3}", 0..3),
            min_tokens in 0usize..10,
        ) {
            let tokenizer = tokenizer();
            let (shown, text, offsets) = write(&tokenizer, &ids, Frame { min_tokens, ..stops(&stop) });
            prop_assert!(text.starts_with(&shown), "{shown:?} of {text:?}");
            prop_assert!(min_tokens > 0 || stop.iter().all(|stop| !text.contains(stop.as_str())));
            // Of an answer that is not longer nothing is cut.
            let (whole, _, _) = render(&tokenizer, &ids, Frame::default());
            prop_assert!(ids.len() > min_tokens || text == whole, "{text:?} of {whole:?}");
            prop_assert!(offsets.iter().all(|(start, end)| start <= end && *end as usize <= text.len()));
        }
    }
}
