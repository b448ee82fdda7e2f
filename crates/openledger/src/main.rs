//! The one binary: a node, the demonstration that drives one, and every stage alone on plain files.
//!
//! # Place in the flow
//!
//! The top floor. `verbs` holds one module a noun: those that ask a running node over HTTP, and those that need none.
//! `demo` starts a node as a child process and walks the whole economy through it, from a file of records to a claim.
//!
//! # Invariants
//!
//! - **Exit statuses say who can mend it** ([`error::Exit`]); messages go to standard error, results to standard output.
//! - **No secret in arguments.** Tokens and keys come from files or the environment.
//! - Nothing is computed here that a lower floor could be asked for.
//!
//! # Not here
//!
//! The economy itself (`openledger-node` and below).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod cli;
mod demo;
mod error;
mod hub;
mod verbs;
mod voice;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// The system's allocator keeps an arena a thread, and under load the embedded chain grew by a third in them. The database's C++
/// allocates here too; `.cargo/config.toml` holds the settings, docs/decisions/0001-embedded-chain.md the figures.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A reader that has seen enough (`| head`) ends the program quietly, where `println!` would panic.
fn end_with_the_reader() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>();
        if message.is_some_and(|text| text.starts_with("failed printing to stdout") && text.contains("Broken pipe")) {
            std::process::exit(error::Exit::Failure as i32);
        }
        told(panic);
    }));
}

fn main() -> ExitCode {
    end_with_the_reader();
    // Clap prints usage errors itself and ends with status 2.
    let cli = cli::Cli::parse();
    let filter = EnvFilter::try_from_env("OPENLEDGER_LOG").unwrap_or_else(|_| EnvFilter::new("warn,openledger=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(voice::colours_on_stderr())
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the system gives no threads: {error}");
            return ExitCode::from(error::Exit::Unavailable as u8);
        }
    };
    match runtime.block_on(verbs::run(cli.verb)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.told());
            ExitCode::from(error.exit() as u8)
        }
    }
}
