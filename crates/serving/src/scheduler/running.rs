//! One request: while it waits ([`Job`]) and while it runs ([`Running`]).

use std::sync::Arc;

use openledger_engine::{KvCache, KvRoot, Lease, Lora};
use openledger_protocol::{AdapterHash, B256, FinishReason};

use crate::answer::{Answer, TokenLogprob};
use crate::base::{Base, Cut};
use crate::choose::Chooser;
use crate::decode::Written;
use crate::error::ServeError;
use crate::events::{Event, Sender, Token};
use crate::request::{CompletionRequest, Tenant};

/// A checked request that waits.
pub(crate) struct Job {
    pub(crate) request: CompletionRequest,
    /// The adapter; `None` is the base.
    pub(crate) adapter: Option<AdapterHash>,
    /// The adapter in memory, once it is.
    pub(crate) lora: Option<Arc<Lora>>,
    /// The adapter before that, where a request need not wait for it.
    pub(crate) unread: Option<Unread>,
    /// The prompt's text and ids.
    pub(crate) prompt: (String, Vec<u32>),
    /// Most tokens of the answer; at least 1.
    pub(crate) room: usize,
    pub(crate) chooser: Chooser,
    /// Where its text ends.
    pub(crate) cut: Cut,
    pub(crate) sender: Sender,
    /// Time of arrival, in microseconds.
    pub(crate) arrived: u64,
    /// How often another request was admitted before it because it found no memory.
    pub(crate) overtaken: u32,
}

/// An adapter that is mapped but neither read nor checked, so one request uses it alone.
pub(crate) struct Unread {
    pub(crate) lora: Lora,
    /// Pays for it.
    pub(crate) lease: Lease,
    /// Since when, in microseconds.
    pub(crate) since: u64,
}

impl Job {
    /// What its rows are multiplied by beside the base.
    pub(crate) fn lora(&self) -> Option<&Lora> {
        self.unread.as_ref().map(|unread| &unread.lora).or(self.lora.as_deref())
    }

    /// The adapter's hash; zero is the base.
    pub(crate) fn hash(&self) -> AdapterHash {
        self.adapter.unwrap_or(AdapterHash(B256::ZERO))
    }

    /// Tokens of prompt and longest answer.
    pub(crate) fn tokens(&self) -> usize {
        self.prompt.1.len() + self.room
    }

    /// The answer of `ids` and their likelihoods.
    fn answer(
        self,
        base: &Base,
        ids: Vec<u32>,
        logprobs: Vec<TokenLogprob>,
        finish: FinishReason,
        cancelled: bool,
    ) -> (Answer, Sender) {
        let (hash, mut sampling) = (self.hash(), self.request.sampling);
        if cancelled {
            // What was produced is a whole answer to a request for that many tokens.
            sampling.max_tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        }
        let (model, cut) = (self.request.model_id, self.cut);
        let completion = base.record(model, hash, &sampling, self.prompt, ids, finish, cut);
        (Answer { completion, logprobs, cancelled }, self.sender)
    }

    /// Ends it before it ran.
    pub(crate) fn end_unrun(self, base: &Base, cancelled: bool) {
        let (answer, sender) = self.answer(base, Vec::new(), Vec::new(), FinishReason::Length, cancelled);
        sender.send(Event::Finished(Box::new(answer)));
    }
}

/// A request that runs; it owns the memory it needs to its end.
pub(crate) struct Running {
    pub(crate) job: Job,
    pub(crate) tenant: Tenant,
    pub(crate) ticket: u64,
    /// What it was charged, in tokens.
    pub(crate) cost: u64,
    /// Names what its keys and values were computed with, and for whom.
    pub(crate) root: KvRoot,
    /// Prompt and answer.
    pub(crate) history: Vec<u32>,
    pub(crate) cache: KvCache,
    /// Bytes of keys and values that were taken for it.
    pub(crate) bytes: usize,
    /// Full pages that are kept as a prefix for other requests.
    pub(crate) kept: usize,
    /// Steps in which its tenant's prompts got no row.
    pub(crate) passed: u32,
    /// When it was admitted, and when its first and latest token came, in microseconds.
    pub(crate) times: [u64; 3],
    pub(crate) writer: Written,
    pub(crate) logprobs: Vec<TokenLogprob>,
}

impl Running {
    /// Tokens that are not yet in the cache: what is left of the prompt, or the one chosen last.
    pub(crate) fn pending(&self) -> &[u32] {
        &self.history[self.cache.len()..]
    }

    /// Whether its prompt is in the cache.
    pub(crate) fn is_writing(&self) -> bool {
        !self.logprobs.is_empty()
    }

    /// Chooses the next token after the whole history was run; `Some` when the answer ends.
    pub(crate) fn choose(&mut self, base: &Base, logits: &[f32], now: u64) -> Result<Option<FinishReason>, ServeError> {
        let prompt = self.job.prompt.1.len();
        let choice = self.job.chooser.choose(logits, &self.history, prompt)?;
        if choice.ends {
            return Ok(Some(FinishReason::Stop));
        }
        let id = choice.id;
        if self.logprobs.is_empty() {
            self.times[1] = now;
        }
        self.times[2] = now;
        self.history.push(id);
        let logprob = base.logprob(logits, id, choice.logprob, self.job.request.top_logprobs);
        self.logprobs.push(logprob.clone());
        let job = &self.job;
        let frame = base.frame(&job.request.sampling.stop, job.cut.min_tokens, &job.prompt.1);
        let (text, stopped) = self.writer.push(&base.tokenizer, frame, id);
        self.job.sender.send(Event::Token(Token { id, text: text.to_owned(), logprob }));
        if stopped || choice.completes {
            return Ok(Some(FinishReason::Stop));
        }
        Ok((self.logprobs.len() >= self.job.room).then_some(FinishReason::Length))
    }

    /// Ends it with the answer so far. Its memory is free before its reader sees the end.
    pub(crate) fn finish(self, base: &Base, finish: FinishReason, cancelled: bool) {
        let Self { mut job, cache, writer, logprobs, .. } = self;
        drop(cache);
        job.lora = None;
        let (answer, sender) = job.answer(base, writer.into_ids(), logprobs, finish, cancelled);
        sender.send(Event::Finished(Box::new(answer)));
    }

    /// Ends it with an error.
    pub(crate) fn fail(self, error: ServeError) {
        let Self { job, cache, .. } = self;
        drop(cache);
        job.sender.send(Event::Failed(error));
    }
}
