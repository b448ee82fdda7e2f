//! The rules of datanets: what a submission must be, who owns what, and who may use it.
//!
//! # Place in the flow
//!
//! A submission (a file of records) comes in; [`parse_jsonl`] refuses the file or lists what it
//! refuses in it; [`intake`] leaves out what the datanet holds already and makes the
//! [`Contribution`](openledger_protocol::Contribution)s that `node` stores and registers;
//! [`next_publication`] is what the owner signs; [`check_grant`] guards the way to `factory`.
//! [`near::Clusters`] finds what is said twice. [`parse_plain`] reads files that enter no datanet.
//!
//! # Invariants
//!
//! - **Pure.** No clock, disk, network or randomness: the same bytes under the same policy give the
//!   same result.
//! - **All or nothing.** A damaged file gives no record at all, and names each bad line.
//! - **First registrant wins.** What is accepted or clustered never changes by what comes later.
//! - **No name reaches a screen raw.** Whatever a file says about itself is shown through
//!   [`printable`].
//!
//! # Not here
//!
//! Storing, encrypting and erasing records (`store`, `node`), signatures' format (`protocol`),
//! money (`ledger`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod commit;
mod dedup;
mod grant;
mod import;
pub mod intake;
pub mod licence;
mod name;
pub mod near;
mod terms;

pub use batch::{RecordBatch, batches};
pub use commit::{
    ChunkProof, PrepareError, PreparedContribution, PreparedRecord, Registering, Salting, SpanError, Title,
    chunk_proofs, contribution_proof, next_publication, prepare, publication, record_proof, record_salt, version_root,
};
pub use dedup::{Dedup, Earlier};
pub use grant::{GrantError, GrantUse, check_grant};
pub use import::{
    BadLine, Content, ImportError, Importer, Limits, Parsed, ParsedRecord, PlainError, PlainReader, PlainRecord,
    Policy, Problem, ProblemReason, Refusal, RefusalReason, handle, parse_jsonl, parse_jsonl_under, parse_plain,
    print_jsonl, title_name,
};
pub use name::{one_spelling, printable, printable_lines};
pub use terms::{Blocking, Meet, REQUIRED_PURPOSES, RightsError, blocking, datanet_allows, meet};
