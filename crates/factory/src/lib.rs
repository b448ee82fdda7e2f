//! ModelFactory: turns a recipe and granted records into an adapter that anyone can make again.
//!
//! # Place in the flow
//!
//! `datanet` grants records, this crate trains on them with `engine`'s kernels, `node` puts what
//! comes out into a manifest and publishes it. Start at [`train`]; [`plain::train_folder`] is the
//! same on plain files, and [`pretrain`] makes the base model that ships with the repository.
//!
//! # Invariants
//!
//! - **One result.** The same base, tokenizer, records and [`Recipe`] give the same adapter, bit
//!   for bit, on any number of threads, stopped and resumed at any step or not.
//! - **No row without a grant.** Records reach the trainer only as [`Granted`], and the check of
//!   every grant comes before the first row is read.
//! - **Nothing half-written.** Checkpoints and exports appear whole or not at all.
//!
//! # Not here
//!
//! Kernels (`engine`), the meaning and signature of grants (`datanet`, `node`), job rows and queues
//! (`node`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod checkpoint;
mod contamination;
mod encode;
mod error;
mod estimate;
mod export;
mod files;
mod held_out;
mod number;
mod observer;
pub mod plain;
mod pretrain;
mod recipe;
mod record;
mod train;

pub use access::{GrantProof, Granted, RecordSource};
pub use contamination::{Overlap, near_identical};
pub use encode::{Sequence, encode};
pub use error::FactoryError;
pub use estimate::{Estimate, Machine, estimate};
pub use export::{CHAT_TEMPLATE, Card, export};
pub use held_out::{Evaluation, is_held_out};
pub use observer::{ContextsCut, Event, NextStep, Observer, Silent};
pub use pretrain::{PretrainRecipe, Pretrained, Texts, pretrain};
pub use recipe::{Recipe, Schedule};
pub use record::{Content, TrainRecord};
pub use train::{Outcome, Saving, Trained, train};
