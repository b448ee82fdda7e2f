//! The money of an answer: price, split, epoch header and inclusion, computed again.

use openledger_protocol::sum_tree::{self, SumNode};
use openledger_protocol::{
    Domain, Entry, EpochHeader, Manifest, Params, Receipt, ReceiptBundle, SignedReceipt, keccak_words, lines_root,
    merkle,
};

use super::credited::Credited;
use super::faults::Faults;
use crate::deferred::training_credits;
use crate::epoch::ExportedEpoch;
use crate::rule::SplitRule;
use crate::split::{Rules, SplitError, split};

/// The governed numbers are those of the receipt's hash and within their bounds.
pub(super) fn params(bundle: &ReceiptBundle, receipt: &Receipt, faults: &mut Faults) {
    let params = &bundle.params;
    if let Err(error) = params.check() {
        faults.add(format!("params.{}", error.field), error);
    }
    if params.hash() == receipt.params {
        return;
    }
    // Where the receipt was signed under the first record, the number that differs can be named.
    if receipt.params == Params::GENESIS.hash() {
        for (name, found, expected) in params.differences(&Params::GENESIS) {
            faults.add(format!("params.{name}"), format!("is {found}, expected {expected}"));
        }
    } else {
        faults.add("params", format!("hash to {}, the receipt says {}", params.hash(), receipt.params));
    }
}

/// The price follows from the counts, and the lines from price, rules, credits and terms.
pub(super) fn price_and_split(
    bundle: &ReceiptBundle,
    manifest: &Manifest,
    receipt: &Receipt,
    credited: &Credited,
    faults: &mut Faults,
) {
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
    match lines_root(&bundle.entries) {
        Ok(root) => faults.equal("entries", &root, &credited.lines),
        Err(error) => faults.add("entries", error),
    }
    let training = credited.pending.then(|| training_credits(manifest));
    let credits = training.as_ref().unwrap_or(&bundle.credits);
    let rules = Rules { shares: rule, mix: manifest.mix, params: &bundle.params };
    match split(receipt.id(), receipt.price, &rules, credits, &terms.holders, &terms.parties) {
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
    let header = &epoch.header;
    faults.equal("epoch.header.receipts_total", &header.receipts_total, &header.entries_total);
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
    faults.equal("epoch.header.node", &header.node, &receipt.node);
    faults.holds("epoch.header.cutoff", receipt.time <= header.cutoff, "is before the time of the receipt");
    let note = bundle.note.as_ref().map(|signed| &signed.note).filter(|note| note.time <= header.cutoff);
    let signed = SignedReceipt { domain, receipt: receipt.clone(), signature: bundle.signed.signature };
    match &bundle.inclusion {
        None => faults.add("inclusion", "is missing: the receipt is in no closed epoch, or its proof was left out"),
        Some(proof) => {
            let root = SumNode { hash: header.receipts_root, sum: header.receipts_total };
            let there = sum_tree::verify(root, signed.leaf(note), proof);
            faults.holds("inclusion", there, "does not lead from the receipt to the epoch's receipts root");
            let counted = proof.index < header.receipt_count.into()
                && proof.siblings.len() == merkle::depth(header.receipt_count.into()).max(1) as usize;
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
