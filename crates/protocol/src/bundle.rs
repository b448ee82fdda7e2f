//! Receipt bundles: all that a stranger needs, besides epoch header and manifest, to check an
//! answer and its price.
//!
//! **Invariant:** a bundle holds nothing that the receipt does not bind; a member that is not known
//! is refused, and so is one that appears twice.

use alloy_primitives::B256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sum_tree::SumProof;
use crate::{Annex, Completion, Credits, Entry, Params, Passage, ReceiptId, SignedNote, SignedReceipt, Terms};

/// A receipt with all that its words are hashes of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptBundle {
    /// [`ReceiptBundle::FORMAT`].
    pub format: String,
    /// The receipt and signature, decoded.
    pub signed: SignedReceipt,
    /// The words that were signed, in the order of [`crate::Receipt::FIELDS`].
    pub words: Vec<B256>,
    /// The canonical request: JSON of the caller's making.
    #[serde(deserialize_with = "crate::strict::request")]
    pub request: serde_json::Value,
    /// The answer.
    pub completion: Completion,
    /// Its evidence.
    pub credits: Credits,
    /// The prices, accounts and holders of the split.
    pub terms: Terms,
    /// The governed numbers of the split.
    pub params: Params,
    /// The split: this receipt's entries, by line.
    pub entries: Vec<Entry>,
    /// The hashes of what the words leave out.
    pub annex: Annex,
    /// The receipts that this one follows from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ReceiptId>,
    /// The passages that were retrieved for the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<Passage>,
    /// The credit note of a receipt that deferred its credits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<SignedNote>,
    /// The receipt's place in the epoch, once it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion: Option<SumProof>,
    /// The place of each line of the split in the epoch's entries tree, once it is closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry_proofs: Vec<SumProof>,
}

/// A text that is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// It is of another format, such as an older version.
    #[error("format `{0}` is not supported, expected `{expected}`", expected = ReceiptBundle::FORMAT)]
    Format(String),
    /// A member is missing, unknown, repeated or of another type.
    #[error("{path}: {source}")]
    Member {
        /// The member's path, such as `signed.receipt.price`; `.` for the whole text.
        path: String,
        /// The reason.
        source: serde_json::Error,
    },
}

impl ReceiptBundle {
    /// The format that this code reads and writes.
    pub const FORMAT: &'static str = "openledger/receipt-bundle/v2";

    /// Reads a bundle's JSON.
    ///
    /// # Errors
    /// [`BundleError`] naming the format or the member that is not as it should be.
    pub fn from_json(text: &str) -> Result<Self, BundleError> {
        /// The member that names the format; others are left aside.
        #[derive(Deserialize, JsonSchema)]
        struct Head {
            format: String,
        }
        let whole = |source| BundleError::Member { path: ".".to_owned(), source };
        let head: Head = serde_json::from_str(text).map_err(whole)?;
        if head.format != Self::FORMAT {
            return Err(BundleError::Format(head.format));
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let bundle = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| BundleError::Member { path: error.path().to_string(), source: error.into_inner() })?;
        reader.end().map_err(whole)?;
        Ok(bundle)
    }
}
