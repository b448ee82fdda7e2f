//! A network that is not ours: anvil, from the contracts' node modules.
//!
//! Where it is not installed the tests that use it say so and end; `cargo xtask test` installs it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use alloy_primitives::U256;
use openledger_chain::rpc::{ChainRpc, Client, HttpRpc};
use serde_json::{Value, json};

use crate::support::{SEEDED, address, open_amount};

pub(crate) struct Anvil {
    child: Child,
    rpc: Arc<HttpRpc>,
}

impl Anvil {
    /// Starts one at a free port, the seeded accounts with coins; none where it is not installed.
    pub(crate) async fn start(arguments: &[&str]) -> Option<Self> {
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/node_modules/@foundry-rs");
        let binary = modules.join("anvil-linux-amd64/bin/anvil");
        if !binary.is_file() {
            println!("anvil is not installed; nothing was tested");
            return None;
        }
        let mut child = Command::new(binary)
            .args(["--port", "0", "--chain-id", "2626"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines.next().expect("anvil says where it listens").unwrap();
            if let Some(at) = line.strip_prefix("Listening on ") {
                break format!("http://{at}");
            }
        };
        // Read on, or the pipe fills up.
        std::thread::spawn(move || lines.count());
        let anvil = Self { child, rpc: Arc::new(HttpRpc::new(url).unwrap()) };
        for name in SEEDED {
            let coins = U256::from(open_amount(1_000_000).0);
            anvil.ask("anvil_setBalance", json!([address(name), coins])).await;
        }
        Some(anvil)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.rpc.clone())
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        self.rpc.call(method, params).await.unwrap()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
