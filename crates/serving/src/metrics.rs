//! Counters of serving: per adapter, per tenant and in all.
//!
//! # Invariants
//!
//! - **Bounded.** At most [`LABELS_MAX`] adapters and as many tenants have numbers of their own;
//!   all others share one line.
//! - **No clock of its own.** Time comes from the function it is made with, so that tests need no
//!   waiting.
//!
//! Not here: what is in memory now ([`StoreStats`](crate::StoreStats)).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openledger_protocol::AdapterHash;

use crate::adapters::AdapterStats;
use crate::answer::BASE;
use crate::request::Tenant;

/// Most adapters, and most tenants, that have numbers of their own.
pub const LABELS_MAX: usize = 256;
/// The line of all others.
const OTHERS: &str = "others";
/// Upper bounds of the buckets of times, in milliseconds.
const BUCKETS_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];

/// Microseconds since some fixed moment.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The machine's own clock, from now on.
#[must_use]
pub fn machine_clock() -> Clock {
    let start = std::time::Instant::now();
    Arc::new(move || u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// A histogram of durations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// Number of measurements.
    pub count: u64,
    /// All of it, in microseconds.
    pub sum_micros: u64,
    /// By upper bound of 1, 2, 5, … ms to one minute; what is longer is only counted.
    pub buckets: [u64; BUCKETS_MS.len()],
}

impl Times {
    fn add(&mut self, micros: u64) {
        self.count += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
        if let Some(at) = BUCKETS_MS.iter().position(|bound| micros <= bound * 1000) {
            self.buckets[at] += 1;
        }
    }
}

/// Counters of one adapter or tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that began to run.
    pub started: u64,
    /// Requests that ended with an answer, cancelled ones included.
    pub answered: u64,
    /// Requests that were cancelled.
    pub cancelled: u64,
    /// Requests that ended in an error.
    pub failed: u64,
    /// Requests refused by a full queue.
    pub refused: u64,
    /// Tokens of prompts that ran.
    pub tokens_in: u64,
    /// Tokens of prompts that were found computed.
    pub tokens_cached: u64,
    /// Tokens of answers.
    pub tokens_out: u64,
    /// From arrival to admission.
    pub queue: Times,
    /// From arrival to the first token.
    pub first_token: Times,
    /// Mean time from token to token, once an answer.
    pub per_token: Times,
    /// From disk to memory; adapters only.
    pub cold_load: Times,
}

/// All counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// By adapter hash; `base`, and `others` for those beyond the bound.
    pub adapters: BTreeMap<String, Counts>,
    /// By tenant; `others` for those beyond the bound.
    pub tenants: BTreeMap<String, Counts>,
    /// Answers being written.
    pub running: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Steps of the model.
    pub steps: u64,
    /// Sequences in those steps.
    pub step_rows: u64,
    /// Tokens in those steps: one of each sequence that was being written, several of prompts.
    pub step_tokens: u64,
}

/// How a request ended.
pub(crate) struct Outcome {
    pub(crate) failed: bool,
    pub(crate) cancelled: bool,
    pub(crate) tokens_in: u64,
    pub(crate) tokens_out: u64,
    pub(crate) first_micros: Option<u64>,
    pub(crate) token_micros: Option<u64>,
}

impl Outcome {
    pub(crate) fn failed() -> Self {
        Self { failed: true, cancelled: false, tokens_in: 0, tokens_out: 0, first_micros: None, token_micros: None }
    }

    pub(crate) fn cancelled_unrun() -> Self {
        Self { failed: false, cancelled: true, ..Self::failed() }
    }
}

/// The counters.
pub struct Metrics {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: MetricsSnapshot,
    /// How long the steps took, for an estimate of speed.
    busy_micros: u64,
    last_step: Option<u64>,
}

impl Metrics {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default() })
    }

    /// Microseconds of the clock it was made with.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// The counters.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        self.lock().counts.clone()
    }

    /// The counts as a Prometheus exposition, with the statistics that `stored` gives for each
    /// adapter with its own label.
    pub(crate) fn prometheus(&self, stored: &dyn Fn(AdapterHash) -> Option<AdapterStats>) -> String {
        let counts = self.snapshot();
        let mut text = String::new();
        let gauges =
            [("running", counts.running as u64), ("waiting", counts.waiting as u64), ("steps_total", counts.steps)];
        for (name, value) in gauges {
            let _ = writeln!(text, "openledger_serving_{name} {value}");
        }
        for (label, lines) in [("adapter", &counts.adapters), ("tenant", &counts.tenants)] {
            for (name, counts) in lines {
                let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                counts.write(&mut text, label, &name);
            }
        }
        // As many as have lines, however many are stored.
        for name in counts.adapters.keys() {
            let Some(stats) = name.parse().ok().and_then(stored) else { continue };
            for (what, value) in [
                ("resident", u64::from(stats.resident)),
                ("bytes", stats.bytes as u64),
                ("hits_total", stats.hits),
                ("loads_total", stats.loads),
                ("evictions_total", stats.evictions),
            ] {
                let _ = writeln!(text, "openledger_serving_adapter_{what}{{adapter=\"{name}\"}} {value}");
            }
        }
        text
    }

    /// Seconds until `tokens` waiting tokens are through at the speed so far, 1 to 60.
    pub(crate) fn estimate_secs(&self, tokens: u64) -> u64 {
        let state = self.lock();
        let done = state.counts.step_tokens;
        if done == 0 {
            return 1;
        }
        let micros = u128::from(tokens) * u128::from(state.busy_micros) / u128::from(done);
        u64::try_from(micros / 1_000_000).unwrap_or(60).clamp(1, 60)
    }

    pub(crate) fn set_load(&self, running: usize, waiting: usize) {
        let mut state = self.lock();
        state.counts.running = running;
        state.counts.waiting = waiting;
        if running == 0 {
            // What follows is not a step's time.
            state.last_step = None;
        }
    }

    pub(crate) fn stepped(&self, now: u64, sequences: usize, tokens: usize) {
        let mut state = self.lock();
        state.counts.steps += 1;
        state.counts.step_rows += sequences as u64;
        state.counts.step_tokens += tokens as u64;
        let since = state.last_step.replace(now).map_or(0, |last| now.saturating_sub(last));
        state.busy_micros = state.busy_micros.saturating_add(since);
    }

    pub(crate) fn refused(&self, tenant: &Tenant, adapter: AdapterHash) {
        self.both(tenant, adapter, |counts| counts.refused += 1);
    }

    pub(crate) fn started(&self, tenant: &Tenant, adapter: AdapterHash, queue_micros: u64, cached: u64) {
        self.both(tenant, adapter, |counts| {
            counts.started += 1;
            counts.tokens_cached += cached;
            counts.queue.add(queue_micros);
        });
    }

    pub(crate) fn ended(&self, tenant: &Tenant, adapter: AdapterHash, outcome: &Outcome) {
        self.both(tenant, adapter, |counts| {
            counts.answered += u64::from(!outcome.failed);
            counts.failed += u64::from(outcome.failed);
            counts.cancelled += u64::from(outcome.cancelled);
            counts.tokens_in += outcome.tokens_in;
            counts.tokens_out += outcome.tokens_out;
            outcome.first_micros.into_iter().for_each(|micros| counts.first_token.add(micros));
            outcome.token_micros.into_iter().for_each(|micros| counts.per_token.add(micros));
        });
    }

    pub(crate) fn loaded(&self, adapter: AdapterHash, micros: u64) {
        let mut state = self.lock();
        line(&mut state.counts.adapters, &adapter_label(adapter)).cold_load.add(micros);
    }

    fn both(&self, tenant: &Tenant, adapter: AdapterHash, change: impl Fn(&mut Counts)) {
        let mut state = self.lock();
        change(line(&mut state.counts.tenants, &tenant.0));
        change(line(&mut state.counts.adapters, &adapter_label(adapter)));
    }

    /// The counts; a panic elsewhere leaves them usable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn write(&self, text: &mut String, label: &str, name: &str) {
        let totals = [
            ("requests_started", self.started),
            ("requests_answered", self.answered),
            ("requests_cancelled", self.cancelled),
            ("requests_failed", self.failed),
            ("requests_refused", self.refused),
            ("prompt_tokens", self.tokens_in),
            ("prompt_tokens_cached", self.tokens_cached),
            ("generation_tokens", self.tokens_out),
        ];
        for (total, value) in totals {
            let _ = writeln!(text, "openledger_serving_{total}_total{{{label}=\"{name}\"}} {value}");
        }
        let times = [
            ("queue", &self.queue),
            ("time_to_first_token", &self.first_token),
            ("time_per_output_token", &self.per_token),
            ("cold_load", &self.cold_load),
        ];
        for (what, times) in times {
            let what = format!("openledger_serving_{what}_seconds");
            let mut sum = 0;
            for (count, bound) in times.buckets.iter().zip(BUCKETS_MS) {
                sum += count;
                let bound = bound as f64 / 1000.0;
                let _ = writeln!(text, "{what}_bucket{{{label}=\"{name}\",le=\"{bound}\"}} {sum}");
            }
            let _ = writeln!(text, "{what}_bucket{{{label}=\"{name}\",le=\"+Inf\"}} {}", times.count);
            let _ = writeln!(text, "{what}_sum{{{label}=\"{name}\"}} {}", times.sum_micros as f64 / 1e6);
            let _ = writeln!(text, "{what}_count{{{label}=\"{name}\"}} {}", times.count);
        }
    }
}

fn adapter_label(adapter: AdapterHash) -> String {
    if adapter == BASE { "base".into() } else { adapter.to_string() }
}

/// The line of `name`, or that of all others when there are too many.
fn line<'a>(lines: &'a mut BTreeMap<String, Counts>, name: &str) -> &'a mut Counts {
    let own = lines.contains_key(name) || lines.len() < LABELS_MAX;
    lines.entry(if own { name } else { OTHERS }.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_share_one_line() {
        let metrics = Metrics::new(Arc::new(|| 0));
        for n in 0..LABELS_MAX + 50 {
            metrics.refused(&Tenant::new(&n.to_string()), BASE);
        }
        let counts = metrics.snapshot();
        assert_eq!(counts.tenants.len(), LABELS_MAX + 1);
        assert_eq!(counts.tenants[OTHERS].refused, 50);
        assert_eq!(counts.adapters["base"].refused, LABELS_MAX as u64 + 50);
    }

    #[test]
    fn the_estimate_follows_the_speed_measured_and_stays_within_a_minute() {
        let metrics = Metrics::new(Arc::new(|| 0));
        assert_eq!(metrics.estimate_secs(1000), 1);
        for step in 0..11 {
            metrics.stepped(step * 100_000, 3, 10);
        }
        assert_eq!(metrics.estimate_secs(1100), 10);
        assert_eq!(metrics.estimate_secs(u64::MAX), 60);
    }

    #[test]
    fn names_cannot_break_out_of_their_label() {
        let metrics = Metrics::new(Arc::new(|| 0));
        metrics.refused(&Tenant::new("a\"} 7\nforged"), BASE);
        assert!(metrics.prometheus(&|_| None).lines().all(|line| line.starts_with("openledger_serving_")));
    }
}
