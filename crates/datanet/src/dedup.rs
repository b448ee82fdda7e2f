//! Exact copies: who said it first.
//!
//! Two texts are copies when their folded canonical texts have one SHA-256, so white space and
//! Unicode form hide nothing. **Invariant:** the first registrant keeps a text; what comes later
//! never displaces it. **Not here:** near copies ([`crate::near`]).

use std::collections::HashMap;

use openledger_protocol::{B256, RecordRef, content_hash, fold};

/// The earlier holder of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The record's id.
    pub id: String,
    /// Its line, when it stands in the same file.
    pub line: Option<u64>,
    /// Its place, when it was accepted before.
    pub record: Option<RecordRef>,
}

/// The texts seen so far, by folded hash.
#[derive(Debug, Default)]
pub struct Dedup {
    seen: HashMap<B256, (String, u64)>,
}

impl Dedup {
    /// The hash by which copies are found: SHA-256 of the folded canonical text.
    #[must_use]
    pub fn key(canonical: &str) -> B256 {
        content_hash(&fold(canonical))
    }

    /// Registers a text for the record `id` on `line`.
    ///
    /// # Errors
    /// [`Earlier`] when somebody was first; nothing changes then.
    pub fn register(&mut self, folded_hash: B256, id: &str, line: u64) -> Result<(), Earlier> {
        if let Some((first, at)) = self.seen.get(&folded_hash) {
            return Err(Earlier { id: first.clone(), line: Some(*at), record: None });
        }
        self.seen.insert(folded_hash, (id.to_owned(), line));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use openledger_protocol::canonicalise;

    use super::*;

    #[test]
    fn the_first_registrant_keeps_the_text() {
        let mut dedup = Dedup::default();
        let key = |text: &str| Dedup::key(&canonicalise(text));
        assert_eq!(dedup.register(key("cafe\u{301} au lait"), "a", 1), Ok(()));
        let copy = dedup.register(key(" caf\u{e9}\r\n au\tlait"), "b", 2);
        assert_eq!(copy, Err(Earlier { id: "a".into(), line: Some(1), record: None }));
        assert_eq!(dedup.register(key("caf\u{e9} sans lait"), "b", 2), Ok(()));
    }
}
