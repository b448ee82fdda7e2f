//! The events of a stream, between the task that writes them and the response that reads them.
//!
//! **Invariants:** the writer never waits for the reader, so that an answer is charged whether or
//! not it is read. Unread events are bounded by the answer's tokens and are kept for a limited
//! time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The two ends of a buffer. A reader that leaves an event unread for `patience` is cut off: its
/// unread events are dropped, and `last` is the only event that is left to it.
pub(super) fn buffer(patience: Duration, last: String) -> (Writer, Events) {
    let state = State { events: VecDeque::new(), since: Instant::now(), ended: false, left: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), written: Notify::new(), patience, last });
    (Writer(Arc::clone(&shared)), Events(shared))
}

/// The end that writes. Dropped, it ends the stream.
pub(super) struct Writer(Arc<Shared>);

/// The end that reads. Dropped, the writer's further events are not kept.
pub(super) struct Events(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// The reader's wake-up.
    written: Notify,
    patience: Duration,
    last: String,
}

struct State {
    /// Written, and not read yet.
    events: VecDeque<String>,
    /// Since when the first of them could have been read.
    since: Instant,
    /// No further event comes.
    ended: bool,
    /// The reader is gone, or was cut off.
    left: bool,
}

impl Shared {
    /// The state, after a reader that is too slow was cut off.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.left && !state.events.is_empty() && state.since.elapsed() >= self.patience {
            state.left = true;
            state.events = VecDeque::from([self.last.clone()]);
        }
        state
    }
}

impl Writer {
    /// Writes an event; `false` when the reader is gone or was cut off.
    pub(super) fn send(&self, event: String) -> bool {
        let mut state = self.0.state();
        if state.left {
            return false;
        }
        if state.events.is_empty() {
            state.since = Instant::now();
        }
        state.events.push_back(event);
        drop(state);
        self.0.written.notify_one();
        true
    }

    /// Ends the stream, and waits until all of it is read or its reader is gone or cut off.
    pub(super) async fn finish(self) {
        self.end();
        loop {
            let left = {
                let state = self.0.state();
                if state.left || state.events.is_empty() {
                    return;
                }
                self.0.patience.saturating_sub(state.since.elapsed())
            };
            tokio::time::sleep(left).await;
        }
    }

    fn end(&self) {
        self.0.state().ended = true;
        self.0.written.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Events {
    /// Waits for the next event; `None` after the last one.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            {
                let mut state = self.0.state();
                if let Some(event) = state.events.pop_front() {
                    state.since = Instant::now();
                    return Some(event);
                }
                if state.ended || state.left {
                    return None;
                }
            }
            self.0.written.notified().await;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.left = true;
        state.events.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    async fn rest(mut events: Events) -> Vec<String> {
        let mut rest = Vec::new();
        while let Some(event) = events.next().await {
            rest.push(event);
        }
        rest
    }

    #[tokio::test]
    async fn events_come_in_order_also_while_they_are_written_and_end_with_the_writer() {
        let (writer, events) = buffer(LONG, "cut off".into());
        let reading = tokio::spawn(rest(events));
        for event in ["a", "b", "c"] {
            assert!(writer.send(event.into()));
            tokio::task::yield_now().await;
        }
        writer.finish().await;
        assert_eq!(reading.await.unwrap(), ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn a_writer_does_not_wait_for_a_reader_that_stalls() {
        let (writer, events) = buffer(LONG, "cut off".into());
        // Nothing is awaited here: more events than any socket holds are taken at once.
        assert!((0..100_000).all(|event| writer.send(event.to_string())));
        drop(writer);
        assert_eq!(rest(events).await.len(), 100_000);
    }

    #[tokio::test]
    async fn a_reader_that_stalls_too_long_is_cut_off_and_its_events_are_dropped() {
        let (writer, events) = buffer(SHORT, "cut off".into());
        assert!(writer.send("a".into()) && writer.send("b".into()));
        tokio::time::sleep(2 * SHORT).await;
        assert!(!writer.send("c".into()));
        assert_eq!(rest(events).await, ["cut off"]);
    }

    #[tokio::test]
    async fn a_reader_that_stalls_after_the_end_is_cut_off_too() {
        let (writer, events) = buffer(SHORT, "cut off".into());
        writer.send("a".into());
        tokio::time::timeout(LONG, writer.finish()).await.unwrap();
        assert_eq!(rest(events).await, ["cut off"]);
    }

    #[tokio::test]
    async fn a_reader_that_waits_for_an_event_is_not_slow_and_one_that_is_gone_is_noticed() {
        let (writer, mut events) = buffer(SHORT, "cut off".into());
        tokio::time::sleep(2 * SHORT).await;
        assert!(writer.send("a".into()));
        assert_eq!(events.next().await.as_deref(), Some("a"));
        drop(events);
        assert!(!writer.send("b".into()));
    }
}
