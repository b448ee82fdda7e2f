//! Formats that two parties must agree on byte for byte: ids, amounts, rights, signed records,
//! encodings, Merkle trees.
//!
//! # Place in the flow
//!
//! The lowest floor. Every stage takes and gives the records defined here: a [`Contribution`]
//! enters a datanet, a [`Grant`] lets a trainer read it, a [`Manifest`] says what a model was made
//! of, a [`Completion`] is an answer, [`Credits`] say what it rests on, a [`Receipt`] signs all of
//! that with a price, [`Entry`]s split the price, an [`EpochHeader`] commits to them and a
//! [`Claim`] is paid against it. `docs/formats.md` is the same in prose; `vectors/` holds golden
//! cases that Rust, Solidity and TypeScript all read.
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
mod bundle;
mod canonical;
mod completion;
mod content;
mod contribution;
mod credits;
mod entry;
mod epoch;
mod grant;
mod hash;
mod id;
mod lineage;
mod manifest;
pub mod merkle;
mod note;
mod params;
mod passage;
mod principal;
mod receipt;
mod record;
mod rights;
mod sign;
mod strict;
pub mod sum_tree;
mod terms;
mod voucher;
mod words;

pub use alloy_primitives::{Address, B256, Bytes, U256};

pub use amount::{Amount, AmountError};
pub use annex::Annex;
pub use bundle::{BundleError, ReceiptBundle};
pub use canonical::{CanonicalError, canonical_json};
pub use completion::{Completion, FinishReason, Sampling, Usage};
pub use content::{CHUNK_BYTES, chunk_leaf, chunk_root, content_hash};
pub use contribution::{Contribution, Publication, Registration, contribution_id, contribution_leaf};
pub use credits::{Coverage, Credits, Layer, Score, Span};
pub use entry::{Entry, PayeeRole, lines_root, lines_tree};
pub use epoch::{Claim, EpochHeader, Payout, PayoutTree};
pub use grant::Grant;
pub use hash::{Word, keccak, keccak_words, leaf, sha256, tags, word};
pub use id::{AdapterHash, BaseHash, BlobHash, ChannelId, ContributionId, DatanetId, ModelId, ReceiptId, RecordRef};
pub use lineage::{Passage, context_root, parents_root};
pub use manifest::{DatanetUse, Manifest, Method, Mix, TrainedContribution};
pub use note::{CreditNote, SignedNote};
pub use params::{Params, ParamsError};
pub use passage::{ContextPlace, Cut};
pub use principal::{PrincipalError, PrincipalId};
pub use receipt::{
    CreditState, Receipt, ReceiptKind, ReceiptLeaf, ReceiptWords, SignedReceipt, output_root, request_hash,
};
pub use record::{Body, Record, canonicalise, fold, record_leaf};
pub use rights::{Purpose, Purposes, Rights};
pub use sign::{Domain, Key, Signature, SignatureError};
pub use strict::{read_body, read_json};
pub use terms::{Parties, PriceList, Terms};
pub use voucher::{ChannelConfig, Voucher};
pub use words::{FormatVersion, WordsError};
