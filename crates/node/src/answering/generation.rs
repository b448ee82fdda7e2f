//! An answer while it is being written.

use std::sync::Arc;
use std::time::Instant;

use openledger_serving::{Answer, Event, Events, ServeError, Started};

use crate::deposits::{RunningAnswer, deposit_withdrawn};
use crate::error::Result;
use crate::metrics::{Metrics, micros_since};

/// A running generation; dropping it ends the run. It ends early, with the tokens produced so far,
/// when the payer asks the deposit back.
pub struct Generation {
    events: Events,
    running: RunningAnswer,
    metrics: Arc<Metrics>,
    started: Instant,
    cached_tokens: u32,
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
    /// [`crate::NodeError::Serve`]; `deposit-withdrawn` when the payer asks the deposit back first.
    pub(super) async fn begun(
        mut events: Events,
        mut running: RunningAnswer,
        metrics: Arc<Metrics>,
        started: Instant,
    ) -> Result<Self> {
        let first = tokio::select! {
            biased;
            event = events.recv() => event,
            () = running.wait_for_end() => return Err(deposit_withdrawn()),
        };
        match first {
            Some(Event::Started(Started { cached_tokens, .. })) => {
                Ok(Self { events, running, metrics, started, cached_tokens })
            }
            Some(Event::Failed(error)) => Err(error.into()),
            // A run sends no other event before it begins.
            _ => Err(ServeError::Stopped.into()),
        }
    }

    /// Tokens of the prompt that were computed for an earlier answer of the channel.
    #[must_use]
    pub fn cached_tokens(&self) -> u32 {
        self.cached_tokens
    }

    /// Waits for the next step.
    ///
    /// # Errors
    /// [`crate::NodeError::Serve`] when the run failed or was stopped.
    pub async fn step(&mut self) -> Result<Step> {
        loop {
            let event = tokio::select! {
                biased;
                () = self.running.wait_for_end() => {
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

#[cfg(test)]
mod tests {
    use openledger_protocol::{AdapterHash, B256, ChannelId};
    use openledger_serving::{Sender, events};

    use super::*;
    use crate::deposits::RunningAnswers;

    const CHANNEL: ChannelId = ChannelId(B256::repeat_byte(1));
    const OTHER: ChannelId = ChannelId(B256::repeat_byte(2));

    fn started() -> Event {
        let adapter = AdapterHash(B256::repeat_byte(3));
        Event::Started(Started { adapter, prompt_tokens: 40, cached_tokens: 32 })
    }

    async fn begun(events: Events, running: RunningAnswer) -> Result<Generation> {
        Generation::begun(events, running, Arc::new(Metrics::default()), Instant::now()).await
    }

    /// An answer of a channel that has begun, and the engine's end of it.
    async fn running(answers: &RunningAnswers, channel: ChannelId) -> (Sender, Generation) {
        let (sender, events) = events(Arc::new(|| {}));
        sender.send(started());
        (sender, begun(events, answers.begin(channel)).await.unwrap())
    }

    #[tokio::test]
    async fn an_answer_whose_deposit_is_asked_back_ends_and_those_of_other_channels_go_on() {
        let answers = RunningAnswers::default();
        let (sender, mut generation) = running(&answers, CHANNEL).await;
        let (others, _other) = running(&answers, OTHER).await;
        let stepping = tokio::spawn(async move { generation.step().await.is_err() });
        tokio::task::yield_now().await;
        assert!(sender.is_wanted());
        answers.end(CHANNEL);
        let since = Instant::now();
        while sender.is_wanted() {
            assert!(since.elapsed().as_secs() < 30, "the run goes on");
            tokio::task::yield_now().await;
        }
        assert!(others.is_wanted());
        // What the engine sends after that still arrives: here the answer breaks off.
        drop(sender);
        assert!(stepping.await.unwrap());
    }

    #[tokio::test]
    async fn an_answer_has_the_cached_part_of_its_prompt_from_its_beginning() {
        let (_sender, generation) = running(&RunningAnswers::default(), CHANNEL).await;
        assert_eq!(generation.cached_tokens(), 32);
    }

    #[tokio::test]
    async fn an_answer_that_waits_for_its_turn_does_not_begin_once_its_deposit_is_asked_back() {
        let answers = RunningAnswers::default();
        let (sender, events) = events(Arc::new(|| {}));
        let running = answers.begin(CHANNEL);
        answers.end(CHANNEL);
        assert_eq!(begun(events, running).await.err().unwrap().code(), "deposit-withdrawn");
        assert!(!sender.is_wanted());
    }

    #[tokio::test]
    async fn a_channel_that_is_open_again_has_answers_that_go_on() {
        let answers = RunningAnswers::default();
        let (first, mut ended) = running(&answers, CHANNEL).await;
        answers.end(CHANNEL);
        drop(first);
        assert!(ended.step().await.is_err());
        let (second, _generation) = running(&answers, CHANNEL).await;
        drop(ended);
        assert!(second.is_wanted());
    }
}
