//! Refutations as the judge on chain takes them: the proofs of `ledger` in the generated types of `chain`.

use alloy_primitives::{B256, Bytes, U256};
use openledger_chain::contracts::bindings::verifier::{FormatsLib, IContributions, Verifier};
use openledger_chain::flow::Challenge;
use openledger_ledger::challenge::{
    ChunkPlace, OpenedReceipt, OpenedSpan, PayoutPlace, Refutation, RegisteredBatch, WrongLines,
};
use openledger_ledger::{EntryPlace, ReceiptPlace};
use openledger_protocol::merkle::Proof;
use openledger_protocol::sum_tree::{SumNode, SumProof};
use openledger_protocol::{CreditNote, Entry, Span};

/// The challenge that shows a fault.
pub(super) fn challenge(refutation: Refutation) -> Challenge {
    match refutation {
        Refutation::Span { opened, content_root, length, record_siblings, offset, record, output } => {
            let OpenedSpan { receipt: opened, note: filed, span: named, path: under, batch: registered } = *opened;
            Verifier::SpanFault {
                receipt: receipt(opened),
                note: notes(filed.as_ref()),
                span: span(&named),
                spanPath: path(under),
                batch: batch(registered),
                contentRoot: content_root,
                length: length.into(),
                recordSiblings: record_siblings,
                offset: offset.into(),
                record: chunk(record),
                output: chunk(output),
            }
            .into()
        }
        Refutation::Record(opened) => {
            let OpenedSpan { receipt: opened, note: filed, span: named, path: under, batch: registered } = *opened;
            let (receipt, batch) = (receipt(opened), batch(registered));
            Verifier::RecordFault {
                receipt,
                note: notes(filed.as_ref()),
                span: span(&named),
                spanPath: path(under),
                batch,
            }
            .into()
        }
        Refutation::Total { account, before, after, from, to } => Verifier::TotalFault {
            account,
            before: before.into_iter().map(payout_at).collect(),
            after_: after.into_iter().map(payout_at).collect(),
            from: from.into_iter().map(entry_at).collect(),
            to: to.into_iter().map(entry_at).collect(),
        }
        .into(),
        Refutation::Duplicate { receipt, earlier_epoch, earlier } => Verifier::DuplicateFault {
            receipt: receipt_at(receipt),
            earlierEpoch: earlier_epoch,
            earlier: receipt_at(earlier),
        }
        .into(),
        Refutation::Split { receipt: opened, lines } => {
            let entries = lines.into_iter().map(entry_at).collect();
            Verifier::SplitFault { receipt: receipt(*opened), entries }.into()
        }
        Refutation::Signature { id, words, signature, note_hash, price, path: place } => Verifier::SignatureFault {
            id: id.0,
            words: *words,
            signature: signature.into(),
            noteHash: note_hash,
            price: price.0,
            path: sum_path(place),
        }
        .into(),
        Refutation::Omission { words, signature, gap } => Verifier::OmissionFault {
            words: *words,
            signature: signature.into(),
            gap: gap.into_iter().map(receipt_at).collect(),
        }
        .into(),
        Refutation::Payee { receipt: opened, line } => {
            Verifier::PayeeFault { receipt: receipt(*opened), entry: entry_at(line) }.into()
        }
        Refutation::ReceiptOrder(places) => {
            let receipts = places.into_iter().map(receipt_at).collect();
            Verifier::OrderFault { receipts, entries: Vec::new(), payouts: Vec::new() }.into()
        }
        Refutation::EntryOrder(places) => {
            let entries = places.into_iter().map(entry_at).collect();
            Verifier::OrderFault { receipts: Vec::new(), entries, payouts: Vec::new() }.into()
        }
        Refutation::PayoutOrder(places) => {
            let payouts = places.into_iter().map(payout_at).collect();
            Verifier::OrderFault { receipts: Vec::new(), entries: Vec::new(), payouts }.into()
        }
        Refutation::Entry { line, gap } => {
            let gap = gap.into_iter().map(receipt_at).collect();
            Verifier::EntryFault { entry: entry_at(line), gap }.into()
        }
        Refutation::Lines { receipt: opened, note, wrong } => {
            let (top, leaves) = match wrong {
                WrongLines::Sum(top) => (top.map(sum_node).to_vec(), Vec::new()),
                WrongLines::Line(places) => (Vec::new(), places.map(entry_at).to_vec()),
            };
            Verifier::LinesFault { receipt: receipt(*opened), note: notes(note.as_deref()), top, leaves }.into()
        }
        Refutation::Note { receipt: place, note, signature } => Verifier::NoteFault {
            receipt: receipt_at(place),
            note: note.words(),
            signature: signature.map(|signature| Bytes::copy_from_slice(&signature.0)).unwrap_or_default(),
        }
        .into(),
    }
}

fn path(proof: Proof) -> Verifier::Path {
    Verifier::Path { index: U256::from(proof.index), siblings: proof.siblings }
}

fn sum_node(node: SumNode) -> Verifier::SumNode {
    Verifier::SumNode { hash: node.hash, sum: node.sum.0 }
}

fn sum_path(proof: SumProof) -> Verifier::SumPath {
    let siblings = proof.siblings.into_iter().map(sum_node).collect();
    Verifier::SumPath { index: U256::from(proof.index), siblings }
}

/// A receipt's credit note as the judge takes it: none or one.
fn notes(note: Option<&CreditNote>) -> Vec<[B256; CreditNote::WORDS]> {
    note.map(CreditNote::words).into_iter().collect()
}

fn receipt(opened: OpenedReceipt) -> Verifier::ReceiptProof {
    let OpenedReceipt { words, signature_hash, note_hash, path: place } = opened;
    Verifier::ReceiptProof { words, signatureHash: signature_hash, noteHash: note_hash, path: sum_path(place) }
}

fn receipt_at(place: ReceiptPlace) -> Verifier::ReceiptAt {
    let path = sum_path(place.proof);
    match place.receipt {
        None => Verifier::ReceiptAt { empty: true, path, ..Default::default() },
        Some(leaf) => Verifier::ReceiptAt {
            empty: false,
            id: leaf.id.0,
            structHash: leaf.struct_hash,
            signatureHash: leaf.signature_hash,
            noteHash: leaf.note_hash,
            price: leaf.price.0,
            path,
        },
    }
}

fn entry_at(place: EntryPlace) -> Verifier::EntryAt {
    let entry = place.entry.as_ref().map(entry).unwrap_or_default();
    Verifier::EntryAt { empty: place.entry.is_none(), entry, path: sum_path(place.proof) }
}

fn entry(entry: &Entry) -> FormatsLib::Entry {
    FormatsLib::Entry {
        account: entry.account,
        receiptId: entry.receipt.0,
        line: entry.line,
        role: entry.role as u8,
        contribution: entry.contribution.0.into(),
        amount: entry.amount.0,
    }
}

fn payout_at(place: PayoutPlace) -> Verifier::PayoutAt {
    let empty = place.payout.is_none();
    let (account, cumulative) = place.payout.map(|payout| (payout.account, payout.cumulative.0)).unwrap_or_default();
    Verifier::PayoutAt { empty, account, cumulative, path: sum_path(place.proof) }
}

fn chunk(place: ChunkPlace) -> Verifier::ChunkAt {
    let empty = place.chunk.is_none();
    let (salt, data) = place.chunk.unwrap_or_default();
    Verifier::ChunkAt { empty, salt, data: Bytes::from(data), path: path(place.path) }
}

fn batch(batch: RegisteredBatch) -> IContributions::Batch {
    let RegisteredBatch { datanet, root, count, contributors, terms } = batch;
    IContributions::Batch { datanet: datanet.0, root, count, contributors, terms }
}

fn span(span: &Span) -> FormatsLib::Span {
    FormatsLib::Span {
        datanet: span.datanet.0,
        version: span.version,
        contribution: span.record.contribution.0.into(),
        index: span.record.index.into(),
        recordOffset: span.record_offset.into(),
        length: span.length.into(),
        outputOffset: span.output_offset.into(),
        weight: span.weight,
    }
}
