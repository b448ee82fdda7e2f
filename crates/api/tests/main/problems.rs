//! Every refusal of the node and the gateway has a page that says what to do about it.

use std::path::{Path, PathBuf};

use openledger_api::ProblemKind;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The stable names in `refused(Blame::…, "name", …)` of a source text.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split("Blame::").skip(1).filter_map(|rest| {
        let (_, rest) = rest.split_once(',')?;
        let code = rest.trim_start().strip_prefix('"')?.split('"').next()?;
        code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-').then_some(code)
    })
}

#[test]
fn every_refusal_has_a_kind_of_problem() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    ["node/src", "gateway/src"].iter().for_each(|folder| sources(&crates.join(folder), &mut files));
    let (mut known, mut unknown) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for code in codes(&text) {
            if ProblemKind::of(code).is_some() {
                known += 1;
            } else {
                unknown.push(format!("{code} in {}", file.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "no kind of problem in crates/api/src/problem.rs: {unknown:#?}");
    assert!(known >= 40, "only {known} refusals were found: does this test still read the sources?");
}
