//! Refutations: what is wrong with a proposed epoch, with the proof that `Verifier.sol` takes for it.
//!
//! # Place in the flow
//!
//! Whoever watches a proposal gets what lies under its roots ([`Published`]), gathers what it knows itself from the chain
//! and from receipts and records ([`Known`]) and asks [`examine`]. `node` encodes each [`Refutation`] and sends one of them
//! to `Payouts`; one is enough to drop a proposal.
//!
//! # Invariants
//!
//! - **Judged as the contract judges.** A refutation is made only where the rules of `Verifier.sol` find a fault, from data
//!   that leads to the proposal's own roots.
//! - **An honest proposal has none**, whatever stands in it.
//!
//! # Not here
//!
//! The encoding (`chain`), reading the chain (`node`). What no proof decides (how a pot was divided by scores) is told by
//! [`Examined::disputed`] and is the jury's.

mod examine;
mod known;
mod lines;
mod published;
mod spans;
#[cfg(test)]
mod tests;

use openledger_protocol::merkle::Proof;
use openledger_protocol::{Address, B256, Entry, ReceiptId, Span};

pub use self::examine::{Examined, examine};
pub use self::known::{Answered, Batch, Known, KnownBatch, KnownEpoch, KnownModel, Names, PlatformLines, RecordText};
pub use self::published::{Filed, PayoutPlace, Published, PublishedError};
use crate::proof::{EntryPlace, ReceiptPlace};

/// A receipt of the proposal with all its words, and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenedReceipt {
    /// The words that were signed.
    pub words: [B256; 29],
    /// keccak-256 of the signature.
    pub signature_hash: B256,
    /// Its place under the receipts root.
    pub path: Proof,
}

/// A chunk of a text, or the proof that none stands there; `path.index` is its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkPlace {
    /// Salt and bytes; `None` for an empty place.
    pub chunk: Option<(B256, Vec<u8>)>,
    /// Where.
    pub path: Proof,
}

/// A receipt's span and the batch it names, as registered (all zero where no such batch is).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenedSpan {
    /// The receipt.
    pub receipt: OpenedReceipt,
    /// The span.
    pub span: Span,
    /// Its place under the receipt's spans root.
    pub path: Proof,
    /// The contribution as registered.
    pub batch: Batch,
}

/// One fault of a proposal and its proof: a variant for each fault of `IVerifier.sol`, in its order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refutation {
    /// Record and answer differ at a byte of a span, or one of them has no such byte.
    Span {
        /// The span.
        opened: Box<OpenedSpan>,
        /// Root of the record's chunks.
        content_root: B256,
        /// Bytes of the record.
        length: u32,
        /// From the record's leaf to the batch's root.
        record_siblings: Vec<B256>,
        /// Which byte of the span.
        offset: u32,
        /// The record's side.
        record: ChunkPlace,
        /// The answer's side.
        output: ChunkPlace,
    },
    /// A span names a version, contribution or record that is not there.
    Record(Box<OpenedSpan>),
    /// An account's total is not what it was and what the entries add.
    Total {
        /// The account.
        account: Address,
        /// Its places in the finalized payout tree; none before the first epoch.
        before: Vec<PayoutPlace>,
        /// Its places in the proposed one.
        after: Vec<PayoutPlace>,
        /// Where its entries begin.
        from: Vec<EntryPlace>,
        /// Where they end.
        to: Vec<EntryPlace>,
    },
    /// A receipt is in an earlier epoch already.
    Duplicate {
        /// Here.
        receipt: ReceiptPlace,
        /// The earlier epoch.
        earlier_epoch: u64,
        /// There.
        earlier: ReceiptPlace,
    },
    /// The receipt's shares are not its model's (no line), a line is wrong (one), or is there twice (two).
    Split {
        /// The receipt.
        receipt: Box<OpenedReceipt>,
        /// The lines.
        lines: Vec<EntryPlace>,
    },
    /// A receipt without its node's signature, without a bonded node, or filed under another id.
    Signature {
        /// What it is filed under.
        id: ReceiptId,
        /// Its words.
        words: Box<[B256; 29]>,
        /// Its signature.
        signature: Vec<u8>,
        /// Its place.
        path: Proof,
    },
    /// A receipt that the proposer signed is missing.
    Omission {
        /// Its words.
        words: Box<[B256; 29]>,
        /// Its signature.
        signature: Vec<u8>,
        /// The places between which it is missing.
        gap: Vec<ReceiptPlace>,
    },
    /// An owner's or contributor's line pays another than the holder.
    Payee {
        /// The receipt.
        receipt: Box<OpenedReceipt>,
        /// The line.
        line: EntryPlace,
    },
    /// Two receipts out of order, or one place too many or too few.
    ReceiptOrder(Vec<ReceiptPlace>),
    /// Two entries out of order or doubled.
    EntryOrder(Vec<EntryPlace>),
    /// Two payouts out of order or doubled.
    PayoutOrder(Vec<PayoutPlace>),
    /// A line of a receipt that the epoch does not hold.
    Entry {
        /// The line.
        line: EntryPlace,
        /// The places between which its receipt is missing.
        gap: Vec<ReceiptPlace>,
    },
}

impl Refutation {
    /// What is wrong, in a word or two.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Span { .. } => "false span",
            Self::Record(_) => "missing record",
            Self::Total { .. } => "wrong total",
            Self::Duplicate { .. } => "duplicate receipt",
            Self::Split { .. } => "wrong split",
            Self::Signature { .. } => "unsigned receipt",
            Self::Omission { .. } => "omitted receipt",
            Self::Payee { .. } => "wrong payee",
            Self::ReceiptOrder(_) | Self::EntryOrder(_) | Self::PayoutOrder(_) => "wrong order",
            Self::Entry { .. } => "entry without receipt",
        }
    }
}

/// The place of an entry that stands there.
fn entry_place(entry: &Entry, proof: openledger_protocol::sum_tree::SumProof) -> EntryPlace {
    EntryPlace { entry: Some(entry.clone()), proof }
}
