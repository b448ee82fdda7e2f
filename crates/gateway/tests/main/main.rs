//! The HTTP faces as their clients use them: a node's (`node`), and that of `openledger serve`
//! (`serve`).
#![allow(clippy::unwrap_used, missing_docs)]

mod node;
mod serve;
