//! The state of an import: lines in, then all records or all problems.

use std::ops::Range;

use openledger_protocol::{B256, Record, Rights, content_hash, fold};

use super::lines::{Lines, Object, Sink};
use super::policy::{Limits, Policy};
use super::problem::{ImportError, Problem};
use super::refusal::{Refusal, RefusalReason};
use super::rules;
use crate::dedup::{Dedup, Earlier};

/// What a file gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The accepted records, in file order.
    pub records: Vec<ParsedRecord>,
    /// The records that a rule left out, in file order.
    pub refused: Vec<Refusal>,
}

/// An accepted record and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRecord {
    /// Its line in the file, from 1.
    pub line: u64,
    /// Its bytes in the file, without the line end.
    pub byte_range: Range<u64>,
    /// What it says.
    pub record: Record,
    /// What its licence allows.
    pub rights: Rights,
    /// SHA-256 of the folded canonical text: equal for copies that differ in white space and
    /// Unicode form only.
    pub folded_hash: B256,
}

impl Parsed {
    /// Moves records whose text was accepted before from `records` to `refused`; `known` names the
    /// holder of a folded hash.
    #[must_use]
    pub fn without_known(self, known: &dyn Fn(B256) -> Option<Earlier>) -> Self {
        let Self { records, mut refused } = self;
        let mut kept = Vec::with_capacity(records.len());
        for record in records {
            match known(record.folded_hash) {
                None => kept.push(record),
                Some(Earlier { id: of, record: at, .. }) => refused.push(Refusal {
                    line: record.line,
                    id: Some(record.record.id),
                    reason: RefusalReason::Duplicate { of, line: None, record: at },
                }),
            }
        }
        refused.sort_by_key(|refusal| refusal.line);
        Self { records: kept, refused }
    }
}

/// Reads a whole file under the default [`Policy`]; see [`parse_jsonl_under`].
///
/// # Errors
/// As [`parse_jsonl_under`].
pub fn parse_jsonl(bytes: &[u8], limits: &Limits) -> Result<Parsed, ImportError> {
    parse_jsonl_under(bytes, limits, &Policy::default())
}

/// Reads a whole file of JSON Lines: UTF-8, a byte order mark and CRLF line ends allowed, blank
/// lines skipped.
///
/// Records that break a rule (licence, names, emptiness, copies within the file) are listed in
/// [`Parsed::refused`].
///
/// # Errors
/// [`ImportError`] with every bad line when the file is damaged: then nothing of it counts.
pub fn parse_jsonl_under(bytes: &[u8], limits: &Limits, policy: &Policy) -> Result<Parsed, ImportError> {
    let mut importer = Importer::new(limits.clone(), policy.clone());
    importer.feed(bytes);
    importer.finish()
}

/// Writes records as JSON Lines that [`parse_jsonl`] reads back as equal records.
#[must_use]
pub fn print_jsonl<'r>(records: impl IntoIterator<Item = &'r Record>) -> String {
    let mut out = String::new();
    for record in records {
        // Maps with string keys and finite numbers always serialise, and a record holds nothing
        // else.
        out.push_str(&serde_json::to_string(record).expect("a record is plain JSON"));
        out.push('\n');
    }
    out
}

/// An import that takes its bytes in pieces of any size, so that a file need not fit in memory.
#[derive(Debug)]
pub struct Importer {
    lines: Lines,
    kept: Kept,
}

/// What an import has read so far.
#[derive(Debug)]
struct Kept {
    limits: Limits,
    policy: Policy,
    copies: Dedup,
    parsed: Parsed,
    problems: Vec<Problem>,
    omitted: u64,
}

impl Importer {
    /// An import that has read nothing.
    #[must_use]
    pub fn new(limits: Limits, policy: Policy) -> Self {
        let kept = Kept {
            limits: limits.clone(),
            policy,
            copies: Dedup::default(),
            parsed: Parsed::default(),
            problems: Vec::new(),
            omitted: 0,
        };
        Self { lines: Lines::new(limits), kept }
    }

    /// Reads the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.lines.feed(bytes, &mut self.kept);
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`ImportError`] with every bad line; the records read are dropped.
    pub fn finish(mut self) -> Result<Parsed, ImportError> {
        self.lines.finish(&mut self.kept);
        let Kept { parsed, problems, omitted, .. } = self.kept;
        if problems.is_empty() { Ok(parsed) } else { Err(ImportError { problems, omitted }) }
    }
}

impl Sink for Kept {
    /// Keeps or refuses a record. In a file that has a problem already nothing is kept.
    fn object(&mut self, object: Object) {
        if !self.problems.is_empty() {
            return;
        }
        let Object { line, byte_range, id, fields } = object;
        let judged = rules::record(fields, &self.limits, &self.policy).and_then(|(record, rights)| {
            let folded_hash = content_hash(&fold(&record.body.canonical_text()));
            match self.copies.register(folded_hash, &record.id, line) {
                Ok(()) => Ok(ParsedRecord { line, byte_range, record, rights, folded_hash }),
                Err(Earlier { id: of, line, record }) => Err(RefusalReason::Duplicate { of, line, record }),
            }
        });
        match judged {
            Ok(record) => self.parsed.records.push(record),
            Err(reason) => self.parsed.refused.push(Refusal { line, id, reason }),
        }
    }

    fn problem(&mut self, problem: Problem) {
        self.parsed = Parsed::default(); // all or nothing: what was kept is not needed any more
        if self.problems.len() < self.limits.problems.max(1) {
            self.problems.push(problem);
        } else {
            self.omitted += 1;
        }
    }
}
