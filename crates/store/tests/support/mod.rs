//! Servers that tests start: Postgres, and S3 by moto. Tests of several crates include this folder
//! by its path.
#![allow(dead_code, reason = "each crate that includes this folder uses some of it")]

pub(crate) mod kept;
pub(crate) mod postgres;
pub(crate) mod s3;

/// Says that a tool is not installed, so that nothing is tested; fails where all tools must be.
pub(crate) fn skip(missing: &str) {
    assert!(std::env::var_os("OPENLEDGER_ALL_TOOLS").is_none(), "{missing}");
    eprintln!("skipped: {missing}");
}
