//! The one binary: a node, the demonstration that drives one, and every stage alone on plain files.
//!
//! # Place in the flow
//!
//! The top floor. `verbs` holds one module a noun: those that ask a running node over HTTP, and
//! those that need none. `demo` starts a node as a child process and walks the whole economy
//! through it, from a file of records to a claim.
//!
//! # Invariants
//!
//! - **Exit statuses name the kind of fault** ([`error::Exit`]); messages go to standard error,
//!   results to standard output.
//! - **No secret in arguments.** Tokens and keys come from files or the environment.
//! - Computation belongs to lower floors.
//!
//! # Not here
//!
//! The economy itself (`openledger-node` and below).
// Results go to standard output: this is the program.
#![allow(clippy::print_stdout)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

// First, so that its macros are in scope everywhere below.
#[macro_use]
mod output;

mod cli;
mod connection;
mod console;
mod demo;
mod embedded;
mod error;
mod hint;
mod hub;
mod records;
mod verbs;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// The system's allocator keeps an arena a thread, and under load the embedded chain grew by a
/// third in them. The database's C++ allocates here too; `.cargo/config.toml` holds the settings,
/// docs/decisions/0001-embedded-chain.md the figures.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Clap prints usage errors itself and ends with status 2.
    let cli = cli::Cli::parse();
    let filter = EnvFilter::try_from_env("OPENLEDGER_LOG").unwrap_or_else(|_| EnvFilter::new("warn,openledger=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(console::colours_on_stderr())
        // Otherwise a log line that nobody can read any more is reported by `eprintln!`, which
        // panics.
        .log_internal_errors(false)
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the system gives no threads: {error}");
            return ExitCode::from(error::Exit::Unavailable as u8);
        }
    };
    let done = runtime.block_on(cli.verb.run());
    let written = output::unwritten().map_or(Ok(()), |reason| {
        let message = format!("the work is done, but standard output could not be written: {reason}");
        Err(error::CliError::refused(error::Exit::Failure, message))
    });
    match done.and(written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.render());
            if let Some(hint) = hint::of(&error) {
                eprintln!("help: {}", console::one_line(hint));
            }
            ExitCode::from(error.exit() as u8)
        }
    }
}
