//! Continuous batching: which rows go through the model at each step.
//!
//! # Place in the flow
//!
//! [`Embedded`](crate::Embedded) checks a request and posts it to the `Mailbox`. The engine thread
//! ([`thread`]) calls `Core::step` as long as there is work. A step computes one row of every
//! answer in progress and a bounded number of prompt rows, so long prompts never delay answers.
//! Between two layers of a step, a request of a tenant with no rows in it is admitted: a short
//! prompt waits for a layer, not for a step. A loader thread reads cold adapters meanwhile. When
//! nothing runs, a packed adapter is mapped while the prompt's first layers are computed, and
//! checked before the first token.
//!
//! # Invariants
//!
//! - **No deadlock.** A running request owns all the memory it can ever need (adapter, prompt and
//!   longest answer), reserved at admission, and therefore ends. A waiting request owns no memory
//!   but loaded adapters, which are evicted when nothing runs. A request that would not fit alone
//!   is refused on arrival.
//! - **No starvation.** Tenants take turns by tokens ([`queue`]). A tenant without a running answer
//!   may use an overflow slot, and no tenant holds more than three quarters of the memory. A
//!   request that was overtaken too often for lack of memory gets a reservation: no later request
//!   is admitted before it. A step pauses once at most for mid-step admission, for no more than a
//!   step's prompt rows, so answers in progress go on.
//! - **Same bits.** Turns, chunks, shared prefixes and neighbours never change an answer; the
//!   engine guarantees it.
//! - A cancelled request frees slot and memory before the next step.
//!
//! Not here: how a token is chosen (`choose`), what an adapter is (`adapters`).

mod core;
mod intake;
mod limits;
pub(crate) mod queue;
mod running;
#[cfg(test)]
mod tests;
pub(crate) mod thread;

pub use self::limits::Limits;
pub(crate) use self::running::Job;
