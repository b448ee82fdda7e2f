//! Receipts: the signed statement of what was done for a principal, what it cost and what it rests
//! on.
//!
//! **Invariant:** a receipt is its words; JSON is a view of them. A bundle carries both, so that a
//! check can name the field that was changed.

use alloy_primitives::{Address, B256, keccak256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::content::chunk_root;
use crate::hash::{keccak_words, leaf, sha256, tags, word};
use crate::sum_tree::SumNode;
use crate::words::{FormatVersion, typed_record, word_enum};
use crate::{
    AdapterHash, Amount, BaseHash, CanonicalError, ChannelId, CreditNote, Domain, Key, ModelId, ReceiptId, Signature,
    canonical_json,
};

/// The subject of a receipt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum ReceiptKind {
    /// A model's answer.
    Answer = 0,
    /// A training run.
    Training = 1,
    /// A query of a datanet's records.
    DataQuery = 2,
    /// A task that an agent did.
    Task = 3,
}
word_enum!(ReceiptKind { Answer, Training, DataQuery, Task });

/// When a receipt's credits are known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum CreditState {
    /// All of them at once: the receipt carries their roots and its lines.
    Inline = 0,
    /// Later, in a [`CreditNote`]. The words of credits are zero, and the lines are those by
    /// training weights, which the receipt pays when no note comes before the epoch's cutoff.
    Deferred = 1,
    /// At once, without the layers that are measured for a sample of the answers; no note follows.
    Sampled = 2,
}
word_enum!(CreditState { Inline, Deferred, Sampled });

typed_record! {
    /// A piece of work, its price and its evidence. The field order is the order of the signed
    /// words.
    Receipt {
        /// The format's version.
        version: FormatVersion<2> = "uint16 version",
        /// Its subject.
        kind: ReceiptKind = "uint8 kind",
        /// When its credits are known.
        credit_state: CreditState = "uint8 creditState",
        /// The node that answered: the signer.
        node: Address = "address node",
        /// The channel that pays.
        channel: ChannelId = "bytes32 channel",
        /// The receipt's number in the channel, from 1.
        nonce: u64 = "uint64 nonce",
        /// The sum that the channel has paid with this receipt, since it was opened.
        cumulative: Amount = "uint128 cumulative",
        /// The salted hash of the principal on whose behalf it was done
        /// ([`crate::PrincipalId::commitment`]); zero: none.
        principal: B256 = "bytes32 principal",
        /// The hash of the governed parameters ([`crate::Params::hash`]).
        params: B256 = "bytes32 params",
        /// The root over the ids of parent receipts ([`crate::parents_root`]); zero: none.
        parents: B256 = "bytes32 parents",
        /// The root over the passages that were retrieved ([`crate::context_root`]); zero: none.
        context: B256 = "bytes32 context",
        /// The struct hash of the annex, which binds what the words leave out.
        annex: B256 = "bytes32 annex",
        /// The hash of the root over the split's lines ([`crate::lines_root`]), which sum to the
        /// price.
        lines: B256 = "bytes32 lines",
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
}

/// The words of a receipt, whether they fit its types or not.
pub type ReceiptWords = [B256; Receipt::WORDS];

impl Receipt {
    /// `H(node ‖ channel ‖ nonce)`: a node gives each number of a channel once, and no other node
    /// can give it.
    #[must_use]
    pub fn id(&self) -> ReceiptId {
        receipt_id(word(self.node), self.channel.0, word(self.nonce))
    }

    /// The id that words lead to, whether they are a receipt or not.
    #[must_use]
    pub fn id_of(words: &ReceiptWords) -> ReceiptId {
        let [_, _, _, node, channel, nonce, ..] = *words;
        receipt_id(node, channel, nonce)
    }

    /// The struct hash of words, whether they are a receipt or not.
    #[must_use]
    pub fn struct_hash_of(words: &ReceiptWords) -> B256 {
        crate::words::struct_hash(Self::TYPE, words)
    }

    /// Whether every word of credits is zero, as a deferred receipt has them.
    #[must_use]
    pub fn has_no_credits(&self) -> bool {
        let coverage = [self.coverage_spans, self.coverage_influence, self.coverage_retrieval];
        [self.spans_root, self.scores_root] == [B256::ZERO; 2] && coverage == [0; 3]
    }

    /// Signs it for `Payouts` at `domain`.
    #[must_use]
    pub fn sign(self, domain: Domain, key: &Key) -> SignedReceipt {
        let signature = key.sign(domain.digest(self.struct_hash()));
        SignedReceipt { domain, receipt: self, signature }
    }
}

fn receipt_id(node: B256, channel: B256, nonce: B256) -> ReceiptId {
    ReceiptId(keccak_words(&[node, channel, nonce]))
}

/// A receipt with the node's signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    /// Chain and `Payouts` contract.
    pub domain: Domain,
    /// The receipt.
    pub receipt: Receipt,
    /// The node's signature.
    pub signature: Signature,
}

impl SignedReceipt {
    /// The leaf of the epoch's receipts tree; `note` is the receipt's credit note, where it has
    /// one.
    #[must_use]
    pub fn leaf(&self, note: Option<&CreditNote>) -> SumNode {
        ReceiptLeaf::of(self, note).node(self.domain)
    }
}

/// The preimage of a receipt's leaf.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptLeaf {
    /// Its id.
    pub id: ReceiptId,
    /// Its EIP-712 struct hash.
    pub struct_hash: B256,
    /// keccak-256 of its signature.
    pub signature_hash: B256,
    /// The EIP-712 struct hash of its credit note; zero: none.
    pub note_hash: B256,
    /// Its price: the leaf's sum.
    pub price: Amount,
}

impl ReceiptLeaf {
    /// The leaf's parts of a signed receipt and its credit note.
    #[must_use]
    pub fn of(signed: &SignedReceipt, note: Option<&CreditNote>) -> Self {
        Self {
            id: signed.receipt.id(),
            struct_hash: signed.receipt.struct_hash(),
            signature_hash: keccak256(signed.signature.0),
            note_hash: note.map(CreditNote::struct_hash).unwrap_or_default(),
            price: signed.receipt.price,
        }
    }

    /// The leaf under `domain`: `H(H(TAG_RECEIPT ‖ chainId ‖ payouts ‖ id ‖ structHash ‖
    /// H(signature) ‖ noteHash))`, its sum the price.
    #[must_use]
    pub fn node(&self, domain: Domain) -> SumNode {
        let words = [
            word(domain.chain_id),
            word(domain.contract),
            self.id.0,
            self.struct_hash,
            self.signature_hash,
            self.note_hash,
        ];
        SumNode { hash: leaf(tags::receipt(), &words), sum: self.price }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WordsError;

    fn numbered() -> ReceiptWords {
        let mut words: ReceiptWords = std::array::from_fn(|at| word(at as u64 + 1));
        [words[0], words[1], words[2]] = [word(2u8), word(3u8), word(1u8)];
        words
    }

    #[test]
    fn words_and_fields_are_the_same_thing() {
        let receipt = Receipt::from_words(&numbered()).unwrap();
        assert_eq!(receipt.words(), numbered());
        assert_eq!((receipt.kind, receipt.credit_state), (ReceiptKind::Task, CreditState::Deferred));
        assert_eq!(receipt.time, Receipt::WORDS as u64);
        assert_eq!(receipt.price, Amount(26));
        assert_eq!(Receipt::id_of(&numbered()), receipt.id());
        assert_eq!(Receipt::struct_hash_of(&numbered()), receipt.struct_hash());
    }

    #[test]
    fn a_word_that_does_not_fit_names_its_field() {
        for (field, wrong) in [("version", 1), ("version", 3), ("kind", 4), ("credit_state", 3), ("node", 0)] {
            let at = Receipt::FIELDS.iter().position(|name| *name == field).unwrap();
            let mut words = numbered();
            words[at] = if field == "node" { B256::repeat_byte(1) } else { word(wrong as u64) };
            assert_eq!(Receipt::from_words(&words), Err(WordsError { field }), "{wrong}");
        }
        let mut words = numbered();
        words[26] = word(1u64 << 16);
        assert_eq!(Receipt::from_words(&words), Err(WordsError { field: "platform_bps" }));
    }

    #[test]
    fn each_word_changes_the_struct_hash_and_so_the_leaf() {
        let key = Key::demo(1, "node");
        let domain = Domain { chain_id: 1, contract: Address::repeat_byte(1) };
        let base = Receipt::from_words(&numbered()).unwrap();
        let signed = base.clone().sign(domain, &key);
        for (at, name) in Receipt::FIELDS.iter().enumerate() {
            let mut words = numbered();
            words[at] = if matches!(at, 1 | 2) { word(0u8) } else { word(99u64) };
            assert_ne!(Receipt::struct_hash_of(&words), base.struct_hash(), "{name}");
            let Ok(changed) = Receipt::from_words(&words) else {
                assert_eq!(*name, "version");
                continue;
            };
            assert_ne!(changed.struct_hash(), base.struct_hash(), "{name}");
            assert_eq!(changed.id() == base.id(), !["node", "channel", "nonce"].contains(name), "{name}");
            assert_ne!(SignedReceipt { receipt: changed, ..signed.clone() }.leaf(None), signed.leaf(None));
        }
    }

    #[test]
    fn an_unknown_kind_or_version_in_json_is_named() {
        let mut json = serde_json::to_value(Receipt::from_words(&numbered()).unwrap()).unwrap();
        assert_eq!((&json["version"], &json["kind"]), (&2.into(), &"task".into()));
        json["version"] = 3.into();
        let error = serde_json::from_value::<Receipt>(json.clone()).unwrap_err().to_string();
        assert_eq!(error, "version 3 is not supported, expected 2");
        json["version"] = 2.into();
        json["kind"] = "gift".into();
        let error = serde_json::from_value::<Receipt>(json).unwrap_err().to_string();
        assert!(error.starts_with("unknown variant `gift`"), "{error}");
    }
}
