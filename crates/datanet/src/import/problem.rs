//! What is wrong with a file as a file: any of it refuses the whole.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::printable;

/// Why a file was refused: nothing of it was kept. The command line exits with 65.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ImportError {
    /// Each bad line, in file order.
    pub problems: Vec<Problem>,
    /// Bad lines beyond [`crate::Limits::problems`], counted only.
    pub omitted: u64,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len() as u64 + self.omitted;
        write!(
            f,
            "the file was refused, nothing of it was kept: {count} bad line{}",
            if count == 1 { "" } else { "s" }
        )?;
        for problem in &self.problems {
            write!(f, "\n{problem}")?;
        }
        if self.omitted > 0 {
            write!(f, "\n… and {} more", self.omitted)?;
        }
        Ok(())
    }
}

/// One bad line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: u64,
    /// The byte in the line, from 1.
    pub column: u64,
    /// The byte in the file, from 0.
    pub offset: u64,
    /// What is wrong there.
    pub reason: ProblemReason,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemReason {
    /// Bytes that no UTF-8 text has.
    #[error("not UTF-8")]
    InvalidUtf8,
    /// The file is another format altogether.
    #[error("this is {found}, not JSON Lines")]
    OtherFormat {
        /// What its first bytes say it is.
        found: &'static str,
    },
    /// A NUL character, raw or as `\u0000`.
    #[error("a NUL character")]
    Nul,
    /// The line goes on for too long.
    #[error("a line of {bytes} bytes; the most is {limit}")]
    LineTooLong {
        /// Its length.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// The JSON ends in the middle.
    #[error("the JSON ends in the middle")]
    Truncated,
    /// Not JSON, lone surrogates and numbers beyond all range included.
    #[error("not JSON: {message}")]
    Json {
        /// What the parser says.
        message: String,
    },
    /// A key stands twice in one object, so the line has two meanings.
    #[error("the key `{}` stands twice in one object", printable(.key))]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// Objects or lists are nested too deeply.
    #[error("nested more than {limit} levels deep")]
    TooDeep {
        /// The most.
        limit: usize,
    },
    /// A whole number that 64 bits cannot hold, so that it would be kept as another number.
    #[error("a number too large to be kept exactly")]
    NumberTooLarge,
    /// JSON, but not an object.
    #[error("a line must be one JSON object, this is {found}")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// The id stands on an earlier line.
    #[error("the id `{}` stands already on line {first}", printable(.id))]
    DuplicateId {
        /// The id.
        id: String,
        /// Where it stands first.
        first: u64,
    },
    /// The file goes on for too long.
    #[error("a file of more than {limit} bytes")]
    FileTooLarge {
        /// The most.
        limit: u64,
    },
    /// The file has more records than one import takes.
    #[error("more than {limit} records in one file")]
    TooManyRecords {
        /// The most.
        limit: usize,
    },
}

impl ProblemReason {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "invalid-utf8",
            Self::OtherFormat { .. } => "other-format",
            Self::Nul => "nul",
            Self::LineTooLong { .. } => "line-too-long",
            Self::Truncated => "truncated",
            Self::Json { .. } => "malformed-json",
            Self::DuplicateKey { .. } => "duplicate-key",
            Self::TooDeep { .. } => "too-deep",
            Self::NumberTooLarge => "number-too-large",
            Self::NotAnObject { .. } => "not-an-object",
            Self::DuplicateId { .. } => "duplicate-id",
            Self::FileTooLarge { .. } => "file-too-large",
            Self::TooManyRecords { .. } => "too-many-records",
        }
    }

    /// What whoever made the file can do about it.
    #[must_use]
    pub fn what_to_do(&self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "save the file as UTF-8",
            Self::OtherFormat { .. } => "unpack or convert it to UTF-8 JSON Lines first",
            Self::Nul => "remove the NUL character",
            Self::LineTooLong { .. } => "split the record, one JSON object a line",
            Self::Truncated => "the file may be cut off or a record may span lines: write one whole JSON object a line",
            Self::Json { .. } => "write one JSON object a line, without comments or trailing commas",
            Self::DuplicateKey { .. } => "keep one of the two",
            Self::TooDeep { .. } => "flatten the line's `meta`",
            Self::NumberTooLarge => "write the number as a string",
            Self::NotAnObject { .. } => "write one JSON object a line",
            Self::DuplicateId { .. } => "give each record an id of its own",
            Self::FileTooLarge { .. } | Self::TooManyRecords { .. } => "split the file",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, offset, reason } = self;
        write!(f, "line {line}, column {column} (byte {offset}): {reason}; {}", reason.what_to_do())
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut view = serializer.serialize_struct("Problem", 6)?;
        view.serialize_field("line", &self.line)?;
        view.serialize_field("column", &self.column)?;
        view.serialize_field("offset", &self.offset)?;
        view.serialize_field("code", self.reason.code())?;
        view.serialize_field("reason", &self.reason.to_string())?;
        view.serialize_field("what_to_do", self.reason.what_to_do())?;
        view.end()
    }
}
