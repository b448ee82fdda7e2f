//! The state of an import: lines in, then all records or all problems.

use std::collections::HashMap;
use std::ops::Range;

use openledger_protocol::{B256, Record, Rights, content_hash, fold};
use serde_json::Value;

use super::policy::{Limits, Policy};
use super::problem::{ImportError, Problem, ProblemReason};
use super::refusal::{Refusal, RefusalReason};
use super::{rules, strict};
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
    /// SHA-256 of the folded canonical text: equal for copies that differ in white space and Unicode form only.
    pub folded_hash: B256,
}

impl Parsed {
    /// Moves records whose text was accepted before from `records` to `refused`; `known` names the holder of a folded hash.
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

/// Reads a whole file of JSON Lines: UTF-8, a byte order mark and CRLF line ends allowed, blank lines skipped.
///
/// Records that break a rule (licence, names, emptiness, copies within the file) are listed in [`Parsed::refused`].
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
        // Maps with string keys and finite numbers always serialise, and a record holds nothing else.
        out.push_str(&serde_json::to_string(record).expect("a record is plain JSON"));
        out.push('\n');
    }
    out
}

/// An import that takes its bytes in pieces of any size, so that a file need not fit in memory.
#[derive(Debug)]
pub struct Importer {
    limits: Limits,
    policy: Policy,
    /// The line being read, from 1, and its first byte in the file.
    line: u64,
    start: u64,
    /// What is there of the line being read: never more than the limit and a line end; `dropped` counts the rest.
    pending: Vec<u8>,
    dropped: u64,
    /// Whether the last byte that was dropped is a carriage return: then it may be half a line end.
    dropped_cr: bool,
    ids: HashMap<String, u64>,
    copies: Dedup,
    parsed: Parsed,
    problems: Vec<Problem>,
    omitted: u64,
}

impl Importer {
    /// An import that has read nothing.
    #[must_use]
    pub fn new(limits: Limits, policy: Policy) -> Self {
        Self {
            limits,
            policy,
            line: 1,
            start: 0,
            pending: Vec::new(),
            dropped: 0,
            dropped_cr: false,
            ids: HashMap::new(),
            copies: Dedup::default(),
            parsed: Parsed::default(),
            problems: Vec::new(),
            omitted: 0,
        }
    }

    /// Reads the next bytes of the file.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if self.pending.is_empty() && self.dropped == 0 {
                self.take_line(line, 0);
            } else {
                self.hold(line);
                self.flush();
            }
        }
        self.hold(bytes);
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`ImportError`] with every bad line; the records read are dropped.
    pub fn finish(mut self) -> Result<Parsed, ImportError> {
        if !self.pending.is_empty() || self.dropped > 0 {
            self.flush();
        }
        if self.problems.is_empty() {
            Ok(self.parsed)
        } else {
            Err(ImportError { problems: self.problems, omitted: self.omitted })
        }
    }

    /// Keeps a piece of an unfinished line as far as a line may go: limit, byte order mark, carriage return, and one to tell.
    fn hold(&mut self, piece: &[u8]) {
        let room = (self.limits.line_bytes + 5).saturating_sub(self.pending.len());
        let (kept, over) = piece.split_at(piece.len().min(room));
        self.pending.extend_from_slice(kept);
        self.dropped += over.len() as u64;
        if let Some(&last) = over.last() {
            self.dropped_cr = last == b'\r';
        }
    }

    fn flush(&mut self) {
        let line = std::mem::take(&mut self.pending);
        let dropped = std::mem::take(&mut self.dropped);
        self.take_line(&line, dropped);
        self.pending = line;
        self.pending.clear();
    }

    /// Judges one line (without its LF) and steps to the next.
    fn take_line(&mut self, raw: &[u8], dropped: u64) {
        let result = self.judge(raw, dropped);
        if let Err((column, reason)) = result {
            self.parsed = Parsed::default(); // all or nothing: what was kept is not needed any more
            if self.problems.len() < self.limits.problems.max(1) {
                self.problems.push(Problem { line: self.line, column, offset: self.start + column - 1, reason });
            } else {
                self.omitted += 1;
            }
        }
        self.line += 1;
        self.start += raw.len() as u64 + dropped + 1;
    }

    /// The line as a record, a refusal or nothing; the error is the byte in the line, from 1, and what is wrong there.
    fn judge(&mut self, raw: &[u8], dropped: u64) -> Result<(), (u64, ProblemReason)> {
        if self.line == 1 {
            other_format(raw).map_or(Ok(()), |found| Err((1, ProblemReason::OtherFormat { found })))?;
        }
        let mark: &[u8] = "\u{feff}".as_bytes();
        let marked = if self.line == 1 && raw.starts_with(mark) { mark.len() } else { 0 };
        let bytes = &raw[marked..];
        let bytes = if dropped == 0 { bytes.strip_suffix(b"\r").unwrap_or(bytes) } else { bytes };
        let line_end = u64::from(dropped > 0 && self.dropped_cr);
        let length = bytes.len() as u64 + dropped - line_end;
        if length > self.limits.line_bytes as u64 {
            let limit = self.limits.line_bytes as u64;
            return Err((1, ProblemReason::LineTooLong { bytes: length, limit }));
        }
        let column = |at: usize| (marked + at + 1) as u64;
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err((column(at), ProblemReason::Nul));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| (column(error.valid_up_to()), ProblemReason::InvalidUtf8))?;
        if text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            return Ok(());
        }
        let value = strict::read(text, self.limits.depth).map_err(|(at, reason)| (marked as u64 + at, reason))?;
        let Value::Object(fields) = value else {
            return Err((column(0), ProblemReason::NotAnObject { found: strict::kind(&value) }));
        };
        let id = fields.get("id").and_then(Value::as_str).map(str::to_owned);
        if let Some(id) = &id {
            if let Some(&first) = self.ids.get(id) {
                return Err((column(0), ProblemReason::DuplicateId { id: id.clone(), first }));
            }
            self.ids.insert(id.clone(), self.line);
        }
        if self.parsed.records.len() + self.parsed.refused.len() >= self.limits.records {
            return Err((column(0), ProblemReason::TooManyRecords { limit: self.limits.records }));
        }
        let first = self.start + marked as u64;
        self.judge_record(id, fields, first..first + bytes.len() as u64);
        Ok(())
    }

    /// Keeps or refuses a record. In a file that has a problem already nothing is kept, only looked at.
    fn judge_record(&mut self, id: Option<String>, fields: serde_json::Map<String, Value>, byte_range: Range<u64>) {
        if !self.problems.is_empty() {
            return;
        }
        let line = self.line;
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
}

/// Formats that are handed in by mistake, by their first bytes.
fn other_format(first: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "a gzip file"),
        (b"PK\x03\x04", "a zip file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"PAR1", "a Parquet file"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
    ];
    KNOWN.iter().find(|(magic, _)| first.starts_with(magic)).map(|&(_, name)| name)
}
