//! Speed and memory of the embedded chain, asked through its JSON-RPC as any client asks it.
//!
//! `cargo bench --profile dev -p openledger -p openledger-chain --bench chain -- [runs] [transfers]
//! [soak] [anvil]`
//!
//! # What is measured
//!
//! - **Speed:** `runs` fresh chains, each with 50 senders that hand in `transfers` signed transfers
//!   by HTTP; from the first request until the last transfer stands in a block. The generator runs
//!   beside it, on the same cores. Durable as shipped.
//! - **Memory:** one chain takes `soak` transfers; its resident memory over the last 10,000 of
//!   every 50,000.
//! - **The peer:** anvil under the same load, where its binary is given.
//!
//! The chain is a process of its own, so that memory is the chain's and not the generator's.
//! Figures are printed and judged by whoever reads them; nothing here fails for being slow.
#![allow(clippy::print_stdout)]

mod load;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use load::Load;
use server::Server;

/// As in the `openledger` program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What went wrong; the bench only prints it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Accounts that send.
const SENDERS: usize = 50;
/// Transfers between two readings of memory.
const STEP: usize = 50_000;
/// Transfers that may wait at a time while memory is measured, and over which a figure is the mean.
const WAVE: usize = 10_000;
/// Pause between two readings of memory.
const LOOK: Duration = Duration::from_millis(20);
/// How long one load may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(300);
/// The same for the peer.
const PEER_PATIENCE: Duration = Duration::from_secs(60);

struct Plan {
    runs: usize,
    transfers: usize,
    soak: usize,
    anvil: Option<PathBuf>,
}

impl Plan {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let words: Vec<String> = arguments.filter(|word| word != "--bench").collect();
        let number = |at: usize, default: usize| words.get(at).map_or(Ok(default), |word| word.parse());
        let anvil = words.get(3).map(PathBuf::from).filter(|path| path.is_file());
        Ok(Self { runs: number(0, 5)?, transfers: number(1, 20_000)?, soak: number(2, 200_000)?, anvil })
    }
}

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1).peekable();
    let runtime = tokio::runtime::Runtime::new()?;
    if words.peek().is_some_and(|word| word == server::SERVE) {
        return runtime.block_on(server::serve(words.nth(1).ok_or("the directory is missing")?.into()));
    }
    let plan = Plan::read(words)?;
    runtime.block_on(async {
        speed(&plan).await?;
        peer(&plan).await?;
        memory(&plan).await
    })
}

/// The median of the runs' speeds.
async fn speed(plan: &Plan) -> Result<(), Failure> {
    if plan.runs == 0 {
        return Ok(());
    }
    let load = Load::sign(SENDERS, plan.transfers);
    println!("embedded chain: {} transfers of {SENDERS} senders by JSON-RPC", load.len());
    println!("{:>5} {:>12} {:>8} {:>10}", "run", "transfers/s", "blocks", "RSS MiB");
    let mut speeds = Vec::new();
    for run in 1..=plan.runs {
        let dir = tempfile::tempdir()?;
        let server = Server::start(dir.path())?;
        let took = tokio::time::timeout(PATIENCE, load.send(&server.url, 0, load.rounds())).await??;
        let speed = load.len() as f64 / took.as_secs_f64();
        let blocks = load::height(&server.url).await?;
        println!("{run:>5} {speed:>12.0} {blocks:>8} {:>10}", server.memory_mib()?);
        speeds.push(speed);
    }
    speeds.sort_by(f64::total_cmp);
    println!("median {:.0} transfers/s (bar: 3,500)\n", speeds[speeds.len() / 2]);
    Ok(())
}

/// Resident memory while one chain grows.
async fn memory(plan: &Plan) -> Result<(), Failure> {
    if plan.soak == 0 {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path())?;
    println!("{:>10} {:>8} {:>10} {:>8}", "transfers", "blocks", "RSS MiB", "growth");
    println!("{:>10} {:>8} {:>10}", 0, 0, server.memory_mib()?);
    let load = Load::sign(SENDERS, plan.soak);
    let (wave, step) = (WAVE / SENDERS, STEP / SENDERS);
    let mut first = None;
    for round in (0..load.rounds()).step_by(wave) {
        let end = (round + wave).min(load.rounds());
        let sending = tokio::time::timeout(PATIENCE, load.send(&server.url, round, end));
        let (sent, memory) = while_watching(&server, sending).await?;
        sent??;
        if end % step == 0 {
            let growth = 100.0 * (memory / *first.get_or_insert(memory) - 1.0);
            println!("{:>10} {:>8} {memory:>10.1} {growth:>7.1}%", end * SENDERS, load::height(&server.url).await?);
        }
    }
    println!("(bar: less than 10 % between 50,000 and 200,000)");
    Ok(())
}

/// Mean resident memory while `work` runs, in MiB: single readings move by some MiB between two
/// flushes.
async fn while_watching<T>(server: &Server, work: impl Future<Output = T>) -> Result<(T, f64), Failure> {
    let (mut sum, mut readings) = (0, 0);
    let mut pulse = tokio::time::interval(LOOK);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok((done, sum as f64 / f64::from(readings.max(1)))),
            _ = pulse.tick() => {
                sum += server.memory_mib()?;
                readings += 1;
            }
        }
    }
}

/// Anvil under the same load.
async fn peer(plan: &Plan) -> Result<(), Failure> {
    let Some(anvil) = &plan.anvil else { return Ok(()) };
    for transfers in [1_000, plan.transfers] {
        let load = Load::sign(SENDERS, transfers);
        let server = Server::anvil(anvil).await?;
        load.fund(&server.url).await?;
        match tokio::time::timeout(PEER_PATIENCE, load.send(&server.url, 0, load.rounds())).await {
            Ok(took) => {
                let speed = load.len() as f64 / took?.as_secs_f64();
                println!("anvil, {} transfers: {speed:.0} transfers/s, RSS {} MiB", load.len(), server.memory_mib()?);
            }
            Err(_) => println!(
                "anvil, {} transfers: hung, {} blocks after {} s, RSS {} MiB",
                load.len(),
                load::height(&server.url).await.unwrap_or_default(),
                PEER_PATIENCE.as_secs(),
                server.memory_mib()?
            ),
        }
    }
    println!();
    Ok(())
}
