//! Watches a training run: a bar on a terminal, a line every so often elsewhere; Ctrl-C stops it
//! between two steps.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use openledger_factory::{Event, NextStep, Observer};

/// An observer that writes to standard error.
pub(crate) struct Watch {
    bar: Option<ProgressBar>,
    steps: u64,
    tokens: u64,
    started: Instant,
    stop: Arc<AtomicBool>,
}

impl Watch {
    /// A watch that stops the run when Ctrl-C is pressed.
    pub(crate) fn new() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let stop = stop.clone();
            runtime.spawn(async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    stop.store(true, Ordering::Relaxed);
                }
            });
        }
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, steps: 0, tokens: 0, started: Instant::now(), stop }
    }

    /// Learned tokens a second since the start; 0 before the first step.
    pub(crate) fn tokens_per_s(&self) -> u64 {
        let seconds = self.started.elapsed().as_secs_f64();
        if seconds > 0.0 { (self.tokens as f64 / seconds) as u64 } else { 0 }
    }

    fn tell(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }
}

/// Micro-nats as nats with four places.
pub(crate) fn nats(micro: u64) -> String {
    format!("{}.{:04}", micro / 1_000_000, micro % 1_000_000 / 100)
}

impl Observer for Watch {
    fn on(&mut self, event: &Event) -> NextStep {
        match event {
            Event::Started { steps, done, records, held_out, truncated, contexts_cut, skipped } => {
                self.steps = *steps;
                self.started = Instant::now();
                if let Some(bar) = &self.bar {
                    bar.set_length(*steps);
                    bar.set_position(*done);
                }
                self.tell(&format!(
                    "{records} records, {held_out} held out, {truncated} truncated, {skipped} left out; {steps} steps, {done} done"
                ));
                if contexts_cut.records > 0 {
                    let (records, tokens) = (contexts_cut.records, contexts_cut.tokens);
                    self.tell(&format!("the contexts of {records} records were shortened by {tokens} tokens to fit"));
                }
            }
            Event::Stepped(report) => {
                self.tokens += report.tokens as u64;
                match &self.bar {
                    Some(bar) => {
                        bar.set_position(report.step);
                        bar.set_message(format!("loss {:.4}", report.loss));
                    }
                    None if report.step.is_multiple_of((self.steps / 20).max(1)) => {
                        eprintln!("step {} of {}: loss {:.4}", report.step, self.steps, report.loss);
                    }
                    None => {}
                }
            }
            Event::Saved { step } => self.tell(&format!("saved after step {step}")),
            Event::Evaluated { step, micro_nats } => {
                self.tell(&format!("held-out loss after step {step}: {} nats a token", nats(*micro_nats)));
            }
            _ => {}
        }
        if self.stop.load(Ordering::Relaxed) { NextStep::Stop } else { NextStep::Continue }
    }
}
