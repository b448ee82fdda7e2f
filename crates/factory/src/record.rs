//! A record as the trainer sees it: a name and what is learned from it.

use openledger_protocol::{B256, Body, ContextPlace, sha256};

/// What is learned from a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text to be encoded with the base's tokenizer; learned from byte `answer_start_byte` on.
    Text {
        /// The canonical text.
        text: String,
        /// Where the answer starts, in bytes; 0 learns all of it.
        answer_start_byte: usize,
        /// Where the context stands that may be shortened; before the answer.
        context: Option<ContextPlace>,
    },
    /// Token ids taken as they are, without start or end token; learned from id `loss_from` on (at
    /// least 1).
    Ids {
        /// The ids.
        ids: Vec<u32>,
        /// The first id that is learned.
        loss_from: usize,
    },
}

/// One record to train on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainRecord {
    /// How messages name it: the record's id, or its line.
    pub name: String,
    /// What is learned from it.
    pub content: Content,
}

impl TrainRecord {
    /// Running text, all of it learned.
    #[must_use]
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), content: Content::Text { text: text.into(), answer_start_byte: 0, context: None } }
    }

    /// A record's canonical text: dialogs are learned from the answer on, running text as a whole.
    #[must_use]
    pub fn of(name: impl Into<String>, body: &Body) -> Self {
        let text = body.canonical_text();
        let (question, _) = body.question_and_answer();
        // An empty answer leaves the canonical text shorter than the question, which ends in a
        // space.
        let answer_start_byte = question.len().min(text.len());
        Self { name: name.into(), content: Content::Text { text, answer_start_byte, context: body.context_place() } }
    }

    /// SHA-256 of what is learned: of the text, or of the ids as little-endian words after a tag.
    ///
    /// Equal content has equal hashes whatever its name, so that copies fall on the same side of a
    /// held-out split.
    #[must_use]
    pub fn hash(&self) -> B256 {
        match &self.content {
            Content::Text { text, .. } => sha256(text.as_bytes()),
            Content::Ids { ids, .. } => {
                let mut bytes = b"openledger/ids/v1\0".to_vec();
                bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
                sha256(bytes)
            }
        }
    }

    /// The part before which nothing is learned, as a number for the run's fingerprint.
    pub(crate) fn start(&self) -> u64 {
        match &self.content {
            Content::Text { answer_start_byte, .. } => *answer_start_byte as u64,
            Content::Ids { loss_from, .. } => *loss_from as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_is_learned_from_its_answer_on() {
        let body = Body::Dialog { prompt: "Why?".into(), response: "So.".into(), context: None };
        let record = TrainRecord::of("r1", &body);
        let Content::Text { text, answer_start_byte, .. } = &record.content else { panic!("a dialog is text") };
        assert_eq!(&text[*answer_start_byte..], "So.");
        let plain = TrainRecord::of("r2", &Body::Text { text: "So.".into() });
        assert_eq!(plain, TrainRecord::text("r2", "So."));
    }

    #[test]
    fn copies_hash_alike_whatever_their_name() {
        assert_eq!(TrainRecord::text("a", "x").hash(), TrainRecord::text("b", "x").hash());
        assert_ne!(TrainRecord::text("a", "x").hash(), TrainRecord::text("a", "y").hash());
    }
}
