//! Documents are true of the tree: what they name exists, and nothing leads out of the repository.

use std::path::Path;

use super::{files, read, rust, shown};
use crate::run::root;

/// Folders that builds and tools make; documents may name them.
const MADE: &[&str] = &["contracts/out", "fuzz/artifacts", "fuzz/corpus", "studio/dist", "studio/test/out", "target/"];

/// Paths that documents name before they exist. The list may only get shorter.
const PLANNED: &[&str] = &[];

/// Words that only make sense to a reader of something outside the repository.
const OUTSIDE: &[&str] = &["DESIGN.md", "(DESIGN", "/work/", "shared/reports", "reference/"];

/// All documents, with their text.
fn documents() -> Vec<(std::path::PathBuf, String)> {
    files(&root(), "md").into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// What stands between backticks in `text`, outside fenced blocks, with the number of its line.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (line, text) in text.lines().enumerate() {
        if text.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(text.split('`').skip(1).step_by(2).map(|quoted| (line + 1, quoted)));
        }
    }
    found
}

#[test]
fn links_of_documents_lead_to_files_of_the_repository() {
    let mut faults = Vec::new();
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = path.parent().unwrap_or(Path::new("")).join(target);
            let inside =
                file.canonicalize().is_ok_and(|file| root().canonicalize().is_ok_and(|root| file.starts_with(root)));
            if !inside {
                faults.push(format!("{}: {link}", shown(&path)));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn paths_that_documents_and_comments_name_exist() {
    let folders: Vec<String> = std::fs::read_dir(root())
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| format!("{}/", entry.file_name().to_string_lossy()))
        .collect();
    let comments = rust().into_iter().map(|path| {
        let lines = read(&path);
        let lines = lines.lines().map(|line| line.trim_start().strip_prefix("//").unwrap_or_default());
        (path, lines.collect::<Vec<_>>().join("\n"))
    });
    let mut faults = Vec::new();
    for (path, text) in documents().into_iter().chain(comments) {
        for (line, name) in quoted(&text) {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            let known = |names: &[&str]| names.iter().any(|prefix| name.starts_with(prefix));
            let ours = plain && folders.iter().any(|folder| name.starts_with(folder));
            if ours && !known(MADE) && !known(PLANNED) && !root().join(name).exists() {
                faults.push(format!("{}:{line}: {name}", shown(&path)));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn nothing_refers_to_what_is_outside_the_repository() {
    let mut faults = Vec::new();
    let comments = rust().into_iter().map(|path| (path.clone(), read(&path)));
    for (path, text) in documents().into_iter().chain(comments.filter(|(path, _)| !path.ends_with("documents.rs"))) {
        for (line, text) in text.lines().enumerate() {
            let comment = path.extension().is_some_and(|e| e == "md") || text.trim_start().starts_with("//");
            if comment && OUTSIDE.iter().any(|word| text.contains(word)) {
                faults.push(format!("{}:{}: {}", shown(&path), line + 1, text.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn tests_that_the_threat_model_names_exist() {
    let text = read(&root().join("docs/threat-model.md"));
    let sources: Vec<String> = files(&root().join("crates"), "rs").iter().map(|path| read(path)).collect();
    let mut named = 0;
    let mut faults = Vec::new();
    for row in text.lines().filter(|line| line.starts_with('|')) {
        let held_by = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        for (_, test) in quoted(held_by).into_iter().filter(|(_, name)| name.contains('_') && !name.contains('/')) {
            named += 1;
            let definition = format!("fn {test}(");
            if !sources.iter().any(|source| source.contains(&definition)) {
                faults.push(test.to_owned());
            }
        }
    }
    assert!(named > 20, "the table of the threat model was not read");
    assert!(faults.is_empty(), "no such test: {faults:#?}");
}

/// The columns of the glossary's tables: noun, meaning, Rust, contract, command, Studio.
const RUST: usize = 2;
const CONTRACT: usize = 3;
const STUDIO: usize = 5;

/// Rows of the part of the glossary that lists what exists, cell by cell.
fn existing_nouns(glossary: &str) -> Vec<Vec<String>> {
    let existing = glossary.split("\n# Planned").next().unwrap_or_default();
    let rows = existing.lines().filter(|line| line.starts_with("| **"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn modules_contracts_and_pages_that_the_glossary_names_exist() {
    let nouns = existing_nouns(&read(&root().join("GLOSSARY.md")));
    assert!(nouns.len() > 20, "the glossary was not read");
    let mut faults = Vec::new();
    for noun in &nouns {
        for (_, path) in quoted(noun.get(RUST).map_or("", String::as_str)) {
            let (folder, module) = path.split_once("::").unwrap_or((path, "lib"));
            let src = root().join("crates").join(folder).join("src");
            if !src.join(format!("{module}.rs")).is_file() && !src.join(module).join("mod.rs").is_file() {
                faults.push(format!("{}: no module {path}", noun[0]));
            }
        }
        for (_, contract) in quoted(noun.get(CONTRACT).map_or("", String::as_str)) {
            if !root().join(format!("contracts/src/{contract}.sol")).is_file() {
                faults.push(format!("{}: no contract {contract}", noun[0]));
            }
        }
        for (_, folder) in quoted(noun.get(STUDIO).map_or("", String::as_str)) {
            if !root().join("studio/src/features").join(folder).is_dir() {
                faults.push(format!("{}: no folder {folder} in the Studio", noun[0]));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
