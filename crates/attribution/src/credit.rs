//! From a completion to credits: records' places become titles, and every layer its integers.
//!
//! # Place in the flow
//!
//! `serving` made the completion, `factory` the manifest, index and cache; `node` holds an
//! [`Attributor`] per model and puts what [`Attributor::credit`] returns into the receipt.
//!
//! # Invariants
//!
//! - **Clusters, not copies.** A cluster scores once, for its owner: spans share by cluster,
//!   influence takes the largest score among the members. Adding a copy changes nobody's score.
//! - **First come.** What a record repeats of an earlier one scores for that one.
//! - **Ordered.** Spans and scores come in the order their roots are defined over; nobody has a
//!   score of zero.
//!
//! # Not here
//!
//! How a layer's pot is cut by its scores (`ledger`), who holds a contribution (`chain`), retrieval
//! (the retriever measures its drop).

use std::collections::BTreeMap;

use openledger_engine::{Lora, Model};
use openledger_protocol::{
    AdapterHash, Completion, Coverage, Credits, DatanetId, Layer, Params, RecordRef, Score, Span, TrainedContribution,
};

use crate::influence::{Cache, Gradients, InfluenceError, Item, to_weights};
use crate::spans::{Answer, SPANS_METHOD, SpanError, SpanIndex, SpanRules};

/// Why a completion could not be credited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreditError {
    /// Index or cache holds another number of records than the model has; they belong to another
    /// model.
    #[error("{what} has {found} records, the model {expected}")]
    Records {
        /// The part that does not fit.
        what: &'static str,
        /// Its records.
        found: usize,
        /// The model's records.
        expected: usize,
    },
    /// The cache was made of another adapter than the one that answered; its scores would be about
    /// another model.
    #[error("the answer is of adapter {answered}, the influence cache of {cached}")]
    Adapter {
        /// The adapter that answered.
        answered: AdapterHash,
        /// The adapter of the cache.
        cached: AdapterHash,
    },
    /// Spans could not be searched.
    #[error(transparent)]
    Spans(#[from] SpanError),
    /// Influence could not be scored.
    #[error(transparent)]
    Influence(#[from] InfluenceError),
}

/// A record that a model was trained on, in the order of the training file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordTitle {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version it was read from.
    pub version: u64,
    /// The record.
    pub record: RecordRef,
    /// The place, in the same list, of the record that owns its cluster; its own place when it is
    /// alone.
    pub owner: u32,
    /// What of it no earlier record says, in 1/65,535; the rest of its score is the source's.
    pub multiplier: u16,
    /// The place of the record that said most of the rest first; its own place when all of it is
    /// its own.
    pub source: u32,
}

/// All that is needed to credit the answers of one model.
#[derive(Debug, Clone)]
pub struct Attributor {
    titles: Vec<RecordTitle>,
    trained: Vec<TrainedContribution>,
    spans: Option<(SpanIndex, SpanRules)>,
    influence: Option<Cache>,
}

impl Attributor {
    /// An attributor that pays by training weight alone; layers are added with the methods below.
    ///
    /// `titles` are the records trained on, `trained` the manifest's contributions with their
    /// frozen weights.
    ///
    /// # Errors
    /// [`SpanError::Owners`] when a cluster's owner or a source is not one of the records, or an
    /// owner does not own itself.
    pub fn new(titles: Vec<RecordTitle>, trained: Vec<TrainedContribution>) -> Result<Self, CreditError> {
        let owns_itself =
            |title: &RecordTitle| titles.get(title.owner as usize).is_some_and(|owner| owner.owner == title.owner);
        let has_source = |title: &RecordTitle| (title.source as usize) < titles.len();
        match titles.iter().position(|title| !owns_itself(title) || !has_source(title)) {
            Some(record) => Err(SpanError::Owners { record }.into()),
            None => Ok(Self { titles, trained, spans: None, influence: None }),
        }
    }

    /// Adds the spans layer; the index takes the clusters of this model's records.
    ///
    /// # Errors
    /// [`CreditError::Records`] when the index is of other records.
    pub fn with_spans(mut self, index: SpanIndex, rules: SpanRules) -> Result<Self, CreditError> {
        self.expect_records("the span index", index.records())?;
        let owners = self.titles.iter().map(|title| title.owner).collect();
        self.spans = Some((index.with_owners(owners)?, rules));
        Ok(self)
    }

    /// Adds the influence layer.
    ///
    /// # Errors
    /// [`CreditError::Records`] when the cache is of other records.
    pub fn with_influence(mut self, cache: Cache) -> Result<Self, CreditError> {
        self.expect_records("the influence cache", cache.records())?;
        self.influence = Some(cache);
        Ok(self)
    }

    fn expect_records(&self, what: &'static str, found: usize) -> Result<(), CreditError> {
        let expected = self.titles.len();
        if found == expected { Ok(()) } else { Err(CreditError::Records { what, found, expected }) }
    }

    /// The records trained on, in order.
    #[must_use]
    pub fn titles(&self) -> &[RecordTitle] {
        &self.titles
    }

    /// What `completion` rests on, by the governed numbers `params`. Influence is scored when this
    /// has a cache and the caller passes the model and adapter that answered; it costs one backward
    /// pass over the answer.
    ///
    /// # Errors
    /// [`CreditError::Adapter`] when the cache is of another adapter; otherwise what spans and
    /// influence refuse.
    pub fn credit(
        &self,
        completion: &Completion,
        engine: Option<(&Model, &Lora)>,
        params: &Params,
    ) -> Result<Credits, CreditError> {
        let mut credits = Credits::default();
        self.credit_spans(completion, params, &mut credits)?;
        if let (Some(cache), Some(engine)) = (&self.influence, engine) {
            self.credit_influence(cache, completion, engine, params, &mut credits)?;
        }
        for trained in self.trained.iter().filter(|trained| trained.weight > 0) {
            let record = RecordRef { contribution: trained.contribution, index: 0 };
            credits.scores.push(Score { layer: Layer::Rest, datanet: trained.datanet, record, score: trained.weight });
        }
        credits.sort();
        Ok(credits)
    }

    fn credit_spans(&self, completion: &Completion, params: &Params, credits: &mut Credits) -> Result<(), CreditError> {
        let Some((index, rules)) = &self.spans else { return Ok(()) };
        let answer = Answer {
            ids: &completion.output_ids,
            text: &completion.text,
            offsets: &completion.offsets,
            prompt: &completion.prompt,
        };
        let found = index.query(&answer, rules)?;
        credits.coverage.spans = found.coverage(params);
        credits.methods.push(SPANS_METHOD.into());
        for span in found.spans {
            let title = &self.titles[span.record as usize];
            credits.spans.push(Span {
                datanet: title.datanet,
                version: title.version,
                record: title.record,
                record_offset: span.record_offset,
                length: span.output.end - span.output.start,
                output_offset: span.output.start,
                weight: span.weight,
            });
        }
        credits.scores.extend(self.scores(Layer::Spans, &found.scores));
        Ok(())
    }

    fn credit_influence(
        &self,
        cache: &Cache,
        completion: &Completion,
        (model, lora): (&Model, &Lora),
        params: &Params,
        credits: &mut Credits,
    ) -> Result<(), CreditError> {
        let cached = AdapterHash(cache.info().provenance.adapter_hash);
        if completion.adapter != cached {
            return Err(CreditError::Adapter { answered: completion.adapter, cached });
        }
        credits.methods.push(cache.method().version().into());
        let prompt = completion.prompt_ids.len();
        if prompt == 0 || completion.output_ids.is_empty() {
            return Ok(());
        }
        let ids = [completion.prompt_ids.as_slice(), &completion.output_ids].concat();
        let gradients = Gradients::compute(model, lora, &[Item { ids, loss_from: prompt }], &mut |_, _| ())?;
        let scores = cache.score(&gradients)?;
        let weights = self.cluster_weights(scores.row(0).unwrap_or_default(), params)?;
        credits.coverage.influence = if weights.is_empty() { 0 } else { Coverage::FULL };
        credits.scores.extend(self.scores(Layer::Influence, &weights));
        Ok(())
    }

    /// The weights of a row of raw scores: the largest of each cluster, thresholded over clusters.
    ///
    /// # Errors
    /// [`InfluenceError::NotFinite`] when a score is not a number.
    fn cluster_weights(&self, row: &[f32], params: &Params) -> Result<Vec<(u32, u64)>, InfluenceError> {
        let mut clusters: BTreeMap<u32, f32> = BTreeMap::new();
        for (title, score) in self.titles.iter().zip(row) {
            let best = clusters.entry(title.owner).or_insert(*score);
            // A NaN stays, so that it is refused below.
            *best = if best.is_nan() || score.is_nan() { f32::NAN } else { best.max(*score) };
        }
        let (owners, scores): (Vec<u32>, Vec<f32>) = clusters.into_iter().unzip();
        Ok(to_weights(&scores, params)?.into_iter().map(|(place, weight)| (owners[place as usize], weight)).collect())
    }

    /// The scores of clusters' owners. Words that a record repeats score for their first owner,
    /// so an edited copy earns its own words and no more. The sum stays the same.
    fn scores(&self, layer: Layer, weights: &[(u32, u64)]) -> Vec<Score> {
        let mut scores: BTreeMap<u32, u64> = BTreeMap::new();
        let mut add = |owner: u32, score: u64| {
            let sum = scores.entry(owner).or_default();
            *sum = sum.saturating_add(score);
        };
        for &(owner, weight) in weights {
            let title = &self.titles[owner as usize];
            let own = u128::from(weight) * u128::from(title.multiplier) / u128::from(u16::MAX);
            let own = u64::try_from(own).unwrap_or(weight);
            add(owner, own);
            add(self.titles[title.source as usize].owner, weight - own);
        }
        let scored = scores.into_iter().filter(|(_, score)| *score > 0);
        scored
            .map(|(owner, score)| {
                let title = &self.titles[owner as usize];
                Score { layer, datanet: title.datanet, record: title.record, score }
            })
            .collect()
    }
}
