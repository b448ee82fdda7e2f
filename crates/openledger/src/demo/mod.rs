//! `openledger demo`: the whole economy once, on real input, through a node's public faces only.
//!
//! # Place in the flow
//!
//! Starts `openledger node` as a child on a fresh folder and plays everybody else over HTTP and JSON-RPC: contributors who
//! sign batches, an owner who publishes and grants, a builder who trains and offers, a payer who asks, and a stranger who
//! audits. Each module below is one part of that walk, in this order: [`datanets`], [`training`], [`asking`],
//! [`probing`], [`settling`].
//!
//! # Invariants
//!
//! - **Repeatable.** Keys, choices and times follow from the seed: the same input gives the same roots, adapter and pay.
//! - **Kills change nothing.** With `--kills N` the child is killed (SIGKILL) N times on the way; every interrupted call is
//!   repeated under its own key, and payouts come out as undisturbed.
//! - Only a folder that an earlier demonstration marked as its own is ever emptied.

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
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use self::driver::Driver;
use self::keeper::{Keeper, NodeCommand};
use self::killer::Killer;
use self::summary::Summary;
use crate::error::{CliError, Exit, Result};
use crate::verbs::node::{base_dir, beside_the_checkout};
use crate::voice::Voice;

/// Marks a folder as a demonstration's own.
const MARK: &str = ".openledger-demo";

/// Arguments of `openledger demo`.
#[derive(Args, Debug, Clone)]
pub(crate) struct DemoArgs {
    /// Stop after the run; without, the node and its Studio stay up until Ctrl-C.
    #[arg(long)]
    exit: bool,
    /// Records, JSONL; one datanet a file. Without, the samples that ship with the checkout.
    #[arg(long, value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Take only the first N records of each file.
    #[arg(long, value_name = "N")]
    records: Option<usize>,
    /// Everything that could be chance follows from it: identities, training, choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The run's folder; emptied at the start if an earlier run made it.
    #[arg(long, value_name = "DIR", default_value = ".demo")]
    dir: PathBuf,
    /// Kill the node (SIGKILL) this often on the way.
    #[arg(long, value_name = "N", default_value_t = 0)]
    kills: u64,
    /// How many training records are put to attribution: each must be found under its own answer.
    #[arg(long, value_name = "N", default_value_t = 10)]
    probe_records: usize,
    /// A question for the model; may be repeated. Without, one that fits the data.
    #[arg(long, value_name = "TEXT")]
    question: Vec<String>,
    /// Optimiser steps; without, 400 for a few hundred records, 80 for more.
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// Most tokens of an answer.
    #[arg(long, value_name = "N", default_value_t = 64)]
    max_tokens: u32,
    /// The base model's folder.
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Folder of the samples; without, `samples` beside the program's checkout.
    #[arg(long, value_name = "DIR")]
    samples: Option<PathBuf>,
    /// The Studio's built pages.
    #[arg(long, value_name = "DIR")]
    studio: Option<PathBuf>,
    /// Where the node listens; without, 127.0.0.1:7070, or a free port with --exit.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Write what came out as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Walks the whole economy.
pub(crate) async fn run(args: DemoArgs) -> Result<()> {
    let inputs = input::load(&args)?;
    let base = base_dir(args.base.clone())?;
    prepare_folder(&args.dir)?;
    let default_port = if args.exit { 0 } else { 7070 };
    let command = NodeCommand {
        data: args.dir.join("node"),
        log: args.dir.join("node.log"),
        base,
        studio: args.studio.clone().or_else(|| beside_the_checkout("studio/dist")),
        listen: args.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], default_port))),
        seed: args.seed,
    };
    let voice = Voice::new();
    voice.step("Starting a node on a fresh local network");
    let keeper = Arc::new(Keeper::start(command, args.kills).await?);
    let killer = Killer::new(keeper.clone(), args.seed, args.kills, expected_points(inputs.len(), &args));
    let driver = Driver::meet(voice, keeper.clone(), killer, args.seed).await?;
    let told = walk(&driver, &args, inputs).await;
    driver.killer.rest().await;
    let finished = match told {
        Ok(summary) => finish(&driver, &args, &summary).await,
        Err(error) => Err(error),
    };
    if !args.exit && finished.is_ok() {
        let voice = &driver.voice;
        voice.step(&format!("The node stays up: Studio at http://{}", keeper.address()));
        voice.line("Ctrl-C ends it.");
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
    let voice = &driver.voice;
    voice.step("Done");
    voice.figure("time", format!("{:.1} s", voice.elapsed_s()));
    if args.kills > 0 {
        voice.figure("kills survived", driver.killer.done());
    }
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&summary.document(driver))?;
        std::fs::write(file, text).map_err(CliError::file(file))?;
        voice.figure("summary", file.display());
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
