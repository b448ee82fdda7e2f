//! The annex of a receipt: what the receipt's words leave out, bound by one of them.
//!
//! The chain needs the words only. A stranger who checks a bundle also reads the prompt as the
//! model saw it, the tokens and the terms of the split; the annex has a hash for each of those, so
//! that a check can name what was changed, and the receipt's `annex` word is the annex's struct
//! hash. **Invariant:** every part of a bundle is bound by the words, by the annex or by the lines.

use alloy_primitives::B256;
use serde::Serialize;

use crate::hash::sha256;
use crate::words::typed_record;
use crate::{CanonicalError, Completion, Terms, canonical_json};

typed_record! {
    /// The hashes of what a receipt's words leave out: SHA-256 of canonical JSON.
    Annex {
        /// Of the prompt as the model saw it.
        prompt: B256 = "bytes32 prompt",
        /// Of the prompt's tokens.
        prompt_ids: B256 = "bytes32 promptIds",
        /// Of the answer's tokens.
        output_ids: B256 = "bytes32 outputIds",
        /// Of the tokens' byte ranges.
        offsets: B256 = "bytes32 offsets",
        /// Of why the answer ended.
        finish_reason: B256 = "bytes32 finishReason",
        /// Of the terms of the split.
        terms: B256 = "bytes32 terms",
        /// Of the model's manifest ([`crate::Manifest::hash`]).
        manifest: B256 = "bytes32 manifest",
    }
}

impl Annex {
    /// The annex of an answer; `manifest` is the manifest's hash.
    ///
    /// # Errors
    /// [`CanonicalError`] never for values of these types; it comes from the encoder.
    pub fn of(completion: &Completion, terms: &Terms, manifest: B256) -> Result<Self, CanonicalError> {
        Ok(Self {
            prompt: hash(&completion.prompt)?,
            prompt_ids: hash(&completion.prompt_ids)?,
            output_ids: hash(&completion.output_ids)?,
            offsets: hash(&completion.offsets)?,
            finish_reason: hash(&completion.finish_reason)?,
            terms: hash(terms)?,
            manifest,
        })
    }
}

fn hash(value: &impl Serialize) -> Result<B256, CanonicalError> {
    canonical_json(value).map(sha256)
}
