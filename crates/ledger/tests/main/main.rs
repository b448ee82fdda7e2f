//! Facts about splits, epochs and checks of bundles, and the split's golden cases.
#![allow(clippy::unwrap_used, missing_docs)]

mod bundle;
mod differential;
mod duplicates;
mod epoch;
mod examples;
mod facts;
mod properties;
mod sample;
mod vectors;
