//! What a run tells while it runs, and how it is asked to stop.

use openledger_engine::StepReport;

/// Contexts that were shortened because their records were too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ContextsCut {
    /// Records whose context was shortened or left out.
    pub records: usize,
    /// Tokens left out, of all of them together.
    pub tokens: u64,
}

/// What just happened in a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Data is encoded and split; training starts.
    Started {
        /// Steps of the whole run.
        steps: u64,
        /// Steps that a checkpoint had done already.
        done: u64,
        /// Records trained on.
        records: usize,
        /// Records held out.
        held_out: usize,
        /// Records longer than the sequence length, of which the end is not learned.
        truncated: usize,
        /// Records of which only the context was too long.
        contexts_cut: ContextsCut,
        /// Records of which nothing is learned: empty, or the answer lies beyond the sequence
        /// length.
        skipped: usize,
    },
    /// One optimiser step is done.
    Stepped(StepReport),
    /// The state was saved.
    Saved {
        /// Steps done.
        step: u64,
    },
    /// The held-out records were measured.
    Evaluated {
        /// Steps done: zero is the base.
        step: u64,
        /// Mean loss in micro-nats a token.
        micro_nats: u64,
    },
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// It goes on.
    Continue,
    /// It saves its state, if it was told where, and ends; it can be resumed.
    Stop,
}

/// Watches a run.
pub trait Observer {
    /// Called after each event, on the training thread. [`NextStep::Stop`] is honoured after
    /// [`Event::Started`] and [`Event::Stepped`]; after the others the run is at an end or will
    /// soon ask again.
    fn on(&mut self, event: &Event) -> NextStep;
}

/// Watches nothing and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on(&mut self, _: &Event) -> NextStep {
        NextStep::Continue
    }
}

impl<F: FnMut(&Event) -> NextStep> Observer for F {
    fn on(&mut self, event: &Event) -> NextStep {
        self(event)
    }
}
