//! A text as training reads it: start token, text, end token, and the first id that is learned.
//!
//! Place in the flow: `factory` trains on it and `attribution` takes gradients of it, so that both
//! mean the same tokens. Not here: what is left out of a text that is too long (`protocol`), the
//! cut at the model's positions (the callers).

use crate::tokenizer::Tokenizer;

/// The ids of a text with the place where learning starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// Start token, text and end token, as far as there are any.
    pub ids: Vec<u32>,
    /// The first id that is learned; at least 1, since the first id has nothing before it.
    pub loss_from: usize,
}

impl Tokenizer {
    /// `text` as training reads it, learned from the token on in which byte `from` lies; `end` is
    /// the end token.
    ///
    /// A token may begin with the space before byte `from` and is learned whole. Gives no text ids
    /// when a pattern of the tokenizer gives up on the text.
    #[must_use]
    pub fn learned(&self, text: &str, from: usize, end: Option<u32>) -> Learned {
        let mut ids: Vec<u32> = self.start().into_iter().collect();
        let mut loss_from = None;
        for (id, range) in self.encode_with_offsets(text) {
            if range.end > from {
                loss_from.get_or_insert(ids.len());
            }
            ids.push(id);
        }
        let loss_from = loss_from.unwrap_or(ids.len()).max(1);
        ids.extend(end);
        Learned { ids, loss_from }
    }

    /// How many tokens of text have room among `limit` ids, beside the start token and `end`.
    #[must_use]
    pub fn text_room(&self, limit: usize, end: Option<u32>) -> usize {
        limit.saturating_sub(usize::from(self.start().is_some()) + usize::from(end.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_learned_from_the_token_on_in_which_its_answer_starts() {
        let texts = ["Question: Why? Answer: So.", "Question: Who? Answer: He."];
        let tokenizer = Tokenizer::train_bpe(texts.iter(), 300, &["<s>", "</s>"]).unwrap();
        let (text, answer) = (texts[0], texts[0].find("So.").unwrap());
        let learned = tokenizer.learned(text, answer, tokenizer.eos());
        assert_eq!((learned.ids[0], learned.ids.last().copied()), (0, tokenizer.eos()));
        assert_eq!(tokenizer.decode(&learned.ids), text);
        assert!(tokenizer.decode(&learned.ids[learned.loss_from..]).trim_start().starts_with("So."));
        assert_eq!(tokenizer.learned(text, 0, None).loss_from, 1);
        assert_eq!(tokenizer.text_room(10, tokenizer.eos()), 8);
        assert_eq!(tokenizer.text_room(1, tokenizer.eos()), 0);
    }
}
