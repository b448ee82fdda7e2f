//! The rules of the source tree, as tests: floors of crates, circles inside them, sources,
//! documents.
//!
//! A rule that the tree does not keep yet is a ratchet: a constant beside it holds the count of
//! today, and the count may only fall.

mod circles;
mod documents;
mod floors;
mod imports;
mod lexer;
mod sources;

use std::path::{Path, PathBuf};

use crate::run::root;

/// Files below `folder` with the given extension, sorted; build outputs and installed modules are
/// left out.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    const SKIPPED: &[&str] = &["target", "node_modules", "dist"];
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// All Rust sources of the workspace's own crates.
fn rust() -> Vec<PathBuf> {
    ["crates", "models", "xtask"].iter().flat_map(|folder| files(&root().join(folder), "rs")).collect()
}

/// The folders below `crates/`, sorted.
fn crates() -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(root().join("crates"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A path as documents write it: relative to the root of the checkout.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
