//! What two parties must agree on byte for byte: ids, amounts, rights, signed records, encodings, Merkle trees.
//!
//! # Place in the flow
//!
//! The lowest floor. Every stage takes and gives the records defined here: a [`Contribution`] enters a datanet,
//! a [`Grant`] lets a trainer read it, a [`Manifest`] says what a model was made of, a [`Completion`] is an answer,
//! [`Credits`] say what it rests on, a [`Receipt`] signs all of that with a price, [`Entry`]s split the price,
//! an [`EpochHeader`] commits to them and a [`Claim`] is paid against it. `docs/formats.md` is the same in prose;
//! `vectors/` holds golden cases that Rust, Solidity and TypeScript all read.
//!
//! # Invariants
//!
//! - **Pure.** No clock, disk, network, randomness or float: time and keys come in as arguments.
//! - **One encoding.** A value has exactly one byte form; decoding refuses every other.
//! - **Positional trees.** A proof is an index and siblings; there is no sorted-pair hashing.
//!
//! # Not here
//!
//! Anything only one party needs: prices, rules, storage, transport.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod amount;
mod annex;
mod canonical;
mod completion;
mod contribution;
mod credits;
mod entry;
mod epoch;
mod grant;
mod hash;
mod id;
mod manifest;
pub mod merkle;
mod receipt;
mod record;
mod rights;
mod sign;
pub mod sum_tree;
mod terms;
mod voucher;

pub use alloy_primitives::{Address, B256, U256};

pub use amount::{Amount, AmountError};
pub use annex::{Annex, SignedAnnex};
pub use canonical::{CanonicalError, canonical_json};
pub use completion::{Completion, FinishReason, Sampling, Usage};
pub use contribution::{Contribution, Publication, Registration, contribution_id, contribution_leaf};
pub use credits::{Coverage, Credits, Layer, Score, Span};
pub use entry::{Entry, Role};
pub use epoch::{Claim, EpochHeader, Payout, PayoutTree};
pub use grant::Grant;
pub use hash::{
    CHUNK_BYTES, Word, chunk_leaf, chunk_root, content_hash, keccak, keccak_words, leaf, sha256, tags, word,
};
pub use id::{AdapterHash, BaseHash, BlobHash, ChannelId, ContributionId, DatanetId, ModelId, ReceiptId, RecordRef};
pub use manifest::{DatanetUse, Manifest, Method, Mix, TrainedContribution};
pub use receipt::{RECEIPT_FIELDS, Receipt, ReceiptBundle, SignedReceipt, WordsError, output_root, request_hash};
pub use record::{Body, Record, canonicalise, fold, record_leaf};
pub use rights::{Purpose, Purposes, Rights};
pub use sign::{Domain, Key, Signature, SignatureError};
pub use terms::{Parties, PriceList, Terms};
pub use voucher::{ChannelConfig, Voucher};
