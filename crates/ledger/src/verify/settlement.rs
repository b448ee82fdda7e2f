//! What an answer cost and who was paid: price, split, epoch header and inclusion, computed again.

use openledger_protocol::sum_tree::{self, SumNode};
use openledger_protocol::{
    Domain, Entry, EpochHeader, Manifest, Receipt, ReceiptBundle, SignedReceipt, keccak_words, merkle,
};

use super::Faults;
use crate::epoch::ExportedEpoch;
use crate::rule::SplitRule;
use crate::split::{SplitError, split};

/// The price follows from the counts, and the lines from price, rule, mix, credits and terms.
pub(super) fn price_and_split(bundle: &ReceiptBundle, manifest: &Manifest, receipt: &Receipt, faults: &mut Faults) {
    let terms = &bundle.terms;
    match crate::price(receipt.tokens_in, receipt.tokens_out, &terms.prices) {
        Ok(price) => faults.equal("terms.prices", &price, &receipt.price),
        Err(error) => faults.add("terms.prices", error),
    }
    faults.equal("terms.parties.node", &terms.parties.node, &receipt.node);
    faults.holds("signed.receipt.cumulative", receipt.cumulative >= receipt.price, "is less than the price");
    let rule = match SplitRule::of(receipt) {
        Ok(rule) => rule,
        Err(error) => return faults.add("signed.receipt", error),
    };
    faults.equal("signed.receipt.contributors_bps", &receipt.contributors_bps, &rule.contributors_bps());
    let (id, credits) = (receipt.id(), &bundle.credits);
    match split(id, receipt.price, &rule, &manifest.mix, credits, &terms.holders, &terms.parties) {
        Ok(expected) => lines(&bundle.entries, &expected, faults),
        Err(error) => {
            let field = match error {
                SplitError::Mix { .. } => "manifest.mix",
                SplitError::Coverage { .. } => "credits.coverage",
                SplitError::Parents { .. } => "terms.parties.parents",
                _ => "entries",
            };
            faults.add(field, error);
        }
    }
}

fn lines(found: &[Entry], expected: &[Entry], faults: &mut Faults) {
    faults.equal("entries", &found.len(), &expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        faults.equal(format!("entries[{at}].receipt"), &found.receipt, &expected.receipt);
        faults.equal(format!("entries[{at}].line"), &found.line, &expected.line);
        faults.equal(format!("entries[{at}].role"), &found.role, &expected.role);
        faults.equal(format!("entries[{at}].account"), &found.account, &expected.account);
        faults.equal(format!("entries[{at}].contribution"), &found.contribution, &expected.contribution);
        faults.equal(format!("entries[{at}].amount"), &found.amount, &expected.amount);
    }
}

/// The exported header's fields, words and hash are one and the same.
pub(super) fn header(epoch: &ExportedEpoch, faults: &mut Faults) {
    faults.equal("epoch.format", &epoch.format.as_str(), &ExportedEpoch::FORMAT);
    let fields_true = epoch.header.hash() == epoch.hash;
    let words_true = keccak_words(&epoch.words) == epoch.hash;
    faults.equal("epoch.words", &epoch.words.len(), &EpochHeader::FIELDS.len());
    for (at, (name, word)) in EpochHeader::FIELDS.iter().zip(epoch.header.words()).enumerate() {
        let Some(other) = epoch.words.get(at).filter(|&&other| other != word) else { continue };
        if !fields_true {
            faults.add(format!("epoch.header.{name}"), format!("is {word}, the word beside it {other}"));
        }
        if !words_true {
            faults.add(format!("epoch.words[{at}]"), format!("is {other}, the field `{name}` is {word}"));
        }
    }
    faults.holds("epoch.hash", fields_true || words_true, "is not the hash of the header");
}

/// The receipt and each of its lines stand in the epoch.
pub(super) fn inclusion(
    bundle: &ReceiptBundle,
    epoch: &ExportedEpoch,
    receipt: &Receipt,
    domain: Domain,
    faults: &mut Faults,
) {
    let header = &epoch.header;
    let signed = SignedReceipt { domain, receipt: receipt.clone(), signature: bundle.signed.signature };
    match &bundle.inclusion {
        None => faults.add("inclusion", "is missing: the receipt is in no closed epoch, or its proof was left out"),
        Some(proof) => {
            let there = merkle::verify(header.receipts_root, signed.leaf(), proof);
            faults.holds("inclusion", there, "does not lead from the receipt to the epoch's receipts root");
            let counted = proof.index < header.receipt_count.into()
                && proof.siblings.len() == merkle::depth(header.receipt_count.into()) as usize;
            faults.holds("inclusion", counted, "is not a place among the epoch's receipts");
        }
    }
    let root = SumNode { hash: header.entries_root, sum: header.entries_total };
    faults.equal("entry_proofs", &bundle.entry_proofs.len(), &bundle.entries.len());
    for (at, (entry, proof)) in bundle.entries.iter().zip(&bundle.entry_proofs).enumerate() {
        let there = sum_tree::verify(root, entry.leaf(), proof);
        faults.holds(format!("entry_proofs[{at}]"), there, "does not lead from the line to the epoch's entries root");
    }
}
