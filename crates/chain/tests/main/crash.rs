//! `kill -9` in the middle of the work.
//!
//! The test starts itself again as a child that sends as fast as it can and prints what was
//! acknowledged; the parent kills it at another moment in each round, opens what it left, and looks
//! for everything that was printed: the same transaction in the same block. Three accounts give
//! coins away, one creates datanets, whose events are indexed as the rounds go; each keeps its
//! outbox in a file and goes on with the key it was killed at.
//!
//! Ten rounds; a hundred with `OPENLEDGER_LONG=1`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use alloy_primitives::{B256, Bytes, U256};
use openledger_chain::flow::Flow;
use openledger_chain::indexer::{Indexer, MemorySink, Until};
use openledger_chain::rpc::Client;
use openledger_chain::sender::{Mined, Outbox};

use crate::durable::FileOutbox;
use crate::support::{SEEDED, address, deployment, reopen, sender_with};

/// Tells the child where its folder is.
const CHILD: &str = "OPENLEDGER_CRASH_TEST_DIR";
/// The account that creates datanets; the others give coins away.
const CREATOR: &str = "node";

/// What was acknowledged: transaction and block, by account and key.
type Acknowledged = BTreeMap<String, (B256, B256)>;

fn rounds() -> usize {
    if std::env::var("OPENLEDGER_LONG").is_ok_and(|long| long == "1") { 100 } else { 10 }
}

#[test]
fn nothing_acknowledged_is_lost_or_done_twice_by_kill_9_under_load() {
    if let Ok(dir) = std::env::var(CHILD) {
        work_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::new();
    // Lives through all rounds, as a node's does in its database.
    let mut indexed = MemorySink::default();
    for round in 0..rounds() {
        let allowed = 1 + round * 17 % 61;
        let seen = run_and_kill(dir.path(), allowed);
        assert!(seen.len() >= allowed, "the child ended by itself");
        for (key, done) in seen {
            // A key that was acknowledged before the kill may be asked for again; it must be the
            // same transaction.
            let before = acknowledged.insert(key.clone(), done);
            assert!(before.is_none_or(|before| before == done), "{key} was done twice");
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(check(dir.path(), &acknowledged, &mut indexed, round));
    }
    println!("{} rounds, {} acknowledged, {} events", rounds(), acknowledged.len(), indexed.events().len());
}

/// Opens what a killed child left and compares it with what was acknowledged.
async fn check(dir: &Path, acknowledged: &Acknowledged, indexed: &mut MemorySink, round: usize) {
    let (chain, client) = reopen(&dir.join("chain")).await;
    for (key, (hash, block)) in acknowledged {
        let receipt = client.receipt(*hash).await.unwrap();
        let receipt = receipt.unwrap_or_else(|| panic!("{key} is lost after round {round}"));
        assert_eq!((receipt.status, receipt.block_hash), (1, *block), "{key} after round {round}");
    }
    let mut given = 0;
    for name in SEEDED {
        let nonce = client.nonce(address(name)).await.unwrap();
        let signed = FileOutbox::read(&outbox_file(dir, name));
        assert!(nonce <= signed.len() as u64, "{name} has transactions that no key names");
        given += if name == CREATOR { 0 } else { nonce };
    }
    assert_eq!(client.balance(address("stranger")).await.unwrap(), U256::from(given), "one unit for each key");

    let indexer = Indexer::new(client.clone(), deployment().addresses, 0, Until::Latest);
    indexer.catch_up(indexed).await.unwrap();
    let mut rebuilt = MemorySink::default();
    indexer.catch_up(&mut rebuilt).await.unwrap();
    let logs = |sink: &MemorySink| sink.events().iter().map(|event| event.log.clone()).collect::<Vec<_>>();
    assert_eq!(logs(indexed), logs(&rebuilt), "the indexer and a rebuild differ after round {round}");
    drop((indexer, client));
    chain.shutdown().await.unwrap();
}

fn outbox_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.outbox"))
}

/// Runs a child until it has printed `allowed` acknowledgements, kills it, and gives all it
/// printed.
fn run_and_kill(dir: &Path, allowed: usize) -> Acknowledged {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::nothing_acknowledged_is_lost_or_done_twice_by_kill_9_under_load", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = Acknowledged::new();
    let mut killed = false;
    // What was printed before the kill and is still in the pipe was acknowledged too.
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        let Some((_, done)) = line.split_once("acknowledged ") else { continue };
        let [key, hash, block] = done.split(' ').collect::<Vec<_>>()[..] else { continue };
        // The last line may have been cut by the kill.
        let (Ok(hash), Ok(block)) = (hash.parse(), block.parse()) else { continue };
        seen.insert(key.to_owned(), (hash, block));
        if seen.len() == allowed && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    seen
}

/// Sends from all accounts at once, each transaction after the acknowledgement of the one before.
fn work_until_killed(dir: &Path) -> ! {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (_chain, client) = reopen(&dir.join("chain")).await;
        let work = SEEDED.map(|name| tokio::spawn(work_of(dir.to_path_buf(), client.clone(), name)));
        futures::future::join_all(work).await;
    });
    unreachable!("the work has no end");
}

async fn work_of(dir: PathBuf, client: Client, name: &'static str) {
    let file = outbox_file(&dir, name);
    // The key that was signed last may or may not have been acknowledged, so it is the first again.
    let deployed = |key: &String| key.starts_with("deploy/");
    let first = FileOutbox::read(&file).keys().filter(|key| !deployed(key)).count().saturating_sub(1);
    let outbox: Arc<dyn Outbox> = Arc::new(FileOutbox::open(&file).await);
    let sender = Arc::new(sender_with(&client, name, outbox).await);
    let told = |key: String, mined: &Mined| {
        println!("acknowledged {name}/{key} {} {}", mined.hash, mined.block_hash);
    };
    if name == CREATOR {
        deployment().deploy(&sender).await.unwrap();
        let flow = Flow::new(sender, deployment().addresses);
        for number in first.. {
            let key = format!("datanet/{number}");
            let created = flow.datanets().create(&key, B256::ZERO, "").await.unwrap();
            told(key, &created.mined);
        }
    } else {
        for number in first.. {
            let key = format!("gift/{number}");
            let mined = sender.send(&key, address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
            told(key, &mined);
        }
    }
}
