//! The crate's promises, as facts.
#![allow(clippy::unwrap_used, missing_docs)]

mod credit;
mod folder;
mod influence;
mod spans;
mod world;
