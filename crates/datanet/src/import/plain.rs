//! Plain files: the records of a file that enters no datanet, for training and attribution without
//! a node.
//!
//! Place in the flow: the command line reads with it and passes on what it gives to `factory` and
//! `attribution`. **Invariant:** a line means what it means to an import, under the same limits and
//! codes; only id, contributor and licence may be absent here, and copies are kept. **Invariant:**
//! one bad line refuses the file, with all bad lines listed. **Not here:** opening files.

use std::fmt;

use super::lines::{Lines, Object, Sink};
use super::policy::Limits;
use super::problem::Problem;
use super::refusal::Refusal;
use super::rules::{self, Content};

/// One record of a plain file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainRecord {
    /// Its line, from 1.
    pub line: u64,
    /// Its name, in NFC, where it has one.
    pub id: Option<String>,
    /// Who wrote it, in the form of [`crate::handle`]; may be empty.
    pub contributors: Vec<String>,
    /// Its content.
    pub content: Content,
}

impl PlainRecord {
    /// Its name in messages: its id, or its line.
    #[must_use]
    pub fn name(&self) -> String {
        self.id.clone().unwrap_or_else(|| format!("line {}", self.line))
    }
}

/// A line that refuses a plain file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// It is damaged.
    Problem(Problem),
    /// It breaks a rule.
    Refusal(Refusal),
}

impl BadLine {
    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        match self {
            Self::Problem(problem) => problem.line,
            Self::Refusal(refusal) => refusal.line,
        }
    }

    /// A stable name of the reason for programs; the same as an import gives.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Problem(problem) => problem.reason.code(),
            Self::Refusal(refusal) => refusal.reason.code(),
        }
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(problem) => write!(f, "{problem} [{}]", self.code()),
            Self::Refusal(refusal) => write!(f, "{refusal} [{}]", self.code()),
        }
    }
}

/// Why a plain file was refused: nothing of it was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file has {} bad lines, nothing of it was used", .lines.len() as u64 + .omitted)]
pub struct PlainError {
    /// Each bad line, in file order; never empty.
    pub lines: Vec<BadLine>,
    /// Bad lines beyond [`Limits::problems`], counted only.
    pub omitted: u64,
}

/// A reader of a plain file that takes its bytes in pieces of any size.
#[derive(Debug)]
pub struct PlainReader {
    lines: Lines,
    kept: Kept,
}

#[derive(Debug)]
struct Kept {
    limits: Limits,
    records: Vec<PlainRecord>,
    bad: Vec<BadLine>,
    omitted: u64,
}

impl PlainReader {
    /// A reader that has read nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let kept = Kept { limits: limits.clone(), records: Vec::new(), bad: Vec::new(), omitted: 0 };
        Self { lines: Lines::new(limits), kept }
    }

    /// Reads the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.lines.feed(bytes, &mut self.kept);
    }

    /// Ends the file: its records in file order.
    ///
    /// # Errors
    /// [`PlainError`] with every bad line.
    pub fn finish(mut self) -> Result<Vec<PlainRecord>, PlainError> {
        self.lines.finish(&mut self.kept);
        let Kept { records, bad, omitted, .. } = self.kept;
        if bad.is_empty() { Ok(records) } else { Err(PlainError { lines: bad, omitted }) }
    }
}

impl Kept {
    fn refuse(&mut self, line: BadLine) {
        self.records = Vec::new();
        if self.bad.len() < self.limits.problems.max(1) {
            self.bad.push(line);
        } else {
            self.omitted += 1;
        }
    }
}

impl Sink for Kept {
    fn object(&mut self, object: Object) {
        let Object { line, id, fields, .. } = object;
        match rules::plain(fields, &self.limits) {
            Ok((id, contributors, content)) if self.bad.is_empty() => {
                self.records.push(PlainRecord { line, id, contributors, content });
            }
            Ok(_) => {}
            Err(reason) => self.refuse(BadLine::Refusal(Refusal { line, id, reason })),
        }
    }

    fn problem(&mut self, problem: Problem) {
        self.refuse(BadLine::Problem(problem));
    }
}

/// Reads a whole plain file; see [`PlainReader`].
///
/// # Errors
/// [`PlainError`] with every bad line.
pub fn parse_plain(bytes: &[u8], limits: &Limits) -> Result<Vec<PlainRecord>, PlainError> {
    let mut reader = PlainReader::new(limits.clone());
    reader.feed(bytes);
    reader.finish()
}
