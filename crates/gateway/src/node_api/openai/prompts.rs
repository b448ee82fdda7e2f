//! Prompts of `/v1` as a node's base reads them, within a length that no request can exceed.
//!
//! **Invariant:** a text is measured before it is tokenized, and what leaves here fits the base: a
//! request that does not pay yet costs a bounded amount of work. Tokenizing blocks; call it off the
//! threads that serve I/O.

use std::sync::Arc;

use openledger_engine::Tokenizer;
use openledger_node::Node;
use openledger_serving::{ChatForm, Prompt, ServeError};

/// Bytes that every token may stand for at least: special tokens have no bytes of their own.
const TOKEN_BYTES_MIN: usize = 64;

/// Reads prompts for one base.
#[derive(Clone)]
pub(super) struct PromptReader {
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) form: ChatForm,
    /// Most tokens of prompt and answer together.
    positions: usize,
    /// Bytes of the longest text that could fit.
    pub(super) text_max: usize,
}

impl PromptReader {
    pub(super) fn of(node: &Node) -> Self {
        let base = node.answering.base();
        Self::new(Arc::clone(base.tokenizer()), base.form().clone(), base.max_positions())
    }

    pub(super) fn new(tokenizer: Arc<Tokenizer>, form: ChatForm, positions: usize) -> Self {
        let ids = 0..u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
        let longest = ids.map(|id| tokenizer.piece(id).len()).max().unwrap_or_default();
        let text_max = positions.saturating_mul(longest.max(TOKEN_BYTES_MIN));
        Self { tokenizer, form, positions, text_max }
    }

    /// `prompt`, cut to its last `kept` tokens where that is asked for.
    ///
    /// # Errors
    /// [`ServeError::TextTooLong`] before tokenizing, [`ServeError::PromptTooLong`] after it.
    pub(super) fn fitted(&self, prompt: Prompt, kept: Option<usize>) -> Result<Prompt, ServeError> {
        let encoded;
        let ids = match &prompt {
            Prompt::Text(text) if text.len() > self.text_max => {
                return Err(ServeError::TextTooLong { bytes: text.len(), limit: self.text_max });
            }
            Prompt::Text(text) => {
                encoded = self.tokenizer.encode(text, true);
                &encoded
            }
            Prompt::Ids(ids) => ids,
        };
        let most = self.positions.saturating_sub(1);
        match kept {
            Some(kept) if ids.len() > kept.min(most) => Ok(Prompt::Ids(ids[ids.len() - kept.min(most)..].to_vec())),
            _ if ids.len() > most => Err(ServeError::PromptTooLong { tokens: ids.len(), limit: self.positions }),
            _ => Ok(prompt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> PromptReader {
        let tokenizer = Tokenizer::train_bpe(["the owl sat"].iter(), 280, &["<|end|>"]).unwrap();
        PromptReader::new(Arc::new(tokenizer), ChatForm::Dialog, 8)
    }

    #[test]
    fn a_text_that_no_tokens_could_fit_is_refused_before_it_is_tokenized() {
        let reader = reader();
        assert_eq!(reader.text_max, 8 * TOKEN_BYTES_MIN);
        for kept in [None, Some(2)] {
            let long = Prompt::Text("a".repeat(reader.text_max + 1));
            let refused = reader.fitted(long, kept);
            assert!(matches!(refused, Err(ServeError::TextTooLong { bytes: 513, limit: 512 })), "{refused:?}");
        }
    }

    #[test]
    fn a_prompt_that_fits_stays_as_it_is_and_a_longer_one_is_cut_where_that_is_asked_for() {
        let reader = reader();
        let short = Prompt::Text("the".into());
        assert_eq!(reader.fitted(short.clone(), Some(usize::MAX)).unwrap(), short);
        let ids: Vec<u32> = (1..=8).collect();
        let refused = reader.fitted(Prompt::Ids(ids.clone()), None);
        assert!(matches!(refused, Err(ServeError::PromptTooLong { tokens: 8, limit: 8 })), "{refused:?}");
        assert_eq!(reader.fitted(Prompt::Ids(ids.clone()), Some(2)).unwrap(), Prompt::Ids(vec![7, 8]));
        assert_eq!(reader.fitted(Prompt::Ids(ids), Some(usize::MAX)).unwrap(), Prompt::Ids((2..=8).collect()));
    }
}
