//! Servers that tests start: Postgres, and S3 by moto. Tests of several crates include this folder
//! by its path.
#![allow(dead_code, reason = "each crate that includes this folder uses some of it")]

pub(crate) mod kept;
pub(crate) mod postgres;
pub(crate) mod s3;
