//! Real data beside the checkout; skipped with a message where there is none.

use std::path::PathBuf;

use crate::program::{demo, root};

fn file(name: &str) -> Option<PathBuf> {
    let file = root().join("../shared/data").join(name).join("records.jsonl");
    if file.is_file() {
        return Some(file);
    }
    eprintln!("skipped: {} is not there", file.display());
    None
}

#[track_caller]
fn runs(inputs: &[(&str, usize)], more: &[&str]) {
    for (name, records) in inputs {
        let Some(file) = file(name) else { return };
        let (file, records) = (file.display().to_string(), records.to_string());
        let mut arguments = vec!["--data", &file, "--records", &records];
        arguments.extend(more);
        let ran = demo(&arguments);
        assert_eq!(ran.ran.code, 0, "{name}\n{}\n{}", ran.ran.out, ran.ran.err);
        assert_eq!(ran.summary["audit_ok"], true, "{name}");
    }
}

#[test]
fn a_hundred_records_with_many_authors_run_to_an_audit_without_faults() {
    runs(&[("coding-tldr", 100)], &["--probe-records", "5"]);
}

#[test]
fn large_parts_of_three_real_datanets_run_to_an_audit_without_faults() {
    if std::env::var_os("OPENLEDGER_LONG").is_none() {
        eprintln!("skipped: set OPENLEDGER_LONG=1 for the long run");
        return;
    }
    runs(&[("coding-tldr", 2000), ("healthcare-medquad", 1000), ("gaming-open5e", 1000)], &["--max-steps", "200"]);
}
