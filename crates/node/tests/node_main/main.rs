//! A node on a temporary folder, driven over HTTP as its users drive it, and its contracts on the embedded chain and on anvil.
//!
//! `world` runs a node and plays everybody else, `story` walks the whole thread once and keeps what was seen; the other
//! modules state facts. Facts that need a trained model ask the one that the story has trained.
#![allow(clippy::unwrap_used, missing_docs)]

mod answering;
mod asking;
mod faces;
mod foreign;
mod ground;
mod importing;
mod lies;
mod lives;
mod lying;
mod money;
mod permission;
mod refuted;
mod settling;
mod story;
mod world;
