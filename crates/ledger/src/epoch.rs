//! Closes an epoch: the roots over its receipts and entries, and what every account has earned
//! since genesis.
//!
//! `node` gives the split receipts of a stretch of time; the header goes to `Payouts`, proofs
//! ([`crate::Earned`] and the methods of [`ClosedEpoch`]) to claimers and challengers.
//!
//! # Invariants
//!
//! - **Conservation.** Each receipt's entries sum to its price, and the total grows by exactly the
//!   epoch's prices.
//! - **Order-free.** Receipts and earlier payouts may come in any order.
//!
//! **Not here:** signatures, which are checked when a receipt is taken in and by
//! [`crate::verify_bundle`].

use std::collections::BTreeMap;

use openledger_protocol::sum_tree::SumTree;
use openledger_protocol::{
    Address, Amount, AmountError, B256, CreditNote, CreditState, Domain, Entry, EpochHeader, FormatVersion, Payout,
    PayoutTree, ReceiptId, ReceiptLeaf, SignedReceipt, lines_root,
};
use serde::{Deserialize, Serialize};

/// The reason why an epoch was not closed; nothing is committed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EpochError {
    /// A receipt is for another chain or contract; it belongs to that one's epochs.
    #[error("receipt {receipt} is signed for chain {} and contract {}", found.chain_id, found.contract)]
    Domain {
        /// The receipt.
        receipt: ReceiptId,
        /// The domain that it is signed for.
        found: Domain,
    },
    /// A receipt is signed by another node; it belongs to that node's epochs.
    #[error("receipt {receipt} is of node {found}, the epoch of {expected}")]
    Node {
        /// The receipt.
        receipt: ReceiptId,
        /// Its node.
        found: Address,
        /// The epoch's node.
        expected: Address,
    },
    /// A receipt is of a time after the cutoff; it belongs to a later epoch.
    #[error("receipt {receipt} is of time {time}, after the cutoff {cutoff}")]
    Late {
        /// The receipt.
        receipt: ReceiptId,
        /// Its time.
        time: u64,
        /// The epoch's cutoff.
        cutoff: u64,
    },
    /// A credit note names another receipt, or its receipt did not defer its credits, or it is of a
    /// time after the cutoff.
    #[error("the credit note does not belong to receipt {0} in this epoch")]
    Note(ReceiptId),
    /// A receipt's lines are not those that receipt or note were signed with; split it again.
    #[error("lines of receipt {0} are not those that were signed")]
    Lines(ReceiptId),
    /// Two receipts have one id (one node, channel and nonce); keep the one that was paid for.
    #[error("receipt {0} is there twice")]
    Duplicate(ReceiptId),
    /// A line names another receipt, repeats a number or is zero; split the receipt again.
    #[error("line {line} of receipt {receipt} does not belong there")]
    Line {
        /// The receipt.
        receipt: ReceiptId,
        /// The line.
        line: u32,
    },
    /// A receipt's lines do not sum to its price; split it again.
    #[error("lines of receipt {receipt} sum to {lines} base units, its price is {price}")]
    Unbalanced {
        /// The receipt.
        receipt: ReceiptId,
        /// The sum of its lines.
        lines: u128,
        /// Its price.
        price: u128,
    },
    /// The payouts do not grow by what the epoch's receipts cost; a fault of this code or of the
    /// earlier payouts.
    #[error("payouts sum to {found} base units, expected {expected}")]
    Total {
        /// Earlier payouts and the epoch's entries.
        expected: u128,
        /// The sum of the payout tree.
        found: u128,
    },
    /// An account has two earlier payouts; each account has one.
    #[error("account {0} has two earlier payouts")]
    PayoutTwice(Address),
    /// More receipts than 32 bits can count; close epochs more often.
    #[error("{0} receipts do not fit one epoch")]
    TooMany(usize),
    /// An amount left 128 bits.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

/// A receipt with the lines that it pays in an epoch ([`crate::lines_at`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClosedReceipt {
    /// The receipt.
    pub signed: SignedReceipt,
    /// The credit note of a receipt that deferred its credits; `None` when it has none at the
    /// cutoff.
    pub note: Option<CreditNote>,
    /// Its lines.
    pub entries: Vec<Entry>,
}

/// Which epoch is closed: whose, and up to when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochSpan {
    /// The operator, whose receipts it holds.
    pub node: Address,
    /// Its number, from 1.
    pub number: u64,
    /// The time up to which receipts and notes count, in Unix seconds.
    pub cutoff: u64,
}

/// An epoch with all that its proofs are made from.
#[derive(Clone, Debug)]
pub struct ClosedEpoch {
    /// The proposal.
    pub header: EpochHeader,
    /// Chain and `Payouts` contract.
    pub domain: Domain,
    /// The receipts, ordered by id.
    pub receipts: Vec<SignedReceipt>,
    /// The preimages of the receipts' leaves, in their order.
    pub receipt_leaves: Vec<ReceiptLeaf>,
    /// The tree over them.
    pub receipts_tree: SumTree,
    /// The entries, ordered by account, receipt and line.
    pub entries: Vec<Entry>,
    /// The tree over the entries.
    pub entries_tree: SumTree,
    /// The earnings of every account since genesis.
    pub payouts: PayoutTree,
}

/// Closes an epoch over `receipts`; `previous_payouts` are those of the epoch before, `domain` that
/// of `Payouts`.
///
/// **Order:** free, for both lists. **Cost:** `O(n log n)` in entries and accounts.
///
/// # Errors
/// [`EpochError`] naming the receipt or account that does not fit.
pub fn close_epoch(
    span: EpochSpan,
    receipts: &[ClosedReceipt],
    previous_payouts: &[Payout],
    domain: Domain,
) -> Result<ClosedEpoch, EpochError> {
    let mut by_id: BTreeMap<ReceiptId, &ClosedReceipt> = BTreeMap::new();
    for closed in receipts {
        check_receipt(closed, span, domain)?;
        let id = closed.signed.receipt.id();
        if by_id.insert(id, closed).is_some() {
            return Err(EpochError::Duplicate(id));
        }
    }
    let receipt_count = u32::try_from(by_id.len()).map_err(|_| EpochError::TooMany(by_id.len()))?;
    let receipts: Vec<SignedReceipt> = by_id.values().map(|closed| closed.signed.clone()).collect();
    let receipt_leaves: Vec<ReceiptLeaf> =
        by_id.values().map(|closed| ReceiptLeaf::of(&closed.signed, closed.note.as_ref())).collect();
    let receipts_tree = SumTree::committed(receipt_leaves.iter().map(|leaf| leaf.node(domain)).collect())?;
    let mut entries: Vec<Entry> = by_id.values().flat_map(|closed| closed.entries.iter().cloned()).collect();
    entries.sort_by_key(Entry::sort_key);
    let entries_tree = SumTree::committed(entries.iter().map(Entry::leaf).collect())?;
    let payouts = PayoutTree::new(grown(previous_payouts, &entries)?, domain)?;

    let entries_root = entries_tree.root();
    let before = Amount::sum(previous_payouts.iter().map(|payout| payout.cumulative))?;
    let (expected, found) = (before.plus(entries_root.sum)?, payouts.root().sum);
    if expected != found {
        return Err(EpochError::Total { expected: expected.0, found: found.0 });
    }
    let header = EpochHeader {
        version: FormatVersion,
        node: span.node,
        epoch: span.number,
        cutoff: span.cutoff,
        receipt_count,
        receipts_root: receipts_tree.root().hash,
        receipts_total: receipts_tree.root().sum,
        entries_root: entries_root.hash,
        entries_total: entries_root.sum,
        payout_root: payouts.root().hash,
        total: found,
    };
    Ok(ClosedEpoch { header, domain, receipts, receipt_leaves, receipts_tree, entries, entries_tree, payouts })
}

/// Refuses a receipt of another domain, node or time, a note that is not its own, and lines that
/// are not its own or do not sum to its price.
fn check_receipt(closed: &ClosedReceipt, span: EpochSpan, domain: Domain) -> Result<(), EpochError> {
    let signed = &closed.signed.receipt;
    let receipt = signed.id();
    if closed.signed.domain != domain {
        return Err(EpochError::Domain { receipt, found: closed.signed.domain });
    }
    if signed.node != span.node {
        return Err(EpochError::Node { receipt, found: signed.node, expected: span.node });
    }
    if signed.time > span.cutoff {
        return Err(EpochError::Late { receipt, time: signed.time, cutoff: span.cutoff });
    }
    let deferred = signed.credit_state == CreditState::Deferred;
    if closed.note.as_ref().is_some_and(|note| !deferred || note.receipt != receipt || note.time > span.cutoff) {
        return Err(EpochError::Note(receipt));
    }
    let mut numbers: Vec<u32> = Vec::with_capacity(closed.entries.len());
    for entry in &closed.entries {
        if entry.receipt != receipt || entry.amount == Amount::ZERO {
            return Err(EpochError::Line { receipt, line: entry.line });
        }
        numbers.push(entry.line);
    }
    numbers.sort_unstable();
    if let Some(pair) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(EpochError::Line { receipt, line: pair[0] });
    }
    let lines = Amount::sum(closed.entries.iter().map(|entry| entry.amount))?;
    let price = closed.signed.receipt.price;
    if lines != price {
        return Err(EpochError::Unbalanced { receipt, lines: lines.0, price: price.0 });
    }
    let stated = closed.note.as_ref().map_or(signed.lines, |note| note.lines);
    let mut in_order = closed.entries.clone();
    in_order.sort_by_key(|entry| entry.line);
    if stated != lines_root(&in_order)? {
        return Err(EpochError::Lines(receipt));
    }
    Ok(())
}

/// The earlier payouts with the epoch's entries added.
fn grown(previous: &[Payout], entries: &[Entry]) -> Result<Vec<Payout>, EpochError> {
    let mut earned: BTreeMap<Address, Amount> = BTreeMap::new();
    for payout in previous {
        if earned.insert(payout.account, payout.cumulative).is_some() {
            return Err(EpochError::PayoutTwice(payout.account));
        }
    }
    for entry in entries {
        let sum = earned.entry(entry.account).or_default();
        *sum = sum.plus(entry.amount)?;
    }
    Ok(earned.into_iter().map(|(account, cumulative)| Payout { account, cumulative }).collect())
}

/// An epoch's header as a file: the fields, the words that are hashed, and their hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedEpoch {
    /// `openledger/epoch/v2`.
    pub format: String,
    /// Chain and `Payouts` contract.
    pub domain: Domain,
    /// The fields.
    pub header: EpochHeader,
    /// The fields as words, in the order of [`EpochHeader::FIELDS`].
    pub words: Vec<B256>,
    /// keccak-256 over the words; compare it with that of the proposal on chain.
    pub hash: B256,
}

impl ExportedEpoch {
    /// The format this code writes.
    pub const FORMAT: &'static str = "openledger/epoch/v2";

    /// The file of an epoch's header.
    #[must_use]
    pub fn new(header: EpochHeader, domain: Domain) -> Self {
        let (words, hash) = (header.words().to_vec(), header.hash());
        Self { format: Self::FORMAT.to_owned(), domain, header, words, hash }
    }
}
