//! What this node knows when it judges another's proposal: the chain's events, its own receipts, its own records.
//!
//! **Not here:** what follows from it (`ledger::challenge`).

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use openledger_chain::contracts::bindings::contributions::Contributions::ContributionsEvents;
use openledger_chain::contracts::bindings::datanets::Datanets::DatanetsEvents;
use openledger_chain::contracts::bindings::payouts::Payouts::PayoutsEvents;
use openledger_chain::flow::{FlowError, ParamsPeriod};
use openledger_chain::indexer::ChainEvent;
use openledger_chain::rpc::Log;
use openledger_ledger::SplitRule;
use openledger_ledger::challenge::{
    Known, KnownBatch, KnownEpoch, KnownModel, KnownParams, Names, PlatformLines, Published, RecordText,
    RegisteredBatch,
};
use openledger_protocol::{ContributionId, DatanetId, ModelId, ReceiptBundle, ReceiptLeaf, record_leaf, word};
use openledger_store::epochs::EpochState;
use openledger_store::receipts::{ReceiptCursor, ReceiptFilter};

use super::Watching;
use crate::error::Result;

/// Receipts that are read at a time.
const PAGE: u32 = 500;

impl Watching {
    /// Everything that bears on a proposal. `bundles` are answers that came with it; those of this node are known already.
    ///
    /// **Cost:** reads all events of the contracts once.
    pub(crate) async fn known(&self, published: &Published, bundles: &[ReceiptBundle]) -> Result<Known> {
        let block = self.chain.catch_up().await?.number;
        let payouts = self.chain.flow().payouts();
        let [treasury, validation, insurance] = payouts.platform_lines().await?;
        let mut known = Known {
            block,
            last_cutoff: payouts.head().await?.cutoff,
            payout_root: payouts.root().await?,
            platform: PlatformLines { treasury, validation, insurance },
            ..Known::default()
        };
        self.earlier(&mut known).await?;
        self.own_answers(&mut known).await?;
        bundles.iter().for_each(|bundle| known.learn(bundle));
        let names = published.names(&known.answers);
        self.titles(&mut known, &names).await?;
        self.texts(&mut known, &names).await?;
        Ok(known)
    }

    /// This node's answers since the last finalized epoch, newest first.
    async fn own_answers(&self, known: &mut Known) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.store.receipts(&ReceiptFilter::default(), after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(ReceiptCursor { time: last.time, id: last.id });
            for row in &page {
                if row.time <= known.last_cutoff {
                    return Ok(());
                }
                known.learn(&serde_json::from_str(&row.body)?);
            }
        }
    }

    /// The finalized epochs as this node closed them.
    async fn earlier(&self, known: &mut Known) -> Result<()> {
        let mut number = 1;
        while let Some(row) = self.store.epoch(number).await? {
            if row.state != EpochState::Finalized {
                break;
            }
            let closed = self.epochs.closed_receipts(&row).await?;
            let receipts = closed.iter().map(|closed| ReceiptLeaf::of(&closed.signed, closed.note.as_ref())).collect();
            known.epochs.push(KnownEpoch { number: row.number, receipts });
            known.payouts = self.epochs.payouts(row.number).await?;
            number += 1;
        }
        Ok(())
    }

    /// Titles and bonds, from the chain's events and, for models, from the chain.
    async fn titles(&self, known: &mut Known, names: &Names) -> Result<()> {
        let at = *self.chain.at();
        let mut batches: BTreeMap<ContributionId, RegisteredBatch> = BTreeMap::new();
        for stored in self.store.chain_events_since(0, u32::MAX).await? {
            let log = Log {
                address: stored.address,
                topics: stored.topics,
                data: stored.data.into(),
                block_number: stored.block.number,
                block_hash: stored.block.hash,
                transaction_hash: stored.tx_hash,
                log_index: stored.log_index.into(),
            };
            match ChainEvent::decode(&at, &log) {
                Some(ChainEvent::Contributions(ContributionsEvents::ContributionRegistered(event))) => {
                    let batch = RegisteredBatch {
                        datanet: DatanetId(event.datanet),
                        root: event.root,
                        count: event.count,
                        contributors: event.contributors,
                        terms: event.terms,
                    };
                    batches.insert(ContributionId(B256::from(event.contribution)), batch);
                }
                Some(ChainEvent::Datanets(DatanetsEvents::VersionPublished(event))) => {
                    known.versions.insert((DatanetId(event.datanet), event.version));
                }
                Some(ChainEvent::Payouts(PayoutsEvents::OperatorJoined(event))) => {
                    known.bonded.insert(event.operator);
                }
                _ => {}
            }
        }
        for &(contribution, block) in &names.contributions {
            let Some(&batch) = batches.get(&contribution) else { continue };
            known.batches.entry(contribution).or_insert(KnownBatch { batch, leaves: Vec::new() });
            if let Some(holder) = self.store.owner_at(at.contributions, contribution.0, block).await? {
                known.holders.insert((contribution, block), holder);
            }
        }
        for &hash in &names.params {
            if let Some(ParamsPeriod { params, since, until }) = self.chain.flow().params().with_hash(hash).await? {
                known.params.insert(hash, KnownParams { params, since, until });
            }
        }
        for &(model, block) in &names.models {
            if let Some(state) = self.registered_model(model).await? {
                known.models.insert(model, state);
            }
            if let Some(holder) = self.store.owner_at(at.models, word(model.0), block).await? {
                known.model_holders.insert((model, block), holder);
            }
        }
        Ok(())
    }

    async fn registered_model(&self, model: ModelId) -> Result<Option<KnownModel>> {
        let state = match self.chain.flow().models().state(model).await {
            Ok(state) => state.model,
            Err(FlowError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(KnownModel {
            rule: SplitRule::new(state.platform_bps, state.model_bps, state.stakers_bps)?,
            has_parent: state.parent.is_some(),
            stake_vault: (state.stake_vault != Address::ZERO).then_some(state.stake_vault),
        }))
    }

    /// Records that spans name, where they are kept here, and the leaves of their batches.
    async fn texts(&self, known: &mut Known, names: &Names) -> Result<()> {
        let contributions: BTreeSet<ContributionId> = names.records.iter().map(|at| at.contribution).collect();
        for contribution in contributions {
            let Some(batch) = known.batches.get_mut(&contribution) else { continue };
            let mut rows = self.store.records_of(contribution).await?;
            rows.sort_by_key(|row| row.at.index);
            let (chain, datanet) = (self.chain.chain_id(), batch.batch.datanet);
            let leaf = |row: &openledger_store::records::RecordRow| {
                record_leaf(chain, datanet, contribution, row.at.index, row.content_root, row.length)
            };
            batch.leaves = rows.iter().map(leaf).collect();
            for row in rows.iter().filter(|row| names.records.contains(&row.at)) {
                let text = self.records.body(row).await?.body.canonical_text();
                // Content is registered without salt on this node.
                known.texts.insert(row.at, RecordText { text, salt: B256::ZERO });
            }
        }
        Ok(())
    }
}
