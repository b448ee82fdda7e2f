//! One record of a datanet: its fields, its canonical text and its leaf.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::hash::{leaf, tags, word};
use crate::{B256, ContributionId, DatanetId};

/// The content of a record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Body {
    /// A question (or task) and its answer, perhaps over a context.
    Dialog {
        /// The question.
        prompt: String,
        /// The answer.
        response: String,
        /// The subject of the question, such as a table.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<String>,
    },
    /// Running text.
    Text {
        /// The text.
        text: String,
    },
}

/// A record as people write it: a line of JSONL.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The record's name, unique in its file.
    pub id: String,
    /// Its authors in the order in which they are named; never empty.
    pub contributors: Vec<String>,
    /// The licence: an SPDX expression.
    pub license: String,
    /// Its content.
    #[serde(flatten)]
    pub body: Body,
    /// Whatever else the line carried.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub meta: serde_json::Map<String, serde_json::Value>,
}

impl Body {
    /// The canonical text: what is hashed, trained on and searched for spans.
    ///
    /// Dialogs read `Context: …\nQuestion: …\nAnswer: …` (the context line only where there is
    /// one); see [`canonicalise`].
    #[must_use]
    pub fn canonical_text(&self) -> String {
        match self {
            Self::Text { text } => canonicalise(text),
            Self::Dialog { .. } => {
                let (question, answer) = self.question_and_answer();
                canonicalise(&format!("{question}{answer}"))
            }
        }
    }

    /// The text before the answer and the answer: for a dialog up to and including `Answer: `, for
    /// running text nothing and all.
    #[must_use]
    pub fn question_and_answer(&self) -> (String, String) {
        match self {
            Self::Text { text } => (String::new(), canonicalise(text)),
            Self::Dialog { prompt, response, context } => {
                let context = context.as_deref().map(|c| format!("Context: {}\n", canonicalise(c))).unwrap_or_default();
                (format!("{context}Question: {}\nAnswer: ", canonicalise(prompt)), canonicalise(response))
            }
        }
    }

    /// Whether nothing is said: an empty text, or an empty answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.question_and_answer().1.is_empty()
    }
}

/// The canonical form of a text: Unicode NFC, CRLF and CR as LF, no white space at line ends or at
/// either end.
#[must_use]
pub fn canonicalise(text: &str) -> String {
    let unified: String = text.replace("\r\n", "\n").replace('\r', "\n").nfc().collect();
    let lines: Vec<&str> = unified.split('\n').map(str::trim_end).collect();
    lines.join("\n").trim().to_owned()
}

/// The folded form that duplicate detection hashes: canonical, every run of white space as one
/// space.
#[must_use]
pub fn fold(canonical: &str) -> String {
    canonical.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `H(H(TAG_RECORD ‖ chainId ‖ datanet ‖ contribution ‖ index ‖ contentRoot ‖ length))`; `length`
/// in bytes of canonical text.
#[must_use]
pub fn record_leaf(
    chain_id: u64,
    datanet: DatanetId,
    contribution: ContributionId,
    index: u32,
    content_root: B256,
    length: u32,
) -> B256 {
    leaf(tags::record(), &[word(chain_id), word(datanet.0), contribution.0, word(index), content_root, word(length)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_ignores_line_ends_and_unicode_form() {
        assert_eq!(canonicalise("  cafe\u{301} \r\nau lait\t\r\n"), "café\nau lait");
        let dialog = Body::Dialog { prompt: " Why? ".into(), response: "So.\r\n".into(), context: None };
        assert_eq!(dialog.canonical_text(), "Question: Why?\nAnswer: So.");
        assert_eq!(fold("a \n  b\tc"), "a b c");
    }

    #[test]
    fn an_empty_answer_says_nothing() {
        assert!(Body::Dialog { prompt: "Why?".into(), response: " \n".into(), context: None }.is_empty());
        assert!(Body::Text { text: "\r\n".into() }.is_empty());
        assert!(!Body::Text { text: ".".into() }.is_empty());
    }

    #[test]
    fn canonical_text_is_the_question_and_the_answer() {
        let context = Some("t".to_owned());
        let dialog = Body::Dialog { prompt: "p".into(), response: "r".into(), context };
        let (question, answer) = dialog.question_and_answer();
        assert_eq!(format!("{question}{answer}"), dialog.canonical_text());
    }
}
