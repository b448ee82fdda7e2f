//! The knowledge of a watcher without the proposer: titles and epochs from the chain, answers and
//! records from its store.
//!
//! Pure data: `node` fills it for the [`Names`] that a proposal mentions. **Invariant:** what is
//! missing in a map does not exist on chain (for titles), or is not known here (for answers and
//! texts), and then nothing is concluded from it.

use std::collections::{BTreeMap, BTreeSet};

use openledger_protocol::ReceiptLeaf;
use openledger_protocol::{
    Address, B256, ContributionId, CreditNote, DatanetId, Entry, ModelId, Params, Payout, ReceiptBundle, RecordRef,
    SignedNote, SignedReceipt, Span,
};

use super::published::{Filed, Published};
use crate::rule::SplitRule;

/// A contribution as registered: the preimage of its slot on chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RegisteredBatch {
    /// Where it was registered.
    pub datanet: DatanetId,
    /// The root over its record leaves.
    pub root: B256,
    /// How many records.
    pub count: u32,
    /// keccak-256 over the contributors' addresses as words.
    pub contributors: B256,
    /// The hash of the terms.
    pub terms: B256,
}

/// A registered contribution and, where they are known, the leaves under its root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownBatch {
    /// As registered.
    pub batch: RegisteredBatch,
    /// Its record leaves in order; empty when they are not known here.
    pub leaves: Vec<B256>,
}

/// A model's title on chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownModel {
    /// Its shares.
    pub rule: SplitRule,
    /// Whether it has a parent.
    pub has_parent: bool,
    /// The account of the stakers' line; `None`: insurance.
    pub stake_vault: Option<Address>,
}

/// The accounts of the platform's lines, as `Payouts` has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PlatformLines {
    /// Treasury.
    pub treasury: Address,
    /// Validation.
    pub validation: Address,
    /// Insurance.
    pub insurance: Address,
}

/// A finalized epoch's receipts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownEpoch {
    /// Its number.
    pub number: u64,
    /// Its receipts, ordered by id.
    pub receipts: Vec<ReceiptLeaf>,
}

/// An answer behind a receipt: what spans are judged by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The answer.
    pub text: String,
    /// Its spans, in the order of their root.
    pub spans: Vec<Span>,
    /// Its lines by its credits, by number.
    pub entries: Vec<Entry>,
}

/// A record's canonical text and the salt of its chunks (zero for public content).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordText {
    /// The text.
    pub text: String,
    /// The salt.
    pub salt: B256,
}

/// Governed numbers with the time in which they are or were in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownParams {
    /// The numbers.
    pub params: Params,
    /// From when, in seconds since 1970.
    pub since: u64,
    /// Until when, exclusively; `None` while they are in force.
    pub until: Option<u64>,
}

impl KnownParams {
    /// Seconds by which a use of the numbers may miss their time, as the `Params` contract has it:
    /// a node learns of a change some time after it, and clocks differ.
    pub const GRACE: u64 = 3600;

    /// Whether a receipt of `time` may have used them.
    #[must_use]
    pub fn usable_at(&self, time: u64) -> bool {
        let ended = self.until.is_some_and(|until| time >= until.saturating_add(Self::GRACE));
        self.since <= time.saturating_add(Self::GRACE) && !ended
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The chain's newest block.
    pub block: u64,
    /// The cutoff of the last finalized epoch, in seconds since 1970.
    pub last_cutoff: u64,
    /// The finalized payout root; zero before the first epoch.
    pub payout_root: B256,
    /// The leaves under it, ordered by account.
    pub payouts: Vec<Payout>,
    /// The finalized epochs whose receipts are known.
    pub epochs: Vec<KnownEpoch>,
    /// The accounts of the platform's lines.
    pub platform: PlatformLines,
    /// Nodes that ever put a bond at stake.
    pub bonded: BTreeSet<Address>,
    /// Receipts in the hands of watchers, of any signer: the proposer may not leave out its own.
    pub receipts: Vec<SignedReceipt>,
    /// Credit notes in the hands of watchers, of any signer.
    pub notes: Vec<SignedNote>,
    /// Governed numbers that are or were in force, by their hash.
    pub params: BTreeMap<B256, KnownParams>,
    /// Answers by the struct hash of their receipt.
    pub answers: BTreeMap<B256, Answered>,
    /// Models.
    pub models: BTreeMap<ModelId, KnownModel>,
    /// Holders of models at a block, where the chain still has them.
    pub model_holders: BTreeMap<(ModelId, u64), Address>,
    /// Contributions.
    pub batches: BTreeMap<ContributionId, KnownBatch>,
    /// Holders of contributions at a block, where the chain still has them.
    pub holders: BTreeMap<(ContributionId, u64), Address>,
    /// Published versions.
    pub versions: BTreeSet<(DatanetId, u64)>,
    /// Texts of records.
    pub texts: BTreeMap<RecordRef, RecordText>,
}

impl Known {
    /// The credit note that a receipt is filed with: `None` when it is not known, `Some(None)` when
    /// there is none.
    pub(super) fn note_of(&self, filed: &Filed) -> Option<Option<CreditNote>> {
        if filed.note_hash == B256::ZERO {
            return Some(None);
        }
        let notes = self.notes.iter().map(|signed| &signed.note);
        notes.into_iter().find(|note| note.struct_hash() == filed.note_hash).cloned().map(Some)
    }

    /// Takes in a bundle's receipt and note, and its answer and lines where they are the signed
    /// ones.
    pub fn learn(&mut self, bundle: &ReceiptBundle) {
        let receipt = &bundle.signed.receipt;
        let same = openledger_protocol::output_root(&bundle.completion.text) == receipt.output;
        let spans_root = bundle.note.as_ref().map_or(receipt.spans_root, |signed| signed.note.spans_root);
        if same && bundle.credits.spans_root() == spans_root {
            let answered = Answered {
                text: bundle.completion.text.clone(),
                spans: bundle.credits.spans.clone(),
                entries: bundle.entries.clone(),
            };
            self.answers.insert(receipt.struct_hash(), answered);
        }
        self.receipts.push(bundle.signed.clone());
        self.notes.extend(bundle.note.clone());
    }
}

/// The names in a proposal that a watcher looks up on chain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// Nodes that its receipts name.
    pub nodes: BTreeSet<Address>,
    /// Hashes of governed numbers.
    pub params: BTreeSet<B256>,
    /// Models, each with the blocks at which its holder counts.
    pub models: BTreeSet<(ModelId, u64)>,
    /// Contributions, each with the blocks at which its holder counts.
    pub contributions: BTreeSet<(ContributionId, u64)>,
    /// Versions that spans name.
    pub versions: BTreeSet<(DatanetId, u64)>,
    /// Records that spans name.
    pub records: BTreeSet<RecordRef>,
}

impl Published {
    /// The names in it, with those in the spans of the known `answers`.
    #[must_use]
    pub fn names(&self, answers: &BTreeMap<B256, Answered>) -> Names {
        let mut names = Names::default();
        let mut blocks = BTreeMap::new();
        for filed in self.receipts.iter().flatten() {
            let Some(receipt) = filed.receipt() else { continue };
            names.nodes.insert(receipt.node);
            names.params.insert(receipt.params);
            names.models.insert((receipt.model, receipt.holder_block));
            blocks.insert(filed.id, receipt.holder_block);
            for span in answers.get(&filed.struct_hash()).into_iter().flat_map(|answered| &answered.spans) {
                names.versions.insert((span.datanet, span.version));
                names.records.insert(span.record);
                names.contributions.insert((span.record.contribution, receipt.holder_block));
            }
        }
        for entry in self.entries.iter().flatten().filter(|entry| entry.contribution != Entry::NO_CONTRIBUTION) {
            if let Some(&block) = blocks.get(&entry.receipt) {
                names.contributions.insert((entry.contribution, block));
            }
        }
        names
    }
}
