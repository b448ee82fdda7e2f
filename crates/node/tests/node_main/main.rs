//! One node on a temporary folder with the embedded chain, driven over HTTP as its users drive it.
//!
//! `world` runs a node and plays everybody else, `story` walks the whole thread once and keeps what was seen; the other
//! modules state facts. Facts that need a trained model ask the one that the story has trained.
#![allow(clippy::unwrap_used, missing_docs)]

mod asking;
mod faces;
mod importing;
mod permission;
mod settling;
mod story;
mod world;
