//! `kill -9` in the middle of the work.
//!
//! The test starts itself again as a child that sends as fast as it can and prints what was acknowledged; the parent
//! kills it at another moment in each round, opens what it left, and looks for everything that was printed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use alloy_primitives::{B256, Bytes, U256};

use crate::support::{SEEDED, address, reopen, sender};

/// Tells the child where its chain is.
const CHILD: &str = "OPENLEDGER_CRASH_TEST_DIR";
/// How many acknowledgements each round's child is allowed before it is killed.
const ROUNDS: [usize; 12] = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233];

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_under_load() {
    if let Ok(dir) = std::env::var(CHILD) {
        work_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<B256> = Vec::new();
    for allowed in ROUNDS {
        let seen = run_and_kill(dir.path(), allowed);
        assert!(seen.len() >= allowed, "the child ended by itself");
        acknowledged.extend(seen);

        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (chain, client) = reopen(dir.path()).await;
            let mut nonces = 0;
            for name in SEEDED {
                nonces += client.nonce(address(name)).await.unwrap();
            }
            assert!(nonces >= acknowledged.len() as u64, "the state is behind the receipts");
            for hash in &acknowledged {
                let receipt = client.receipt(*hash).await.unwrap();
                assert_eq!(receipt.unwrap_or_else(|| panic!("{hash} is lost after {allowed}")).status, 1);
            }
            assert_eq!(client.balance(address("stranger")).await.unwrap(), U256::from(nonces));
            drop(client);
            chain.shutdown().await.unwrap();
        });
    }
    assert!(acknowledged.len() >= ROUNDS.iter().sum::<usize>());
}

/// Runs a child until it has printed `allowed` acknowledgements, kills it, and gives all it printed.
fn run_and_kill(dir: &Path, allowed: usize) -> Vec<B256> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::nothing_acknowledged_is_lost_by_kill_9_under_load", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    let mut killed = false;
    // What was printed before the kill and is still in the pipe was acknowledged too.
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        let Some((_, hash)) = line.split_once("acknowledged ") else { continue };
        let Ok(hash) = hash.parse() else { continue };
        seen.push(hash);
        if seen.len() == allowed && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    seen
}

/// Sends from all accounts at once, each transfer after the acknowledgement of the one before.
fn work_until_killed(dir: &Path) -> ! {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (_chain, client) = reopen(dir).await;
        let work = SEEDED.map(|name| {
            let client = client.clone();
            async move {
                let sender = Arc::new(sender(&client, name).await);
                for gift in 0.. {
                    let key = format!("gift/{gift}");
                    let mined = sender.send(&key, address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
                    println!("acknowledged {}", mined.hash);
                }
            }
        });
        futures::future::join_all(work.map(tokio::spawn)).await;
    });
    unreachable!("the work has no end");
}
