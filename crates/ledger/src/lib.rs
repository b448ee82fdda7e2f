//! Turns receipts into what each account may claim.
//!
//! # Place in the flow
//!
//! `node` assembles a receipt from what `serving` and `attribution` made; this crate prices it
//! ([`price()`]), splits the price ([`split()`]) and closes the epoch ([`close_epoch`]); `Payouts`
//! pays claims against the root, and anyone can check one answer from files alone
//! ([`verify_bundle`]) or refute a proposal that is not what its receipts say ([`challenge`]).
//!
//! # Invariants
//!
//! - **Conservation.** What a receipt credits sums to its price, to the last unit; an epoch's total
//!   grows by its prices.
//! - **Order-free.** The same set of receipts gives the same roots, in any order.
//! - **Pure.** No clock, disk, network, float or randomness: everything comes in as an argument, so
//!   replaying the log rebuilds the state on every machine. `clippy.toml` of the crate holds it.
//!
//! # Not here
//!
//! Who deserves credit (`attribution`), encodings and signatures (`protocol`), paying out
//! (`contracts/`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod books;
pub mod challenge;
mod deferred;
mod epoch;
mod price;
mod proof;
mod rule;
mod split;
mod supply;
mod verify;

pub use openledger_protocol::{Parties, PriceList, ReceiptLeaf, Terms};

pub use books::{base_units, payouts_hold, sums_by_role, training_weight};
pub use deferred::{DeferredError, lines_at, training_credits};
pub use epoch::{ClosedEpoch, ClosedReceipt, EpochError, EpochSpan, ExportedEpoch, close_epoch};
pub use price::price;
pub use proof::{Earned, EntryPlace, ProofError, ReceiptPlace, verify_earned, verify_no_receipt};
pub use rule::{ALL_BPS, RuleError, SplitRule};
pub use split::{Rules, SplitError, split};
pub use supply::{Supply, SupplyError};
pub use verify::{Fault, Verified, verify_bundle, verify_receipt};
