//! Runs the program and keeps what it said; one undisturbed demonstration is shared by the tests that only look at it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// What a run of the program said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Panics with all that was said unless the status is `code`.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs the program to its end.
pub(crate) fn openledger<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_openledger"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .env_remove("OPENLEDGER_NODE")
        .env_remove("OPENLEDGER_TOKEN_FILE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// The checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

pub(crate) fn samples() -> PathBuf {
    root().join("samples")
}

pub(crate) fn base() -> PathBuf {
    root().join("models/base")
}

/// A demonstration that ended, with its folder.
pub(crate) struct Demo {
    pub(crate) ran: Ran,
    pub(crate) summary: Value,
    pub(crate) dir: PathBuf,
    _folder: tempfile::TempDir,
}

/// Runs `openledger demo --exit` with few optimiser steps in a folder of its own.
pub(crate) fn demo(more: &[&str]) -> Demo {
    let folder = tempfile::tempdir().unwrap();
    let (dir, json) = (folder.path().join("demo"), folder.path().join("summary.json"));
    let mut arguments: Vec<String> = ["demo", "--exit", "--seed", "7"].map(String::from).into();
    if !more.contains(&"--max-steps") {
        arguments.extend(["--max-steps".to_owned(), "12".to_owned()]);
    }
    for (name, path) in [("--dir", &dir), ("--json", &json), ("--base", &base())] {
        arguments.extend([name.to_owned(), path.display().to_string()]);
    }
    if !more.contains(&"--data") {
        arguments.extend(["--samples".to_owned(), samples().display().to_string()]);
    }
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    let ran = openledger(&arguments);
    let summary = std::fs::read(&json).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    Demo { ran, summary, dir, _folder: folder }
}

/// The undisturbed demonstration on the shipped samples.
pub(crate) fn undisturbed() -> &'static Demo {
    static DEMO: OnceLock<Demo> = OnceLock::new();
    DEMO.get_or_init(|| demo(&[]))
}
