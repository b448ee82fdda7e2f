//! The publication of a proposer: the leaves under its three roots, in their order.
//!
//! **Invariant:** [`Trees`] exist only of leaves that lead to the header's roots. Order, doubles
//! and gaps are kept as they were published: they may be the fault.

use alloy_primitives::Bytes;
use openledger_protocol::sum_tree::{SumNode, SumProof, SumTree};
use openledger_protocol::{
    Address, Amount, AmountError, B256, Domain, Entry, EpochHeader, Payout, Receipt, ReceiptId, ReceiptLeaf,
    ReceiptWords, keccak,
};
use serde::{Deserialize, Serialize};

use super::OpenedReceipt;
use crate::epoch::ClosedEpoch;
use crate::proof::{EntryPlace, ReceiptPlace, around, places};

/// The reason why a publication proves nothing about a proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishedError {
    /// The leaves do not lead to a root of the header: they are not what was proposed, so what was
    /// is withheld. Ask the proposer again; a proposal whose leaves nobody gets is the jury's.
    #[error("the published {0} do not lead to the proposed root")]
    NotUnderRoot(&'static str),
    /// The finalized epochs that were given do not lead to the chain's payout root.
    #[error("the earlier payouts do not lead to the finalized payout root")]
    Earlier,
    /// Sums beyond 128 bits, which the chain refuses.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

/// A receipt as it stands in a proposal: signed or not, whatever its words say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filed {
    /// The id that it is filed under.
    pub id: ReceiptId,
    /// Its words.
    #[serde(with = "words")]
    pub words: ReceiptWords,
    /// The bytes in place of its signature.
    pub signature: Bytes,
    /// The struct hash of its credit note; zero: none.
    pub note_hash: B256,
    /// The price it is filed under: the sum of its leaf.
    pub price: Amount,
}

/// Words in JSON: a list of exactly as many as a receipt has.
mod words {
    use openledger_protocol::{B256, Receipt, ReceiptWords};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(words: &ReceiptWords, serializer: S) -> Result<S::Ok, S::Error> {
        words.as_slice().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ReceiptWords, D::Error> {
        let words = Vec::<B256>::deserialize(deserializer)?;
        let wrong = |words: Vec<B256>| format!("{} words, a receipt has {}", words.len(), Receipt::WORDS);
        words.try_into().map_err(|words| serde::de::Error::custom(wrong(words)))
    }
}

impl Filed {
    /// The EIP-712 struct hash of the words.
    #[must_use]
    pub fn struct_hash(&self) -> B256 {
        Receipt::struct_hash_of(&self.words)
    }

    /// The preimage of its leaf.
    #[must_use]
    pub fn leaf(&self) -> ReceiptLeaf {
        ReceiptLeaf {
            id: self.id,
            struct_hash: self.struct_hash(),
            signature_hash: keccak(&self.signature),
            note_hash: self.note_hash,
            price: self.price,
        }
    }

    /// The receipt, where the words are one.
    #[must_use]
    pub fn receipt(&self) -> Option<Receipt> {
        Receipt::from_words(&self.words).ok()
    }
}

/// An account's place in a payout tree; `None` is an empty one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PayoutPlace {
    /// The leaf at this place.
    pub payout: Option<Payout>,
    /// Where.
    pub proof: SumProof,
}

/// A proposal and the leaves under its roots; `None` is an empty place before the last leaf, which
/// no honest one has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Published {
    /// Chain and `Payouts` contract.
    pub domain: Domain,
    /// The proposal; its node answers for it.
    pub header: EpochHeader,
    /// The leaves under `receipts_root`.
    pub receipts: Vec<Option<Filed>>,
    /// The leaves under `entries_root`.
    pub entries: Vec<Option<Entry>>,
    /// The leaves under `payout_root`.
    pub payouts: Vec<Option<Payout>>,
}

impl Published {
    /// The publication of the proposer of `closed`.
    #[must_use]
    pub fn of(closed: &ClosedEpoch) -> Self {
        let filed = closed.receipts.iter().zip(&closed.receipt_leaves).map(|(signed, leaf)| Filed {
            id: leaf.id,
            words: signed.receipt.words(),
            signature: Bytes::copy_from_slice(&signed.signature.0),
            note_hash: leaf.note_hash,
            price: leaf.price,
        });
        Self {
            domain: closed.domain,
            header: closed.header.clone(),
            receipts: filed.map(Some).collect(),
            entries: closed.entries.iter().cloned().map(Some).collect(),
            payouts: closed.payouts.payouts().iter().cloned().map(Some).collect(),
        }
    }

    /// The header that the leaves lead to; node, number, cutoff and count of receipts are taken as
    /// they stand.
    ///
    /// # Errors
    /// [`AmountError`] for sums beyond 128 bits.
    pub fn computed(&self) -> Result<EpochHeader, AmountError> {
        let (receipts, entries) = (self.receipts_tree()?.root(), self.entries_tree()?.root());
        let payouts = self.payout_tree()?.root();
        Ok(EpochHeader {
            receipts_root: receipts.hash,
            receipts_total: receipts.sum,
            entries_root: entries.hash,
            entries_total: entries.sum,
            payout_root: payouts.hash,
            total: payouts.sum,
            ..self.header.clone()
        })
    }

    /// The two nodes under the roots of receipts, entries and payouts, as a proposal shows them.
    ///
    /// # Errors
    /// [`AmountError`] for sums beyond 128 bits.
    pub fn tops(&self) -> Result<[[SumNode; 2]; 3], AmountError> {
        Ok([self.receipts_tree()?.top(), self.entries_tree()?.top(), self.payout_tree()?.top()])
    }

    fn receipts_tree(&self) -> Result<SumTree, AmountError> {
        let leaf = |filed: &Filed| filed.leaf().node(self.domain);
        SumTree::committed(self.receipts.iter().map(|filed| filed.as_ref().map(leaf).unwrap_or_default()).collect())
    }

    fn entries_tree(&self) -> Result<SumTree, AmountError> {
        SumTree::committed(
            self.entries.iter().map(|entry| entry.as_ref().map(Entry::leaf).unwrap_or_default()).collect(),
        )
    }

    fn payout_tree(&self) -> Result<SumTree, AmountError> {
        let leaf = |payout: &Payout| payout.leaf(self.domain);
        SumTree::committed(self.payouts.iter().map(|payout| payout.as_ref().map(leaf).unwrap_or_default()).collect())
    }

    /// The trees that proofs are made from.
    pub(super) fn trees(&self) -> Result<Trees<'_>, PublishedError> {
        let trees = Trees {
            published: self,
            receipts: self.receipts_tree()?,
            entries: self.entries_tree()?,
            payouts: self.payout_tree()?,
        };
        let header = &self.header;
        let (receipts, entries, payouts) = (trees.receipts.root(), trees.entries.root(), trees.payouts.root());
        if (receipts.hash, receipts.sum) != (header.receipts_root, header.receipts_total) {
            return Err(PublishedError::NotUnderRoot("receipts"));
        }
        if (entries.hash, entries.sum) != (header.entries_root, header.entries_total) {
            return Err(PublishedError::NotUnderRoot("entries"));
        }
        if (payouts.hash, payouts.sum) != (header.payout_root, header.total) {
            return Err(PublishedError::NotUnderRoot("payouts"));
        }
        Ok(trees)
    }
}

/// A publication with its trees.
pub(super) struct Trees<'a> {
    pub(super) published: &'a Published,
    receipts: SumTree,
    entries: SumTree,
    payouts: SumTree,
}

impl Trees<'_> {
    /// Places of the padded receipts tree.
    pub(super) fn receipt_places(&self) -> usize {
        usize::try_from(places(self.published.receipts.len())).unwrap_or(usize::MAX)
    }

    pub(super) fn receipt_at(&self, index: usize) -> Option<ReceiptPlace> {
        let receipt = self.published.receipts.get(index).and_then(Option::as_ref).map(Filed::leaf);
        Some(ReceiptPlace { receipt, proof: self.receipts.prove(index as u64)? })
    }

    pub(super) fn entry_at(&self, index: usize) -> Option<EntryPlace> {
        let entry = self.published.entries.get(index).cloned().flatten();
        Some(EntryPlace { entry, proof: self.entries.prove(index as u64)? })
    }

    pub(super) fn payout_at(&self, index: usize) -> Option<PayoutPlace> {
        let payout = self.published.payouts.get(index).cloned().flatten();
        Some(PayoutPlace { payout, proof: self.payouts.prove(index as u64)? })
    }

    /// The receipt at a place, opened; `None` where it is filed under another id or price, which no
    /// contract opens.
    pub(super) fn open(&self, index: usize) -> Option<OpenedReceipt> {
        let filed = self.published.receipts.get(index)?.as_ref()?;
        filed.receipt().filter(|receipt| receipt.id() == filed.id && receipt.price == filed.price)?;
        let path = self.receipts.prove(index as u64)?;
        let (signature_hash, note_hash) = (keccak(&filed.signature), filed.note_hash);
        Some(OpenedReceipt { words: filed.words, signature_hash, note_hash, path })
    }

    /// The places between which a receipt is missing; the leaves are in order.
    pub(super) fn no_receipt(&self, id: ReceiptId) -> Option<Vec<ReceiptPlace>> {
        let receipts = &self.published.receipts;
        let below = receipts.partition_point(|filed| filed.as_ref().is_some_and(|filed| filed.id < id));
        around(below, receipts.len()).map(|index| self.receipt_at(usize::try_from(index).ok()?)).collect()
    }

    /// The places around the first entry that is not `below`; the leaves are in order.
    pub(super) fn entries_around(&self, below: impl Fn(&Entry) -> bool) -> Option<Vec<EntryPlace>> {
        let entries = &self.published.entries;
        let below = entries.partition_point(|entry| entry.as_ref().is_some_and(&below));
        around(below, entries.len()).map(|index| self.entry_at(usize::try_from(index).ok()?)).collect()
    }

    /// An account's place, or those between which it is missing; the leaves are in order.
    pub(super) fn payout_of(&self, account: Address) -> Option<Vec<PayoutPlace>> {
        let leaves: Vec<Option<&Payout>> = self.published.payouts.iter().map(Option::as_ref).collect();
        places_of(account, &leaves, &self.payouts)
    }
}

/// An account's place in a payout tree of `leaves` in order, or those between which it is missing.
pub(super) fn places_of(account: Address, leaves: &[Option<&Payout>], tree: &SumTree) -> Option<Vec<PayoutPlace>> {
    let below = leaves.partition_point(|payout| payout.is_some_and(|payout| payout.account < account));
    let there = leaves.get(below).copied().flatten().is_some_and(|payout| payout.account == account);
    let places = if there { below as u64..=below as u64 } else { around(below, leaves.len()) };
    places
        .map(|index| {
            let payout = leaves.get(usize::try_from(index).ok()?).copied().flatten().cloned();
            Some(PayoutPlace { payout, proof: tree.prove(index)? })
        })
        .collect()
}
