//! The annex of a receipt: the node's signature under what the receipt's 29 words leave out.
//!
//! The chain needs the words only. A stranger who checks a bundle also reads the prompt as the model saw it, the tokens,
//! the terms of the split and its lines; the annex binds those to the receipt, each by a hash of its own, so that a check
//! can name what was changed. **Invariant:** every part of a bundle is bound by the words or by the annex.

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};

use crate::hash::{keccak_words, sha256};
use crate::{CanonicalError, Completion, Entry, Key, Receipt, Signature, SignedReceipt, Terms, canonical_json};

/// The hashes of what a receipt's words leave out: SHA-256 of canonical JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Annex {
    /// Of the prompt as the model saw it.
    pub prompt: B256,
    /// Of the prompt's tokens.
    pub prompt_ids: B256,
    /// Of the answer's tokens.
    pub output_ids: B256,
    /// Of the tokens' byte ranges.
    pub offsets: B256,
    /// Of why the answer ended.
    pub finish_reason: B256,
    /// Of the terms of the split.
    pub terms: B256,
    /// Of the model's manifest ([`crate::Manifest::hash`]).
    pub manifest: B256,
    /// Of the split's lines.
    pub entries: B256,
}

impl Annex {
    /// The names of the fields, in the order of [`Annex::words`].
    pub const FIELDS: [&'static str; 8] =
        ["prompt", "prompt_ids", "output_ids", "offsets", "finish_reason", "terms", "manifest", "entries"];

    /// The EIP-712 type; `receipt` is the receipt's struct hash.
    pub const TYPE: &'static str = "Annex(bytes32 receipt,bytes32 prompt,bytes32 promptIds,bytes32 outputIds,\
        bytes32 offsets,bytes32 finishReason,bytes32 terms,bytes32 manifest,bytes32 entries)";

    /// The annex of an answer and its split; `manifest` is the manifest's hash.
    ///
    /// # Errors
    /// [`CanonicalError`] never for values of these types; it comes from the encoder.
    pub fn of(
        completion: &Completion,
        terms: &Terms,
        manifest: B256,
        entries: &[Entry],
    ) -> Result<Self, CanonicalError> {
        Ok(Self {
            prompt: hash(&completion.prompt)?,
            prompt_ids: hash(&completion.prompt_ids)?,
            output_ids: hash(&completion.output_ids)?,
            offsets: hash(&completion.offsets)?,
            finish_reason: hash(&completion.finish_reason)?,
            terms: hash(terms)?,
            manifest,
            entries: hash(&entries)?,
        })
    }

    /// The fields as words.
    #[must_use]
    pub fn words(&self) -> [B256; 8] {
        [
            self.prompt,
            self.prompt_ids,
            self.output_ids,
            self.offsets,
            self.finish_reason,
            self.terms,
            self.manifest,
            self.entries,
        ]
    }

    /// The EIP-712 struct hash, which names the receipt it belongs to.
    #[must_use]
    pub fn struct_hash(&self, receipt: &Receipt) -> B256 {
        let mut words = vec![keccak256(Self::TYPE), receipt.struct_hash()];
        words.extend_from_slice(&self.words());
        keccak_words(&words)
    }

    /// Signs it as the annex of `signed`, in the receipt's domain. `key` is the node's.
    #[must_use]
    pub fn sign(self, signed: &SignedReceipt, key: &Key) -> SignedAnnex {
        let signature = key.sign(signed.domain.digest(self.struct_hash(&signed.receipt)));
        SignedAnnex { annex: self, signature }
    }
}

fn hash(value: &impl Serialize) -> Result<B256, CanonicalError> {
    canonical_json(value).map(sha256)
}

/// An annex with the node's signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedAnnex {
    /// The hashes.
    #[serde(flatten)]
    pub annex: Annex,
    /// The node's signature.
    pub signature: Signature,
}
