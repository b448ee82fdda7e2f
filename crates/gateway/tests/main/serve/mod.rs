//! `openledger serve` over HTTP, on a small model with random weights.

mod churn;
mod client;
mod defaults;
mod ensembles;
mod faults;
#[path = "../../../../serving/tests/main/fixture.rs"]
mod fixture;
mod http;
mod remote;
mod stock;
mod wire;

use fixture::{adapter, request, saved, server};
