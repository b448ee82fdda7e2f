//! The backend that computes here, with the engine.
//!
//! **Invariants:** a request is checked in the thread that brings it, and runs beside others in the
//! engine's; nothing of its answer depends on them. Not here: turns and memory (`scheduler`), how a
//! token is chosen (`choose`).

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use openledger_engine::{KvCache, Lora, Model, Sampling as EngineSampling, Session, Tokenizer, mean_hidden, score};
use openledger_protocol::{AdapterHash, B256, FinishReason, Sampling};

use crate::adapters::AdapterStore;
use crate::answer::{Answer, BASE, TokenEvent, TokenLogprob};
use crate::backend::{Backend, Capabilities, LoadAdapter, Served};
use crate::base::{Base, Cut, MAX_TOP};
use crate::chat::ChatForm;
use crate::choose::Chooser;
use crate::decode::render;
use crate::ensemble::{Ensemble, Member, Weight};
use crate::error::ServeError;
use crate::events::{Event, Events, Sender, Started, Token, events};
use crate::memory::Memory;
use crate::metrics::{Clock, Metrics, machine_clock};
use crate::names::check_adapter_name;
use crate::request::{CompletionRequest, RequestOptions, Tenant};
use crate::scheduler::queue::Full;
use crate::scheduler::thread::SchedulerThread;
use crate::scheduler::{Job, Limits};

/// One base, its tokenizer and its adapters, answering. Clones share everything.
#[derive(Clone)]
pub struct Embedded {
    base: Arc<Base>,
    adapters: Arc<AdapterStore>,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    engine: Arc<SchedulerThread>,
    name: String,
    form: ChatForm,
}

impl Embedded {
    /// Loads the base in `dir`, known as `name`; keeps about `adapter_bytes` of idle adapters in
    /// memory.
    ///
    /// # Errors
    /// [`ServeError::Load`] when model or tokenizer cannot be loaded.
    pub fn load(dir: &Path, name: &str, adapter_bytes: usize) -> Result<Self, ServeError> {
        let (model, tokenizer) = (Arc::new(Model::load(dir)?), Arc::new(Tokenizer::load(dir)?));
        Ok(Self::new(model, tokenizer, ChatForm::of_base(dir), name, adapter_bytes))
    }

    /// Serves a model that is in memory already, with the default [`Limits`] beside `adapter_bytes`
    /// of idle adapters.
    #[must_use]
    pub fn new(model: Arc<Model>, tokenizer: Arc<Tokenizer>, form: ChatForm, name: &str, adapter_bytes: usize) -> Self {
        let limits = Limits::default();
        let memory_bytes = limits.memory_bytes.saturating_add(adapter_bytes);
        let limits = Limits { memory_bytes, idle_adapter_bytes: adapter_bytes, ..limits };
        Self::with_limits(model, tokenizer, form, name, &limits, machine_clock())
    }

    /// Serves a model within `limits`; `clock` gives the time.
    #[must_use]
    pub fn with_limits(
        model: Arc<Model>,
        tokenizer: Arc<Tokenizer>,
        form: ChatForm,
        name: &str,
        limits: &Limits,
        clock: Clock,
    ) -> Self {
        let (memory, metrics) = (Memory::new(limits.memory_bytes), Metrics::new(clock));
        let adapters = Arc::new(AdapterStore::new(Arc::clone(&model), Arc::clone(&memory), limits.idle_adapter_bytes));
        let base = Arc::new(Base::new(model, tokenizer));
        let engine = Arc::new(SchedulerThread::start(&base, &adapters, &memory, &metrics, limits));
        Self { base, adapters, memory, metrics, engine, name: name.to_owned(), form }
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The counters as a Prometheus exposition: requests, and the state of the adapters that they
    /// name.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let (stats, [used, peak, limit]) = (self.adapters.stats(), self.memory_bytes());
        let mut text = self.metrics.prometheus(&|adapter| self.adapters.stats_of(adapter));
        for (name, value) in [
            ("adapters_registered", stats.registered as u64),
            ("adapters_resident", stats.resident as u64),
            ("adapters_resident_bytes", stats.resident_bytes as u64),
            ("adapter_hits_total", stats.hits),
            ("adapter_loads_total", stats.loads),
            ("adapter_evictions_total", stats.evictions),
            ("adapter_originals_read_total", stats.originals_read),
            ("memory_used_bytes", used as u64),
            ("memory_peak_bytes", peak as u64),
            ("memory_limit_bytes", limit as u64),
        ] {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "openledger_serving_{name} {value}");
        }
        text
    }

    /// Bytes of adapters, keys and values: taken now, taken at most so far, and there.
    #[must_use]
    pub fn memory_bytes(&self) -> [usize; 3] {
        let budget = self.memory.budget();
        [budget.used(), budget.peak(), budget.limit()]
    }

    /// The adapters.
    #[must_use]
    pub fn adapters(&self) -> &Arc<AdapterStore> {
        &self.adapters
    }

    /// The base.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.base.model
    }

    /// The base's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.base.tokenizer
    }

    /// How conversations become prompts.
    #[must_use]
    pub fn chat_form(&self) -> &ChatForm {
        &self.form
    }

    /// The adapter that `model` names; `None` is the base itself.
    ///
    /// Names are the base's, an alias, `base:alias`, `sha256:<64 digits>` or `0x<64 digits>`.
    ///
    /// # Errors
    /// [`ServeError::NotFound`].
    pub fn resolve(&self, model: &str) -> Result<Option<AdapterHash>, ServeError> {
        if model == self.name {
            return Ok(None);
        }
        let not_found = || ServeError::NotFound { model: model.to_owned() };
        let hex = model.strip_prefix("sha256:").or_else(|| model.strip_prefix("0x"));
        if let Some(hex) = hex {
            let hash: AdapterHash = hex.parse().map_err(|_| not_found())?;
            return if self.adapters.contains(hash) { Ok(Some(hash)) } else { Err(not_found()) };
        }
        let alias = model.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix(':')).unwrap_or(model);
        self.adapters.alias(alias).map(|alias| Some(alias.adapter)).ok_or_else(not_found)
    }

    /// The adapter that `model` names, held in memory, with its hash; the zero hash is the base.
    pub(crate) fn adapter(&self, model: &str) -> Result<(AdapterHash, Option<Arc<Lora>>), ServeError> {
        match self.resolve(model)? {
            None => Ok((AdapterHash(B256::ZERO), None)),
            Some(hash) => Ok((hash, Some(self.adapters.get(hash)?))),
        }
    }

    /// The engine's form of `sampling`.
    pub(crate) fn sampling(&self, sampling: &Sampling) -> Result<EngineSampling, ServeError> {
        self.base.sampling(sampling)
    }

    /// Runs `work` with the adapter that `model` names, in this thread.
    fn with_adapter<R>(&self, model: &str, work: impl FnOnce(Option<&Lora>) -> R) -> Result<R, ServeError> {
        let (_, lora) = self.adapter(model)?;
        let result = work(lora.as_deref());
        drop(lora);
        // The engine may wait for the memory that this held.
        self.adapters.release();
        self.engine.mailbox().post(|intake| intake.released = true);
        Ok(result)
    }

    /// A request, checked, as it waits.
    fn job(
        &self,
        request: CompletionRequest,
        options: RequestOptions,
        sender: Sender,
    ) -> Result<(Tenant, Job), ServeError> {
        if request.top_logprobs > MAX_TOP {
            let reason = format!("is {}, at most {MAX_TOP} are reported", request.top_logprobs);
            return Err(ServeError::BadRequest { param: "top_logprobs", reason });
        }
        let RequestOptions { tenant, decoding, constraint, format: _ } = options;
        decoding.check(self.base.model.config().vocab)?;
        let sampling = self.base.sampling(&request.sampling)?;
        let prompt = self.base.prompt(&request.prompt)?;
        let adapter = self.resolve(&request.model)?;
        let config = self.base.model.config();
        let room = sampling.max_tokens.min(config.max_positions - prompt.1.len());
        let cut = Cut::of(&decoding);
        let chooser = Chooser::new(sampling, decoding, constraint);
        let pages = (prompt.1.len() + room).div_ceil(KvCache::PAGE_TOKENS);
        let adapter_bytes = adapter.and_then(|hash| self.adapters.bytes(hash)).unwrap_or(0);
        let needed = pages * KvCache::page_bytes(&self.base.model) + adapter_bytes;
        let budget = self.memory.budget().limit();
        if needed > budget {
            return Err(ServeError::TooLarge { needed, budget });
        }
        let arrived = self.metrics.now();
        let job = Job {
            request,
            adapter,
            lora: None,
            unread: None,
            prompt,
            room,
            chooser,
            cut,
            sender,
            arrived,
            overtaken: 0,
        };
        Ok((tenant, job))
    }
}

impl Backend for Embedded {
    fn complete(
        &self,
        request: &CompletionRequest,
        on_token: &mut dyn FnMut(TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Answer, ServeError> {
        let mut adapter = BASE;
        let (mut ids, mut logprobs) = (Vec::new(), Vec::new());
        for event in self.generate(request.clone(), RequestOptions::default())? {
            match event {
                Event::Started(started) => adapter = started.adapter,
                Event::Token(Token { id, text, logprob }) => {
                    ids.push(id);
                    logprobs.push(logprob);
                    if on_token(TokenEvent { id, text: &text }).is_continue() {
                        continue;
                    }
                    // The engine may be ahead: the answer is what the caller has seen.
                    let mut sampling = request.sampling.clone();
                    let prompt = self.base.prompt(&request.prompt)?;
                    let frame = self.base.frame(&sampling.stop, 0, &prompt.1);
                    let stopped = render(&self.base.tokenizer, &ids, frame).2;
                    let finish = if stopped { FinishReason::Stop } else { FinishReason::Length };
                    if !stopped {
                        // What was produced is a whole answer to a request for that many tokens.
                        sampling.max_tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                    }
                    let completion =
                        self.base.record(request.model_id, adapter, &sampling, prompt, ids, finish, Cut::default());
                    return Ok(Answer { completion, logprobs, cancelled: true });
                }
                Event::Finished(answer) => return Ok(*answer),
                Event::Failed(error) => return Err(error),
            }
        }
        Err(ServeError::Stopped)
    }

    fn generate(&self, request: CompletionRequest, options: RequestOptions) -> Result<Events, ServeError> {
        let mailbox = Arc::clone(self.engine.mailbox());
        let (sender, events) = events(Arc::new(move || mailbox.post(|_| ())));
        let (tenant, job) = self.job(request, options, sender)?;
        if job.room == 0 {
            let (adapter, prompt_tokens) = (job.hash(), u32::try_from(job.prompt.1.len()).unwrap_or(u32::MAX));
            job.sender.send(Event::Started(Started { adapter, prompt_tokens, cached_tokens: 0 }));
            job.end_unrun(&self.base, false);
            return Ok(events);
        }
        let (hash, cost) = (job.hash(), u64::try_from(job.tokens()).unwrap_or(u64::MAX));
        let refused = self.engine.mailbox().post(|intake| {
            if intake.is_closed() {
                return Err(ServeError::Stopped);
            }
            let ahead = intake.queue.cost();
            intake.queue.push(&tenant, cost, job).map_err(|full| {
                let retry_after = self.metrics.estimate_secs(ahead);
                match full {
                    Full::Tenant(waiting) => ServeError::QueueFull { waiting, retry_after },
                    Full::All(waiting) => ServeError::Overloaded { waiting, retry_after },
                }
            })
        });
        if let Err(error) = refused {
            self.metrics.refused(&tenant, hash);
            return Err(error);
        }
        Ok(events)
    }

    fn served(&self) -> Vec<Served> {
        let base = self.find(&self.name);
        base.into_iter().chain(self.adapters.aliases().into_iter().map(Served::from)).collect()
    }

    fn find(&self, name: &str) -> Option<Served> {
        if name == self.name {
            return Some(Served { name: self.name.clone(), adapter: None, generation: 0, resident: true });
        }
        self.adapters.alias(name).map(Served::from)
    }

    fn load_adapter(&self, adapter: &LoadAdapter) -> Result<AdapterHash, ServeError> {
        adapter.name.iter().try_for_each(|name| check_adapter_name(name, &self.name))?;
        let hash = self.adapters.register(&adapter.path)?;
        if let Some(expected) = adapter.expected.filter(|expected| *expected != hash) {
            return Err(ServeError::Changed { path: adapter.path.clone(), expected, found: hash });
        }
        if let Some(name) = &adapter.name {
            self.adapters.set_alias(name, hash, None)?;
        }
        Ok(hash)
    }

    fn load_ensemble(&self, name: &str, members: &[(String, Weight)]) -> Result<AdapterHash, ServeError> {
        check_adapter_name(name, &self.name)?;
        let member = |(model, weight): &(String, Weight)| {
            let base = || ServeError::BadRequest { param: "members", reason: format!("names the base `{model}`") };
            Ok(Member { adapter: self.resolve(model)?.ok_or_else(base)?, weight: *weight })
        };
        let members: Result<Vec<Member>, ServeError> = members.iter().map(member).collect();
        let hash = self.adapters.register_ensemble(Ensemble::new(members?)?)?;
        self.adapters.set_alias(name, hash, None)?;
        Ok(hash)
    }

    fn ensemble(&self, adapter: AdapterHash) -> Option<Ensemble> {
        self.adapters.ensemble(adapter)
    }

    fn unload_adapter(&self, model: &str) -> Result<AdapterHash, ServeError> {
        let not_found = || ServeError::NotFound { model: model.to_owned() };
        let hash = self.resolve(model)?.ok_or_else(not_found)?;
        self.adapters.unregister(hash)?;
        // Its cached keys and values are of no further use.
        self.memory.prefixes().forget(&self.base.hash.0.0, &hash.0.0);
        Ok(hash)
    }

    fn embed(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError> {
        Ok(self.with_adapter(model, |lora| mean_hidden(&self.base.model, lora, ids))??)
    }

    fn score(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError> {
        if ids.is_empty() {
            self.resolve(model)?;
            return Err(ServeError::BadRequest { param: "prompt", reason: "is empty".into() });
        }
        Ok(self.with_adapter(model, |lora| score(&self.base.model, lora, ids))??)
    }

    fn prompt_logprobs(&self, model: &str, ids: &[u32], top: usize) -> Result<Vec<Option<TokenLogprob>>, ServeError> {
        self.with_adapter(model, |lora| {
            let mut scored = Vec::with_capacity(ids.len());
            // One token after the other: the logits of a whole prompt would take its length times
            // the vocabulary.
            let mut session = Session::new(&self.base.model, lora);
            let likely = EngineSampling::default();
            let mut before: Option<Vec<f32>> = None;
            for id in ids {
                scored.push(before.map(|logits| {
                    let (first, logprob) = likely.pick(&logits, &[]);
                    let at = |id: u32| logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
                    self.base.logprob(&logits, *id, logprob + (at(*id) - at(first)), top)
                }));
                before = Some(session.step(*id)?.to_vec());
            }
            Ok(scored)
        })?
    }

    fn capabilities(&self) -> Capabilities {
        let config = self.base.model.config();
        Capabilities {
            deterministic: true,
            numeric_mode: self.base.model.mode().name(),
            base: self.base.hash,
            base_name: self.name.clone(),
            max_tokens: config.max_positions,
            vocab: config.vocab,
        }
    }
}
