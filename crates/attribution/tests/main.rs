//! The crate's promises, as facts.
#![allow(clippy::unwrap_used, missing_docs)]

mod spans;
