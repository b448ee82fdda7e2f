//! Exact spans: which stretches of an answer stand word for word in which records.
//!
//! # Place in the flow
//!
//! Records that were trained on -> [`SpanIndex`] (once per model); completion ->
//! [`SpanIndex::query`] -> [`SpanMatches`] -> `credit`, which turns them into the receipt's spans
//! and scores.
//!
//! # Invariants
//!
//! - **Integers only.** The same records and answer give the same spans and weights on every
//!   machine.
//! - **Bytewise.** Tokens only find candidates; each paid span is compared byte by byte in both
//!   texts.
//! - **Once.** Each token of the answer is paid at most once, and a record earns at most its own
//!   information content.
//!
//! # Not here
//!
//! Who owns a record (`credit`), tokenizers (`engine`), proofs on chain (`protocol`).

mod index;
mod pay;
mod rarity;
mod reference;
mod store;
mod suffix;

pub use index::{IndexedRecord, SpanIndex};
pub use pay::{Answer, SpanMatch, SpanMatches, SpanRules};
pub use reference::naive_spans;

use std::path::PathBuf;

/// The method's version, as credits and manifests name it; a change of any rule gives it a new one.
pub const SPANS_METHOD: &str = "spans/1";

/// Why spans could not be indexed or searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpanError {
    /// A record's byte ranges do not fit its tokens and text; tokenise it again.
    #[error("record {record}, token {token}: its byte range is not a range of whole characters in order")]
    RecordOffsets {
        /// Which record, from 0.
        record: usize,
        /// The first token whose range is wrong (or missing).
        token: usize,
    },
    /// An answer's byte ranges do not fit its tokens and text; the backend that made it is at
    /// fault.
    #[error("answer, token {token}: its byte range is not a range of whole characters in order")]
    AnswerOffsets {
        /// The first token whose range is wrong (or missing).
        token: usize,
    },
    /// More than an index holds; cut the records into several indexes.
    #[error("{what} {count} exceed the limit of an index, {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: u64,
        /// How many fit.
        limit: u64,
    },
    /// The list of cluster owners does not fit the records; pass the snapshot's own list.
    #[error("record {record} has no valid cluster owner: owners are records of the index that own themselves")]
    Owners {
        /// The first record without one.
        record: usize,
    },
    /// The index could not be read or written.
    #[error("could not access `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The index on disk is damaged or was made by another version; build it again.
    #[error("`{path}` is not an index this version reads: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The first token whose range is not made of whole characters of `text`, or runs backwards.
fn first_bad_offset(tokens: usize, offsets: &[(u32, u32)], text: &str) -> Option<usize> {
    let mut before = (0, 0);
    for (token, &(start, end)) in offsets.iter().enumerate().take(tokens) {
        let whole = text.is_char_boundary(start as usize) && text.is_char_boundary(end as usize);
        if !whole || start > end || start < before.0 || end < before.1 {
            return Some(token);
        }
        before = (start, end);
    }
    (offsets.len() != tokens).then_some(offsets.len().min(tokens))
}
