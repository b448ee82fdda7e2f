//! Answers: generated, credited, priced, receipted, in that order; and credits alone for audits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use alloy_primitives::{Address, B256, keccak256};
use openledger_protocol::{
    Amount, Annex, Completion, ContributionId, Credits, FinishReason, Layer, Parties, Receipt, ReceiptBundle,
    ReceiptId, Sampling, Terms, Usage, output_root,
};
use openledger_serving::{Answer, Asked, CompletionRequest, Event, Events, Message, Prompt, Role, ServeError, Tenant};
use openledger_store::channels::Channel;
use openledger_store::receipts::ReceiptRow;
use serde_json::{Value, json};

use crate::error::{Blame, NodeError, Result};
use crate::metrics::Metrics;
use crate::models::Offered;
use crate::node::Node;

/// An answer that is being written; dropping it ends the run.
pub(crate) struct Generation {
    events: Events,
    node: Node,
    started: Instant,
}

/// What a [`Generation`] comes to next.
pub(crate) enum Step {
    /// Text that became certain.
    Text(String),
    /// The whole answer.
    Done(Box<Answer>),
}

impl Generation {
    /// Waits for the next step.
    pub(crate) async fn step(&mut self) -> Result<Step> {
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Token(token) if !token.text.is_empty() => return Ok(Step::Text(token.text)),
                Event::Started(_) | Event::Token(_) => {}
                Event::Finished(answer) => {
                    Metrics::add(&self.node.inner.metrics.answer_micros, micros(self.started));
                    return Ok(Step::Done(answer));
                }
                Event::Failed(error) => return Err(error.into()),
            }
        }
        Err(ServeError::Stopped.into())
    }

    /// Asks for its end: what was produced so far is the answer.
    pub(crate) fn cancel(&self) {
        self.events.cancel();
    }
}

impl Node {
    /// Starts an answer and waits until it has begun; touches nothing that is kept.
    ///
    /// # Errors
    /// What is wrong with the request, or that there is no room for it now.
    pub(crate) async fn begin(&self, request: CompletionRequest, tenant: Tenant) -> Result<Generation> {
        let (node, started) = (self.clone(), Instant::now());
        let asked = Asked { tenant, ..Asked::default() };
        let mut events = tokio::task::spawn_blocking(move || node.inner.serving.generate(request, asked)).await??;
        match events.recv().await {
            Some(Event::Started(_)) => Ok(Generation { events, node: self.clone(), started }),
            Some(Event::Failed(error)) => Err(error.into()),
            // Before it begins a run has nothing else to tell.
            _ => Err(ServeError::Stopped.into()),
        }
    }

    /// What an answer rests on.
    pub(crate) async fn credit(&self, offered: &Arc<Offered>, completion: &Completion) -> Result<Credits> {
        let (node, offered, completion) = (self.clone(), Arc::clone(offered), completion.clone());
        let started = Instant::now();
        let credits = tokio::task::spawn_blocking(move || {
            offered.attributor.credit(&completion, Some((&node.inner.base.model, &offered.lora)))
        })
        .await??;
        Metrics::add(&self.inner.metrics.credit_micros, micros(started));
        Ok(credits)
    }

    /// Prices, splits and signs an answer, and keeps channel, receipt and entries in one transaction. A key that has a
    /// receipt already gives that one: nothing is charged twice.
    pub(crate) async fn receipt(
        &self,
        channel: &Channel,
        offered: &Offered,
        request: Value,
        answer: &Answer,
        credits: Credits,
        key: Option<&str>,
    ) -> Result<ReceiptBundle> {
        let _one = self.inner.ledger.lock().await;
        if let Some(key) = key
            && let Some(bundle) = self.replay(channel, key, &request).await?
        {
            return Ok(bundle);
        }
        let (holder_block, head_time) = self.sync().await?;
        let mut tx = self.inner.store.begin().await?;
        let channel = tx.channel(channel.id).await?.ok_or_else(|| NodeError::missing("channel", channel.id))?;
        let completion = &answer.completion;
        let usage = completion.usage;
        let price = openledger_ledger::price(usage.prompt_tokens, usage.completion_tokens, &offered.prices)?;
        let Some(cumulative) = openledger_ledger::spend(channel.spent, price, channel.deposited)? else {
            let detail = format!("the answer costs {price}; {} of {} is spent", channel.spent, channel.deposited);
            return Err(NodeError::refused(Blame::Payment, "insufficient-deposit", detail));
        };
        let last_cutoff = self.last_cutoff().await?;
        let domain = self.domain(self.inner.flow.addresses().payouts);
        let manifest = &offered.manifest;
        let receipt = Receipt {
            node: self.inner.flow.account(),
            channel: channel.id,
            nonce: channel.nonce + 1,
            cumulative,
            datanets: manifest.datanets_hash(),
            model: offered.id,
            base: completion.base,
            adapter: completion.adapter,
            tokenizer: completion.tokenizer,
            numeric_mode: keccak256(&completion.numeric_mode),
            sampling: completion.sampling.hash()?,
            seed: completion.sampling.seed,
            request: openledger_protocol::request_hash(&request)?,
            output: output_root(&completion.text),
            tokens_in: usage.prompt_tokens,
            tokens_out: usage.completion_tokens,
            price,
            platform_bps: offered.rule.platform_bps(),
            model_bps: offered.rule.model_bps(),
            stakers_bps: offered.rule.stakers_bps(),
            contributors_bps: offered.rule.contributors_bps(),
            methods: manifest.methods_hash(),
            spans_root: credits.spans_root(),
            scores_root: credits.scores_root(),
            coverage_spans: credits.coverage.spans,
            coverage_influence: credits.coverage.influence,
            coverage_retrieval: credits.coverage.retrieval,
            holder_block,
            // Receipts of an epoch lie after the cutoff of the one before.
            time: self.now(head_time).max(last_cutoff + 1),
        };
        let terms = self.terms(offered, &credits, holder_block).await?;
        let id = receipt.id();
        let entries = openledger_ledger::split(
            id,
            price,
            &offered.rule,
            &manifest.mix,
            &credits,
            &terms.holders,
            &terms.parties,
        )?;
        let signer = &self.inner.config.key;
        let words = receipt.words().to_vec();
        let signed = receipt.sign(domain, signer);
        let annex = Annex::of(completion, &terms, offered.manifest_hash, &entries)?.sign(&signed, signer);
        let bundle = ReceiptBundle {
            format: ReceiptBundle::FORMAT.into(),
            signed,
            words,
            request,
            completion: completion.clone(),
            credits,
            terms,
            entries,
            annex,
            inclusion: None,
            entry_proofs: Vec::new(),
        };
        let row = ReceiptRow {
            id,
            channel: channel.id,
            nonce: bundle.signed.receipt.nonce,
            epoch: None,
            price,
            time: bundle.signed.receipt.time,
            body: serde_json::to_string(&bundle)?,
        };
        tx.spend(channel.id, channel.nonce, cumulative).await?;
        tx.put_receipt(&row, &bundle.entries).await?;
        if let Some(key) = key {
            tx.put_kv(&idempotency_key(&channel, key), id.0.as_slice()).await?;
        }
        tx.commit().await?;
        Metrics::add(&self.inner.metrics.answers, 1);
        Metrics::add(&self.inner.metrics.tokens_in, usage.prompt_tokens.into());
        Metrics::add(&self.inner.metrics.tokens_out, usage.completion_tokens.into());
        Ok(bundle)
    }

    /// The accounts behind the lines of a split, holders as of `block`.
    async fn terms(&self, offered: &Offered, credits: &Credits, block: u64) -> Result<Terms> {
        let titles = self.inner.flow.addresses().contributions;
        let mut holders: BTreeMap<ContributionId, Address> = BTreeMap::new();
        for score in &credits.scores {
            let contribution = score.contribution();
            if !holders.contains_key(&contribution)
                && let Some(holder) = self.inner.store.owner_at(titles, contribution.0, block).await?
            {
                holders.insert(contribution, holder);
            }
        }
        let platform = self.inner.config.platform;
        let parties = Parties {
            treasury: platform.treasury,
            validation: platform.validation,
            insurance: platform.insurance,
            owner: self.model_owner(offered.id, block).await?,
            node: self.inner.flow.account(),
            stakers: offered.stake_vault,
            parents: Vec::new(),
        };
        Ok(Terms { prices: offered.prices, parties, holders })
    }

    /// The cutoff of the last closed epoch; zero before the first.
    async fn last_cutoff(&self) -> Result<u64> {
        let latest = self.inner.store.latest_epoch().await?;
        Ok(latest.and_then(|row| row.header["cutoff"].as_u64()).unwrap_or_default())
    }

    /// The answer that an idempotency key has already been given on a channel.
    ///
    /// # Errors
    ///
    /// `key-reused` when the key was used for another request.
    pub(crate) async fn replay(&self, channel: &Channel, key: &str, request: &Value) -> Result<Option<ReceiptBundle>> {
        let kept = self.inner.store.kv(&idempotency_key(channel, key)).await?;
        let Some(id) = kept.and_then(|id| B256::try_from(id.as_slice()).ok()) else { return Ok(None) };
        let bundle = self.bundle(ReceiptId(id)).await?;
        if bundle.signed.receipt.request == openledger_protocol::request_hash(request)? {
            return Ok(Some(bundle));
        }
        let detail = format!("idempotency key `{key}` was used for another request");
        Err(NodeError::refused(Blame::Conflict, "key-reused", detail))
    }

    /// What the largest answer to a request can cost.
    pub(crate) fn dearest(&self, offered: &Offered, request: &CompletionRequest) -> Result<Amount> {
        let tokens = match &request.prompt {
            Prompt::Text(text) => self.inner.base.tokenizer.encode(text, true).len(),
            Prompt::Ids(ids) => ids.len(),
        };
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let room = self.inner.base.model.config().max_positions;
        let answer = request.sampling.max_tokens.min(u32::try_from(room).unwrap_or(u32::MAX));
        Ok(openledger_ledger::price(tokens, answer, &offered.prices)?)
    }

    /// Refuses what the channel could not pay for, before anything is generated.
    ///
    /// # Errors
    ///
    /// `insufficient-deposit` when the largest answer costs more than is left, `deposit-withdrawn` once the payer asked for it.
    pub(crate) async fn affordable(
        &self,
        channel: &Channel,
        offered: &Offered,
        request: &CompletionRequest,
    ) -> Result<()> {
        let dearest = self.dearest(offered, request)?;
        let channel = self.inner.store.channel(channel.id).await?;
        let channel = channel.ok_or_else(|| NodeError::missing("channel", "of this key"))?;
        self.not_asked_back(&channel).await?;
        if openledger_ledger::spend(channel.spent, dearest, channel.deposited)?.is_some() {
            return Ok(());
        }
        let detail = format!(
            "the answer may cost up to {dearest}; {} of {} is spent: deposit more or lower `max_tokens`",
            channel.spent, channel.deposited
        );
        Err(NodeError::refused(Blame::Payment, "insufficient-deposit", detail))
    }

    /// Refuses a channel whose money is asked back or gone; what it has spent is redeemed before the payer can take it.
    async fn not_asked_back(&self, channel: &Channel) -> Result<()> {
        let flow = &self.inner.flow;
        let asked = flow.withdrawal(channel.id).await?;
        if asked.is_none() && flow.channel(channel.id).await?.balance >= channel.deposited {
            return Ok(());
        }
        if asked.is_some() {
            self.redeem_at_once(channel).await?;
        }
        let detail = "the payer has asked the deposit of this channel back; open another channel";
        Err(NodeError::refused(Blame::Payment, "deposit-withdrawn", detail))
    }

    /// Credits a given answer, free and without receipt: what audits and probes ask.
    ///
    /// # Errors
    ///
    /// `unknown-model`.
    pub async fn attribute(&self, model: &str, prompt: &str, response: &str) -> Result<Value> {
        let offered = self.offered(model).await?;
        let base = &self.inner.base;
        let message = Message { role: Role::User, content: prompt.to_owned() };
        let asked = self.inner.form.prompt(&[message])?;
        let prompt_ids = base.tokenizer.encode(&asked, true);
        let room = base.model.config().max_positions.saturating_sub(prompt_ids.len());
        let mut tokens = base.tokenizer.encode_with_offsets(response);
        tokens.truncate(room);
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let text_end = tokens.last().map_or(0, |(_, range)| range.end);
        let completion = Completion {
            model: offered.id,
            base: base.hash,
            adapter: offered.manifest.adapter,
            tokenizer: offered.manifest.tokenizer,
            numeric_mode: openledger_engine::NUMERIC_MODE.to_owned(),
            sampling: Sampling { temperature_milli: 0, top_p_milli: 1000, max_tokens: 0, seed: 0, stop: Vec::new() },
            prompt: asked,
            usage: Usage { prompt_tokens: count(prompt_ids.len()), completion_tokens: count(tokens.len()) },
            prompt_ids,
            text: response[..text_end].to_owned(),
            offsets: tokens.iter().map(|(_, range)| (count(range.start), count(range.end))).collect(),
            output_ids: tokens.into_iter().map(|(id, _)| id).collect(),
            finish_reason: FinishReason::Stop,
        };
        let credits = self.credit(&offered, &completion).await?;
        let top = self.top_records(&offered, &credits, 10).await?;
        Ok(json!({ "credits": credits, "top": top }))
    }

    /// The records that an answer rests on most: each layer's scores in parts of that layer's sum, added up.
    pub(crate) async fn top_records(&self, offered: &Offered, credits: &Credits, count: usize) -> Result<Vec<Value>> {
        let mut ranked: BTreeMap<openledger_protocol::RecordRef, (u64, [u64; 2])> = BTreeMap::new();
        for (at, layer) in [Layer::Spans, Layer::Influence].into_iter().enumerate() {
            let scores: Vec<_> = credits.scores.iter().filter(|score| score.layer == layer).collect();
            let sum: u128 = scores.iter().map(|score| u128::from(score.score)).sum();
            for score in scores {
                let part = u128::from(score.score) * 1_000_000 / sum.max(1);
                let entry = ranked.entry(score.record).or_default();
                entry.0 += u64::try_from(part).unwrap_or(0);
                entry.1[at] = score.score;
            }
        }
        let mut ranked: Vec<_> = ranked.into_iter().collect();
        ranked.sort_by_key(|(record, (weight, _))| (std::cmp::Reverse(*weight), *record));
        let names = self.names().await?;
        let mut top = Vec::new();
        for (record, (weight, [spans, influence])) in ranked.into_iter().take(count) {
            let trained = offered.records.iter().find(|trained| trained.at == record);
            let contributors = self.contributors_of(record.contribution, &names).await?;
            top.push(json!({
                "record": trained.map(|trained| trained.id.clone()),
                "contribution": record.contribution,
                "index": record.index,
                "contributors": contributors,
                "weight_ppm": weight,
                "spans": spans,
                "influence": influence,
                "text": trained.map(|trained| trained.body.canonical_text()),
            }));
        }
        Ok(top)
    }
}

fn idempotency_key(channel: &Channel, key: &str) -> String {
    format!("answer/{}/{key}", channel.id)
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
