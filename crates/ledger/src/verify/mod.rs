//! Checks one answer from three files alone: its bundle, its epoch's header and its model's
//! manifest.
//!
//! The last step a stranger takes: every hash, signature, price and line is computed again, and
//! what does not agree is named by its path in the files, such as `signed.receipt.price`,
//! `epoch.header.total` or `manifest.base`.
//!
//! # How it decides which side was changed
//!
//! A receipt stands in a bundle twice, decoded and as words; whichever the signature fits is taken
//! as what was signed, and everything else is compared with that. The annex has a hash for each
//! part that the words leave out; the `annex` word shows whether the hash or the part was changed.
//!
//! # Not here
//!
//! Running the model again (`serving`), opening records under spans (`attribution`), the chain:
//! compare [`Verified::epoch_hash`] with the header that `Payouts` announced (`EpochProposed`), and
//! [`Verified::manifest`] with `Models`.

mod content;
mod credited;
mod faults;
mod settlement;

use openledger_protocol::{
    Address, Amount, Annex, B256, Domain, Manifest, Receipt, ReceiptBundle, ReceiptId, ReceiptWords,
};
use serde::Serialize;

use self::faults::Faults;
use crate::epoch::ExportedEpoch;

pub use self::faults::Fault;

/// The facts that a check confirmed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verified {
    /// The receipt.
    pub receipt: ReceiptId,
    /// The node that signed it.
    pub node: Address,
    /// The price of the answer, to the last unit of its lines.
    pub price: Amount,
    /// The manifest's hash; `Models` keeps it.
    pub manifest: B256,
    /// The hash of the epoch's header, to compare with that of the proposal on chain. `None` when
    /// no epoch was given.
    pub epoch_hash: Option<B256>,
}

/// Checks a bundle that may not be in an epoch yet: all but its inclusion.
///
/// # Errors
/// Every [`Fault`] found, in the order of the check.
pub fn verify_receipt(bundle: &ReceiptBundle, manifest: &Manifest) -> Result<Verified, Vec<Fault>> {
    verify(bundle, None, manifest)
}

/// Checks a bundle, and that its receipt and lines stand in the epoch of an exported header.
///
/// # Errors
/// Every [`Fault`] found, in the order of the check.
pub fn verify_bundle(
    bundle: &ReceiptBundle,
    epoch: &ExportedEpoch,
    manifest: &Manifest,
) -> Result<Verified, Vec<Fault>> {
    verify(bundle, Some(epoch), manifest)
}

fn verify(bundle: &ReceiptBundle, epoch: Option<&ExportedEpoch>, manifest: &Manifest) -> Result<Verified, Vec<Fault>> {
    let mut faults = Faults::default();
    faults.equal("format", &bundle.format.as_str(), &ReceiptBundle::FORMAT);
    faults.equal("manifest.format", &manifest.format.as_str(), &Manifest::FORMAT);
    let (receipt, domain) = signed_receipt(bundle, epoch, &mut faults);
    let manifest_hash = match manifest.hash() {
        Ok(hash) => hash,
        Err(error) => {
            faults.add("manifest", error);
            B256::ZERO
        }
    };
    annex(bundle, &receipt, manifest_hash, &mut faults);
    content::request_and_completion(bundle, &receipt, &mut faults);
    content::lineage(bundle, &receipt, &mut faults);
    content::manifest(manifest, &receipt, &mut faults);
    let credited = credited::credited(bundle, &receipt, domain, &mut faults);
    content::credits(bundle, manifest, &receipt, &credited, &mut faults);
    settlement::params(bundle, &receipt, &mut faults);
    settlement::price_and_split(bundle, manifest, &receipt, &credited, &mut faults);
    if let Some(epoch) = epoch {
        settlement::header(epoch, &mut faults);
        settlement::inclusion(bundle, epoch, &receipt, domain, &mut faults);
    }
    if !faults.0.is_empty() {
        return Err(faults.0);
    }
    Ok(Verified {
        receipt: receipt.id(),
        node: receipt.node,
        price: receipt.price,
        manifest: manifest_hash,
        epoch_hash: epoch.map(|epoch| epoch.hash),
    })
}

/// The receipt and domain that the signature fits, as far as any does; differences from them are
/// faults.
fn signed_receipt(bundle: &ReceiptBundle, epoch: Option<&ExportedEpoch>, faults: &mut Faults) -> (Receipt, Domain) {
    let fields = &bundle.signed.receipt;
    let words: Option<ReceiptWords> = bundle.words.as_slice().try_into().ok();
    if words.is_none() {
        faults.add("words", format!("{} words, a receipt has {}", bundle.words.len(), Receipt::WORDS));
    }
    let from_words = words.and_then(|words| Receipt::from_words(&words).ok());
    let ours = bundle.signed.domain;
    let theirs = epoch.map_or(ours, |epoch| epoch.domain);
    let fits = |receipt: &Receipt, domain: Domain| {
        bundle.signed.signature.verify(domain.digest(receipt.struct_hash()), receipt.node).is_ok()
    };
    let found = [ours, theirs].into_iter().find_map(|domain| {
        [Some(fields), from_words.as_ref()].into_iter().flatten().find(|r| fits(r, domain)).map(|r| (r.clone(), domain))
    });
    let was_signed = found.is_some();
    let (receipt, domain) = found.unwrap_or_else(|| (fields.clone(), ours));

    let (fields_true, words_true) =
        (*fields == receipt && was_signed, from_words.as_ref() == Some(&receipt) && was_signed);
    for (at, (name, word)) in Receipt::FIELDS.iter().zip(fields.words()).enumerate() {
        let Some(other) = bundle.words.get(at).filter(|&&other| other != word) else { continue };
        if !fields_true {
            faults.add(format!("signed.receipt.{name}"), format!("is {word}, the word beside it {other}"));
        }
        if !words_true {
            faults.add(format!("words[{at}]"), format!("is {other}, the field `{name}` is {word}"));
        }
    }
    for (whose, stated) in [("signed.domain", ours), ("epoch.domain", theirs)] {
        let of_signature = if was_signed { domain } else { ours };
        faults.equal(format!("{whose}.chain_id"), &stated.chain_id, &of_signature.chain_id);
        faults.equal(format!("{whose}.contract"), &stated.contract, &of_signature.contract);
    }
    if !was_signed {
        let reason = match bundle.signed.signature.recover(ours.digest(fields.struct_hash())) {
            Ok(signer) => format!("{signer} signed, or the receipt was changed; the receipt names {}", fields.node),
            Err(error) => error.to_string(),
        };
        faults.add("signed.signature", reason);
    }
    (receipt, domain)
}

/// Where in the files stands what each field of the annex is the hash of.
const ANNEX_SOURCES: [&str; Annex::WORDS] = [
    "completion.prompt",
    "completion.prompt_ids",
    "completion.output_ids",
    "completion.offsets",
    "completion.finish_reason",
    "terms",
    "manifest",
];

/// Checks what the words leave out against the annex, and the annex against the receipt's word.
fn annex(bundle: &ReceiptBundle, receipt: &Receipt, manifest: B256, faults: &mut Faults) {
    let stated = &bundle.annex;
    let computed = match Annex::of(&bundle.completion, &bundle.terms, manifest) {
        Ok(computed) => computed,
        Err(error) => return faults.add("completion", error),
    };
    let computed_signed = computed.struct_hash() == receipt.annex;
    let pairs = stated.words().into_iter().zip(computed.words());
    for (at, (stated, computed)) in pairs.enumerate().filter(|(_, (stated, computed))| stated != computed) {
        if computed_signed {
            faults.add(format!("annex.{}", Annex::FIELDS[at]), format!("is {stated}, the node signed {computed}"));
        } else {
            faults.add(ANNEX_SOURCES[at], format!("hashes to {computed}, the annex says {stated}"));
        }
    }
    let signed = computed_signed || stated.struct_hash() == receipt.annex;
    faults.holds("annex", signed, "is not the annex that the receipt binds");
}
