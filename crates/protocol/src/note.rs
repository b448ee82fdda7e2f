//! Credit notes: the credits of a receipt that deferred them, signed later.
//!
//! A node that computes influence after the answer signs the receipt at once with
//! [`crate::CreditState::Deferred`] and the note when the credits are there. **Invariant:** one
//! receipt has one note; a second one that differs is provable and costs the bond. **Not here:**
//! the lines of a receipt without a note (`ledger`).

use alloy_primitives::{Address, B256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::typed_record;
use crate::{Coverage, Credits, Domain, Key, ReceiptId, Signature, SignatureError};

typed_record! {
    /// The credits of a deferred receipt. The field order is the order of the signed
    /// words.
    CreditNote {
        /// The receipt's id.
        receipt: ReceiptId = "bytes32 receipt",
        /// The root over the spans.
        spans_root: B256 = "bytes32 spansRoot",
        /// The root over the scores.
        scores_root: B256 = "bytes32 scoresRoot",
        /// λ of the spans, in millionths.
        coverage_spans: u32 = "uint32 coverageSpans",
        /// λ of influence, in millionths.
        coverage_influence: u32 = "uint32 coverageInfluence",
        /// λ of retrieval, in millionths.
        coverage_retrieval: u32 = "uint32 coverageRetrieval",
        /// The hash of the root over the split's lines ([`crate::lines_root`]); they stand for
        /// those of the receipt.
        lines: B256 = "bytes32 lines",
        /// Unix seconds, by the node's clock. The note counts for an epoch whose cutoff is not
        /// before it.
        time: u64 = "uint64 time",
    }
}

impl CreditNote {
    /// The note of `receipt` with these credits and the root of the lines they lead to.
    #[must_use]
    pub fn of(receipt: ReceiptId, credits: &Credits, lines: B256, time: u64) -> Self {
        let Coverage { spans, influence, retrieval } = credits.coverage;
        Self {
            receipt,
            spans_root: credits.spans_root(),
            scores_root: credits.scores_root(),
            coverage_spans: spans,
            coverage_influence: influence,
            coverage_retrieval: retrieval,
            lines,
            time,
        }
    }

    /// Signs it in the receipt's domain. `key` is that of the node that signed the receipt.
    #[must_use]
    pub fn sign(self, domain: Domain, key: &Key) -> SignedNote {
        let signature = key.sign(domain.digest(self.struct_hash()));
        SignedNote { note: self, signature }
    }
}

/// A credit note with the node's signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedNote {
    /// The note.
    pub note: CreditNote,
    /// The node's signature, in the receipt's domain.
    pub signature: Signature,
}

impl SignedNote {
    /// Checks that `node` signed it for `domain`.
    ///
    /// # Errors
    /// [`SignatureError`] when the signature is malformed or another key's.
    pub fn verify(&self, domain: Domain, node: Address) -> Result<(), SignatureError> {
        self.signature.verify(domain.digest(self.note.struct_hash()), node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, word};

    #[test]
    fn each_word_changes_the_struct_hash_and_breaks_the_signature() {
        let (key, domain) = (Key::demo(1, "node"), Domain { chain_id: 1, contract: Address::repeat_byte(1) });
        let words = std::array::from_fn(|at| word(at as u64 + 1));
        let note = CreditNote::from_words(&words).unwrap();
        let signed = note.clone().sign(domain, &key);
        assert_eq!(signed.verify(domain, key.address()), Ok(()));
        for (at, name) in CreditNote::FIELDS.iter().enumerate() {
            let mut words = words;
            words[at] = word(99u64);
            let changed = CreditNote::from_words(&words).unwrap();
            assert_ne!(changed.struct_hash(), note.struct_hash(), "{name}");
            let changed = SignedNote { note: changed, ..signed.clone() };
            assert!(changed.verify(domain, key.address()).is_err(), "{name}");
        }
    }

    #[test]
    fn the_signed_digest_equals_an_independent_implementation() {
        alloy_sol_types::sol! {
            struct CreditNote {
                bytes32 receipt; bytes32 spansRoot; bytes32 scoresRoot; uint32 coverageSpans; uint32 coverageInfluence;
                uint32 coverageRetrieval; bytes32 lines; uint64 time;
            }
        }
        use alloy_sol_types::{SolStruct, SolValue, eip712_domain};
        let contract = Address::repeat_byte(7);
        let words: [B256; super::CreditNote::WORDS] = std::array::from_fn(|at| word(at as u64 + 1));
        let ours = super::CreditNote::from_words(&words).unwrap();
        let theirs = CreditNote::abi_decode(words.concat().as_slice()).unwrap();
        assert_eq!(CreditNote::eip712_encode_type(), super::CreditNote::TYPE);
        let domain = eip712_domain! { name: "OpenLedger", version: "1", chain_id: 2626, verifying_contract: contract, };
        assert_eq!(Domain { chain_id: 2626, contract }.digest(ours.struct_hash()), theirs.eip712_signing_hash(&domain));
    }
}
