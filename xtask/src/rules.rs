//! The house rules of the source tree, as tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::run::root;

/// The floors of ARCHITECTURE.md, lowest first. A crate may use only crates of lower floors.
const FLOORS: &[&[&str]] = &[
    &["protocol"],
    &["store", "engine", "chain"],
    &["datanet", "factory", "serving", "attribution", "ledger", "agents"],
    &["node"],
    &["openledger"],
];

/// Crates that `protocol` must not bring in: anything with a clock, a disk, a network or a runtime.
const IO_CRATES: &[&str] =
    &["tokio", "axum", "reqwest", "sqlx", "object_store", "hyper", "mio", "rand", "chrono", "time", "tempfile"];

fn manifest(path: &Path) -> toml::Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = manifest(&root().join("crates").join(folder).join("Cargo.toml"));
    let names = |table: &str| -> Vec<String> {
        manifest.get(table).and_then(|t| t.as_table()).map(|t| t.keys().cloned().collect()).unwrap_or_default()
    };
    names("dependencies").into_iter().chain(names("build-dependencies")).collect()
}

fn sources(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![below.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn crates_depend_only_on_lower_floors() {
    let floor: BTreeMap<String, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, names)| names.iter().map(move |name| (format!("openledger-{name}"), floor)))
        .collect();
    let mut faults = Vec::new();
    for (at, names) in FLOORS.iter().enumerate() {
        for name in *names {
            for used in dependencies(name) {
                match floor.get(&used) {
                    Some(&below) if below >= at => {
                        faults.push(format!("{name} (floor {at}) must not use {used} (floor {below})"))
                    }
                    None if used.starts_with("openledger-") => faults.push(format!("{used} stands on no floor")),
                    _ => {}
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_crate_stands_on_a_floor() {
    let listed: BTreeSet<&str> = FLOORS.iter().flat_map(|names| names.iter().copied()).collect();
    let there: BTreeSet<String> = std::fs::read_dir(root().join("crates"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(there.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
}

#[test]
fn protocol_brings_in_nothing_with_io() {
    let used = dependencies("protocol");
    let faults: Vec<&&str> = IO_CRATES.iter().filter(|name| used.contains(**name)).collect();
    assert!(faults.is_empty(), "protocol must not use {faults:?}");
}

#[test]
fn every_module_has_a_head() {
    let mut faults = Vec::new();
    for path in sources(&root().join("crates")).into_iter().chain(sources(&root().join("xtask"))) {
        let text = read(&path);
        let head = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if !head.starts_with("//!") {
            faults.push(path.display().to_string());
        }
    }
    assert!(faults.is_empty(), "no `//!` head: {faults:#?}");
}

#[test]
fn node_does_no_arithmetic_on_amounts() {
    const FORBIDDEN: &[&str] =
        &[".plus(", ".minus(", ".mul_div_", "Amount(", "Amount::sum", "checked_add", "checked_sub", "checked_mul"];
    let mut faults = Vec::new();
    for path in sources(&root().join("crates/node/src")) {
        for (line, text) in read(&path).lines().enumerate() {
            if FORBIDDEN.iter().any(|word| text.contains(word)) && !text.trim_start().starts_with("//") {
                faults.push(format!("{}:{}: {}", path.display(), line + 1, text.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "arithmetic on amounts belongs to `ledger`: {faults:#?}");
}

#[test]
fn no_file_is_over_a_thousand_lines_and_none_is_called_utils() {
    let mut faults = Vec::new();
    for path in sources(&root().join("crates")) {
        let lines = read(&path).lines().count();
        if lines > 1000 {
            faults.push(format!("{}: {lines} lines", path.display()));
        }
        if path.file_stem().is_some_and(|stem| stem == "utils" || stem == "util" || stem == "helpers") {
            faults.push(format!("{}: name it for what it does", path.display()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn only_kernels_hold_unsafe_code() {
    let mut faults = Vec::new();
    for path in sources(&root().join("crates")) {
        let kernel = path.starts_with(root().join("crates/engine/src/kernels"));
        for (line, text) in read(&path).lines().enumerate() {
            let code = text.split("//").next().unwrap_or_default();
            if !kernel && (code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")) {
                faults.push(format!("{}:{}", path.display(), line + 1));
            }
        }
    }
    assert!(faults.is_empty(), "unsafe code outside the engine's kernels: {faults:#?}");
}
