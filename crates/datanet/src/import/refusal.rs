//! What is wrong with a record by a rule: it is listed and left out, and the rest of its file goes
//! on.

use std::fmt;

use openledger_protocol::{Purposes, RecordRef};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::printable;

/// One record that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its line, from 1.
    pub line: u64,
    /// Its id, where it has one; show it through [`printable`].
    pub id: Option<String>,
    /// Why.
    pub reason: RefusalReason,
}

/// Why a well-formed record was left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalReason {
    /// A field is missing.
    #[error("`{field}` is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field is of another JSON type than it must be.
    #[error("`{field}` must be {expected}, this is {found}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Two ways of saying a thing say different things.
    #[error("`{one}` and `{other}` contradict each other: keep one")]
    Contradiction {
        /// One field.
        one: String,
        /// The other.
        other: String,
    },
    /// A name holds control characters, direction marks or invisible fillers.
    #[error("`{field}` holds characters that are not shown: `{}`", printable(.value))]
    Unprintable {
        /// The field.
        field: &'static str,
        /// Its value, raw.
        value: String,
    },
    /// A name is too long.
    #[error("`{field}` has {bytes} bytes; the most is {limit}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// The record lists too many contributors.
    #[error("{count} contributors; the most is {limit}")]
    TooManyContributors {
        /// How many it lists.
        count: usize,
        /// The most.
        limit: usize,
    },
    /// No licence: without one nobody but the author may use the record.
    #[error("no licence: name one in `license`, such as CC-BY-4.0")]
    NoLicence,
    /// The licence is not known, and the datanet's owner has not stated what it allows.
    #[error("the licence `{licence}` is not known: use an SPDX name, or let the datanet's owner state its rights")]
    UnknownLicence {
        /// The name under which the owner may state rights.
        licence: String,
    },
    /// The licence forbids what the datanet is for.
    #[error("the licence `{licence}` does not allow {missing:?}, which this datanet requires")]
    RightsTooNarrow {
        /// The licence.
        licence: String,
        /// What it does not allow.
        missing: Purposes,
    },
    /// The tokens of a record end before the first one that would be learned.
    #[error("`{field}` is {from}, which is no place among {tokens} tokens after the first")]
    NothingLearned {
        /// The field that says where learning starts.
        field: &'static str,
        /// Its value; one where the line has none.
        from: u64,
        /// The number of tokens.
        tokens: usize,
    },
    /// Nothing that can be seen is said: an empty text or an empty answer.
    #[error("`{field}` is empty")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// The same text, white space aside, was there earlier.
    #[error("the same text as {}", earlier(.of, .line, .record))]
    Duplicate {
        /// The earlier record's id.
        of: String,
        /// Its line, when it stands in this file.
        line: Option<u64>,
        /// Its place, when it was accepted before.
        record: Option<RecordRef>,
    },
}

fn earlier(of: &str, line: &Option<u64>, record: &Option<RecordRef>) -> String {
    let name = printable(of);
    match (line, record) {
        (Some(line), _) => format!("`{name}` on line {line}"),
        (None, Some(at)) => format!("`{name}`, record {} of contribution {}", at.index, at.contribution),
        (None, None) => format!("`{name}`, which was accepted earlier"),
    }
}

impl RefusalReason {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing-field",
            Self::WrongType { .. } => "wrong-type",
            Self::Contradiction { .. } => "contradiction",
            Self::Unprintable { .. } => "unprintable-name",
            Self::TooLong { .. } => "name-too-long",
            Self::TooManyContributors { .. } => "too-many-contributors",
            Self::NoLicence => "no-licence",
            Self::UnknownLicence { .. } => "unknown-licence",
            Self::RightsTooNarrow { .. } => "rights-too-narrow",
            Self::NothingLearned { .. } => "nothing-learned",
            Self::Empty { .. } => "empty",
            Self::Duplicate { .. } => "duplicate",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "line {} (`{}`): {}", self.line, printable(id), self.reason),
            None => write!(f, "line {}: {}", self.line, self.reason),
        }
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut view = serializer.serialize_struct("Refusal", 4)?;
        view.serialize_field("line", &self.line)?;
        view.serialize_field("id", &self.id.as_deref().map(printable))?;
        view.serialize_field("code", self.reason.code())?;
        view.serialize_field("reason", &self.reason.to_string())?;
        view.end()
    }
}
