//! Stock clients, unmodified, against a server of ours. `tests/stock/setup.sh` installs them;
//! without them nothing is run and that is said.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::client::serve_embedded;
use super::{saved, server};

/// Where the clients are installed.
fn installed() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/stock");
    std::env::var_os("OPENLEDGER_STOCK").map_or(default, PathBuf::from)
}

/// Runs a client's check against a small base named `base` with one adapter, `owls`.
fn check(program: PathBuf, script: Option<PathBuf>) {
    if !program.exists() || script.as_ref().is_some_and(|script| !script.exists()) {
        let missing = format!("{} is not there; run crates/gateway/tests/stock/setup.sh", program.display());
        assert!(std::env::var_os("OPENLEDGER_ALL_TOOLS").is_none(), "{missing}");
        eprintln!("skipped: {missing}");
        return;
    }
    let (embedded, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    let hash = embedded.adapters().register(&saved(&embedded, tmp.path(), 1)).unwrap();
    embedded.adapters().set_alias("owls", hash, None).unwrap();
    let running = serve_embedded(&embedded, None);
    let done = Command::new(program).args(script).arg(format!("http://{}", running.address)).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    let ok = told.contains("\"ok\": true") || told.contains("\"ok\":true");
    assert!(done.status.success() && ok, "{told}");
}

#[test]
fn the_python_client_works_unmodified() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stock/python/check.py");
    check(installed().join("python/bin/python"), Some(script));
}

#[test]
fn the_javascript_client_works_unmodified() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stock/npm/check.mjs");
    // A module finds its packages beside itself.
    let beside = installed().join("npm/check.mjs");
    if installed().join("npm/node_modules/openai").exists() {
        std::fs::copy(own, &beside).unwrap();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let node = std::env::split_paths(&path).map(|dir| dir.join("node")).find(|node| node.exists());
    check(node.unwrap_or_else(|| "node".into()), Some(beside));
}

#[test]
fn the_rust_client_works_unmodified() {
    check(installed().join("async-openai/debug/stock-async-openai"), None);
}
