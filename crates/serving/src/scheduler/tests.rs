//! The scheduler, stepped by hand: no threads and no time, so that steps can be counted.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use openledger_engine::{
    Batch, KvCache, Lora, LoraConfig, Model, ModelConfig, Sampling as EngineSampling, Tokenizer, draw, generate,
};
use openledger_protocol::{AdapterHash, B256, ModelId, Sampling};

use super::core::Core;
use super::intake::Mailbox;
use super::queue::Full;
use super::{Job, Limits};
use crate::adapters::AdapterStore;
use crate::answer::Answer;
use crate::base::Base;
use crate::choose::Chooser;
use crate::error::ServeError;
use crate::events::{Event, Events, events};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::request::{CompletionRequest, Decoding, Prompt, Tenant};

/// Where requests are left.
#[derive(Clone)]
struct Door {
    base: Arc<Base>,
    metrics: Arc<Metrics>,
    mailbox: Arc<Mailbox>,
}

/// A scheduler whose loads are done when the test says so.
struct Fixture {
    base: Arc<Base>,
    store: Arc<AdapterStore>,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    mailbox: Arc<Mailbox>,
    core: Core,
    asked: Arc<Mutex<Vec<AdapterHash>>>,
    folders: BTreeMap<AdapterHash, PathBuf>,
    tmp: tempfile::TempDir,
}

fn base() -> Arc<Base> {
    let texts = ["the owl sat on the stone by the river", "seven grey herons wait in the shallow water"];
    let tokenizer = Tokenizer::train_bpe(texts.iter(), 280, &["<|end|>"]).unwrap();
    let config = ModelConfig {
        hidden: 16,
        ffn: 24,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        head_dim: 8,
        vocab: tokenizer.vocab_size(),
        max_positions: 160,
        rms_eps: 1e-5,
        rope_theta: 1e4,
        tied: false,
        bos: Some(0),
        eos: vec![0],
        arch: Default::default(),
    };
    Arc::new(Base::new(Arc::new(Model::init(config, 3).unwrap()), Arc::new(tokenizer)))
}

fn adapter(model: &Model, seed: u64) -> Lora {
    let mut lora = Lora::init(model, &LoraConfig::all_linear(4), seed).unwrap();
    let params: Vec<f32> =
        (0..lora.num_params()).map(|i| (draw(seed, 1, i as u64) % 2001) as f32 / 2000.0 - 0.5).collect();
    lora.set_params(&params).unwrap();
    lora
}

/// Bytes of pages for `tokens`.
fn pages(base: &Base, tokens: usize) -> usize {
    tokens.div_ceil(KvCache::PAGE_TOKENS) * KvCache::page_bytes(&base.model)
}

impl Fixture {
    fn new(base: &Arc<Base>, limits: Limits) -> Self {
        let (memory, time) = (Memory::new(limits.memory_bytes), AtomicU64::new(0));
        let metrics = Metrics::new(Arc::new(move || time.fetch_add(1, Ordering::Relaxed)));
        let model = Arc::clone(&base.model);
        let store = Arc::new(AdapterStore::new(model, Arc::clone(&memory), limits.idle_adapter_bytes));
        let mailbox = Mailbox::new(&limits);
        let asked: Arc<Mutex<Vec<AdapterHash>>> = Arc::default();
        let ask = Arc::clone(&asked);
        let core = Core::new(
            Arc::clone(base),
            Arc::clone(&store),
            Arc::clone(&memory),
            Arc::clone(&metrics),
            limits,
            Arc::clone(&mailbox),
            Box::new(move |hash| ask.lock().unwrap().push(hash)),
        );
        let (base, folders, tmp) = (Arc::clone(base), BTreeMap::new(), tempfile::tempdir().unwrap());
        Self { base, store, memory, metrics, mailbox, core, asked, folders, tmp }
    }

    fn register(&mut self, seed: u64) -> AdapterHash {
        let dir = self.tmp.path().join(seed.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        adapter(&self.base.model, seed).save_peft(&dir, "base").unwrap();
        let hash = self.store.register(&dir).unwrap();
        drop(self.store.get(hash).unwrap());
        self.store.release();
        self.folders.insert(hash, dir);
        hash
    }

    fn door(&self) -> Door {
        let (base, metrics, mailbox) = (Arc::clone(&self.base), Arc::clone(&self.metrics), Arc::clone(&self.mailbox));
        Door { base, metrics, mailbox }
    }

    fn ask(&self, tenant: &str, adapter: Option<AdapterHash>, ids: &[u32], max_tokens: u32) -> Result<Events, Full> {
        self.door().ask(tenant, adapter, ids, max_tokens)
    }

    /// Reads the adapters that were asked for.
    fn load(&self) {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        for hash in asked {
            let lora = super::core::load(&self.store, &self.metrics, hash);
            self.mailbox.post(|intake| intake.loaded.push((hash, lora)));
        }
    }

    /// Steps until nothing runs or waits; the number of steps.
    fn drain(&mut self, batch: &mut Batch<'_>) -> usize {
        let mut steps = 0;
        loop {
            let ran = self.core.step(batch);
            self.check();
            self.load();
            if !ran && self.mailbox.lock().queue.len() == 0 {
                return steps;
            }
            steps += 1;
            assert!(steps < 10_000, "no end in sight");
        }
    }

    fn check(&self) {
        let budget = self.memory.budget();
        assert!(budget.used() <= budget.limit() && budget.peak() <= budget.limit());
    }

    /// What the engine answers when nothing else runs, as ids and bits of likelihoods.
    fn alone(&self, adapter: Option<AdapterHash>, ids: &[u32], max_tokens: u32) -> (Vec<u32>, Vec<u32>) {
        let lora = adapter.map(|hash| Lora::load_peft(&self.folders[&hash], &self.base.model).unwrap());
        let sampling: EngineSampling = self.base.sampling(&sampling(max_tokens)).unwrap();
        let run =
            generate(&self.base.model, lora.as_ref(), ids, &sampling, &mut |_| ControlFlow::Continue(())).unwrap();
        (run.ids, run.logprobs.iter().map(|l| l.to_bits()).collect())
    }
}

impl Door {
    fn ask(&self, tenant: &str, adapter: Option<AdapterHash>, ids: &[u32], max_tokens: u32) -> Result<Events, Full> {
        let mailbox = Arc::clone(&self.mailbox);
        let (sender, events) = events(Arc::new(move || mailbox.post(|_| ())));
        let sampling = sampling(max_tokens);
        let chosen = self.base.sampling(&sampling).unwrap();
        let job = Job {
            request: CompletionRequest {
                model_id: ModelId(0),
                model: "any".into(),
                prompt: Prompt::Ids(ids.to_vec()),
                sampling,
                top_logprobs: 0,
            },
            adapter,
            lora: None,
            unread: None,
            prompt: self.base.prompt(&Prompt::Ids(ids.to_vec())).unwrap(),
            room: (max_tokens as usize).min(160 - ids.len()),
            chooser: Chooser::new(chosen, Decoding::default(), None),
            cut: Default::default(),
            sender,
            arrived: self.metrics.now(),
            overtaken: 0,
        };
        let cost = job.tokens() as u64;
        self.mailbox.post(|intake| intake.queue.push(&Tenant::new(tenant), cost, job))?;
        Ok(events)
    }
}

fn sampling(max_tokens: u32) -> Sampling {
    // Warm, so that answers differ in more than their prompts.
    Sampling { temperature_milli: 900, top_p_milli: 1000, max_tokens, seed: 7, stop: Vec::new() }
}

fn ids(seed: u64, len: usize) -> Vec<u32> {
    (0..len as u64).map(|i| (1 + draw(seed, 5, i) % 250) as u32).collect()
}

fn answer(events: Events) -> Result<Answer, ServeError> {
    for event in events {
        match event {
            Event::Finished(answer) => return Ok(*answer),
            Event::Failed(error) => return Err(error),
            Event::Started(_) | Event::Token(_) => {}
        }
    }
    Err(ServeError::Stopped)
}

fn bits(answer: &Answer) -> (Vec<u32>, Vec<u32>) {
    (answer.completion.output_ids.clone(), answer.logprobs.iter().map(|l| l.logprob.to_bits()).collect())
}

fn limits(base: &Base) -> Limits {
    Limits { memory_bytes: pages(base, 160) * 40, slots: 4, overflow_slots: 2, prefill_rows: 16, ..Limits::default() }
}

/// Leaves some request: its adapter, prompt, bound and events.
fn ask_any(
    door: &Door,
    hashes: &[AdapterHash],
    chance: &mut impl FnMut(u64) -> u64,
) -> (Option<AdapterHash>, Vec<u32>, u32, Option<Events>) {
    let hash = hashes.get(chance(5) as usize).copied();
    // Few prompts with long common starts, so that prefixes are shared.
    let mut prompt = ids(chance(3), 40);
    prompt.truncate(1 + chance(40) as usize);
    let (tenant, tokens) = (["a", "b", "c"][chance(3) as usize], 1 + chance(30) as u32);
    let events = door.ask(tenant, hash, &prompt, tokens).unwrap();
    (hash, prompt, tokens, Some(events))
}

#[test]
fn random_arrivals_churn_and_hang_ups_leave_no_trace_in_any_answer() {
    let base = base();
    for seed in 0..4 {
        let one = adapter(&base.model, 1).bytes();
        // Room for about two long requests and two adapters: everything competes.
        let memory_bytes = 2 * pages(&base, 120) + 2 * one;
        let tight = Limits { memory_bytes, idle_adapter_bytes: one, quantum: 32, ..limits(&base) };
        let mut fixture = Fixture::new(&base, tight);
        let hashes: Vec<AdapterHash> = (1..=4).map(|seed| fixture.register(seed)).collect();
        let model = Arc::clone(&base.model);
        let mut batch = Batch::new(&model);
        let (mut open, mut draws) = (Vec::new(), 0);
        let mut chance = |below: u64| {
            draws += 1;
            draw(seed, 9, draws) % below
        };
        while open.len() < 60 {
            if chance(3) == 0 {
                open.push(ask_any(&fixture.door(), &hashes, &mut chance));
            }
            match chance(12) {
                0 if !open.is_empty() => {
                    let at = chance(open.len() as u64) as usize;
                    open[at].3 = None;
                }
                1 => drop(fixture.store.evict_one()),
                2 => {
                    let hash = hashes[chance(4) as usize];
                    fixture.store.register(&fixture.folders[&hash]).unwrap();
                }
                3 => fixture.load(),
                _ => {}
            }
            // Some come between two layers.
            let (door, mut late) = (fixture.door(), Vec::new());
            fixture.core.step_hooked(&mut batch, &mut || {
                if chance(6) == 0 {
                    late.push(ask_any(&door, &hashes, &mut chance));
                }
            });
            open.extend(late);
            fixture.check();
        }
        fixture.drain(&mut batch);
        let mut whole = 0;
        for (hash, prompt, tokens, events) in open {
            let Some(events) = events else { continue };
            let answer = answer(events).unwrap();
            assert_eq!(answer.completion.adapter, hash.unwrap_or(AdapterHash(B256::ZERO)));
            assert_eq!(bits(&answer), fixture.alone(hash, &prompt, tokens), "seed {seed}, {} ids", prompt.len());
            whole += 1;
        }
        assert!(whole > 30);
        while fixture.store.evict_one() {}
        while fixture.memory.prefixes().evict_one() {}
        assert_eq!(fixture.memory.budget().used(), 0, "everything was given back");
    }
}

#[test]
fn a_tenant_waits_a_bounded_number_of_steps_beside_one_with_a_hundred_long_requests() {
    let base = base();
    let mut fixture = Fixture::new(&base, limits(&base));
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let noisy: Vec<Events> = (0..100).map(|n| fixture.ask("noisy", None, &ids(n, 60), 90).unwrap()).collect();
    for _ in 0..20 {
        fixture.core.step(&mut batch);
    }
    assert_eq!(fixture.core.running(), 4, "the noisy tenant has all slots but the overflow slots");
    let mut quiet = fixture.ask("quiet", None, &ids(999, 16), 5).unwrap();
    let mut told = Vec::new();
    for step in 1..=3 {
        fixture.core.step(&mut batch);
        while let Some(event) = quiet.try_next() {
            told.push((step, matches!(event, Event::Token(_))));
        }
    }
    // Its prompt has the first step to itself.
    assert_eq!(told[..2], [(1, false), (1, true)], "admitted and answered");
    drop(noisy);
}

#[test]
fn who_comes_within_a_step_waits_for_a_layer_of_it_and_not_for_its_end() {
    let base = base();
    let mut fixture = Fixture::new(&base, limits(&base));
    let hash = fixture.register(1);
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let noisy: Vec<Events> = (0..100).map(|n| fixture.ask("noisy", None, &ids(n, 60), 90).unwrap()).collect();
    for _ in 0..20 {
        fixture.core.step(&mut batch);
    }
    let (door, mut quiet, mut told, mut layers) = (fixture.door(), Vec::new(), Vec::new(), 0);
    // Of 16 rows for prompts, the first takes all; the second finds the step paused once and waits
    // for its end.
    let newcomers = [("quiet", ids(999, 16)), ("another", ids(998, 4))];
    fixture.core.step_hooked(&mut batch, &mut || {
        for events in &mut quiet {
            let tokens =
                std::iter::from_fn(|| Events::try_next(events)).filter(|e| matches!(e, Event::Token(_))).count();
            told.push((layers, tokens));
        }
        if let Some((tenant, prompt)) = newcomers.get(layers) {
            quiet.push(door.ask(tenant, Some(hash), prompt, 3).unwrap());
        }
        layers += 1;
    });
    assert_eq!(layers, 3, "two layers and the logits");
    assert_eq!(told, [(1, 1), (2, 0), (2, 0)], "a token in the layer it came in; none before the step ends");
    assert_eq!(fixture.core.running(), 5, "the four and the newcomer");
    drop(noisy);
    fixture.drain(&mut batch);
    // Their first tokens were read above; the ends tell the whole answers.
    for (mut events, (tenant, prompt)) in quiet.into_iter().zip(&newcomers) {
        let Some(Event::Finished(answer)) = std::iter::from_fn(|| events.try_next()).last() else {
            panic!("{tenant} has no answer")
        };
        assert_eq!(bits(&answer), fixture.alone(Some(hash), prompt, 3), "{tenant}");
    }
}

#[test]
fn a_step_that_is_paused_at_every_turn_still_writes_for_those_in_it() {
    let base = base();
    let mut fixture = Fixture::new(&base, limits(&base));
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let mut writer = fixture.ask("writer", None, &ids(1, 10), 40).unwrap();
    let (door, mut newcomers, mut written) = (fixture.door(), Vec::new(), 0);
    for step in 0..20 {
        fixture.core.step_hooked(&mut batch, &mut || {
            let n = newcomers.len() as u64;
            newcomers.push(door.ask(&format!("newcomer-{n}"), None, &ids(100 + n, 8), 1).unwrap());
        });
        written += std::iter::from_fn(|| writer.try_next()).filter(|event| matches!(event, Event::Token(_))).count();
        assert!(written >= step / 2, "step {step}: {written}");
    }
    drop(newcomers);
    fixture.drain(&mut batch);
}

#[test]
fn newcomers_one_after_the_other_let_a_writer_go_on_at_every_second_step() {
    let base = base();
    let mut fixture = Fixture::new(&base, limits(&base));
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let mut writer = fixture.ask("writer", None, &ids(1, 10), 40).unwrap();
    while std::iter::from_fn(|| writer.try_next()).all(|event| !matches!(event, Event::Token(_))) {
        fixture.core.step(&mut batch);
    }
    let mut newcomers = Vec::new();
    let (mut written, mut still) = (0, 0);
    for n in 0..20 {
        newcomers.push(fixture.ask(&format!("newcomer-{n}"), None, &ids(100 + n, 8), 1).unwrap());
        fixture.core.step(&mut batch);
        let tokens = std::iter::from_fn(|| writer.try_next()).filter(|event| matches!(event, Event::Token(_))).count();
        still = if tokens == 0 { still + 1 } else { 0 };
        assert!(still <= 1, "step {n}");
        written += tokens;
    }
    assert_eq!(written, 10);
    let answered = newcomers.iter_mut().filter_map(|newcomer| std::iter::from_fn(|| newcomer.try_next()).last());
    assert!(answered.filter(|event| matches!(event, Event::Finished(_))).count() >= 18);
}

/// Times to first token of 100 requests of tenant `quiet` of `tokens` each, one after the other,
/// shortest first.
///
/// A step takes as long as reading the weights (as 16 rows) and its rows. Each request comes when a
/// step has just begun, if anybody runs; when it is answered within that step, it has waited for a
/// layer of it, of which a model has some thirty.
fn first_tokens(fixture: &mut Fixture, batch: &mut Batch<'_>, tokens: usize) -> Vec<u64> {
    let (door, metrics) = (fixture.door(), Arc::clone(&fixture.metrics));
    let time = || {
        let counts = metrics.snapshot();
        16 * counts.steps + counts.step_tokens
    };
    let mut times: Vec<u64> = (0..100)
        .map(|n| {
            let ask = || (time(), door.ask("quiet", None, &ids(5000 + n, tokens), 2).unwrap());
            let mut quiet = (fixture.core.running() == 0).then(ask);
            let first = Cell::new(None);
            for _ in 0..100 {
                let mut look = || match &mut quiet {
                    None => quiet = Some(ask()),
                    Some((from, events)) => {
                        let mut told = std::iter::from_fn(|| events.try_next());
                        // An answer may end before it began; then its end is the first that is
                        // heard.
                        if first.get().is_none() && told.any(|event| !matches!(event, Event::Started(_))) {
                            first.set(Some(time() - *from));
                        }
                    }
                };
                let begun = time();
                fixture.core.step_hooked(batch, &mut look);
                let within = first.get().map(|first: u64| first + (time() - begun - first).div_ceil(30));
                look();
                if let Some(first) = within.or(first.get()) {
                    return first;
                }
            }
            panic!("request {n} of {tokens} ids has no token after 100 steps")
        })
        .collect();
    times.sort_unstable();
    times
}

#[test]
fn a_hundred_long_requests_of_one_tenant_at_most_double_anothers_time_to_first_token() {
    let base = base();
    let limits = Limits { memory_bytes: pages(&base, 160) * 40, ..Limits::default() };
    let model = Arc::clone(&base.model);
    for tokens in [16, 64, 100, 140] {
        let mut batch = Batch::new(&model);
        let alone = first_tokens(&mut Fixture::new(&base, limits.clone()), &mut batch, tokens);
        let mut fixture = Fixture::new(&base, limits.clone());
        let noisy: Vec<Events> = (0..100).map(|n| fixture.ask("noisy", None, &ids(n, 60), 90).unwrap()).collect();
        let beside = first_tokens(&mut fixture, &mut batch, tokens);
        let ratio = beside[98] as f64 / alone[98] as f64;
        eprintln!("prompts of {tokens}: p99 {} alone, {} beside: {ratio:.2}", alone[98], beside[98]);
        assert!(ratio <= 2.0, "prompts of {tokens}: p99 {} alone, {} beside: {ratio:.2}", alone[98], beside[98]);
        drop(noisy);
    }
}

#[test]
fn who_hangs_up_frees_slot_and_memory_within_one_step() {
    let base = base();
    let mut fixture = Fixture::new(&base, Limits { overflow_slots: 0, ..limits(&base) });
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let mut running: Vec<Events> = (0..4).map(|n| fixture.ask("a", None, &ids(n, 10), 100).unwrap()).collect();
    fixture.core.step(&mut batch);
    let mut next = fixture.ask("a", None, &ids(9, 10), 5).unwrap();
    fixture.core.step(&mut batch);
    assert!(next.try_next().is_none(), "all slots are taken");
    let before = fixture.memory.budget().used();
    drop(running.pop());
    fixture.core.step(&mut batch);
    assert!(matches!(next.try_next(), Some(Event::Started(_))));
    assert!(fixture.memory.budget().used() < before);
    let gone = fixture.ask("a", None, &ids(8, 10), 5).unwrap();
    drop(gone);
    fixture.core.step(&mut batch);
    assert_eq!(fixture.mailbox.lock().queue.len(), 0, "who hangs up while waiting leaves the queue");
}

#[test]
fn who_cancels_is_told_what_was_made() {
    let base = base();
    let mut fixture = Fixture::new(&base, limits(&base));
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let events = fixture.ask("a", None, &ids(1, 5), 100).unwrap();
    for _ in 0..4 {
        fixture.core.step(&mut batch);
    }
    events.cancel();
    fixture.core.step(&mut batch);
    let answer = answer(events).unwrap();
    assert!(answer.cancelled && answer.completion.sampling.max_tokens == 4);
    assert_eq!(answer.completion.output_ids, fixture.alone(None, &ids(1, 5), 4).0);
}

#[test]
fn a_prompt_that_was_computed_before_is_found_and_changes_no_bit() {
    let base = base();
    let mut fixture = Fixture::new(&base, limits(&base));
    let hash = fixture.register(1);
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let prompt = ids(1, 50);
    let mut cached = Vec::new();
    for adapter in [Some(hash), Some(hash), None, None] {
        let mut events = fixture.ask("a", adapter, &prompt, 20).unwrap();
        fixture.drain(&mut batch);
        let Some(Event::Started(started)) = events.try_next() else { panic!("it did not start") };
        cached.push(started.cached_tokens);
        assert_eq!(bits(&answer(events).unwrap()), fixture.alone(adapter, &prompt, 20));
    }
    assert_eq!(cached, [0, 48, 0, 48], "the base does not read what an adapter computed");
    // An answer is found again as the start of what follows it.
    let longer = [prompt.clone(), fixture.alone(None, &prompt, 20).0, vec![9]].concat();
    let mut events = fixture.ask("a", None, &longer, 3).unwrap();
    fixture.drain(&mut batch);
    let Some(Event::Started(started)) = events.try_next() else { panic!("it did not start") };
    assert!(started.cached_tokens >= 48, "{started:?}");
}

#[test]
fn no_tenant_is_given_a_prefix_that_another_one_computed() {
    let base = base();
    let mut fixture = Fixture::new(&base, limits(&base));
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let prompt = ids(1, 50);
    let mut cached = Vec::new();
    for tenant in ["a", "b", "a", "b", ""] {
        let mut events = fixture.ask(tenant, None, &prompt, 3).unwrap();
        fixture.drain(&mut batch);
        let Some(Event::Started(started)) = events.try_next() else { panic!("it did not start") };
        cached.push(started.cached_tokens);
        assert_eq!(bits(&answer(events).unwrap()), fixture.alone(None, &prompt, 3));
    }
    assert_eq!(cached, [0, 0, 48, 48, 0], "each tenant finds its own prefix only");
    let counts = fixture.metrics.snapshot().tenants;
    assert_eq!((counts["a"].tokens_cached, counts["b"].tokens_cached), (48, 48));
    // An adapter that is unloaded leaves no page of any tenant.
    fixture.memory.prefixes().forget(&base.hash.0.0, &[0; 32]);
    assert!(fixture.memory.prefixes().is_empty());
}

#[test]
fn others_run_while_an_adapter_is_being_read() {
    let base = base();
    let mut fixture = Fixture::new(&base, Limits { idle_adapter_bytes: 0, ..limits(&base) });
    let hash = fixture.register(1);
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let mut cold = fixture.ask("a", Some(hash), &ids(1, 8), 3).unwrap();
    let hot = fixture.ask("a", None, &ids(2, 8), 3).unwrap();
    for _ in 0..4 {
        fixture.core.step(&mut batch);
    }
    assert!(answer(hot).is_ok() && cold.try_next().is_none());
    fixture.load();
    fixture.drain(&mut batch);
    assert_eq!(bits(&answer(cold).unwrap()), fixture.alone(Some(hash), &ids(1, 8), 3));
    let counts = fixture.metrics.snapshot();
    assert_eq!(counts.adapters[&hash.to_string()].cold_load.count, 1);
    assert_eq!((counts.tenants["a"].answered, counts.tenants["a"].tokens_out), (2, 6));
}

/// A fixture that keeps adapters packed and idle ones out of memory, with one that it knows.
fn packing(base: &Arc<Base>) -> (Fixture, AdapterHash) {
    let mut fixture = Fixture::new(base, Limits { idle_adapter_bytes: 0, ..limits(base) });
    fixture.store.keep_packed_in(&fixture.tmp.path().join("packed")).unwrap();
    let hash = fixture.register(1);
    (fixture, hash)
}

/// The packed file of the adapter that [`packing`] knows.
fn packed(fixture: &Fixture) -> PathBuf {
    let base = std::fs::read_dir(fixture.tmp.path().join("packed")).unwrap().next().unwrap().unwrap();
    let mut files = std::fs::read_dir(base.path()).unwrap().map(|file| file.unwrap().path());
    files.find(|path| path.extension().is_some_and(|ending| ending == "packed")).unwrap()
}

/// Changes one of its factors, in a new file: one that is mapped is never written.
fn damage(fixture: &Fixture) {
    let file = packed(fixture);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2 / 4 * 4 + 3;
    bytes[middle] ^= 0x40;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes).unwrap();
}

#[test]
fn a_packed_adapter_is_not_waited_for_when_nobody_runs_and_is_read_beside_those_who_do() {
    let base = base();
    let (mut fixture, hash) = packing(&base);
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let (free, want) = (fixture.memory.budget().used(), fixture.alone(Some(hash), &ids(1, 20), 5));
    let mut events = fixture.ask("a", Some(hash), &ids(1, 20), 5).unwrap();
    assert!(fixture.core.step(&mut batch), "it runs at once");
    assert!(fixture.asked.lock().unwrap().is_empty(), "nobody was asked to read it");
    let Some(Event::Started(_)) = events.try_next() else { panic!("it did not start") };
    assert!(fixture.store.is_resident(hash), "what was read is kept as if it had been loaded");
    let twin = fixture.ask("b", Some(hash), &ids(1, 20), 5).unwrap();
    fixture.drain(&mut batch);
    assert_eq!(bits(&answer(events).unwrap()), want);
    assert_eq!(bits(&answer(twin).unwrap()), want);
    assert_eq!(fixture.metrics.snapshot().adapters[&hash.to_string()].cold_load.count, 1);
    while fixture.memory.prefixes().evict_one() {}
    assert!(fixture.memory.budget().used() == free && !fixture.store.is_resident(hash), "all of it was given back");

    let runs = fixture.ask("a", None, &ids(2, 8), 6).unwrap();
    fixture.core.step(&mut batch);
    let cold = fixture.ask("a", Some(hash), &ids(1, 20), 5).unwrap();
    fixture.core.step(&mut batch);
    assert_eq!(*fixture.asked.lock().unwrap(), [hash], "no running answer waits for a disk");
    fixture.drain(&mut batch);
    assert_eq!(bits(&answer(cold).unwrap()), want);
    assert!(answer(runs).is_ok());
}

#[test]
fn no_token_comes_of_a_packed_file_that_is_damaged() {
    let base = base();
    let (mut fixture, hash) = packing(&base);
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    // A prompt of several steps, and one whose only step would choose a token.
    for len in [70, 8] {
        damage(&fixture);
        let (read, want) = (fixture.store.stats().originals_read, fixture.alone(Some(hash), &ids(1, len), 5));
        for _ in 0..2 {
            let events = fixture.ask("a", Some(hash), &ids(1, len), 5).unwrap();
            fixture.drain(&mut batch);
            assert_eq!(bits(&answer(events).unwrap()), want, "{len} tokens");
        }
        assert_eq!(fixture.store.stats().originals_read, read + 1, "read anew once and packed again");
    }
    // When it is unloaded meanwhile, there is no original: that is an error and not an answer.
    while fixture.memory.prefixes().evict_one() {}
    damage(&fixture);
    let mut events = fixture.ask("a", Some(hash), &ids(1, 8), 5).unwrap();
    let store = Arc::clone(&fixture.store);
    fixture.core.step_hooked(&mut batch, &mut || {
        let _ = store.unregister(hash);
    });
    assert!(matches!(events.try_next(), Some(Event::Started(_))), "it ran before it was unloaded");
    assert!(matches!(answer(events), Err(ServeError::NotFound { .. })));
    assert_eq!((fixture.core.running(), fixture.memory.budget().used()), (0, 0));
}

#[test]
fn an_adapter_that_was_unloaded_is_an_error_for_who_waits_and_nothing_to_who_runs() {
    let base = base();
    let mut fixture = Fixture::new(&base, Limits { slots: 1, overflow_slots: 0, ..limits(&base) });
    let hash = fixture.register(1);
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let (runs, waits) =
        (fixture.ask("a", Some(hash), &ids(1, 8), 6).unwrap(), fixture.ask("a", Some(hash), &ids(2, 8), 6).unwrap());
    fixture.core.step(&mut batch);
    fixture.store.unregister(hash).unwrap();
    fixture.drain(&mut batch);
    assert_eq!(bits(&answer(runs).unwrap()), fixture.alone(Some(hash), &ids(1, 8), 6));
    assert!(matches!(answer(waits), Err(ServeError::NotFound { .. })));
}

#[test]
fn loading_and_unloading_a_thousand_times_takes_no_memory() {
    let base = base();
    let mut fixture = Fixture::new(&base, limits(&base));
    let hash = fixture.register(1);
    let resident = fixture.memory.budget().used();
    for _ in 0..1000 {
        fixture.store.unregister(hash).unwrap();
        assert_eq!(fixture.memory.budget().used(), 0);
        fixture.store.register(&fixture.folders[&hash]).unwrap();
        drop(fixture.store.get(hash).unwrap());
        assert_eq!(fixture.memory.budget().used(), resident);
    }
    assert_eq!(fixture.memory.budget().peak(), resident);
}

#[test]
fn requests_that_fit_only_one_at_a_time_all_end_in_turn() {
    let base = base();
    let one = adapter(&base.model, 1).bytes();
    let memory_bytes = one + pages(&base, 100);
    let mut fixture = Fixture::new(&base, Limits { memory_bytes, idle_adapter_bytes: one, ..limits(&base) });
    let hashes: Vec<AdapterHash> = (1..=3).map(|seed| fixture.register(seed)).collect();
    let model = Arc::clone(&base.model);
    let mut batch = Batch::new(&model);
    let open: Vec<(usize, Events)> = (0..9)
        .map(|n| (n, fixture.ask(["a", "b"][n % 2], Some(hashes[n % 3]), &ids(n as u64, 60), 40).unwrap()))
        .collect();
    fixture.drain(&mut batch);
    for (n, events) in open {
        let want = fixture.alone(Some(hashes[n % 3]), &ids(n as u64, 60), 40);
        assert_eq!(bits(&answer(events).unwrap()), want, "request {n}");
    }
}
