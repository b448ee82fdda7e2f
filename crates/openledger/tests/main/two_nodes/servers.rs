//! What two nodes share (a chain, a database, a blob store, a key), and the nodes as processes of
//! the program.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openledger_api::client::Client as Node;
use openledger_chain::rpc::{Client, HttpRpc};
use openledger_protocol::{Address, Amount, Key, sha256};
use openledger_store::{BlobsConfig, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{base, root};
use crate::support::kept::{Kept, free_address};
use crate::support::postgres;
use crate::support::s3::S3;
use crate::support::skip;

/// How long a node may take to listen on a busy machine.
const READY_MAX: Duration = Duration::from_secs(120);
/// The challenge window of the network, in seconds: the shortest that the contracts take there.
pub(crate) const WINDOW_S: u64 = 3_600;

/// The key of a person of the story.
pub(crate) fn key(name: &str) -> Key {
    Key::demo(23, name)
}

/// The servers of the operator.
pub(crate) struct Shared {
    folder: TempDir,
    chain: Arc<HttpRpc>,
    rpc: String,
    database: String,
    s3: S3,
    _anvil: Kept,
}

impl Shared {
    /// Starts them; `None`, told aloud, where one is not installed.
    pub(crate) fn start() -> Option<Self> {
        let anvil = root().join("contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
        if !anvil.exists() {
            skip("no anvil; `npm ci --ignore-scripts` in contracts/ installs it");
            return None;
        }
        let (database, s3) = (postgres::database()?, S3::start()?);
        let address = free_address();
        let port = address.port().to_string();
        // The newest block counts as final, so that nodes index it at once.
        let arguments = ["--port", &port, "--chain-id", "2626", "--accounts", "1", "--slots-in-an-epoch", "0"];
        let kept = Kept::start(anvil.as_os_str(), &arguments, address);
        let rpc = format!("http://{address}");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("operator.key"), alloy_primitives::hex::encode(operator_secret())).unwrap();
        let chain = Arc::new(HttpRpc::new(&rpc).unwrap());
        Some(Self { folder, chain, rpc, database, s3, _anvil: kept })
    }

    /// The operator, whose key both nodes hold.
    pub(crate) fn operator(&self) -> Address {
        Key::from_bytes(&operator_secret()).unwrap().address()
    }

    /// The chain.
    pub(crate) fn chain(&self) -> Client {
        Client::new(self.chain.clone())
    }

    /// Has the chain do what only a test network does.
    pub(crate) async fn tell_chain(&self, method: &str, params: Value) {
        self.chain().rpc().call(method, params).await.unwrap();
    }

    /// Gives whole coins to an account.
    pub(crate) async fn give(&self, to: Address, whole: u64) {
        let amount = alloy_primitives::U256::from(Amount::open(whole).unwrap().0);
        self.tell_chain("anvil_setBalance", json!([to, amount])).await;
    }

    /// The rows of both nodes.
    pub(crate) async fn rows(&self) -> Store {
        Store::open(&self.database, BlobsConfig::new("memory:")).await.unwrap()
    }

    fn command(&self, data: &Path) -> Command {
        let account = |name: &str| key(name).address().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_openledger"));
        command
            .args(["node", "--listen", "127.0.0.1:0", "--offline", "--until-stdin-ends"])
            .args(["--rpc", &self.rpc, "--window", &WINDOW_S.to_string()])
            .args(["--treasury", &account("treasury"), "--validation", &account("validation")])
            .args(["--insurance", &account("insurance")])
            .arg("--base")
            .arg(base())
            .arg("--data")
            .arg(data)
            .arg("--key-file")
            .arg(self.folder.path().join("operator.key"))
            .env("OPENLEDGER_DATABASE", &self.database)
            .env("OPENLEDGER_BLOBS", S3::blobs("two-nodes"))
            .envs(self.s3.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        command
    }
}

fn operator_secret() -> [u8; 32] {
    sha256("the operator of two nodes").0
}

/// A node: one process after the other on one data folder.
pub(crate) struct NodeProcess<'a> {
    pub(crate) name: &'static str,
    shared: &'a Shared,
    data: PathBuf,
    child: Child,
}

impl<'a> NodeProcess<'a> {
    /// Starts the node's first process.
    pub(crate) fn start(shared: &'a Shared, name: &'static str) -> Self {
        let data = shared.folder.path().join(name);
        fs::create_dir_all(&data).unwrap();
        let child = spawn(shared, &data);
        Self { name, shared, data, child }
    }

    /// A client with the operator's token, once the node serves requests.
    pub(crate) async fn ready(&mut self) -> Node {
        let since = Instant::now();
        loop {
            if let Ok(address) = fs::read_to_string(self.data.join("node.address")) {
                let node = Node::new(&format!("http://{}", address.trim())).unwrap();
                if node.is_ready().await {
                    return node.with_token(fs::read_to_string(self.data.join("operator.token")).unwrap());
                }
            }
            assert!(since.elapsed() < READY_MAX, "node {} does not listen", self.name);
            assert!(self.child.try_wait().unwrap().is_none(), "node {} ended", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the process at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{} ended by itself", self.name);
    }

    /// Starts another process on the folder of the one that was killed.
    pub(crate) fn start_again(&mut self) {
        fs::remove_file(self.data.join("node.address")).ok();
        self.child = spawn(self.shared, &self.data);
    }

    /// The name under which it holds leases.
    pub(crate) fn instance(&self) -> String {
        fs::read_to_string(self.data.join("instance")).unwrap().trim().to_owned()
    }
}

fn spawn(shared: &Shared, data: &Path) -> Child {
    let log = File::options().create(true).append(true).open(data.join("log")).unwrap();
    shared.command(data).stderr(log).spawn().unwrap()
}

impl Drop for NodeProcess<'_> {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = fs::read(self.data.join("log")).unwrap_or_default();
            writeln!(std::io::stderr(), "--- log of node {}\n{}", self.name, String::from_utf8_lossy(&log)).ok();
        }
    }
}
