//! Tells how RocksDB gets into the program, and supplies what Debian's library lacks.
//!
//! `librocksdb-sys` compiles the RocksDB that it bundles (some 940 CPU-seconds), unless
//! `ROCKSDB_LIB_DIR` names a folder: then it links the library of the system. `.cargo/config.toml`
//! sets that variable; `ROCKSDB_COMPILE=1` overrules it. This script follows the same rule.

use std::env;

/// Version that `librocksdb-sys` bundles, and the one of the system that `native/rocksdb.cc`
/// admits.
const BUNDLED: &str = "10.4";
const SYSTEM: &str = "7.8";

fn main() {
    println!("cargo:rerun-if-changed=native/rocksdb.cc");
    for name in ["ROCKSDB_COMPILE", "ROCKSDB_LIB_DIR"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if env::var_os("CARGO_FEATURE_EMBEDDED").is_none() {
        return;
    }
    let compiled = env::var("ROCKSDB_COMPILE").is_ok_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
    let linked = !compiled && env::var_os("ROCKSDB_LIB_DIR").is_some();
    println!("cargo:rustc-env=OPENLEDGER_ROCKSDB={}", if linked { SYSTEM } else { BUNDLED });
    if linked {
        // All of it: where a linker reads this archive before the one that needs it, it would take
        // nothing.
        cc::Build::new()
            .cpp(true)
            .file("native/rocksdb.cc")
            .link_lib_modifier("+whole-archive")
            .compile("openledger_rocksdb");
    }
}
