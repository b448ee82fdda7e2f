//! The node as a child process: started, watched, killed, started again, ended with the
//! demonstration.
//!
//! **Invariant:** the child never outlives the demonstration: its standard input is a pipe of ours,
//! and it ends with that.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use openledger_api::client::Client;

use crate::error::{CliError, Exit, Result};

/// How long a node may take to come up, contracts deployed.
const READY_MAX: Duration = Duration::from_secs(180);
/// How often a starting node is looked at.
const LOOK: Duration = Duration::from_millis(25);
/// How long a node may take to end when asked.
const END_MAX: Duration = Duration::from_secs(20);

/// How the node is started.
#[derive(Clone, Debug)]
pub(crate) struct NodeCommand {
    /// Its data folder.
    pub(crate) data: PathBuf,
    /// Where its messages go.
    pub(crate) log: PathBuf,
    /// The base model.
    pub(crate) base: PathBuf,
    /// The Studio's pages.
    pub(crate) studio: Option<PathBuf>,
    /// Where it listens; port 0 for a free one.
    pub(crate) listen: SocketAddr,
    /// The network's seed.
    pub(crate) seed: u64,
}

/// Keeps one node running.
pub(crate) struct Keeper {
    command: NodeCommand,
    child: Mutex<Child>,
    /// Where it listens, known after the first start and kept at every later one.
    address: OnceLock<SocketAddr>,
    kills: u64,
    starts: AtomicU64,
}

impl Keeper {
    /// Starts the node and waits until it is ready; it may be killed `kills` times.
    pub(crate) async fn start(command: NodeCommand, kills: u64) -> Result<Self> {
        let child = spawn(&command, command.listen)?;
        let keeper =
            Self { command, child: Mutex::new(child), address: OnceLock::new(), kills, starts: AtomicU64::new(1) };
        keeper.ready().await?;
        Ok(keeper)
    }

    /// Where the node listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.get().copied().unwrap_or(self.command.listen)
    }

    /// The base model's folder.
    pub(crate) fn base(&self) -> &Path {
        &self.command.base
    }

    /// The file with the operator's token.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.command.data.join("operator.token")
    }

    /// Waits until the node answers; starts it again if it was killed.
    ///
    /// # Errors
    /// [`CliError::NodeDied`] when it ended though nobody killed it, or does not come up.
    pub(crate) async fn ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            if let Some(status) = self.ended() {
                // Each kill costs one start, or two when it hits a node that is just coming up.
                if self.starts.fetch_add(1, Ordering::Relaxed) > 2 * self.kills {
                    return Err(self.died(status));
                }
                let child = spawn(&self.command, self.address())?;
                *self.child.lock().unwrap_or_else(PoisonError::into_inner) = child;
            }
            if let Some(address) = self.listening()
                && Client::new(&format!("http://{address}"))?.is_ready().await
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.died(format!("not ready after {} s", READY_MAX.as_secs())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The address, once the node has written it.
    fn listening(&self) -> Option<SocketAddr> {
        if let Some(address) = self.address.get() {
            return Some(*address);
        }
        let text = std::fs::read_to_string(self.command.data.join("node.address")).ok()?;
        let address = text.trim().parse().ok()?;
        Some(*self.address.get_or_init(|| address))
    }

    /// How the child ended, if it has.
    fn ended(&self) -> Option<String> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Kills the node as a power cut would (SIGKILL to its own process id). False when it does not
    /// run.
    pub(crate) fn kill(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        child.kill().is_ok() && child.wait().is_ok()
    }

    /// Asks the node to end by closing its standard input, and waits; kills it if it does not.
    pub(crate) async fn stop(&self) {
        drop(self.child.lock().unwrap_or_else(PoisonError::into_inner).stdin.take());
        let deadline = Instant::now() + END_MAX;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                self.kill();
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn died(&self, status: String) -> CliError {
        let mut tail: VecDeque<String> = VecDeque::new();
        if let Ok(log) = std::fs::File::open(&self.command.log) {
            for line in BufReader::new(log).lines().map_while(std::result::Result::ok) {
                tail.push_back(line);
                if tail.len() > 15 {
                    tail.pop_front();
                }
            }
        }
        let tail = tail.into_iter().collect::<Vec<_>>().join("\n");
        CliError::NodeDied { status, log: self.command.log.clone(), tail }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(command: &NodeCommand, listen: SocketAddr) -> Result<Child> {
    let program = std::env::current_exe().map_err(CliError::file(&PathBuf::from("this program")))?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&command.log);
    let log = log.map_err(CliError::file(&command.log))?;
    let errors = log.try_clone().map_err(CliError::file(&command.log))?;
    let mut node = Command::new(program);
    node.arg("node").arg("--data").arg(&command.data).arg("--listen").arg(listen.to_string());
    node.arg("--base").arg(&command.base).arg("--clock").arg("logical").arg("--seed").arg(command.seed.to_string());
    if let Some(studio) = &command.studio {
        node.arg("--studio").arg(studio);
    }
    node.arg("--until-stdin-ends").stdin(Stdio::piped()).stdout(log).stderr(errors);
    node.spawn().map_err(|error| CliError::refused(Exit::Unavailable, format!("the node cannot be started: {error}")))
}
