//! Imports: bytes of JSON Lines in, records or reasons out.
//!
//! # Place in the flow
//!
//! The first stage of a submission. `lines` cuts and knows ids, `strict` reads JSON without
//! forgiving anything, `rules` turns an object into a record under a [`Policy`]. [`Importer`] holds
//! what spans records: copies. [`PlainReader`] reads files that enter no datanet, by the same lines
//! and rules.
//!
//! # Invariants
//!
//! - **All or nothing.** A file with one [`Problem`] gives no records.
//! - **Everything is said.** Each line is blank, a record, a [`Refusal`] or a [`Problem`]; no line
//!   is passed over.
//! - **O(line).** Beside what it returns and the ids and hashes seen, an import holds one line.
//!
//! # Not here
//!
//! Opening files and decompressing (`node`), rows already stored (given as a closure to
//! [`Parsed::without_known`]).

mod importer;
mod lines;
mod plain;
mod policy;
mod problem;
mod refusal;
mod rules;
mod strict;

pub use importer::{Importer, Parsed, ParsedRecord, parse_jsonl, parse_jsonl_under, print_jsonl};
pub use plain::{BadLine, PlainError, PlainReader, PlainRecord, parse_plain};
pub use policy::{Limits, Policy};
pub use problem::{ImportError, Problem, ProblemReason};
pub use refusal::{Refusal, RefusalReason};
pub use rules::{Content, handle, title_name};
