//! What handing in transactions and making blocks share.

use tokio::sync::{Notify, RwLock};

/// Between the pool's two sides.
#[derive(Default)]
pub(crate) struct Admission {
    /// Signalled after each transaction that the pool took.
    pub(crate) wake: Notify,
    /// Held shared while a transaction is handed in, alone while a block becomes the head and its
    /// transactions leave the pool. The pool reads an account's nonce first and looks for the
    /// transactions from there on afterwards: with a block in between it would miss them, and
    /// refuse what is in order as too far ahead.
    pub(crate) steady: RwLock<()>,
}
