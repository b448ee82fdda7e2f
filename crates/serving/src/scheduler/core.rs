//! The scheduler as a state that is stepped: no thread, no clock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openledger_engine::{Batch, KvCache, KvRoot, Lease, Lora, RunError, Slot};
use openledger_protocol::{AdapterHash, FinishReason};

use super::intake::Mailbox;
use super::limits::Limits;
use super::queue::{Turn, Waiting};
use super::running::{Job, Running, Unread};
use crate::adapters::AdapterStore;
use crate::base::Base;
use crate::decode::Written;
use crate::error::ServeError;
use crate::events::{Event, Started};
use crate::memory::Memory;
use crate::metrics::{Metrics, Outcome};
use crate::request::Tenant;

/// How often a request may be overtaken for lack of memory before it gets the reservation.
const OVERTAKES_MAX: u32 = 16;
/// How many steps a tenant's prompts may get no row before they go first.
const PASSED_MAX: u32 = 8;

/// Why a request ended, and whether its reader had left.
type Ending = Result<(FinishReason, bool), ServeError>;

/// Running requests, requests that wait for an adapter, and the state they share.
pub(crate) struct Core {
    base: Arc<Base>,
    store: Arc<AdapterStore>,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    limits: Limits,
    mailbox: Arc<Mailbox>,
    /// Asks for an adapter to be read; the answer comes through the mailbox.
    load: Box<dyn FnMut(AdapterHash) + Send>,
    /// By adapter, so that neighbours share products; then by ticket.
    running: Vec<Running>,
    /// Requests whose adapter is being read.
    loading: BTreeMap<AdapterHash, Vec<Waiting<Job>>>,
    /// Requests, and adapters, that found no memory; they are tried again after memory was
    /// released.
    short: BTreeSet<u64>,
    stalled: BTreeSet<AdapterHash>,
    /// The request with the reservation: no later request is admitted before it.
    reserved: Option<u64>,
    /// Whether the latest step held only requests whose tenants had no answer in progress.
    newcomers_only: bool,
    /// Tenant, and bytes of keys and values, of each request whose step is paused between two
    /// layers; `running` then holds only the requests admitted mid-step.
    paused: Vec<(Tenant, usize)>,
    /// Whether the step in progress was paused for mid-step admission already.
    admitted_mid_step: bool,
    /// The latest request that admission has seen.
    seen: u64,
}

impl Core {
    pub(crate) fn new(
        base: Arc<Base>,
        store: Arc<AdapterStore>,
        memory: Arc<Memory>,
        metrics: Arc<Metrics>,
        limits: Limits,
        mailbox: Arc<Mailbox>,
        load: Box<dyn FnMut(AdapterHash) + Send>,
    ) -> Self {
        Self {
            base,
            store,
            memory,
            metrics,
            limits,
            mailbox,
            load,
            running: Vec::new(),
            loading: BTreeMap::new(),
            short: BTreeSet::new(),
            stalled: BTreeSet::new(),
            reserved: None,
            newcomers_only: false,
            paused: Vec::new(),
            admitted_mid_step: false,
            seen: 0,
        }
    }

    /// Reaps cancelled requests, admits waiting ones, and runs one step of all; `false` when
    /// nothing runs.
    pub(crate) fn step(&mut self, batch: &mut Batch<'_>) -> bool {
        self.step_hooked(batch, &mut || ())
    }

    /// As [`Core::step`], with a test hook: `before_layer` is called before each layer, before
    /// mid-step admission.
    pub(crate) fn step_hooked(&mut self, batch: &mut Batch<'_>, before_layer: &mut dyn FnMut()) -> bool {
        self.reap_cancelled();
        self.admit();
        self.metrics.set_load(self.running.len(), self.mailbox.lock().queue.len());
        if self.running.is_empty() {
            return false;
        }
        self.run(batch, before_layer);
        true
    }

    /// Number of answers that are being written.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Ends every request whose reader has left.
    fn reap_cancelled(&mut self) {
        let gone: Vec<usize> =
            (0..self.running.len()).rev().filter(|at| !self.running[*at].job.sender.is_wanted()).collect();
        for at in gone {
            self.end(at, Ok((FinishReason::Length, true)));
        }
        let mut left = self.mailbox.lock().queue.remove(|job| !job.sender.is_wanted());
        for waiting in self.loading.values_mut() {
            for at in (0..waiting.len()).rev() {
                if !waiting[at].item.sender.is_wanted() {
                    let gone = waiting.swap_remove(at);
                    self.mailbox.lock().queue.done(&gone.tenant);
                    left.push(gone);
                }
            }
        }
        for waiting in left {
            self.release_reservation(waiting.ticket);
            self.metrics.ended(&waiting.tenant, waiting.item.hash(), &Outcome::cancelled_unrun());
            waiting.item.end_unrun(&self.base, true);
        }
    }

    /// Memory was released: requests that found none are tried again.
    fn retry(&mut self) {
        self.short.clear();
        self.stalled.clear();
    }

    fn release_reservation(&mut self, ticket: u64) {
        self.short.remove(&ticket);
        if self.reserved == Some(ticket) {
            self.reserved = None;
        }
    }

    /// Takes requests from the queue while there are slots and memory for any.
    fn admit(&mut self) {
        self.receive();
        loop {
            let mut intake = self.mailbox.lock();
            self.seen = intake.queue.latest();
            let next = intake.queue.take(|waiting| self.judge(waiting));
            drop(intake);
            let Some(mut waiting) = next else { return };
            if !self.warm(&mut waiting.item) && !self.map_unread(&mut waiting.item) {
                let hash = waiting.item.hash();
                let wait = self.loading.entry(hash).or_default();
                let first = wait.is_empty();
                wait.push(waiting);
                if first {
                    (self.load)(hash);
                }
                continue;
            }
            let ticket = waiting.ticket;
            match self.start(waiting) {
                Ok(()) => {
                    self.release_reservation(ticket);
                    // This request overtook those that found no memory.
                    for job in self.mailbox.lock().queue.items_mut() {
                        job.overtaken += u32::from(job.overtaken > 0);
                    }
                }
                Err(mut waiting) => {
                    waiting.item.unread = None;
                    waiting.item.overtaken = waiting.item.overtaken.max(1);
                    if waiting.item.overtaken > OVERTAKES_MAX || self.is_idle() {
                        self.reserved.get_or_insert(ticket);
                    }
                    self.short.insert(ticket);
                    self.mailbox.lock().queue.put_back(*waiting);
                }
            }
        }
    }

    /// Whether nothing runs.
    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.paused.is_empty()
    }

    /// Whether a tenant's first request may go now.
    fn judge(&self, waiting: &Waiting<Job>) -> Turn {
        let (job, tenant) = (&waiting.item, &waiting.tenant);
        // Earlier requests may still pass a reservation: those of its own tenant would block it for
        // ever otherwise.
        if self.reserved.is_some_and(|reserved| reserved < waiting.ticket) || self.short.contains(&waiting.ticket) {
            return Turn::Skip;
        }
        let all = self.running.iter().map(|running| (&running.tenant, running.bytes));
        let all = all.chain(self.paused.iter().map(|(tenant, bytes)| (tenant, *bytes)));
        let own = all.filter(|(other, _)| *other == tenant);
        let (count, bytes) = own.fold((0, 0), |(count, bytes), (_, more)| (count + 1, bytes + more));
        let slots = self.running.len() + self.paused.len();
        let overflow = count == 0 && slots < self.limits.slots + self.limits.overflow_slots;
        if (slots >= self.limits.slots || !self.paused.is_empty()) && !overflow {
            return Turn::Skip;
        }
        if count > 0 && bytes + self.bytes(job) > self.memory.budget().limit() / 4 * 3 {
            return Turn::Skip;
        }
        let cold = job.lora.is_none() && job.adapter.is_some_and(|hash| !self.store.is_resident(hash));
        let may_load = self.loading.len() < self.limits.loads || self.loading.contains_key(&job.hash());
        if cold && (!may_load || self.stalled.contains(&job.hash())) {
            return Turn::Skip;
        }
        Turn::Take
    }

    /// Most bytes of keys and values that a request needs.
    fn bytes(&self, job: &Job) -> usize {
        job.tokens().div_ceil(KvCache::PAGE_TOKENS) * KvCache::page_bytes(&self.base.model)
    }

    /// Whether the request's adapter is in memory; then the request holds it.
    fn warm(&self, job: &mut Job) -> bool {
        if let (None, Some(hash)) = (&job.lora, job.adapter) {
            job.lora = self.store.get_resident(hash);
        }
        job.adapter.is_none() || job.lora.is_some()
    }

    /// When nothing runs, only the request itself waits for its adapter. So its prompt starts at
    /// once, and waits for the disk only where that falls behind the layers. [`Core::settle`]
    /// checks the file.
    fn map_unread(&self, job: &mut Job) -> bool {
        if !self.is_idle() || self.loading.contains_key(&job.hash()) {
            return false;
        }
        let Some(lora) = job.adapter.and_then(|hash| self.store.map_unread(hash)) else { return false };
        let Some(lease) = self.take(lora.bytes()) else { return false };
        job.unread = Some(Unread { lora, lease, since: self.metrics.now() });
        true
    }

    /// Whether a step of `running` counts. It does not when its adapter was mapped unread and the
    /// file turns out damaged: then the original is read, and the prompt is run again. That holds
    /// up everybody, and should never happen.
    fn settle(&self, running: &mut Running) -> Result<bool, ServeError> {
        let Some(Unread { lora, lease, since }) = running.job.unread.take() else { return Ok(true) };
        let hash = running.job.hash();
        let whole = lora.is_whole();
        running.job.lora = Some(if whole {
            self.metrics.loaded(hash, self.metrics.now().saturating_sub(since));
            self.store.adopt(hash, lora, lease)
        } else {
            drop(lora);
            drop(lease);
            running.cache.truncate(running.kept * KvCache::PAGE_TOKENS);
            load(&self.store, &self.metrics, hash)?
        });
        Ok(whole)
    }

    /// Memory for keys and values; idle prefixes and then idle adapters are evicted for it.
    fn take(&self, bytes: usize) -> Option<Lease> {
        loop {
            let lease = self.memory.take(bytes);
            if lease.is_some() || !self.store.evict_one() {
                return lease;
            }
        }
    }

    /// Starts a request that holds its adapter, or gives it back when there is no memory for it.
    fn start(&mut self, waiting: Waiting<Job>) -> Result<(), Box<Waiting<Job>>> {
        let page = KvCache::page_bytes(&self.base.model);
        let root = KvRoot::new(&self.base.hash.0.0, &waiting.item.hash().0.0, &waiting.tenant.0);
        let ids = &waiting.item.prompt.1;
        // The last token is always run: its logits are needed.
        let found = self.memory.prefixes().find(&root, &ids[..ids.len() - 1]);
        let bytes = self.bytes(&waiting.item) - found.len() * page;
        let mut lease = self.take(bytes);
        if lease.is_none() && self.is_idle() {
            // Only waiting requests hold adapters now; these can be loaded again.
            self.mailbox.lock().queue.items_mut().for_each(|job| job.lora = None);
            lease = self.take(bytes);
        }
        let Some(lease) = lease else { return Err(Box::new(waiting)) };
        let now = self.metrics.now();
        let Waiting { ticket, tenant, cost, item: job } = waiting;
        self.mailbox.lock().queue.done(&tenant);
        let cached = found.len() * KvCache::PAGE_TOKENS;
        let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        let (prompt_tokens, cached_tokens) = (count(ids_len(&job)), count(cached));
        job.sender.send(Event::Started(Started { adapter: job.hash(), prompt_tokens, cached_tokens }));
        self.metrics.started(&tenant, job.hash(), now.saturating_sub(job.arrived), cached_tokens.into());
        let running = Running {
            root,
            tenant,
            ticket,
            cost,
            history: job.prompt.1.clone(),
            cache: KvCache::bounded(&self.base.model, &found, lease),
            bytes,
            kept: found.len(),
            passed: 0,
            times: [now; 3],
            writer: Written::default(),
            logprobs: Vec::new(),
            job,
        };
        self.insert(running);
        Ok(())
    }

    fn insert(&mut self, running: Running) {
        let place = (running.job.hash(), running.ticket);
        let at = self.running.partition_point(|other| (other.job.hash(), other.ticket) < place);
        self.running.insert(at, running);
    }

    /// Takes loaded adapters from the intake and puts the requests that waited for them back into
    /// the queue.
    fn receive(&mut self) {
        let mut intake = self.mailbox.lock();
        let loaded = std::mem::take(&mut intake.loaded);
        let released = std::mem::take(&mut intake.released);
        drop(intake);
        if released || !loaded.is_empty() {
            self.retry();
        }
        for (hash, lora) in loaded {
            let mut waiting = self.loading.remove(&hash).unwrap_or_default();
            waiting.sort_by_key(|waiting| std::cmp::Reverse(waiting.ticket));
            let mut refused = None;
            match lora {
                Ok(lora) => waiting.iter_mut().for_each(|waiting| waiting.item.lora = Some(Arc::clone(&lora))),
                // It is loaded again after memory was released. When nothing runs, only waiting
                // requests hold adapters: these are released, and no request passes the first one.
                Err(ServeError::NoRoom { .. }) => {
                    let first = waiting.last().map(|first| first.ticket);
                    if self.is_idle() && (self.reserved.is_none() || self.reserved != first) {
                        self.mailbox.lock().queue.items_mut().for_each(|job| job.lora = None);
                        self.reserved = self.reserved.or(first);
                    } else {
                        self.stalled.insert(hash);
                    }
                }
                // The others find out for themselves.
                Err(error) => refused = waiting.pop().map(|first| (first, error)),
            }
            let mut intake = self.mailbox.lock();
            if let Some((first, _)) = &refused {
                intake.queue.done(&first.tenant);
            }
            waiting.into_iter().for_each(|waiting| intake.queue.put_back(waiting));
            drop(intake);
            if let Some((first, error)) = refused {
                self.release_reservation(first.ticket);
                self.metrics.ended(&first.tenant, hash, &Outcome::failed());
                first.item.sender.send(Event::Failed(error));
            }
        }
    }

    /// How many tokens of each running request go into the next step.
    ///
    /// An answer in progress has one row. Prompt rows go first to the tenant with the fewest tokens
    /// in the batch, so one tenant's many prompts hardly delay another's few. A tenant whose
    /// prompts got no row for [`PASSED_MAX`] steps goes first. Within a tenant the older request
    /// goes first.
    ///
    /// When all prompts of tenants without an answer in progress end in this step, the step is
    /// theirs alone, at most every other step: to them it is the whole wait, to answers in progress
    /// a short pause.
    fn rows(&mut self) -> Vec<usize> {
        let mut rows = vec![0; self.running.len()];
        let (mut tokens, mut prompts) = (BTreeMap::<&Tenant, (usize, bool)>::new(), Vec::new());
        for (at, running) in self.running.iter().enumerate() {
            let (computed, writes) = tokens.entry(&running.tenant).or_default();
            *computed += running.cache.len();
            *writes |= running.is_writing();
            if running.is_writing() {
                rows[at] = 1;
            } else {
                prompts.push(at);
            }
        }
        let first = |running: &Running| {
            let computed = tokens.get(&running.tenant).map(|(computed, _)| *computed);
            (running.passed < PASSED_MAX, computed, running.ticket)
        };
        prompts.sort_by_key(|at| first(&self.running[*at]));
        let mut left = self.limits.prefill_rows.max(1);
        for at in &prompts {
            rows[*at] = self.running[*at].pending().len().min(left);
            left -= rows[*at];
        }
        let writes = |at: usize| tokens.get(&self.running[at].tenant).is_some_and(|(_, writes)| *writes);
        let newcomers: Vec<usize> = prompts.iter().copied().filter(|at| !writes(*at)).collect();
        let ends = newcomers.iter().all(|at| rows[*at] == self.running[*at].pending().len());
        self.newcomers_only = !self.newcomers_only && ends && !newcomers.is_empty() && newcomers.len() < rows.len();
        if self.newcomers_only {
            let mut alone = vec![0; rows.len()];
            newcomers.iter().for_each(|at| alone[*at] = rows[*at]);
            rows = alone;
        }
        let served: BTreeSet<Tenant> =
            prompts.iter().filter(|at| rows[**at] > 0).map(|at| self.running[*at].tenant.clone()).collect();
        for at in prompts {
            let running = &mut self.running[at];
            running.passed = if served.contains(&running.tenant) { 0 } else { running.passed + 1 };
        }
        rows
    }

    /// One step of every request with rows in it, and of requests admitted mid-step.
    fn run(&mut self, batch: &mut Batch<'_>, before_layer: &mut dyn FnMut()) {
        let rows = self.rows();
        let mut running = std::mem::take(&mut self.running);
        self.paused = running.iter().map(|running| (running.tenant.clone(), running.bytes)).collect();
        self.admitted_mid_step = false;
        let ended = self.advance(batch, &mut running, &rows, &mut |core, inner| {
            before_layer();
            core.admit_mid_step(inner);
        });
        self.paused.clear();
        let admitted = std::mem::replace(&mut self.running, running);
        self.end_all(ended);
        admitted.into_iter().for_each(|running| self.insert(running));
    }

    /// Admits requests between two layers of a step, of tenants with no rows in it, and runs as
    /// many of their prompt rows at once as a step may take. A step is paused once at most, so
    /// answers in progress go on.
    fn admit_mid_step(&mut self, batch: &mut Batch<'_>) {
        let intake = self.mailbox.lock();
        let news = intake.queue.latest() > self.seen || !intake.loaded.is_empty();
        drop(intake);
        if self.admitted_mid_step || !news {
            return;
        }
        self.admit();
        let mut left = self.limits.prefill_rows.max(1);
        let fitting = |running: &Running| {
            let rows = running.pending().len().min(left);
            left -= rows;
            rows
        };
        let rows: Vec<usize> = self.running.iter().map(fitting).collect();
        if rows.iter().all(|rows| *rows == 0) {
            return;
        }
        self.admitted_mid_step = true;
        let mut admitted = std::mem::take(&mut self.running);
        let ended = self.advance(batch, &mut admitted, &rows, &mut |_, _| ());
        self.running = admitted;
        self.end_all(ended);
    }

    /// Runs `rows` pending tokens of each request, and chooses a token where none is pending then;
    /// gives the requests that ended, and how.
    ///
    /// `between` is called between layers.
    fn advance(
        &mut self,
        batch: &mut Batch<'_>,
        running: &mut [Running],
        rows: &[usize],
        between: &mut dyn FnMut(&mut Self, &mut Batch<'_>),
    ) -> Result<Vec<(usize, Ending)>, RunError> {
        let mut wanted = Vec::with_capacity(rows.len());
        let mut slots = Vec::with_capacity(rows.len());
        let mut whose = Vec::with_capacity(rows.len());
        for (at, (running, rows)) in running.iter_mut().zip(rows).enumerate() {
            if *rows == 0 {
                continue;
            }
            let from = running.cache.len();
            let tokens = &running.history[from..from + rows];
            wanted.push(from + rows == running.history.len());
            whose.push(at);
            slots.push(Slot { cache: &mut running.cache, lora: running.job.lora(), tokens });
        }
        let logits = batch.step_wanted(&mut slots, &wanted, &mut |inner| between(self, inner))?;
        let now = self.metrics.now();
        let mut next = logits.chunks_exact(self.base.model.config().vocab);
        let mut ended = Vec::new();
        for (at, wanted) in whose.iter().zip(&wanted) {
            let running = &mut running[*at];
            let logits = wanted.then(|| next.next()).flatten();
            match self.settle(running) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    ended.push((*at, Err(error)));
                    continue;
                }
            }
            let full = running.cache.len() / KvCache::PAGE_TOKENS;
            if full > running.kept {
                let ids = &running.history[..running.cache.len()];
                self.memory.prefixes().keep(&running.root, ids, &running.cache, running.kept);
                running.kept = full;
            }
            let Some(logits) = logits else { continue };
            match running.choose(&self.base, logits, now) {
                Ok(None) => {}
                Ok(Some(finish)) => ended.push((*at, Ok((finish, false)))),
                Err(error) => ended.push((*at, Err(error))),
            }
        }
        self.metrics.stepped(now, whose.len(), rows.iter().sum());
        Ok(ended)
    }

    /// Ends the requests that ended in a step, or all when the engine refused the step. Requests
    /// were checked before, so it does not refuse one.
    fn end_all(&mut self, ended: Result<Vec<(usize, Ending)>, RunError>) {
        let ended = ended.unwrap_or_else(|error| {
            (0..self.running.len()).map(|at| (at, Err(ServeError::from(error.clone())))).collect()
        });
        for (at, how) in ended.into_iter().rev() {
            self.end(at, how);
        }
    }

    /// Ends a running request and frees what it held.
    fn end(&mut self, at: usize, how: Ending) {
        let running = self.running.remove(at);
        let produced = running.logprobs.len();
        let used = u64::try_from(running.history.len()).unwrap_or(u64::MAX);
        self.mailbox.lock().queue.refund(&running.tenant, running.cost.saturating_sub(used));
        let outcome = Outcome {
            failed: how.is_err(),
            cancelled: matches!(how, Ok((_, true))),
            tokens_in: ids_len(&running.job) as u64,
            tokens_out: produced as u64,
            first_micros: (produced > 0).then(|| running.times[1].saturating_sub(running.job.arrived)),
            token_micros: (produced > 1)
                .then(|| running.times[2].saturating_sub(running.times[1]) / (produced as u64 - 1)),
        };
        self.metrics.ended(&running.tenant, running.job.hash(), &outcome);
        match how {
            Ok((finish, cancelled)) => running.finish(&self.base, finish, cancelled),
            Err(error) => running.fail(error),
        }
        self.store.release();
        self.retry();
    }
}

fn ids_len(job: &Job) -> usize {
    job.prompt.1.len()
}

/// Reads an adapter and measures how long it takes.
pub(super) fn load(store: &AdapterStore, metrics: &Metrics, hash: AdapterHash) -> Result<Arc<Lora>, ServeError> {
    let from = metrics.now();
    let lora = store.get(hash);
    if lora.is_ok() {
        metrics.loaded(hash, metrics.now().saturating_sub(from));
    }
    lora
}
