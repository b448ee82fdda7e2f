//! The crate's promises, as facts.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod credit;
mod evidence;
mod folder;
mod influence;
mod spans;
mod world;
