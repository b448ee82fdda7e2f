//! The queue of an answer's events, from the engine to the reader; either side can leave it.
//!
//! # Invariants
//!
//! - The sender never waits: an answer is bounded by its tokens, so a slow reader delays only
//!   itself.
//! - Every run ends in exactly one [`Event::Finished`] or [`Event::Failed`], unless the reader has
//!   left before.
//! - The sender sees that a reader has left at its next look ([`Sender::is_wanted`]).
//!
//! Not here: an async runtime; [`Events::poll_next`] serves any.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use openledger_protocol::AdapterHash;

use crate::answer::{Answer, TokenLogprob};
use crate::error::ServeError;

/// Under what an answer is made, known before its first token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The adapter; the zero hash is the base.
    pub adapter: AdapterHash,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// How many of them were found computed already.
    pub cached_tokens: u32,
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// The token.
    pub id: u32,
    /// The text that became certain with it: empty while a character is incomplete or a stop text
    /// may be under way.
    pub text: String,
    /// How likely it was.
    pub logprob: TokenLogprob,
}

/// What happens to a request, in this order.
#[derive(Debug)]
pub enum Event {
    /// It has left the queue and runs.
    Started(Started),
    /// A token was chosen.
    Token(Token),
    /// The answer is whole, with finish reason, usage and hashes; nothing follows.
    Finished(Box<Answer>),
    /// It broke off; nothing follows.
    Failed(ServeError),
}

#[derive(Default)]
struct State {
    queue: VecDeque<Event>,
    waker: Option<Waker>,
    /// The reader wants no more tokens.
    cancelled: bool,
    /// The sender is gone.
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Shared {
    /// The state; every change to it is made in one piece, so that a panic elsewhere leaves it
    /// usable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        self.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Both ends of a new answer; `on_leave` is called once when the reader cancels or leaves.
#[must_use]
pub fn events(on_leave: Arc<dyn Fn() + Send + Sync>) -> (Sender, Events) {
    let shared = Arc::new(Shared::default());
    (Sender { shared: Arc::clone(&shared) }, Events { shared, on_leave })
}

/// The engine's end of the queue.
pub struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    /// Whether the reader still wants tokens.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.shared.lock().cancelled
    }

    /// Hands over an event; drops it when the reader has left.
    pub fn send(&self, event: Event) {
        let mut state = self.shared.lock();
        // A reader that cancelled and stays waits for the end of the answer only.
        if !(state.cancelled && matches!(event, Event::Token(_))) {
            state.queue.push_back(event);
        }
        self.shared.wake(state);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.wake(state);
    }
}

/// The events of one answer. Iterating waits for them; dropping this ends the run.
pub struct Events {
    shared: Arc<Shared>,
    on_leave: Arc<dyn Fn() + Send + Sync>,
}

impl Events {
    /// Cancels the run. The answer so far comes as [`Event::Finished`] with `cancelled`.
    pub fn cancel(&self) {
        let mut state = self.shared.lock();
        let first = !state.cancelled;
        state.cancelled = true;
        drop(state);
        if first {
            (self.on_leave)();
        }
    }

    /// The next event if it is here already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.shared.lock().queue.pop_front()
    }

    /// The next event if there is one; `Ready(None)` after the last.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.shared.lock();
        match state.queue.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.closed => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The next event; `None` after the last.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl Iterator for Events {
    type Item = Event;

    /// Waits for the next event; `None` after the last.
    fn next(&mut self) -> Option<Event> {
        let mut state = self.shared.lock();
        loop {
            if let Some(event) = state.queue.pop_front() {
                return Some(event);
            }
            if state.closed {
                return None;
            }
            state = self.shared.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
