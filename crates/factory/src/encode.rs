//! Records as token ids: what the model sees of each.

use openledger_engine::{Learned, ModelConfig, Tokenizer};
use openledger_protocol::Cut;

use crate::error::FactoryError;
use crate::record::{Content, TrainRecord};

/// One record as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// The record's place among the records given.
    pub record: usize,
    /// Its ids; at least `loss_from + 1` of them.
    pub ids: Vec<u32>,
    /// The first id that is learned; at least 1, since the first id has nothing before it.
    pub loss_from: usize,
    /// Whether its end was cut off.
    pub truncated: bool,
    /// Tokens by which its context was shortened; zero when it was not.
    pub context_cut: usize,
}

impl Sequence {
    /// Number of ids that are learned.
    #[must_use]
    pub fn learned(&self) -> u64 {
        (self.ids.len() - self.loss_from) as u64
    }
}

/// Encodes `record`, at most `limit` ids; `None` when nothing of it would be learned.
///
/// Text becomes start token, text, end token (as far as tokenizer and model have them). A dialog
/// that is too long loses the end of its context, or all of it; what is still too long is cut off
/// at `limit`. A dialog is learned from the token on in which its answer starts, since that token
/// may begin with the space before it.
///
/// # Errors
/// [`FactoryError::BadRecord`] when the answer starts inside a character or beyond the text, the
/// tokenizer gives up on it, an id is outside the vocabulary, or the loss would start at id 0.
pub fn encode(
    tokenizer: &Tokenizer,
    config: &ModelConfig,
    limit: usize,
    index: usize,
    record: &TrainRecord,
) -> Result<Option<Sequence>, FactoryError> {
    let (vocab, end) = (config.vocab, config.eos.first().copied());
    let bad = |reason: String| FactoryError::BadRecord { name: record.name.clone(), reason };
    let mut context_cut = 0;
    let Learned { mut ids, loss_from } = match &record.content {
        Content::Ids { ids, loss_from } => {
            if *loss_from == 0 {
                return Err(bad("the loss starts at id 0, which has nothing before it".into()));
            }
            Learned { ids: ids.clone(), loss_from: *loss_from }
        }
        Content::Text { text, answer_start_byte, context } => {
            if !text.is_char_boundary(*answer_start_byte) {
                return Err(bad(format!("byte {answer_start_byte} is not a place in its {} bytes", text.len())));
            }
            if text.is_empty() {
                return Ok(None);
            }
            let end = tokenizer.eos().or(end);
            let tokens = |text: &str| tokenizer.encode_with_offsets(text).into_iter().map(|(_, range)| range).collect();
            let cut = Cut::to_fit(text, context.as_ref(), tokenizer.text_room(limit, end), &tokens);
            context_cut = cut.tokens;
            let learned = tokenizer.learned(&cut.rest(text), answer_start_byte.saturating_sub(cut.bytes.len()), end);
            let beside = usize::from(tokenizer.start().is_some()) + usize::from(end.is_some());
            if learned.ids.len() == beside && !text.trim().is_empty() {
                return Err(bad("the tokenizer makes no token of it".into()));
            }
            learned
        }
    };
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
        return Err(bad(format!("token id {id} is outside the vocabulary of {vocab}")));
    }
    let truncated = ids.len() > limit;
    ids.truncate(limit);
    Ok((loss_from < ids.len()).then_some(Sequence { record: index, ids, loss_from, truncated, context_cut }))
}
