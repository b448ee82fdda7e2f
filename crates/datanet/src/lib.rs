//! The rules of datanets: what a submission must be, who owns what, and who may use it.
//!
//! # Place in the flow
//!
//! A submission (a file of records) comes in; [`parse_jsonl`] refuses the file or lists what it refuses in it;
//! [`batches`] and [`prepare`] make the [`Contribution`](openledger_protocol::Contribution)s that `node` stores and
//! registers; [`check_grant`] guards the way to `factory`. [`near::Clusters`] finds what is said twice.
//!
//! # Invariants
//!
//! - **Pure.** No clock, disk, network or randomness: the same bytes under the same policy give the same result.
//! - **All or nothing.** A damaged file gives no record at all, and names each bad line.
//! - **First registrant wins.** What is accepted or clustered never changes by what comes later.
//! - **No name reaches a screen raw.** Whatever a file says about itself is shown through [`printable`].
//!
//! # Not here
//!
//! Storing, encrypting and erasing records (`store`, `node`), signatures' format (`protocol`), money (`ledger`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod commit;
mod dedup;
mod grant;
mod import;
pub mod licence;
mod name;
pub mod near;
mod terms;

pub use batch::{Batch, batches};
pub use commit::{
    ChunkProof, PrepareError, PreparedContribution, PreparedRecord, Registering, Salting, SpanError, chunk_proofs,
    contribution_proof, prepare, record_proof, record_salt, version_root,
};
pub use dedup::{Dedup, Earlier};
pub use grant::{GrantError, GrantUse, check_grant};
pub use import::{
    ImportError, Importer, Limits, Parsed, ParsedRecord, Policy, Problem, ProblemReason, Refusal, RefusalReason,
    parse_jsonl, parse_jsonl_under, print_jsonl,
};
pub use name::printable;
pub use terms::{Blocking, Meet, RightsError, blocking, datanet_allows, meet};
