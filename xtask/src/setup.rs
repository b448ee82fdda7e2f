//! What a fresh Debian 12 lacks: system packages, node modules, a Python environment. Each step is
//! skipped when done.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::run::{Failed, command, root, run};

/// Packages of the system, each with a file that shows it is there.
const BUILD: &[(&str, &str)] = &[
    ("clang", "/usr/bin/clang"),
    ("libclang-dev", "/usr/lib/llvm-14/lib/libclang.so"),
    ("g++", "/usr/bin/g++"),
    ("make", "/usr/bin/make"),
    ("pkg-config", "/usr/bin/pkg-config"),
    ("libssl-dev", "/usr/include/openssl/ssl.h"),
    ("librocksdb-dev", "/usr/include/rocksdb/c.h"),
];
const TEST: &[(&str, &str)] = &[
    ("postgresql", "/usr/lib/postgresql/15/bin/initdb"),
    ("chromium", "/usr/bin/chromium"),
    ("python3-venv", "/usr/share/doc/python3-venv"),
];

/// Installs what building needs.
pub(crate) fn for_build() -> Result<(), Failed> {
    packages(BUILD)
}

/// Installs what the tests need besides.
pub(crate) fn for_tests() -> Result<(), Failed> {
    packages(BUILD)?;
    packages(TEST)
}

fn packages(wanted: &[(&str, &str)]) -> Result<(), Failed> {
    let missing: Vec<&str> =
        wanted.iter().filter(|(_, file)| !Path::new(file).exists()).map(|&(name, _)| name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    let install = |elevate: &[&str]| -> Result<(), Failed> {
        let words = |tail: &[&str]| -> Command {
            let all: Vec<&str> = elevate.iter().chain(tail).copied().collect();
            let mut command = command(all[0], &all[1..]);
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
        };
        run(&mut words(&["apt-get", "update", "-qq"]))?;
        let mut tail = vec!["apt-get", "install", "-y", "-qq", "--no-install-recommends"];
        tail.extend(&missing);
        run(words(&tail).stdout(Stdio::null()))
    };
    let by_hand = || {
        let line = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
        Failed::new(format!("missing system packages; run as root: {line}"), 69)
    };
    if succeeds("sh", &["-c", "test $(id -u) = 0"]) {
        install(&["env"])
    } else if succeeds("sudo", &["-n", "true"]) {
        install(&["sudo", "-n"])
    } else {
        Err(by_hand())
    }
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// `npm ci` in `folder`, unless its lockfile was already installed.
pub(crate) fn node_modules(folder: &str) -> Result<(), Failed> {
    let folder = root().join(folder);
    let lock = std::fs::read(folder.join("package-lock.json"))
        .map_err(|error| Failed::new(format!("{}: no package-lock.json: {error}", folder.display()), 1))?;
    let stamp = folder.join("node_modules/.installed-lock");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    run(
        command("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder)
    )?;
    std::fs::write(&stamp, lock).map_err(|error| Failed::new(format!("{}: {error}", stamp.display()), 1))
}
