//! What handing in transactions and making blocks share.

use tokio::sync::{Notify, RwLock};

/// Between the pool's two sides.
#[derive(Default)]
pub(crate) struct Admission {
    /// Signalled after each transaction that the pool took.
    pub(crate) wake: Notify,
    /// Held alone while a block becomes the head and its transactions leave the pool; held shared
    /// while a transaction is handed in and while the newest block's number is read.
    ///
    /// The pool reads an account's nonce first and looks for the transactions from there on
    /// afterwards: with a block in between it would miss them, and refuse what is in order as too
    /// far ahead. Logs are read up to the newest block: if its number were read while the block is
    /// half visible, the block's logs would be missing from an answer that looks complete.
    pub(crate) steady: RwLock<()>,
}
