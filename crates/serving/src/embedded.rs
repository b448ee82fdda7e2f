//! The backend that computes here, with the engine.
//!
//! **Invariants:** requests run in the threads that bring them and share nothing they could change; the generation loop
//! is the engine's `generate`, written out so that stop texts and cancelling act between tokens. Not here: batching
//! across requests, which changes no byte of an answer and may come later.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use openledger_engine::{
    Lora, Model, NUMERIC_MODE, Sampling as EngineSampling, Session, Tokenizer, mean_hidden, score,
};
use openledger_protocol::{AdapterHash, B256, BaseHash, Completion, FinishReason, ModelId, Sampling, Usage};

use crate::adapters::AdapterStore;
use crate::backend::{
    Answer, Asked, Backend, Capabilities, CompletionRequest, LoadAdapter, Prompt, Served, TokenEvent, TokenLogprob,
};
use crate::chat::ChatForm;
use crate::choose::Chooser;
use crate::decode::{Writer, render};
use crate::error::ServeError;
use crate::events::{Event, Events, Started, Token, events};
use crate::openai::{ModelEntry, ModelList};

/// Most of the likeliest tokens that are reported beside a chosen one, as OpenAI has it.
const MAX_TOP: usize = 20;
/// Most stop texts of one request; OpenAI takes 4.
const MAX_STOPS: usize = 16;

/// One base, its tokenizer and its adapters.
#[derive(Clone)]
pub struct Embedded {
    model: Arc<Model>,
    tokenizer: Arc<Tokenizer>,
    adapters: Arc<AdapterStore>,
    name: String,
    form: ChatForm,
    base: BaseHash,
}

impl Embedded {
    /// Loads the base in `dir`, known as `name`; keeps about `adapter_bytes` of adapters in memory.
    ///
    /// # Errors
    /// [`ServeError::Load`] when model or tokenizer cannot be loaded.
    pub fn load(dir: &Path, name: &str, adapter_bytes: usize) -> Result<Self, ServeError> {
        let (model, tokenizer) = (Arc::new(Model::load(dir)?), Arc::new(Tokenizer::load(dir)?));
        Ok(Self::new(model, tokenizer, ChatForm::of_base(dir), name, adapter_bytes))
    }

    /// Serves a model that is in memory already.
    #[must_use]
    pub fn new(model: Arc<Model>, tokenizer: Arc<Tokenizer>, form: ChatForm, name: &str, adapter_bytes: usize) -> Self {
        let base = BaseHash(B256::from(model.hash()));
        let adapters = Arc::new(AdapterStore::new(Arc::clone(&model), adapter_bytes));
        Self { model, tokenizer, adapters, name: name.to_owned(), form, base }
    }

    /// The adapters.
    #[must_use]
    pub fn adapters(&self) -> &Arc<AdapterStore> {
        &self.adapters
    }

    /// The base.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The base's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// How conversations become prompts.
    #[must_use]
    pub fn chat_form(&self) -> &ChatForm {
        &self.form
    }

    /// What `model` names: `None` is the base itself.
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

    /// What `GET /v1/models` lists: the base, then each alias with the hash behind it; `created` in Unix seconds.
    #[must_use]
    pub fn models(&self, created: u64, owned_by: &str) -> ModelList {
        let entry = |id: &str, root: String, parent: Option<String>| ModelEntry {
            id: id.to_owned(),
            object: "model".into(),
            created,
            owned_by: owned_by.to_owned(),
            root,
            parent,
            openledger: None,
        };
        let aliases = self.adapters.aliases();
        let adapters = aliases.iter().map(|a| entry(&a.name, a.adapter.to_string(), Some(self.name.clone())));
        ModelList::new(std::iter::once(entry(&self.name, self.base.to_string(), None)).chain(adapters).collect())
    }

    /// The prompt's ids and its text.
    fn prompt(&self, prompt: &Prompt) -> Result<(String, Vec<u32>), ServeError> {
        let (text, ids) = match prompt {
            Prompt::Text(text) => (text.clone(), self.tokenizer.encode(text, true)),
            Prompt::Ids(ids) => (self.tokenizer.decode(ids), ids.clone()),
        };
        if ids.is_empty() {
            return Err(ServeError::BadRequest { param: "prompt", reason: "is empty".into() });
        }
        let limit = self.model.config().max_positions;
        if ids.len() >= limit {
            return Err(ServeError::PromptTooLong { tokens: ids.len(), limit });
        }
        Ok((text, ids))
    }

    /// The engine's form of `sampling`.
    pub(crate) fn sampling(&self, sampling: &Sampling) -> Result<EngineSampling, ServeError> {
        if sampling.stop.len() > MAX_STOPS {
            let reason = format!("has {} texts, at most {MAX_STOPS} are taken", sampling.stop.len());
            return Err(ServeError::BadRequest { param: "stop", reason });
        }
        let mut stop = self.model.config().eos.clone();
        stop.extend(self.tokenizer.eos());
        let engine = EngineSampling {
            max_tokens: sampling.max_tokens as usize,
            // Thousandths below 2^24 are exact, and so is the quotient's rounding: the same f32 everywhere.
            temperature: sampling.temperature_milli as f32 / 1000.0,
            top_p: sampling.top_p_milli as f32 / 1000.0,
            seed: sampling.seed,
            stop,
            ..EngineSampling::default()
        };
        engine.validate()?;
        Ok(engine)
    }

    /// The completion record of what was produced.
    pub(crate) fn record(
        &self,
        model: ModelId,
        adapter: AdapterHash,
        sampling: &Sampling,
        prompt: (String, Vec<u32>),
        output_ids: Vec<u32>,
        finish_reason: FinishReason,
    ) -> Completion {
        let (text, offsets, _) = render(&self.tokenizer, &output_ids, &sampling.stop);
        let (prompt, prompt_ids) = prompt;
        let count = |ids: &[u32]| u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let usage = Usage { prompt_tokens: count(&prompt_ids), completion_tokens: count(&output_ids) };
        Completion {
            model,
            base: self.base,
            adapter,
            tokenizer: B256::from(self.tokenizer.hash()),
            numeric_mode: NUMERIC_MODE.to_owned(),
            sampling: sampling.clone(),
            prompt,
            prompt_ids,
            text,
            output_ids,
            offsets,
            finish_reason,
            usage,
        }
    }

    /// How likely `id` was among `logits`, and what else was likely.
    fn logprob(&self, logits: &[f32], id: u32, logprob: f32, top: usize) -> TokenLogprob {
        let bytes = |id: u32| self.tokenizer.piece(id).to_vec();
        let mut likeliest: Vec<u32> = Vec::new();
        if top > 0 {
            likeliest = (0..).take(logits.len()).collect();
            let value = |id: &u32| logits[*id as usize];
            likeliest.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
            likeliest.truncate(top);
        }
        let chosen = logits.get(id as usize).copied().unwrap_or_default();
        let top = likeliest
            .into_iter()
            // Log-probabilities differ as logits do, so that no second logarithm is taken.
            .map(|other| (other, bytes(other), logprob + (logits[other as usize] - chosen)))
            .collect();
        TokenLogprob { id, bytes: bytes(id), logprob, top }
    }
}

impl Embedded {
    /// Answers `request`; `on_token` sees the text that became certain with each token and how likely that was.
    fn run(
        &self,
        request: &CompletionRequest,
        asked: Asked,
        on_token: &mut dyn FnMut(&str, &TokenLogprob) -> ControlFlow<()>,
    ) -> Result<Answer, ServeError> {
        if request.top_logprobs > MAX_TOP {
            let reason = format!("is {}, at most {MAX_TOP} are reported", request.top_logprobs);
            return Err(ServeError::BadRequest { param: "top_logprobs", reason });
        }
        let sampling = self.sampling(&request.sampling)?;
        let prompt = self.prompt(&request.prompt)?;
        let (hash, lora) = self.adapter(&request.model)?;

        let max_tokens = sampling.max_tokens;
        let mut chooser = Chooser::new(sampling, asked.decoding, asked.constraint);
        let limit = self.model.config().max_positions;
        let mut history = prompt.1.clone();
        let mut logprobs = Vec::new();
        let mut writer = Writer::new(&self.tokenizer, &request.sampling.stop);
        let mut session = Session::new(&self.model, lora.as_deref());
        let mut recorded = request.sampling.clone();
        let mut cancelled = false;
        let mut finish = FinishReason::Length;
        if max_tokens > 0 {
            let mut logits = session.prefill(&history)?;
            loop {
                let choice = chooser.choose(logits, &history, prompt.1.len())?;
                if choice.ends {
                    finish = FinishReason::Stop;
                    break;
                }
                let id = choice.id;
                let told = self.logprob(logits, id, choice.logprob, request.top_logprobs);
                history.push(id);
                let (text, stopped) = writer.push(id);
                if on_token(text, &told).is_break() {
                    cancelled = true;
                }
                logprobs.push(told);
                if stopped || choice.completes {
                    finish = FinishReason::Stop;
                    break;
                }
                if cancelled {
                    // What was produced is a whole answer to a request for that many tokens.
                    recorded.max_tokens = u32::try_from(logprobs.len()).unwrap_or(u32::MAX);
                    break;
                }
                if logprobs.len() >= max_tokens || history.len() >= limit {
                    break;
                }
                logits = session.step(id)?;
            }
        }
        let completion = self.record(request.model_id, hash, &recorded, prompt, writer.into_ids(), finish);
        Ok(Answer { completion, logprobs, cancelled })
    }
}

impl Backend for Embedded {
    fn complete(
        &self,
        request: &CompletionRequest,
        on_token: &mut dyn FnMut(TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Answer, ServeError> {
        self.run(request, Asked::default(), &mut |text, token| on_token(TokenEvent { id: token.id, text }))
    }

    fn generate(&self, request: CompletionRequest, asked: Asked) -> Result<Events, ServeError> {
        if asked.decoding.include_stop {
            let reason = "is not supported by this server; leave it out".to_owned();
            return Err(ServeError::BadRequest { param: "include_stop_str_in_output", reason });
        }
        self.sampling(&request.sampling)?;
        let prompt_ids = self.prompt(&request.prompt)?.1;
        let adapter = self.resolve(&request.model)?.unwrap_or(AdapterHash(B256::ZERO));
        let (sender, receiver) = events(Arc::new(|| {}));
        let own = self.clone();
        std::thread::spawn(move || {
            let prompt_tokens = u32::try_from(prompt_ids.len()).unwrap_or(u32::MAX);
            sender.send(Event::Started(Started { adapter, prompt_tokens, cached_tokens: 0 }));
            let answer = own.run(&request, asked, &mut |text, token| {
                sender.send(Event::Token(Token { id: token.id, text: text.to_owned(), logprob: token.clone() }));
                if sender.is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            sender.send(answer.map_or_else(Event::Failed, |answer| Event::Finished(Box::new(answer))));
        });
        Ok(receiver)
    }

    fn served(&self) -> Vec<Served> {
        let base = Served { name: self.name.clone(), adapter: None, generation: 0, resident: true };
        let stats = self.adapters.stats();
        let resident = |hash| stats.adapters.iter().any(|a| a.adapter == hash && a.resident);
        let alias = self.adapters.aliases().into_iter().map(|alias| Served {
            resident: resident(alias.adapter),
            name: alias.name,
            adapter: Some(alias.adapter),
            generation: alias.generation,
        });
        std::iter::once(base).chain(alias).collect()
    }

    fn load_adapter(&self, adapter: &LoadAdapter) -> Result<AdapterHash, ServeError> {
        let hash = self.adapters.register(&adapter.path)?;
        if let Some(expected) = adapter.expected.filter(|expected| *expected != hash) {
            return Err(ServeError::Changed { path: adapter.path.clone(), expected, found: hash });
        }
        if let Some(name) = &adapter.name {
            self.adapters.set_alias(name, hash, None)?;
        }
        Ok(hash)
    }

    fn unload_adapter(&self, model: &str) -> Result<AdapterHash, ServeError> {
        let not_found = || ServeError::NotFound { model: model.to_owned() };
        let hash = self.resolve(model)?.ok_or_else(not_found)?;
        self.adapters.unregister(hash)?;
        Ok(hash)
    }

    fn embed(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError> {
        let (_, lora) = self.adapter(model)?;
        Ok(mean_hidden(&self.model, lora.as_deref(), ids)?)
    }

    fn score(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError> {
        let (_, lora) = self.adapter(model)?;
        if ids.is_empty() {
            return Err(ServeError::BadRequest { param: "prompt", reason: "is empty".into() });
        }
        Ok(score(&self.model, lora.as_deref(), ids)?)
    }

    fn prompt_logprobs(&self, model: &str, ids: &[u32], top: usize) -> Result<Vec<Option<TokenLogprob>>, ServeError> {
        let (_, lora) = self.adapter(model)?;
        let mut scored = Vec::with_capacity(ids.len());
        // One token after the other: the logits of a whole prompt would take its length times the vocabulary.
        let mut session = Session::new(&self.model, lora.as_deref());
        let likely = EngineSampling::default();
        let mut before: Option<Vec<f32>> = None;
        for id in ids {
            scored.push(before.map(|logits| {
                let (first, logprob) = likely.pick(&logits, &[]);
                let at = |id: u32| logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
                self.logprob(&logits, *id, logprob + (at(*id) - at(first)), top)
            }));
            before = Some(session.step(*id)?.to_vec());
        }
        Ok(scored)
    }

    fn capabilities(&self) -> Capabilities {
        let config = self.model.config();
        Capabilities {
            deterministic: true,
            numeric_mode: NUMERIC_MODE,
            base: self.base,
            base_name: self.name.clone(),
            max_tokens: config.max_positions,
            vocab: config.vocab,
        }
    }
}
