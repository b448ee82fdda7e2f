//! What an import allows: sizes that keep hostile files cheap, and the rights a datanet needs.

use std::collections::BTreeMap;

use openledger_protocol::{Purposes, Rights};

/// Sizes beyond which a file or a record is refused. All in bytes but where the name says
/// otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest file. Default 4 GiB.
    pub file_bytes: u64,
    /// The longest line, without its line end; a longer one refuses the file. Default 512 KiB.
    pub line_bytes: usize,
    /// The longest record id. Default 256.
    pub id_bytes: usize,
    /// The longest contributor name. Default 128.
    pub name_bytes: usize,
    /// The longest licence text. Default 256.
    pub licence_bytes: usize,
    /// The most contributors of one record. Default 64.
    pub contributors: usize,
    /// The deepest nesting of a line's JSON; the record itself is level 1. Default 32, at most 127.
    pub depth: usize,
    /// The most records of one file. Default 5,000,000.
    pub records: usize,
    /// The most problems that are listed one by one; the others are counted. Default 10,000.
    pub problems: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 4 << 30,
            line_bytes: 512 << 10,
            id_bytes: 256,
            name_bytes: 128,
            licence_bytes: 256,
            contributors: 64,
            depth: 32,
            records: 5_000_000,
            problems: 10_000,
        }
    }
}

/// What a datanet asks of the licences it takes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The purposes every record must allow. Default: [`crate::REQUIRED_PURPOSES`].
    pub required: Purposes,
    /// The owner's own statement for licences without known rights, by their `LicenseRef-…` name.
    pub explicit: BTreeMap<String, Rights>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { required: Purposes::of(&crate::REQUIRED_PURPOSES), explicit: BTreeMap::new() }
    }
}
