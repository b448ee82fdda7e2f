//! `openledger demo`: the whole economy once, on real input, through a node's public faces only.
//!
//! # Place in the flow
//!
//! Starts `openledger node` as a child on a fresh folder and plays everybody else over HTTP and
//! JSON-RPC: contributors who sign batches, an owner who publishes and grants, a builder who trains
//! and offers, a payer who asks, and a stranger who audits. Each module below is one part of that
//! walk, in this order: [`datanets`], [`training`], [`asking`], [`probing`], [`settling`].
//!
//! # Invariants
//!
//! - **Repeatable.** Keys, choices and times follow from the seed: the same input gives the same
//!   roots, adapter and pay.
//! - **Kills change nothing.** With `--kills N` the child is killed (SIGKILL) N times on the way;
//!   every interrupted call is repeated under its own key, and payouts come out as undisturbed.
//! - Only a folder that an earlier demonstration marked as its own is ever emptied.

mod args;
mod asking;
mod datanets;
mod driver;
mod input;
mod keeper;
mod killer;
mod probing;
mod settling;
mod summary;
mod training;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

pub(crate) use self::args::DemoArgs;
use self::driver::Driver;
use self::keeper::{Keeper, NodeCommand};
use self::killer::Killer;
use self::summary::Summary;
use crate::console::Console;
use crate::embedded;
use crate::error::{CliError, Exit, Result};
use crate::verbs::node::base_dir;

/// File that marks a folder as one of the demo.
const MARK: &str = ".openledger-demo";

/// Walks the whole economy.
pub(crate) async fn run(args: DemoArgs) -> Result<()> {
    let inputs = input::load(&args)?;
    prepare_folder(&args.dir)?;
    let data = args.dir.join("node");
    let base = base_dir(args.base.clone(), &data)?;
    let studio = args.studio.clone().map_or_else(|| embedded::studio(&data), |named| Ok(Some(named)))?;
    let pages = studio.is_some();
    let default_port = if args.exit { 0 } else { 7070 };
    let command = NodeCommand {
        data,
        log: args.dir.join("node.log"),
        base,
        studio,
        listen: args.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], default_port))),
        seed: args.seed,
    };
    let console = Console::new();
    console.step("Starting a node on a fresh local network");
    let keeper = Arc::new(Keeper::start(command, args.kills).await?);
    let killer = Killer::new(keeper.clone(), args.seed, args.kills, expected_points(inputs.len(), &args));
    let driver = Driver::meet(console, keeper.clone(), killer, args.seed).await?;
    let walked = walk(&driver, &args, inputs).await;
    driver.killer.rest().await;
    let finished = match walked {
        Ok(summary) => finish(&driver, &args, &summary).await,
        Err(error) => Err(error),
    };
    if !args.exit && finished.is_ok() {
        let console = &driver.console;
        if pages {
            console.step(&format!("The node stays up: Studio at http://{}", keeper.address()));
            console.line(
                "With prompts and answers: the same address with /#key= and what operator.token of its folder holds.",
            );
        } else {
            console.step(&format!("The node stays up at http://{}", keeper.address()));
            console.line(embedded::NO_STUDIO);
        }
        console.line("Ctrl-C ends it.");
        let _ = tokio::signal::ctrl_c().await;
    }
    keeper.stop().await;
    finished
}

/// The walk itself.
async fn walk(driver: &Driver, args: &DemoArgs, inputs: Vec<input::Input>) -> Result<Summary> {
    let mut summary = Summary::new(args.seed, driver);
    let datanets = datanets::contribute(driver, inputs, &mut summary).await?;
    let model = training::train_and_offer(driver, args, &datanets, &mut summary).await?;
    let channel = asking::open_channel(driver).await?;
    let questions = asking::questions(args, &datanets);
    for (at, question) in questions.iter().enumerate() {
        asking::ask(driver, args, &model, &channel, at, question, &mut summary).await?;
    }
    probing::probe(driver, args, &model, &channel, &datanets, &mut summary).await?;
    settling::settle(driver, args, &model, &mut summary).await?;
    driver.killer.finish().await?;
    settling::audit(driver, &mut summary).await?;
    Ok(summary)
}

/// Says the end and writes the summary; fails when a promise was not kept.
async fn finish(driver: &Driver, args: &DemoArgs, summary: &Summary) -> Result<()> {
    let console = &driver.console;
    console.step("Done");
    console.figure("time", format!("{:.1} s", console.elapsed_s()));
    if args.kills > 0 {
        console.figure("kills survived", driver.killer.done());
    }
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&summary.document(driver))?;
        std::fs::write(file, text).map_err(CliError::file(file))?;
        console.figure("summary", file.display());
    }
    match summary.fault() {
        None => Ok(()),
        Some(fault) => Err(CliError::refused(Exit::Failure, fault)),
    }
}

/// About how many calls the walk makes: kills are spread over them.
fn expected_points(inputs: usize, args: &DemoArgs) -> u64 {
    let probes = 2 * args.probe_records as u64;
    inputs as u64 * 7 + training::POINTS + 20 + probes
}

/// Makes the folder, emptied if it is a demonstration's own.
fn prepare_folder(dir: &Path) -> Result<()> {
    if dir.exists() {
        let mut entries = std::fs::read_dir(dir).map_err(CliError::file(dir))?;
        if entries.next().is_some() {
            if !dir.join(MARK).is_file() {
                let message = format!(
                    "{} is not empty and no demonstration made it; name another folder by --dir",
                    dir.display()
                );
                return Err(CliError::refused(Exit::Conflict, message));
            }
            std::fs::remove_dir_all(dir).map_err(CliError::file(dir))?;
        }
    }
    std::fs::create_dir_all(dir).map_err(CliError::file(dir))?;
    let mark = dir.join(MARK);
    std::fs::write(&mark, "A demonstration of OpenLedger made this folder and may empty it.\n")
        .map_err(CliError::file(&mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_elses_is_never_emptied() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("letters.txt"), "mine").unwrap();
        assert_eq!(prepare_folder(folder.path()).unwrap_err().exit(), Exit::Conflict);
        assert!(folder.path().join("letters.txt").exists());
    }

    #[test]
    fn a_folder_of_an_earlier_run_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("demo");
        prepare_folder(&dir).unwrap();
        std::fs::write(dir.join("node.log"), "old").unwrap();
        prepare_folder(&dir).unwrap();
        assert!(!dir.join("node.log").exists());
    }
}
