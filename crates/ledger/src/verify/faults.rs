//! The faults of a check, each with the path of its field.

use std::fmt;

use serde::Serialize;

/// Something that does not agree with what was signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fault {
    /// The path of the field in its file; `epoch.` and `manifest.` begin those of the other two
    /// files.
    pub field: String,
    /// The reason.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, field: impl Into<String>, reason: impl fmt::Display) {
        self.0.push(Fault { field: field.into(), reason: reason.to_string() });
    }

    /// Notes a fault unless `found` is what was signed or computed.
    pub(super) fn equal<T: PartialEq + fmt::Debug>(&mut self, field: impl Into<String>, found: &T, expected: &T) {
        if found != expected {
            self.add(field, format!("is {found:?}, expected {expected:?}"));
        }
    }

    pub(super) fn holds(&mut self, field: impl Into<String>, holds: bool, otherwise: &str) {
        if !holds {
            self.add(field, otherwise);
        }
    }
}
