//! Facts about the routes, the document and the wire types.
#![allow(clippy::unwrap_used, missing_docs)]

mod document;
mod problems;
mod routes;
