//! RocksDB of the system against the binding, which is made from the header of the bundled one.
//!
//! The linker compares names only. So what this program calls must be declared alike in both
//! headers: `/usr/include/rocksdb/c.h` and that of `librocksdb-sys`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The one function that Debian's library lacks; `native/rocksdb.cc` supplies it.
const SUPPLIED: &str = "rocksdb_write_buffer_manager_destroy";

/// The C functions of the database that this test's program takes from a shared library.
fn imported() -> BTreeSet<String> {
    let program = std::env::current_exe().unwrap();
    let symbols =
        output(Command::new("nm").args(["--dynamic", "--undefined-only", "--format=just-symbols"]).arg(program));
    let names = symbols.lines().map(|name| name.split('@').next().unwrap_or_default().trim());
    names.filter(|name| name.starts_with("rocksdb_")).map(str::to_owned).collect()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Where the sources of `librocksdb-sys` lie.
fn bundled() -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    // Packages of other platforms need not have been fetched.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments = [
        "metadata",
        "--format-version=1",
        "--locked",
        "--offline",
        "--filter-platform",
        &platform,
        "--manifest-path",
        manifest,
    ];
    let metadata: serde_json::Value =
        serde_json::from_str(&output(Command::new(env!("CARGO")).args(arguments))).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "librocksdb-sys").unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).with_file_name("rocksdb")
}

fn header(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    // What stands before the first `/*`, and after each `*/`.
    let parts = text.split("/*").enumerate();
    parts.map(|(at, part)| if at == 0 { part } else { part.split_once("*/").map_or("", |part| part.1) }).collect()
}

/// Declarations by name, without what does not change a call: spaces, names of macros, `const`.
fn declarations(header: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for part in header.split("extern ROCKSDB_LIBRARY_API ").skip(1) {
        let text = part.split(';').next().unwrap_or_default().replace("const ", "");
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut text = words.join(" ");
        for mark in ["(", ")", ",", "*"] {
            text = text.split(mark).map(str::trim).collect::<Vec<_>>().join(mark);
        }
        let name = text.split('(').next().and_then(|start| start.rsplit([' ', '*']).next()).unwrap_or_default();
        found.insert(name.to_owned(), text.clone());
    }
    found
}

/// Constants of all enumerations: their numbers, counted where none is written, or what is written
/// instead.
fn constants(header: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for part in header.split("enum {").skip(1) {
        let mut next = 0;
        let members = part.split('}').next().unwrap_or_default().split(',').map(str::trim);
        for member in members.filter(|member| !member.is_empty()) {
            let (name, written) = member.split_once('=').unwrap_or((member, ""));
            let written = if written.is_empty() { next.to_string() } else { written.trim().to_owned() };
            next = written.parse().unwrap_or(next) + 1;
            found.insert(name.trim().to_owned(), written);
        }
    }
    found
}

/// Major and minor version in `version.h`.
fn version(include: &Path) -> String {
    let text = header(&include.join("rocksdb/version.h"));
    let words: Vec<&str> = text.split_whitespace().collect();
    let part = |name: &str| words.windows(2).find(|pair| pair[0] == name).unwrap()[1];
    format!("{}.{}", part("ROCKSDB_MAJOR"), part("ROCKSDB_MINOR"))
}

#[test]
fn every_function_that_the_program_takes_from_the_system_is_declared_as_the_binding_believes() {
    let (ours, include) = (bundled().join("include"), Path::new("/usr/include"));
    let imported = imported();
    if imported.is_empty() {
        assert_eq!(version(&ours), env!("OPENLEDGER_ROCKSDB"), "the bundled RocksDB is of another version");
        return;
    }
    assert_eq!(version(include), env!("OPENLEDGER_ROCKSDB"));
    assert!(imported.len() > 50 && !imported.contains(SUPPLIED), "{imported:?}");
    let (believed, there) = (header(&ours.join("rocksdb/c.h")), header(&include.join("rocksdb/c.h")));
    let (functions, of_system) = (declarations(&believed), declarations(&there));
    assert!(functions.len() > 900 && of_system.len() > 700, "{} and {} declarations", functions.len(), of_system.len());
    for name in &imported {
        let function = functions.get(name);
        assert!(function.is_some(), "{name} is not in the bundled header");
        assert_eq!(function, of_system.get(name), "{name}");
    }
    let (numbers, of_system) = (constants(&believed), constants(&there));
    assert!(of_system.len() > 100, "{of_system:?}");
    for (name, number) in of_system {
        // How many counters there are is no value that is handed over.
        if name != "rocksdb_total_metric_count" {
            assert_eq!(numbers.get(&name), Some(&number), "{name}");
        }
    }
}

#[test]
fn a_function_that_changed_is_told_from_one_that_did_not() {
    let before = declarations("extern ROCKSDB_LIBRARY_API void rocksdb_a( rocksdb_t* db,\n  char** errptr); ");
    let same = declarations("extern ROCKSDB_LIBRARY_API void  rocksdb_a(const rocksdb_t *db, char **errptr);");
    let other =
        declarations("extern ROCKSDB_LIBRARY_API void rocksdb_a(rocksdb_t* db, unsigned char force, char** errptr);");
    assert_eq!(before, same);
    assert_ne!(before, other);
    let numbers = constants("enum { rocksdb_b, rocksdb_c = 3, rocksdb_d, rocksdb_e = 1 << 1, };");
    assert_eq!(numbers.into_values().collect::<Vec<_>>(), ["0", "3", "4", "1 << 1"]);
}
