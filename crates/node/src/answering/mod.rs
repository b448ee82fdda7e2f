//! Answering: an answer is reserved for, generated, credited, priced, receipted and charged, in that order.
//!
//! # Place in the flow
//!
//! `pipeline::answer` and `pipeline::receipt` compose these steps; the gateway translates requests and writes streams.
//!
//! # Invariants
//!
//! - The largest price an answer can have is reserved before a token is generated; the charge never exceeds it.
//! - Receipt, charge and the record of an idempotency key are one transaction: a key is charged once.
//! - An answer ends with the tokens produced so far once its payer asks the deposit back.
//! - Nothing here waits for the chain, nor for an epoch that is being settled.

mod generation;
mod receipt;

use std::sync::Arc;
use std::time::Instant;

use openledger_protocol::{
    Amount, B256, ChannelId, Completion, FinishReason, Params, ReceiptBundle, ReceiptId, Sampling, Usage,
};
use openledger_serving::{Answer, Backend, CompletionRequest, Message, Prompt, RequestOptions, Role, Tenant};
use openledger_store::Store;

pub use self::generation::{Generation, Step};
use crate::base::Base;
use crate::clock::Clock;
use crate::config::PlatformAccounts;
use crate::deposits::Deposits;
use crate::error::{Blame, NodeError, Result};
use crate::holds::Hold;
use crate::keys::NodeKeys;
use crate::metrics::Metrics;
use crate::models::{Models, Offered};
use crate::on_chain::AnswersOnChain;
use crate::requests::{RequestHold, Requests, Taken};

/// Answers requests of payers.
#[derive(Clone)]
pub struct Answering {
    store: Store,
    chain: Arc<dyn AnswersOnChain>,
    backend: Arc<dyn Backend>,
    base: Arc<Base>,
    models: Models,
    deposits: Deposits,
    keys: NodeKeys,
    platform: PlatformAccounts,
    clock: Clock,
    requests: Requests,
    metrics: Arc<Metrics>,
}

/// The parts of [`Answering`].
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) chain: Arc<dyn AnswersOnChain>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) base: Arc<Base>,
    pub(crate) models: Models,
    pub(crate) deposits: Deposits,
    pub(crate) keys: NodeKeys,
    pub(crate) platform: PlatformAccounts,
    pub(crate) clock: Clock,
    pub(crate) requests: Requests,
    pub(crate) metrics: Arc<Metrics>,
}

/// A request of a payer.
#[derive(Clone)]
pub struct Ask {
    /// The channel that pays.
    pub channel: ChannelId,
    /// The model.
    pub model: Arc<Offered>,
    /// The request as the backend takes it.
    pub request: CompletionRequest,
    /// The request as the receipt hashes it: canonical JSON, free of form because it is the caller's.
    pub canonical: serde_json::Value,
    /// The same key gives the same answer and is charged once.
    pub key: Option<String>,
    /// The most that the answer may cost, in base units.
    pub max_price: Option<Amount>,
}

/// An answer that was asked for.
#[expect(clippy::large_enum_variant, reason = "one a request, taken apart at once")]
pub enum Begin {
    /// It was given before, under the same key.
    Replayed(Box<ReceiptBundle>),
    /// It has begun; [`Held`] is what its receipt is made with.
    Running(Generation, Held),
}

/// The idempotency key of a request.
#[expect(clippy::large_enum_variant, reason = "one a request, taken apart at once")]
pub(crate) enum Keyed {
    /// The request was answered before, under the same key.
    Replayed(Box<ReceiptBundle>),
    /// The request is new; the key is held where one was given.
    New(Option<RequestHold>),
}

/// What is held for a running answer: money and, where one was given, an idempotency key. Dropped, both are given back.
pub struct Held {
    pub(crate) money: Hold,
    pub(crate) key: Option<RequestHold>,
}

impl Answering {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, chain, backend, base, models, deposits, keys, platform, clock, requests, metrics } = parts;
        Self { store, chain, backend, base, models, deposits, keys, platform, clock, requests, metrics }
    }

    /// The model of a name.
    ///
    /// # Errors
    ///
    /// `not-found`: the base never answers in its place.
    pub async fn model(&self, name: &str) -> Result<Arc<Offered>> {
        self.models.named(name).await
    }

    /// The base that answers.
    #[must_use]
    pub fn base(&self) -> &Arc<Base> {
        &self.base
    }

    /// The governed numbers by which answers are credited and split now.
    #[must_use]
    pub fn governed(&self) -> Arc<Params> {
        self.chain.governed()
    }

    /// The backend that computes answers.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The time that chat templates may write into prompts, Unix seconds.
    #[must_use]
    pub fn prompt_time(&self) -> u64 {
        self.clock.prompt_time()
    }

    /// The largest price that the answer can have, in base units.
    ///
    /// # Errors
    ///
    /// `over-max-price`; [`NodeError::Sum`] when the price does not fit.
    pub(crate) async fn largest_price(&self, ask: &Ask) -> Result<Amount> {
        let tokens = match &ask.request.prompt {
            Prompt::Ids(ids) => ids.len(),
            // A long text keeps a core busy.
            Prompt::Text(text) => {
                let (base, text) = (Arc::clone(&self.base), text.clone());
                tokio::task::spawn_blocking(move || base.tokenizer.encode(&text, true).len()).await?
            }
        };
        let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        let answer = ask.request.sampling.max_tokens.min(count(self.base.max_positions()));
        let largest = openledger_ledger::price(count(tokens), answer, &ask.model.prices)?;
        if let Some(limit) = ask.max_price
            && largest > limit
        {
            let detail = format!("the answer may cost up to {largest}, more than max_price {limit}");
            return Err(NodeError::refused(Blame::Payment, "over-max-price", detail));
        }
        Ok(largest)
    }

    /// Takes the request's idempotency key, or finds the answer that was given under it.
    ///
    /// # Errors
    ///
    /// `key-reused`, `key-in-use`.
    pub(crate) async fn take_key(&self, ask: &Ask) -> Result<Keyed> {
        let Some(key) = &ask.key else { return Ok(Keyed::New(None)) };
        let request = openledger_protocol::request_hash(&ask.canonical)?;
        let (caller, principal) = (format!("channel:{}", ask.channel), format!("channel {}", ask.channel));
        match self.requests.take(&caller, &principal, key, request).await? {
            Taken::Fresh(hold) => Ok(Keyed::New(Some(hold))),
            Taken::Done(response) => {
                let id = B256::try_from(response.body.as_slice()).map_err(|_| damaged_key(key))?;
                Ok(Keyed::Replayed(Box::new(self.bundle(ReceiptId(id)).await?)))
            }
        }
    }

    /// Reserves the largest price on the channel.
    ///
    /// # Errors
    ///
    /// `insufficient-deposit`, `deposit-withdrawn`.
    pub(crate) async fn reserve(&self, ask: &Ask, largest: Amount) -> Result<Hold> {
        // On the logical clock this indexes withdrawals and titles up to the chain's head first.
        self.chain.refresh().await?;
        self.deposits.reserve(ask.channel, largest, ask.key.as_deref()).await
    }

    /// Starts the answer on the backend.
    ///
    /// # Errors
    ///
    /// [`NodeError::Serve`]: what is wrong with the request, or that there is no room for it now.
    /// `deposit-withdrawn` when the payer asks the deposit back before the answer begins.
    pub(crate) async fn generate(&self, ask: &Ask) -> Result<Generation> {
        let (backend, started) = (Arc::clone(&self.backend), Instant::now());
        let (request, running) = (ask.request.clone(), self.deposits.begin_answer(ask.channel));
        let options = RequestOptions { tenant: Tenant::new(&ask.channel.to_string()), ..RequestOptions::default() };
        let events = tokio::task::spawn_blocking(move || backend.generate(request, options)).await??;
        Generation::begun(events, running, Arc::clone(&self.metrics), started).await
    }

    /// A given answer as if the model had written it, to be credited without a receipt; cut where the model's reach ends.
    ///
    /// # Errors
    ///
    /// [`NodeError::Serve`] when the chat form does not take the prompt.
    pub fn given(&self, model: &Offered, prompt: &str, response: &str) -> Result<Completion> {
        let base = &self.base;
        let message = Message { role: Role::User, content: prompt.to_owned() };
        let asked = base.form.prompt(&[message])?;
        let prompt_ids = base.tokenizer.encode(&asked, true);
        let mut tokens = base.tokenizer.encode_with_offsets(response);
        tokens.truncate(base.max_positions().saturating_sub(prompt_ids.len()));
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let text_end = tokens.last().map_or(0, |(_, range)| range.end);
        Ok(Completion {
            model: model.id,
            base: base.hash,
            adapter: model.manifest.adapter,
            tokenizer: model.manifest.tokenizer,
            numeric_mode: openledger_engine::NUMERIC_MODE.to_owned(),
            sampling: Sampling { temperature_milli: 0, top_p_milli: 1000, max_tokens: 0, seed: 0, stop: Vec::new() },
            prompt: asked,
            usage: Usage { prompt_tokens: count(prompt_ids.len()), completion_tokens: count(tokens.len()) },
            prompt_ids,
            text: response[..text_end].to_owned(),
            offsets: tokens.iter().map(|(_, range)| (count(range.start), count(range.end))).collect(),
            output_ids: tokens.into_iter().map(|(id, _)| id).collect(),
            finish_reason: FinishReason::Stop,
        })
    }

    /// The bundle of a receipt, without its place in an epoch.
    async fn bundle(&self, id: ReceiptId) -> Result<ReceiptBundle> {
        let row = self.store.receipt(id).await?.ok_or_else(|| NodeError::lost("receipt", id))?;
        Ok(serde_json::from_str(&row.body)?)
    }

    /// Counts an answer that was receipted.
    fn count(&self, answer: &Answer) {
        let usage = answer.completion.usage;
        Metrics::add(&self.metrics.answers, 1);
        Metrics::add(&self.metrics.tokens_in, usage.prompt_tokens.into());
        Metrics::add(&self.metrics.tokens_out, usage.completion_tokens.into());
    }
}

fn damaged_key(key: &str) -> NodeError {
    let detail = format!("what is stored under idempotency key `{key}` is damaged");
    NodeError::refused(Blame::Operator, "damaged-key", detail)
}
