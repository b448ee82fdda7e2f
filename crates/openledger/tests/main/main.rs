//! The built program, run as people run it.
//!
//! One binary of tests: the demonstration and its repeats, receipts checked from files, hostile
//! input, the stages alone on plain files, the thread typed step by step and by a generated client,
//! two nodes of one operator, real data beside the checkout.
#![allow(clippy::unwrap_used, missing_docs)]

mod alone;
mod demo;
mod hub;
mod program;
mod receipts;
mod refusals;
mod shared_data;
mod steps;
#[path = "../../../store/tests/support/mod.rs"]
mod support;
mod two_nodes;
mod typescript;
