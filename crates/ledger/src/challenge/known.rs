//! What a watcher knows without the proposer: titles and epochs from the chain, answers and records from its store.
//!
//! Pure data: `node` fills it for the [`Names`] that a proposal mentions. **Invariant:** what is missing in a map does not
//! exist on chain (for titles), or is not known here (for answers and texts), and then nothing is concluded from it.

use std::collections::{BTreeMap, BTreeSet};

use openledger_protocol::{
    Address, B256, ContributionId, DatanetId, Entry, ModelId, Payout, ReceiptBundle, RecordRef, SignedReceipt, Span,
};

use super::published::Published;
use crate::proof::ReceiptLeaf;
use crate::rule::SplitRule;

/// A contribution as registered: the preimage of its slot on chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Batch {
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
    pub batch: Batch,
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
    /// Who gets the stakers' line; `None`: insurance.
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
    /// Receipts that somebody holds, whoever signed them: the proposer may not leave out its own.
    pub receipts: Vec<SignedReceipt>,
    /// Answers by the struct hash of their receipt.
    pub answers: BTreeMap<B256, Answered>,
    /// Models.
    pub models: BTreeMap<ModelId, KnownModel>,
    /// Holders of models at a block, where the chain can still tell.
    pub model_holders: BTreeMap<(ModelId, u64), Address>,
    /// Contributions.
    pub batches: BTreeMap<ContributionId, KnownBatch>,
    /// Holders of contributions at a block, where the chain can still tell.
    pub holders: BTreeMap<(ContributionId, u64), Address>,
    /// Published versions.
    pub versions: BTreeSet<(DatanetId, u64)>,
    /// Texts of records.
    pub texts: BTreeMap<RecordRef, RecordText>,
}

impl Known {
    /// Takes in what a bundle tells about its receipt: the answer and the spans, where they are those that were signed.
    pub fn learn(&mut self, bundle: &ReceiptBundle) {
        let receipt = &bundle.signed.receipt;
        let same = openledger_protocol::output_root(&bundle.completion.text) == receipt.output;
        if same && bundle.credits.spans_root() == receipt.spans_root {
            let answered = Answered {
                text: bundle.completion.text.clone(),
                spans: bundle.credits.spans.clone(),
                entries: bundle.entries.clone(),
            };
            self.answers.insert(receipt.struct_hash(), answered);
        }
        self.receipts.push(bundle.signed.clone());
    }
}

/// What a proposal mentions, and a watcher has to look up on chain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// Nodes that its receipts name.
    pub nodes: BTreeSet<Address>,
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
    /// What it mentions, with the spans of the `answers` that are known.
    #[must_use]
    pub fn names(&self, answers: &BTreeMap<B256, Answered>) -> Names {
        let mut names = Names::default();
        let mut blocks = BTreeMap::new();
        for filed in self.receipts.iter().flatten() {
            let Some(receipt) = filed.receipt() else { continue };
            names.nodes.insert(receipt.node);
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
