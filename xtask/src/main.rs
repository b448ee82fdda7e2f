//! The project's own commands: `cargo xtask demo`, `cargo xtask test`, and the smaller ones they
//! are made of.
//!
//! # Place in the flow
//!
//! This package depends on no crate of the workspace. It installs what a fresh Debian 12 lacks,
//! builds, and runs. The rules of the source tree are tests of this package (`rules`), so
//! `cargo test` is the whole gate.
//!
//! # Invariants
//!
//! - Nothing is downloaded but through `apt-get`, `cargo`, `npm` and `pip`, at pinned versions.
//! - A step that fails ends the command with its exit status; no later step hides it.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod parts;
#[cfg(test)]
mod rules;
mod run;
mod setup;

use std::process::ExitCode;

use run::Failed;

const HELP: &str = "\
usage: cargo xtask <command>

  demo [--exit] [--data F.jsonl] [--records N] [--seed S]
                    set up, build, and run the whole economy on real input; leaves the Studio
                    open on http://localhost:7070 unless --exit is given
  check             format, lints, types, house rules and documentation: what each commit must
                    pass, in minutes
  test [--long]     set up and run every test: Rust, Solidity, TypeScript, browser, end to end
  bench chain       measure the embedded chain beside anvil
  bench reads [URL]
                    time reads and audits of 50,000 receipts in 20 epochs; on SQLite, or on an
                    empty Postgres database at URL
  bench serving     measure many adapters on one base beside vLLM and PEFT (installs them: 6 GB)
  doc               build the documentation of every crate; a warning is an error
  build             build the binary and the Studio
  contracts         compile the contracts and write contracts/artifacts
  vectors           generate vectors/ from the Rust code
  studio            build the Studio
  deny [--advisories]
                    check licences, bans and sources of all dependencies (installs cargo-deny);
                    with --advisories also against the RustSec database, which is fetched
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let done = match command.as_str() {
        "demo" => parts::demo(&rest),
        "check" => parts::check(),
        "test" => parts::test(rest.iter().any(|a| a == "--long")),
        "bench" => parts::bench(rest.first().map_or("", String::as_str), rest.get(1..).unwrap_or_default()),
        "build" => parts::build(),
        "contracts" => parts::contracts(),
        "vectors" => parts::vectors(),
        "studio" => parts::studio(),
        "doc" => parts::doc(),
        "deny" => parts::deny(rest.iter().any(|a| a == "--advisories")),
        _ => {
            eprint!("{HELP}");
            return if command.is_empty() || command == "help" { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { what, status }) => {
            eprintln!("xtask: {what}");
            ExitCode::from(status)
        }
    }
}
