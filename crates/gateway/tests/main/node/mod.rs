//! A node on a temporary folder, driven over HTTP as its users drive it, and its contracts on the embedded chain and on anvil.
//!
//! `world` runs a node and plays everybody else, `story` walks the whole thread once and keeps what
//! was seen; the other modules state facts. Facts that need a trained model ask the one that the
//! story has trained. Facts about rows are stated on both databases, each with a story of its own:
//! see `on_both_databases`.

mod answering;
mod asking;
mod calls;
mod concurrency;
mod contracts_lifecycle;
mod database;
mod deferred;
mod dialect;
mod dispute_fixture;
mod disputes;
mod faces;
mod foreign;
mod ground;
mod importing;
mod limits;
mod money;
mod permission;
mod policy;
mod refuted;
mod retries;
mod scale;
mod schema;
mod settling;
mod shortfall;
mod stopping;
mod story;
mod unread;
mod withdrawals;
mod world;
