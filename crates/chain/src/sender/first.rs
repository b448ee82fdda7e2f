//! State of the first transaction in line.

use std::time::Instant;

/// What is known of the first transaction in line.
#[derive(Default)]
pub(super) struct Line {
    pub(super) looked: Option<Instant>,
    pub(super) nonce: u64,
    /// The head when it became the first, or was last offered for more.
    pub(super) since: u64,
    /// What it was last offered for.
    pub(super) rung: u32,
}
