//! Which credits and lines were signed: those of the receipt's words, or those of its credit note.

use openledger_protocol::{
    B256, Coverage, CreditNote, CreditState, Domain, Receipt, ReceiptBundle, SignedNote, lines_root,
};

use super::faults::Faults;

/// The roots that credits and lines are compared with.
pub(super) struct Credited {
    /// The root over the spans.
    pub(super) spans_root: B256,
    /// The root over the scores.
    pub(super) scores_root: B256,
    /// λ of each layer.
    pub(super) coverage: Coverage,
    /// The hash of the root over the lines.
    pub(super) lines: B256,
    /// Whether the credits are deferred and there is no note, so that the lines are those by
    /// training weights.
    pub(super) pending: bool,
}

/// The signed roots, from the receipt or from its note; a note that does not fit the receipt is a
/// fault.
pub(super) fn credited(bundle: &ReceiptBundle, receipt: &Receipt, domain: Domain, faults: &mut Faults) -> Credited {
    let deferred = receipt.credit_state == CreditState::Deferred;
    if !deferred {
        faults.holds("note", bundle.note.is_none(), "is there, but the receipt does not defer its credits");
        let coverage = Coverage {
            spans: receipt.coverage_spans,
            influence: receipt.coverage_influence,
            retrieval: receipt.coverage_retrieval,
        };
        let (spans_root, scores_root) = (receipt.spans_root, receipt.scores_root);
        return Credited { spans_root, scores_root, coverage, lines: receipt.lines, pending: false };
    }
    faults.holds("signed.receipt", receipt.has_no_credits(), "defers its credits and has some");
    let Some(signed) = &bundle.note else {
        let (spans_root, scores_root, coverage) = Default::default();
        return Credited { spans_root, scores_root, coverage, lines: receipt.lines, pending: true };
    };
    let note = signed_note(bundle, signed, receipt, domain, faults);
    faults.equal("note.note.receipt", &note.receipt, &receipt.id());
    faults.holds("note.note.time", note.time >= receipt.time, "is before the receipt's");
    let coverage =
        Coverage { spans: note.coverage_spans, influence: note.coverage_influence, retrieval: note.coverage_retrieval };
    let (spans_root, scores_root) = (note.spans_root, note.scores_root);
    Credited { spans_root, scores_root, coverage, lines: note.lines, pending: false }
}

/// The note that the signature fits: the stated one, or the one that credits and lines lead to;
/// differences are faults.
fn signed_note(
    bundle: &ReceiptBundle,
    signed: &SignedNote,
    receipt: &Receipt,
    domain: Domain,
    faults: &mut Faults,
) -> CreditNote {
    if signed.verify(domain, receipt.node).is_ok() {
        return signed.note.clone();
    }
    let lines = lines_root(&bundle.entries).unwrap_or_default();
    let computed = CreditNote::of(receipt.id(), &bundle.credits, lines, signed.note.time);
    let candidate = SignedNote { note: computed.clone(), signature: signed.signature };
    if candidate.verify(domain, receipt.node).is_err() {
        faults.add("note", "is not the note that the receipt's node signed");
        return signed.note.clone();
    }
    let pairs = CreditNote::FIELDS.iter().zip(signed.note.words().into_iter().zip(computed.words()));
    for (name, (stated, computed)) in pairs.filter(|(_, (stated, computed))| stated != computed) {
        faults.add(format!("note.note.{name}"), format!("is {stated}, the node signed {computed}"));
    }
    computed
}
