//! One module a noun: its arguments and what it does with them.

pub(crate) mod absent;
mod answering;
pub(crate) mod ask;
pub(crate) mod audit;
pub(crate) mod channel;
pub(crate) mod claim;
pub(crate) mod datanet;
pub(crate) mod deploy;
pub(crate) mod epoch;
pub(crate) mod influence;
pub(crate) mod model;
pub(crate) mod node;
mod offering;
pub(crate) mod progress;
pub(crate) mod receipt;
mod reexecute;
pub(crate) mod serve;
mod signing;
pub(crate) mod trace;
pub(crate) mod train;

use crate::cli::Verb;
use crate::error::{CliError, Exit, Result};

/// Does what was asked.
pub(crate) async fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Node(args) => node::run(args).await,
        Verb::Dev(args) => node::dev(args).await,
        Verb::Demo(args) => crate::demo::run(args).await,
        Verb::Ask(args) => ask::run(args).await,
        Verb::Receipt(verb) => receipt::run(verb).await,
        Verb::Channel(verb) => channel::run(verb).await,
        Verb::Claim(args) => claim::run(args).await,
        Verb::Audit(args) => audit::run(args).await,
        Verb::Deploy(args) => deploy::run(args).await,
        Verb::Datanet(verb) => datanet::run(verb).await,
        Verb::Epoch(verb) => epoch::run(verb).await,
        Verb::Model(verb) => model::run(verb).await,
        Verb::Train(args) => train::run(args).await,
        Verb::Serve(args) => serve::run(args).await,
        Verb::Trace(verb) => blocking(move || trace::run(&verb)).await,
        Verb::Influence(verb) => influence::run(verb).await,
        Verb::Agent(_) => absent::agent(),
        Verb::Market(_) => absent::market(),
        Verb::Gov(_) => absent::gov(),
        Verb::Attack(_) => absent::attack(),
        Verb::Poa(_) => absent::poa(),
    }
}

/// Runs computation off the threads that serve I/O.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(CliError::refused(Exit::Failure, format!("the work broke off: {error}"))))
}

/// Prints a JSON document for `--json`.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// The time, in Unix seconds.
fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
