//! Serving on a small model with random weights: bound, repeatable answers.
#![allow(clippy::unwrap_used, missing_docs)]

mod adapters;
mod answers;
mod ensembles;
mod fixture;
mod packed;
mod scale;
mod schedules;

use fixture::{adapter, request, saved, server};
