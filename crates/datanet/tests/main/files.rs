//! The files of `samples/`, and the real ones where they lie beside the checkout.

use std::path::PathBuf;

use openledger_datanet::{Limits, Parsed, parse_jsonl};

pub(crate) fn sample(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples").join(name);
    std::fs::read(path).unwrap()
}

/// (accepted, refused as empty, refused as copies, refused otherwise).
fn counts(parsed: &Parsed) -> (usize, usize, usize, usize) {
    let count = |code: &str| parsed.refused.iter().filter(|r| r.reason.code() == code).count();
    let (empty, copies) = (count("empty"), count("duplicate"));
    (parsed.records.len(), empty, copies, parsed.refused.len() - empty - copies)
}

#[track_caller]
fn check_bad(name: &str, expected: &[(u64, &str)]) {
    let error = parse_jsonl(&sample(name), &Limits::default()).unwrap_err();
    let found: Vec<_> = error.problems.iter().map(|p| (p.line, p.reason.code())).collect();
    assert_eq!(found, expected, "{name}");
}

#[track_caller]
fn check_listed(name: &str, accepted: &[u64], expected: &[(u64, &str)]) {
    let parsed = parse_jsonl(&sample(name), &Limits::default()).unwrap();
    let found: Vec<_> = parsed.refused.iter().map(|r| (r.line, r.reason.code())).collect();
    assert_eq!(found, expected, "{name}");
    assert_eq!(parsed.records.iter().map(|r| r.line).collect::<Vec<_>>(), accepted, "{name}");
}

#[test]
fn bad_samples_are_refused_as_their_readme_says() {
    check_bad("bad/truncated.jsonl", &[(3, "truncated")]);
    check_bad("bad/invalid-utf8.jsonl", &[(2, "invalid-utf8")]);
    check_bad("bad/nul.jsonl", &[(2, "nul"), (3, "nul")]);
    check_bad("bad/duplicate-ids.jsonl", &[(3, "duplicate-id"), (5, "duplicate-id")]);
    check_listed("bad/missing-license.jsonl", &[1], &[(2, "no-licence"), (3, "no-licence")]);
    let empty = [(2, "empty"), (3, "empty"), (4, "empty"), (5, "missing-field")];
    check_listed("bad/empty-text.jsonl", &[1], &empty);
    check_listed("bad/bom-crlf.jsonl", &[1, 2, 3], &[]);
}

#[test]
fn planted_exact_copies_are_refused_and_nothing_else() {
    let copies = |lines: &[u64]| lines.iter().map(|&line| (line, "duplicate")).collect::<Vec<_>>();
    for (name, count, planted) in [
        ("bicycle-repair.jsonl", 70, copies(&[65, 66, 67, 68])),
        ("kitchen-chemistry.jsonl", 66, copies(&[62, 63, 64])),
        ("night-sky.jsonl", 79, copies(&[74, 75, 76, 77])),
    ] {
        let accepted: Vec<u64> = (1..=count).filter(|line| !planted.iter().any(|(copy, _)| copy == line)).collect();
        check_listed(name, &accepted, &planted);
    }
}

/// Counts made by an independent script (Python's `json` and `unicodedata` over the definitions of
/// `docs/formats.md`).
#[test]
fn real_files_give_the_counts_of_an_independent_script() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !folder.is_dir() {
        println!("skipped: no shared data beside the checkout");
        return;
    }
    for (name, expected) in [
        ("chain-eips/records.jsonl", (583, 0, 0, 0)),
        ("coding-mbpp/records.jsonl", (973, 0, 1, 0)),
        ("coding-rust-book/records.jsonl", (95, 0, 0, 0)),
        ("coding-tldr/records.jsonl", (7336, 0, 4, 0)),
        ("education-gsm8k/contributor_quality.jsonl", (2634, 0, 6, 0)),
        ("education-gsm8k/records.jsonl", (7473, 0, 0, 0)),
        ("finance-fed/fomc.jsonl", (90, 0, 0, 0)),
        ("finance-fed/speeches.jsonl", (220, 0, 0, 0)),
        ("finance-tatqa/records.jsonl", (1667, 0, 1, 0)),
        ("gaming-chess/records.jsonl", (3807, 0, 0, 0)),
        ("gaming-open5e/records.jsonl", (8916, 0, 1061, 0)),
        ("healthcare-medquad/questions_only.jsonl", (0, 2963, 0, 0)),
        ("healthcare-medquad/records.jsonl", (8894, 2, 0, 0)),
        ("law-dc-code/records.jsonl", (5246, 0, 50, 0)),
        ("law-site-policy/records.jsonl", (62, 0, 0, 0)),
        ("literature-shakespeare/records.jsonl", (7026, 0, 71, 0)),
    ] {
        let parsed = parse_jsonl(&std::fs::read(folder.join(name)).unwrap(), &Limits::default()).unwrap();
        assert_eq!(counts(&parsed), expected, "{name}: {:?}", parsed.refused.first());
        assert!(parsed.records.iter().all(|r| !r.record.license.starts_with("LicenseRef-")), "{name}");
    }
}
