//! Receipts: the signed statement of what an answer was, cost and rests on.
//!
//! **Invariant:** a receipt is its 29 words; JSON is a view of them. A bundle carries both, so that a check can name
//! the field that was changed.

use alloy_primitives::{Address, B256, U256, keccak256};
use serde::{Deserialize, Serialize};

use crate::hash::{Word, chunk_root, keccak_words, leaf, sha256, tags, word};
use crate::merkle::Proof;
use crate::sum_tree::SumProof;
use crate::{
    AdapterHash, Amount, BaseHash, CanonicalError, ChannelId, Completion, Credits, Domain, Entry, Key, ModelId,
    ReceiptId, Signature, SignedAnnex, Terms, canonical_json,
};

/// Why words are not a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` does not fit its type")]
pub struct WordsError {
    /// The field.
    pub field: &'static str,
}

trait FromWord: Sized {
    fn from_word(word: B256) -> Option<Self>;
}
macro_rules! from_word_number {
    ($($kind:ty),*) => {$(
        impl FromWord for $kind {
            fn from_word(word: B256) -> Option<Self> {
                <$kind>::try_from(U256::from_be_bytes(word.0)).ok()
            }
        }
    )*};
}
from_word_number!(u16, u32, u64);
impl FromWord for B256 {
    fn from_word(word: B256) -> Option<Self> {
        Some(word)
    }
}
impl FromWord for Address {
    fn from_word(word: B256) -> Option<Self> {
        word[..12].iter().all(|&byte| byte == 0).then(|| Address::from_slice(&word[12..]))
    }
}
impl FromWord for Amount {
    fn from_word(word: B256) -> Option<Self> {
        u128::try_from(U256::from_be_bytes(word.0)).ok().map(Amount)
    }
}
macro_rules! from_word_id {
    ($($kind:ident($inner:ty)),*) => {$(
        impl FromWord for $kind {
            fn from_word(word: B256) -> Option<Self> {
                <$inner>::from_word(word).map($kind)
            }
        }
        impl Word for $kind {
            fn word(&self) -> B256 {
                word(self.0)
            }
        }
    )*};
}
from_word_id!(ChannelId(B256), ModelId(u64), BaseHash(B256), AdapterHash(B256));
impl Word for Amount {
    fn word(&self) -> B256 {
        word(self.0)
    }
}

macro_rules! receipt {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $solidity:literal,)*) => {
        /// What an answer was, cost and rests on. The field order is the order of the signed words.
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        pub struct Receipt {
            $($(#[$doc])* pub $field: $kind,)*
        }

        /// The receipt's field names, in the order of its words.
        pub const RECEIPT_FIELDS: [&str; 29] = [$(stringify!($field)),*];

        impl Receipt {
            /// The EIP-712 type.
            #[must_use]
            pub fn type_string() -> String {
                format!("Receipt({})", [$($solidity),*].join(","))
            }

            /// The fields as words.
            #[must_use]
            pub fn words(&self) -> [B256; 29] {
                [$(word_of(&self.$field)),*]
            }

            /// Back from [`Receipt::words`].
            ///
            /// # Errors
            /// [`WordsError`] naming the field whose word does not fit its type.
            pub fn from_words(words: &[B256; 29]) -> Result<Self, WordsError> {
                let mut next = words.iter();
                Ok(Self {$(
                    $field: next.next().and_then(|&w| <$kind as FromWord>::from_word(w)).ok_or(WordsError { field: stringify!($field) })?,
                )*})
            }
        }
    };
}

fn word_of(value: &impl Word) -> B256 {
    value.word()
}

receipt! {
    /// The node that answered: whose signature this carries.
    node: Address = "address node",
    /// The channel that pays.
    channel: ChannelId = "bytes32 channel",
    /// The receipt's number in the channel, from 1.
    nonce: u64 = "uint64 nonce",
    /// What the channel has paid with this receipt, since it was opened.
    cumulative: Amount = "uint128 cumulative",
    /// The datanet versions the model was trained on ([`crate::Manifest::datanets_hash`]).
    datanets: B256 = "bytes32 datanets",
    /// The model.
    model: ModelId = "uint64 model",
    /// The base's hash.
    base: BaseHash = "bytes32 base",
    /// The adapter's hash.
    adapter: AdapterHash = "bytes32 adapter",
    /// The tokenizer's hash.
    tokenizer: B256 = "bytes32 tokenizer",
    /// keccak-256 of the numeric mode's name.
    numeric_mode: B256 = "bytes32 numericMode",
    /// The hash of the sampling parameters ([`crate::Sampling::hash`]).
    sampling: B256 = "bytes32 sampling",
    /// The seed.
    seed: u64 = "uint64 seed",
    /// SHA-256 of the canonical request.
    request: B256 = "bytes32 request",
    /// The root over the answer's 256-byte chunks ([`output_root`]).
    output: B256 = "bytes32 output",
    /// Tokens of the prompt.
    tokens_in: u32 = "uint32 tokensIn",
    /// Tokens of the answer.
    tokens_out: u32 = "uint32 tokensOut",
    /// The price.
    price: Amount = "uint128 price",
    /// The platform's share.
    platform_bps: u16 = "uint16 platformBps",
    /// The model's share (owner and node).
    model_bps: u16 = "uint16 modelBps",
    /// The stakers' share.
    stakers_bps: u16 = "uint16 stakersBps",
    /// The contributors' share: what the others leave.
    contributors_bps: u16 = "uint16 contributorsBps",
    /// The attribution methods ([`crate::Manifest::methods_hash`]).
    methods: B256 = "bytes32 methods",
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
    /// The block at which contributions' holders are looked up.
    holder_block: u64 = "uint64 holderBlock",
    /// Unix seconds, by the node's clock.
    time: u64 = "uint64 time",
}

impl Receipt {
    /// The EIP-712 struct hash: `H(typehash ‖ words)`.
    #[must_use]
    pub fn struct_hash(&self) -> B256 {
        let mut words = vec![keccak256(Self::type_string())];
        words.extend_from_slice(&self.words());
        keccak_words(&words)
    }

    /// `H(channel ‖ nonce)`: two receipts of one channel and nonce have the same id, which is how a duplicate is proven.
    #[must_use]
    pub fn id(&self) -> ReceiptId {
        ReceiptId(keccak_words(&[self.channel.0, word(self.nonce)]))
    }

    /// Signs it for `Payouts` at `domain`.
    #[must_use]
    pub fn sign(self, domain: Domain, key: &Key) -> SignedReceipt {
        let signature = key.sign(domain.digest(self.struct_hash()));
        SignedReceipt { domain, receipt: self, signature }
    }
}

/// A receipt with the node's signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// Chain and `Payouts` contract.
    pub domain: Domain,
    /// The receipt.
    pub receipt: Receipt,
    /// The node's signature.
    pub signature: Signature,
}

impl SignedReceipt {
    /// The leaf of the epoch's receipt tree.
    #[must_use]
    pub fn leaf(&self) -> B256 {
        leaf(
            tags::receipt(),
            &[
                word(self.domain.chain_id),
                word(self.domain.contract),
                self.receipt.id().0,
                self.receipt.struct_hash(),
                keccak256(self.signature.0),
            ],
        )
    }
}

/// The root over an answer's chunks, as receipts carry it.
#[must_use]
pub fn output_root(text: &str) -> B256 {
    chunk_root(B256::ZERO, text.as_bytes())
}

/// The hash of a request: SHA-256 of its canonical JSON.
///
/// # Errors
/// [`CanonicalError`] when it holds a fraction; the rim turns rates into thousandths first.
pub fn request_hash(request: &impl Serialize) -> Result<B256, CanonicalError> {
    canonical_json(request).map(sha256)
}

/// All that a stranger needs, besides epoch header and manifest, to check an answer and its price.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReceiptBundle {
    /// `openledger/receipt-bundle/v1`.
    pub format: String,
    /// The receipt and signature, decoded.
    pub signed: SignedReceipt,
    /// The words that were signed, in the order of [`RECEIPT_FIELDS`].
    pub words: Vec<B256>,
    /// The canonical request.
    pub request: serde_json::Value,
    /// The answer.
    pub completion: Completion,
    /// What it rests on.
    pub credits: Credits,
    /// The prices, accounts and holders of the split.
    pub terms: Terms,
    /// The split: this receipt's entries, by line.
    pub entries: Vec<Entry>,
    /// The node's signature under what the words leave out.
    pub annex: SignedAnnex,
    /// The receipt's place in the epoch, once it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion: Option<Proof>,
    /// The place of each line of the split in the epoch's entries tree, once it is closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry_proofs: Vec<SumProof>,
}

impl ReceiptBundle {
    /// The format this code writes.
    pub const FORMAT: &'static str = "openledger/receipt-bundle/v1";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered() -> [B256; 29] {
        std::array::from_fn(|at| word(at as u64 + 1))
    }

    #[test]
    fn words_and_fields_are_the_same_thing() {
        let receipt = Receipt::from_words(&numbered()).unwrap();
        assert_eq!(receipt.words(), numbered());
        assert_eq!(receipt.time, 29);
        assert_eq!(receipt.price, Amount(17));
    }

    #[test]
    fn a_word_that_does_not_fit_names_its_field() {
        let mut words = numbered();
        words[17] = word(1u64 << 16);
        assert_eq!(Receipt::from_words(&words), Err(WordsError { field: "platform_bps" }));
    }

    #[test]
    fn each_word_changes_id_or_struct_hash_and_so_the_signature() {
        let key = Key::demo(1, "node");
        let domain = Domain { chain_id: 1, contract: Address::repeat_byte(1) };
        let base = Receipt::from_words(&numbered()).unwrap();
        let signed = base.clone().sign(domain, &key);
        for at in 0..29 {
            let mut words = numbered();
            words[at] = word(99u64);
            let changed = Receipt::from_words(&words).unwrap();
            assert_ne!(changed.struct_hash(), base.struct_hash(), "{}", RECEIPT_FIELDS[at]);
            assert_ne!(SignedReceipt { receipt: changed, ..signed.clone() }.leaf(), signed.leaf());
        }
    }

    #[test]
    fn struct_hash_equals_an_independent_implementation() {
        alloy_sol_types::sol! {
            struct Voucher { bytes32 channel; uint128 cumulative; }
        }
        use alloy_sol_types::{SolStruct, eip712_domain};
        let contract = Address::repeat_byte(7);
        let ours = crate::Voucher { channel: ChannelId(B256::repeat_byte(3)), cumulative: Amount(u128::MAX) };
        let theirs = Voucher { channel: B256::repeat_byte(3), cumulative: u128::MAX };
        let domain = eip712_domain! { name: "OpenLedger", version: "1", chain_id: 2626, verifying_contract: contract, };
        assert_eq!(Domain { chain_id: 2626, contract }.digest(ours.struct_hash()), theirs.eip712_signing_hash(&domain));
    }
}
