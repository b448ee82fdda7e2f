//! The wire types of a node's HTTP API: every request, response, page, event and problem, and the
//! table of its routes.
//!
//! # Place in the flow
//!
//! `node` returns these types, `gateway` serves them by the routes of [`routes()`], the command
//! line and the demonstration read them through [`client`], and the Studio reads TypeScript types
//! that are generated from `docs/openapi.json`. That document is generated from this crate.
//!
//! # Invariants
//!
//! - An amount is a decimal string of base units ([`Amount`]), a time is Unix seconds, a hash or an
//!   account is `0x` and lower-case hexadecimal digits, a share is basis points or millionths.
//! - A request with an unknown member is refused; a client ignores unknown members of a response.
//! - [`routes()`] is the only list of routes: the document, the policy and the router follow it.
//!
//! # Not here
//!
//! HTTP servers (`gateway`), and rules (`ledger`, `datanet`, `node`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attribution;
mod audit;
mod channels;
mod claims;
#[cfg(feature = "client")]
pub mod client;
mod datanets;
mod epochs;
mod handles;
mod health;
mod imports;
mod jobs;
mod models;
mod network;
pub mod openai;
pub mod openapi;
mod overview;
mod page;
pub mod policy;
mod problem;
mod receipts;
mod records;
mod routes;
mod watching;

pub use openledger_protocol::{
    Address, Amount, B256, ChannelConfig, ChannelId, ContributionId, Coverage, Credits, DatanetId, Grant, Manifest,
    Mix, ModelId, PayeeRole, PriceList, ReceiptBundle, ReceiptId, RecordRef, Rights, Signature, Span,
};

pub use attribution::{Attribution, AttributionRequest, CreditedRecord};
pub use audit::{Audit, AuditCheck, AuditScope};
pub use channels::{NewChannel, OpenedChannel, SessionKey, SessionKeyRequest};
pub use claims::{Claimed, ClaimsMade, ClaimsRequest};
pub use datanets::{
    ContributionView, DatanetView, GrantPublished, NewDatanet, NextVersion, SignedGrant, SignedVersion,
    VersionPublished,
};
pub use epochs::{EpochExport, EpochSettled, EpochState, EpochView, PayoutView, SettlementStep};
pub use handles::{Handle, HandlesNoted, NewHandles};
pub use health::{ChainHealth, ComponentHealth, Health, Liveness, NamedHealth};
pub use imports::{
    BatchRegistered, BatchSignature, BatchToSign, ImportReport, ImportSignatures, Imported, NearDuplicate,
    RefusedRecord,
};
pub use jobs::{
    DatanetVersionRef, Job, JobEvent, JobEventKind, JobKind, JobOrder, JobProgress, JobQueued, JobResult, JobState,
    JobsQuery, LogLevel, Number, Recipe, TrainOrder, TrainResult,
};
pub use models::{HeldOutLoss, ModelOffer, ModelOffered, ModelSplit, ModelView, TrainedRecord};
pub use network::{BaseModel, ContractAddresses, Network, PlatformAccounts};
pub use overview::{Overview, Totals};
pub use page::{Page, PageQuery};
pub use problem::{FileProblem, PROBLEMS, Problem, ProblemKind};
pub use receipts::{PrincipalOpening, ReceiptDetail, ReceiptSpan, ReceiptView, RoleSum, SplitLine};
pub use records::{NamedAccount, RecordView};
pub use routes::{Body, Errors, Method, Outcome, Parameter, Place, Route, Schematic, find, routes};
pub use watching::{Dispute, EpochPublication, FiledReceipt, PayoutLeaf, Refutation, Verdict, WatchedProposal};
