//! Refutations: what is wrong with a proposed epoch, with the proof that `Verifier.sol` takes for
//! it.
//!
//! # Place in the flow
//!
//! A watcher fetches the leaves under a proposal's roots ([`Published`]), gathers its own knowledge
//! from the chain, from receipts and from records ([`Known`]) and calls [`examine`]. `node` encodes
//! each [`Refutation`] and sends one of them to `Payouts`; one is enough to drop a proposal.
//!
//! # Invariants
//!
//! - **Judged as the contract judges.** A refutation is made only where the rules of `Verifier.sol`
//!   find a fault, from data that leads to the proposal's own roots.
//! - **An honest proposal has none**, whatever stands in it.
//!
//! # Not here
//!
//! The encoding (`chain`), reading the chain (`node`). Differences that no proof decides, such
//! as the division of a pot by scores, stand in [`Examined::disputed`] and are for the jury.

mod examine;
mod known;
mod lines;
mod published;
mod spans;
#[cfg(test)]
mod tests;

use openledger_protocol::merkle::Proof;
use openledger_protocol::sum_tree::{SumNode, SumProof};
use openledger_protocol::{Address, Amount, B256, CreditNote, Entry, ReceiptId, ReceiptWords, Signature, Span};

pub use self::examine::{Examined, examine};
pub use self::known::{
    Answered, Known, KnownBatch, KnownEpoch, KnownModel, KnownParams, Names, PlatformLines, RecordText, RegisteredBatch,
};
pub use self::published::{Filed, PayoutPlace, Published, PublishedError};
use crate::proof::{EntryPlace, ReceiptPlace};

/// A receipt of the proposal with all its words, and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenedReceipt {
    /// The words that were signed.
    pub words: ReceiptWords,
    /// keccak-256 of the signature.
    pub signature_hash: B256,
    /// The struct hash of its credit note; zero: none.
    pub note_hash: B256,
    /// Its place under the receipts root.
    pub path: SumProof,
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
    /// The credit note that the receipt is filed with.
    pub note: Option<CreditNote>,
    /// The span.
    pub span: Span,
    /// Its place under the spans root of the note or, without one, of the receipt.
    pub path: Proof,
    /// The contribution as registered.
    pub batch: RegisteredBatch,
}

/// One fault of a proposal and its proof: a variant for each fault of `IVerifier.sol`, in its
/// order.
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
    /// The receipt's shares are not its model's or its governed numbers were never in force (no
    /// line), a line is wrong (one), or is there twice (two).
    Split {
        /// The receipt.
        receipt: Box<OpenedReceipt>,
        /// The lines.
        lines: Vec<EntryPlace>,
    },
    /// A receipt without the proposer's signature, without a bonded node, of a version, kind or
    /// credit state that does not exist, filed under another id or price, or with a credit note
    /// that it did not announce.
    Signature {
        /// The id that it is filed under.
        id: ReceiptId,
        /// Its words.
        words: Box<ReceiptWords>,
        /// Its signature.
        signature: Vec<u8>,
        /// The struct hash of its credit note; zero: none.
        note_hash: B256,
        /// The price it is filed under.
        price: Amount,
        /// Its place.
        path: SumProof,
    },
    /// A receipt that the proposer signed is missing, or another one stands under its id.
    Omission {
        /// Its words.
        words: Box<ReceiptWords>,
        /// Its signature.
        signature: Vec<u8>,
        /// The places between which it is missing, or the one that has its id.
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
    /// The lines of a receipt do not sum to its price, or the epoch pays another line than the
    /// receipt binds.
    Lines {
        /// The receipt.
        receipt: Box<OpenedReceipt>,
        /// The credit note that it is filed with.
        note: Option<Box<CreditNote>>,
        /// The difference.
        wrong: WrongLines,
    },
    /// The proposer signed another credit note for a receipt than the one it is filed with, or
    /// filed it without the one that it signed in time; or, without a signature, the one it is
    /// filed with is of another receipt or came late.
    Note {
        /// The receipt's place.
        receipt: ReceiptPlace,
        /// The other note, or the one that is filed.
        note: Box<CreditNote>,
        /// The proposer's signature of the other note.
        signature: Option<Signature>,
    },
}

/// How the lines that are paid and those that a receipt binds do not agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WrongLines {
    /// The two nodes under the lines root, which do not sum to the price.
    Sum([SumNode; 2]),
    /// A line of the epoch, and what stands at its number among the receipt's lines; beyond their
    /// places the first one.
    Line(Box<[EntryPlace; 2]>),
}

impl Refutation {
    /// The fault in a word or two.
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
            Self::Lines { .. } => "wrong lines",
            Self::Note { .. } => "wrong credit note",
        }
    }
}

/// The place of an entry that stands there.
fn entry_place(entry: &Entry, proof: SumProof) -> EntryPlace {
    EntryPlace { entry: Some(entry.clone()), proof }
}
