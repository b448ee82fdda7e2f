//! Crates use lower floors only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{crates, read};
use crate::run::root;

/// The floors of ARCHITECTURE.md, lowest first. A crate may use only crates of lower floors.
const FLOORS: &[&[&str]] = &[
    &["protocol"],
    &["store", "engine", "chain", "api"],
    &["datanet", "factory", "serving", "attribution", "ledger", "agents"],
    &["node"],
    &["gateway"],
    &["openledger"],
];

/// Crates that `protocol` must not bring in: anything with a clock, a disk, a network or a runtime.
const IO_CRATES: &[&str] =
    &["tokio", "axum", "reqwest", "sqlx", "object_store", "hyper", "mio", "rand", "chrono", "time", "tempfile"];

fn manifest(path: &Path) -> toml::Table {
    read(path).parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dependencies(folder: &str) -> BTreeSet<String> {
    dependencies_in(&root().join("crates").join(folder))
}

fn dependencies_in(folder: &Path) -> BTreeSet<String> {
    let manifest = manifest(&folder.join("Cargo.toml"));
    let names = |table: &str| -> Vec<String> {
        manifest.get(table).and_then(|t| t.as_table()).map(|t| t.keys().cloned().collect()).unwrap_or_default()
    };
    names("dependencies").into_iter().chain(names("build-dependencies")).collect()
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

/// `models/corpus` generates the text of the shipped base. Nothing of the product uses it, by the
/// rule above: it stands on no floor.
#[test]
fn the_corpus_uses_at_most_the_crates_that_know_records() {
    const MAY: &[&str] = &["openledger-protocol", "openledger-datanet", "openledger-factory"];
    let used = dependencies_in(&root().join("models/corpus"));
    let ours = used.iter().filter(|name| name.starts_with("openledger-"));
    let faults: Vec<&String> = ours.filter(|name| !MAY.contains(&name.as_str())).collect();
    assert!(faults.is_empty(), "the corpus must not use {faults:?}");
}

#[test]
fn every_crate_stands_on_a_floor() {
    let listed: BTreeSet<String> =
        FLOORS.iter().flat_map(|names| names.iter().map(|name| (*name).to_owned())).collect();
    assert_eq!(crates().into_iter().collect::<BTreeSet<_>>(), listed);
}

#[test]
fn protocol_brings_in_nothing_with_io() {
    let used = dependencies("protocol");
    let faults: Vec<&&str> = IO_CRATES.iter().filter(|name| used.contains(**name)).collect();
    assert!(faults.is_empty(), "protocol must not use {faults:?}");
}
