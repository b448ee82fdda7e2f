//! From bytes to JSON objects: lines, their encoding, their length and their ids.
//!
//! Place in the flow: the part of a reader that knows no rules. It passes each object and each
//! [`Problem`] to a [`Sink`], in file order. **Invariant:** the pieces in which the bytes arrive
//! change nothing. **Invariant:** beside the ids seen it holds one line. **Not here:** what an
//! object's fields mean (`rules`), what becomes of a damaged file (the sinks).

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::policy::Limits;
use super::problem::{Problem, ProblemReason};
use super::strict;

/// One line that holds a JSON object.
pub(super) struct Object {
    /// Its line, from 1.
    pub(super) line: u64,
    /// Its bytes in the file, without the line end.
    pub(super) byte_range: Range<u64>,
    /// Its `id`, where that is a string, as the file spells it.
    pub(super) id: Option<String>,
    /// All members, the id included.
    pub(super) fields: Map<String, Value>,
}

/// Takes what a file holds, in file order.
pub(super) trait Sink {
    /// The next object.
    fn object(&mut self, object: Object);
    /// The next damaged line.
    fn problem(&mut self, problem: Problem);
}

/// The state of reading a file in pieces.
#[derive(Debug)]
pub(super) struct Lines {
    limits: Limits,
    /// The line being read, from 1, and its first byte in the file.
    line: u64,
    start: u64,
    /// Bytes read of the whole file; `full` once there were more than the limit, and nothing more
    /// is read then.
    read: u64,
    full: bool,
    /// What is held of the line being read: never more than the limit and a line end; `dropped`
    /// counts the rest.
    pending: Vec<u8>,
    dropped: u64,
    /// Whether the last byte that was dropped is a carriage return: then it may be half a line end.
    dropped_cr: bool,
    /// Each id in NFC, with its line.
    ids: HashMap<String, u64>,
    objects: usize,
}

impl Lines {
    /// A reader at the start of a file.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            line: 1,
            start: 0,
            read: 0,
            full: false,
            pending: Vec::new(),
            dropped: 0,
            dropped_cr: false,
            ids: HashMap::new(),
            objects: 0,
        }
    }

    /// Reads the next bytes of the file.
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        if self.full {
            return;
        }
        let limit = self.limits.file_bytes;
        let room = usize::try_from(limit - self.read).unwrap_or(usize::MAX);
        self.cut(&bytes[..bytes.len().min(room)], sink);
        self.read += bytes.len().min(room) as u64;
        if bytes.len() > room {
            self.full = true;
            let reason = ProblemReason::FileTooLarge { limit };
            sink.problem(Problem { line: self.line, column: 1, offset: self.start, reason });
        }
    }

    /// Ends the file.
    pub(super) fn finish(&mut self, sink: &mut impl Sink) {
        if !self.full && (!self.pending.is_empty() || self.dropped > 0) {
            self.flush(sink);
        }
    }

    fn cut(&mut self, mut bytes: &[u8], sink: &mut impl Sink) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if self.pending.is_empty() && self.dropped == 0 {
                self.take_line(line, 0, sink);
            } else {
                self.hold(line);
                self.flush(sink);
            }
        }
        self.hold(bytes);
    }

    /// Keeps a piece of an unfinished line as far as a line may go: limit, byte order mark,
    /// carriage return, and one to tell.
    fn hold(&mut self, piece: &[u8]) {
        let room = (self.limits.line_bytes + 5).saturating_sub(self.pending.len());
        let (kept, over) = piece.split_at(piece.len().min(room));
        self.pending.extend_from_slice(kept);
        self.dropped += over.len() as u64;
        if let Some(&last) = over.last() {
            self.dropped_cr = last == b'\r';
        }
    }

    fn flush(&mut self, sink: &mut impl Sink) {
        let line = std::mem::take(&mut self.pending);
        let dropped = std::mem::take(&mut self.dropped);
        self.take_line(&line, dropped, sink);
        self.pending = line;
        self.pending.clear();
    }

    /// Judges one line (without its LF) and steps to the next.
    fn take_line(&mut self, raw: &[u8], dropped: u64, sink: &mut impl Sink) {
        match self.judge(raw, dropped) {
            Ok(None) => {}
            Ok(Some(object)) => sink.object(object),
            Err((column, reason)) => {
                sink.problem(Problem { line: self.line, column, offset: self.start + column - 1, reason });
            }
        }
        self.line += 1;
        self.start += raw.len() as u64 + dropped + 1;
    }

    /// The line as an object, or as nothing when it is blank; the error is the byte in the line,
    /// from 1, and what is wrong there.
    fn judge(&mut self, raw: &[u8], dropped: u64) -> Result<Option<Object>, (u64, ProblemReason)> {
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
            return Ok(None);
        }
        let value = strict::read(text, self.limits.depth).map_err(|(at, reason)| (marked as u64 + at, reason))?;
        let Value::Object(fields) = value else {
            return Err((column(0), ProblemReason::NotAnObject { found: strict::kind(&value) }));
        };
        let id = fields.get("id").and_then(Value::as_str).map(str::to_owned);
        if let Some(id) = &id {
            let same: String = id.nfc().collect();
            if let Some(&first) = self.ids.get(&same) {
                return Err((column(0), ProblemReason::DuplicateId { id: id.clone(), first }));
            }
            self.ids.insert(same, self.line);
        }
        if self.objects >= self.limits.records {
            return Err((column(0), ProblemReason::TooManyRecords { limit: self.limits.records }));
        }
        self.objects += 1;
        let first = self.start + marked as u64;
        Ok(Some(Object { line: self.line, byte_range: first..first + bytes.len() as u64, id, fields }))
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
