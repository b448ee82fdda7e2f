//! The lines of a receipt that defers its credits: by its credit note, or by training weights
//! alone.
//!
//! A node signs such a receipt with the lines by training weights, so that they are bound before
//! the note comes. **Invariant:** the lines at a cutoff follow from files alone, so proposer and
//! challengers come to the same ones.

use openledger_protocol::{
    Coverage, CreditNote, CreditState, Credits, Entry, Layer, Manifest, ReceiptBundle, RecordRef, Score,
};

use crate::rule::{RuleError, SplitRule};
use crate::split::{Rules, SplitError, split};

/// The reason why a deferred receipt has no lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeferredError {
    /// The receipt's shares are out of bounds.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The price cannot be split.
    #[error(transparent)]
    Split(#[from] SplitError),
}

/// The credits of an answer that nothing but training is known of: the manifest's frozen weights,
/// no coverage.
#[must_use]
pub fn training_credits(manifest: &Manifest) -> Credits {
    let trained = manifest.contributions.iter().filter(|trained| trained.weight > 0);
    let scores = trained.map(|trained| Score {
        layer: Layer::Rest,
        datanet: trained.datanet,
        record: RecordRef { contribution: trained.contribution, index: 0 },
        score: trained.weight,
    });
    let mut credits = Credits {
        spans: Vec::new(),
        scores: scores.collect(),
        coverage: Coverage::default(),
        methods: manifest.methods.iter().map(|method| method.version.clone()).collect(),
    };
    credits.sort();
    credits
}

/// The lines that a receipt pays in an epoch that ends at `cutoff`, and the credit note that it is
/// filed with.
///
/// A receipt that does not defer its credits pays the bundle's lines. A deferred one pays them when
/// the bundle has a note that is not of a time after the cutoff; otherwise it pays by training
/// weights and has no note.
///
/// **Not here:** whether the bundle is true ([`crate::verify_receipt`]).
///
/// # Errors
/// [`DeferredError`] when a deferred receipt cannot be split by training weights.
pub fn lines_at(
    cutoff: u64,
    bundle: &ReceiptBundle,
    manifest: &Manifest,
) -> Result<(Vec<Entry>, Option<CreditNote>), DeferredError> {
    if bundle.signed.receipt.credit_state != CreditState::Deferred {
        return Ok((bundle.entries.clone(), None));
    }
    match &bundle.note {
        Some(signed) if signed.note.time <= cutoff => Ok((bundle.entries.clone(), Some(signed.note.clone()))),
        _ => Ok((training_lines(bundle, manifest)?, None)),
    }
}

/// The lines of a bundle's price by training weights alone.
pub(crate) fn training_lines(bundle: &ReceiptBundle, manifest: &Manifest) -> Result<Vec<Entry>, DeferredError> {
    let receipt = &bundle.signed.receipt;
    let rules = Rules { shares: SplitRule::of(receipt)?, mix: manifest.mix, params: &bundle.params };
    let credits = training_credits(manifest);
    Ok(split(receipt.id(), receipt.price, &rules, &credits, &bundle.terms.holders, &bundle.terms.parties)?)
}
