//! Who deserves credit for an answer: exact spans and influence, in integers.
//!
//! # Place in the flow
//!
//! `serving` made a completion, `factory` a manifest; here they become credits: spans with byte
//! offsets, integer scores per record, coverage per layer, method versions. `ledger` turns credits
//! into money.
//!
//! # Invariants
//!
//! - **Pure.** No clock, network or chance; files only through [`folder`] and the `save`/`load` of
//!   caches.
//! - **Integers at the rim.** Influence is estimated in floats, in one fixed order; what leaves as
//!   credit is an integer.
//!
//! # Not here
//!
//! Prices and splits (`ledger`), duplicates and clusters (`datanet`), gradients (`engine`).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod credit;
pub mod evidence;
pub mod folder;
pub mod influence;
pub mod rank;
mod reading;
pub mod spans;
