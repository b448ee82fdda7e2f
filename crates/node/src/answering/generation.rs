//! An answer while it is being written.

use std::sync::Arc;
use std::time::Instant;

use openledger_serving::{Answer, Event, Events, ServeError};

use crate::deposits::{RunningAnswer, deposit_withdrawn};
use crate::error::Result;
use crate::metrics::{Metrics, micros_since};

/// A running generation; dropping it ends the run. It ends early, with what was produced so far, when
/// the payer asks the deposit back.
pub struct Generation {
    events: Events,
    running: RunningAnswer,
    metrics: Arc<Metrics>,
    started: Instant,
}

/// What a [`Generation`] comes to next.
pub enum Step {
    /// Text that became certain.
    Text(String),
    /// The whole answer.
    Done(Box<Answer>),
}

impl Generation {
    /// Waits until the run that sends `events` has begun.
    ///
    /// # Errors
    /// [`crate::NodeError::Serve`]; `deposit-withdrawn` when the payer asks the deposit back before.
    pub(super) async fn begun(
        mut events: Events,
        mut running: RunningAnswer,
        metrics: Arc<Metrics>,
        started: Instant,
    ) -> Result<Self> {
        let first = tokio::select! {
            biased;
            event = events.recv() => event,
            () = running.is_ended() => return Err(deposit_withdrawn()),
        };
        match first {
            Some(Event::Started(_)) => Ok(Self { events, running, metrics, started }),
            Some(Event::Failed(error)) => Err(error.into()),
            // A run tells nothing else before it begins.
            _ => Err(ServeError::Stopped.into()),
        }
    }

    /// Waits for the next step.
    ///
    /// # Errors
    /// [`crate::NodeError::Serve`] when the run failed or was stopped.
    pub async fn step(&mut self) -> Result<Step> {
        loop {
            let event = tokio::select! {
                biased;
                () = self.running.is_ended() => {
                    self.events.cancel();
                    continue;
                }
                event = self.events.recv() => event,
            };
            let Some(event) = event else { return Err(ServeError::Stopped.into()) };
            match event {
                Event::Token(token) if !token.text.is_empty() => return Ok(Step::Text(token.text)),
                Event::Started(_) | Event::Token(_) => {}
                Event::Finished(answer) => {
                    Metrics::add(&self.metrics.answer_micros, micros_since(self.started));
                    return Ok(Step::Done(answer));
                }
                Event::Failed(error) => return Err(error.into()),
            }
        }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// As [`Generation::step`].
    pub async fn whole(mut self) -> Result<Answer> {
        loop {
            if let Step::Done(answer) = self.step().await? {
                return Ok(*answer);
            }
        }
    }

    /// Asks for its end: what was produced so far is the answer.
    pub fn cancel(&self) {
        self.events.cancel();
    }
}
