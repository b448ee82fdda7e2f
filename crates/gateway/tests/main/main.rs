//! The HTTP faces as their clients use them: a node's (`node`), and that of `openledger serve`
//! (`serve`).
// A test awaits a whole node on its own stack, and says on standard output why it is skipped.
#![allow(clippy::large_futures, clippy::print_stdout)]
#![allow(clippy::unwrap_used, missing_docs)]

mod exit;
mod node;
mod serve;
#[path = "../../../store/tests/support/mod.rs"]
mod support;
