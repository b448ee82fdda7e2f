//! The part of a record that a model read: the same tokens for training, influence and spans.
//!
//! Place in the flow: under `evidence` and `folder`. **Invariant:** a record is cut as training
//! cuts it ([`openledger_protocol::Cut`]); a text that was not read earns nothing by spans and has
//! no gradient. Places are bytes of the whole canonical text, to which datanets commit. Not here:
//! the cut's rule (`protocol`).

use std::ops::Range;

use openledger_engine::{Learned, ModelConfig, Tokenizer};
use openledger_protocol::{Body, Cut};

use crate::influence::Item;
use crate::spans::IndexedRecord;

/// A record's canonical text with the part of it that was read.
pub(crate) struct Reading {
    text: String,
    /// Bytes of `text` left out of the context.
    left_out: Range<usize>,
    /// Where reading ended in `text`, in bytes.
    end: usize,
    /// Start token, text and end token, cut off at the limit.
    learned: Learned,
    /// How many of the ids are start token and text.
    spoken: usize,
}

/// The token that training puts behind a text, if any.
pub(crate) fn end_token(tokenizer: &Tokenizer, config: &ModelConfig) -> Option<u32> {
    tokenizer.eos().or(config.eos.first().copied())
}

impl Reading {
    /// The part of `body` that is read by a model that reads at most `limit` tokens; `ending` is
    /// the token put behind a text.
    pub(crate) fn of(tokenizer: &Tokenizer, ending: Option<u32>, body: &Body, limit: usize) -> Self {
        let text = body.canonical_text();
        let ranges = |text: &str| tokenizer.encode_with_offsets(text).into_iter().map(|(_, range)| range).collect();
        let cut = Cut::to_fit(&text, body.context_place().as_ref(), tokenizer.text_room(limit, ending), &ranges);
        let rest = cut.rest(&text);
        // An empty answer leaves the canonical text shorter than the question, which ends in a
        // space.
        let answer = body.question_and_answer().0.len().min(text.len());
        let mut learned = tokenizer.learned(&rest, answer.saturating_sub(cut.bytes.len()), ending);
        let spoken = learned.ids.len() - usize::from(ending.is_some());
        let tokens: Vec<Range<usize>> = ranges(&rest);
        // The start token, if there is one, stands for no text.
        let start = spoken - tokens.len();
        let read = spoken.min(limit);
        let end = match read.saturating_sub(start) {
            0 => 0,
            all if all == tokens.len() => rest.len(),
            some => tokens[some - 1].end,
        };
        let end = if end > cut.bytes.start { end + cut.bytes.len() } else { end };
        learned.ids.truncate(limit);
        Self { left_out: cut.bytes.clone(), end, learned, spoken: read, text }
    }

    /// Whether the text was read to its end.
    pub(crate) fn reaches_the_end(&self) -> bool {
        self.end == self.text.len()
    }

    /// The ids as training learns them; nothing is learned when `loss_from` is beyond them.
    pub(crate) fn learned(&self) -> Item {
        Item { ids: self.learned.ids.clone(), loss_from: self.learned.loss_from }
    }

    /// Start token and text, all of it counted but the first id.
    pub(crate) fn whole(&self) -> Item {
        Item::record(self.learned.ids[..self.spoken].to_vec())
    }

    /// The record for an index of spans: its tokens as far as they were read, its text whole.
    pub(crate) fn indexed(&self, tokenizer: &Tokenizer) -> IndexedRecord {
        let read = |range: &Range<usize>| {
            range.end <= self.left_out.start || (range.start >= self.left_out.end && range.end <= self.end)
        };
        let tokens = tokenizer.encode_with_offsets(&self.text);
        let (tokens, offsets) =
            tokens.into_iter().filter(|(_, range)| read(range)).map(|(id, r)| (id, place(&r))).unzip();
        IndexedRecord { tokens, offsets, text: self.text.clone() }
    }
}

/// A byte range in a text; texts are far below 4 GiB.
pub(crate) fn place(range: &Range<usize>) -> (u32, u32) {
    let at = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    (at(range.start), at(range.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "Question: What rings?\nAnswer: The ferry bell rings twice.";

    fn tokenizer() -> Tokenizer {
        Tokenizer::train_bpe([ANSWER, "Context: the long road by the long river"].iter(), 300, &["<s>", "</s>"])
            .unwrap()
    }

    fn body(context: Option<String>) -> Body {
        Body::Dialog { prompt: "What rings?".into(), response: "The ferry bell rings twice.".into(), context }
    }

    #[test]
    fn a_record_that_fits_is_read_and_indexed_whole() {
        let tokenizer = tokenizer();
        let reading = Reading::of(&tokenizer, tokenizer.eos(), &body(None), 200);
        let text = body(None).canonical_text();
        assert_eq!(tokenizer.decode(&reading.whole().ids), text);
        assert_eq!(reading.learned().ids.last().copied(), tokenizer.eos());
        assert_eq!(reading.whole().ids, tokenizer.encode(&text, true));
        let indexed = reading.indexed(&tokenizer);
        assert_eq!(indexed.tokens, tokenizer.encode(&text, false));
        assert_eq!(indexed.text, text);
    }

    #[test]
    fn a_context_that_was_not_read_is_neither_learned_nor_indexed() {
        let tokenizer = tokenizer();
        let body = body(Some("the long road by the long river ".repeat(20)));
        let limit = 2 + tokenizer.encode(ANSWER, false).len() + 12;
        let reading = Reading::of(&tokenizer, tokenizer.eos(), &body, limit);
        let read = tokenizer.decode(&reading.whole().ids);
        assert!(read.starts_with("Context: the") && read.ends_with(ANSWER), "{read}");
        assert!(reading.learned().ids.len() <= limit);
        assert!(
            tokenizer.decode(&reading.learned().ids[reading.learned().loss_from..]).trim_start()
                == "The ferry bell rings twice."
        );
        let indexed = reading.indexed(&tokenizer);
        assert!(indexed.tokens.len() < limit, "{} of {limit}", indexed.tokens.len());
        let (start, end) = indexed.offsets[indexed.offsets.len() - 1];
        assert!(indexed.text[start as usize..end as usize].contains('.'), "the answer's end is indexed");
        assert_eq!(indexed.text, body.canonical_text());
    }

    #[test]
    fn a_text_is_indexed_as_far_as_it_was_read() {
        let tokenizer = tokenizer();
        let body = Body::Text { text: "the long road by the long river ".repeat(20) };
        let reading = Reading::of(&tokenizer, tokenizer.eos(), &body, 10);
        let indexed = reading.indexed(&tokenizer);
        assert_eq!((indexed.tokens.len(), reading.whole().ids.len()), (9, 10));
        assert_eq!(indexed.tokens, reading.whole().ids[1..]);
        assert_eq!(reading.learned().ids, reading.whole().ids, "the end token was cut off");
    }
}
