//! The process under load: this program again, serving an embedded chain, or anvil.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use alloy_primitives::U256;
use openledger_chain::embedded::{ChainConfig, DEFAULT_CHAIN_ID, EmbeddedChain};
use openledger_protocol::Amount;

use crate::{Failure, SENDERS, load};

/// First argument of the process that serves.
pub(crate) const SERVE: &str = "serve";

/// A running network; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    /// Serves an embedded chain in `dir` from a process of its own.
    pub(crate) fn start(dir: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?).arg(SERVE).arg(dir).stdout(Stdio::piped()).spawn()?;
        let url = first_line(&mut child, |line| line.strip_prefix("serving ").map(str::to_owned))?;
        Ok(Self { child, url })
    }

    /// Runs anvil with our chain id.
    pub(crate) async fn anvil(binary: &Path) -> Result<Self, Failure> {
        let chain = DEFAULT_CHAIN_ID.to_string();
        let mut child = Command::new(binary)
            .args(["--port", "0", "--chain-id", &chain, "--gas-limit", "60000000", "--order", "fifo"])
            .stdout(Stdio::piped())
            .spawn()?;
        let url = first_line(&mut child, |line| Some(format!("http://{}", line.strip_prefix("Listening on ")?)))?;
        Ok(Self { child, url })
    }

    /// Resident memory in MiB.
    pub(crate) fn memory_mib(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until a line says where the network is; the rest is read away by a thread, or the pipe
/// would fill up.
fn first_line(child: &mut Child, read: impl Fn(&str) -> Option<String>) -> Result<String, Failure> {
    let mut lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
    let found = loop {
        let line = lines.next().ok_or("the network ended before it listened")??;
        if let Some(found) = read(&line) {
            break found;
        }
    };
    std::thread::spawn(move || lines.count());
    Ok(found)
}

/// The serving process: an embedded chain as the node ships it, at a free port.
pub(crate) async fn serve(dir: PathBuf) -> Result<(), Failure> {
    let million = U256::from(Amount::open(1_000_000)?.0);
    let genesis_accounts = (0..SENDERS).map(|sender| (load::key(sender).address(), million)).collect();
    let chain = EmbeddedChain::open(&dir, &ChainConfig { genesis_accounts, ..ChainConfig::default() }).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("serving http://{}/rpc", listener.local_addr()?);
    Ok(axum::serve(listener, chain.router()).await?)
}
