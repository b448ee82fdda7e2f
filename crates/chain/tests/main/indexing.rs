//! Events read back from the chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy_primitives::{B256, U256};
use openledger_chain::contracts::bindings::datanets::Datanets::DatanetsEvents;
use openledger_chain::flow::Flow;
use openledger_chain::indexer::{ChainEvent, Indexer, MemorySink, TitleHistory, TitleTransfer, Until};
use openledger_chain::rpc::{ChainRpc, Client, Log, RpcFuture};
use serde_json::{Value, json};

use crate::anvil::Anvil;
use crate::support::{deployed, deployment, sender};

#[tokio::test(flavor = "multi_thread")]
async fn rebuilding_from_genesis_gives_the_same_events_whatever_the_ranges() {
    let (network, flow) = deployed().await;
    for round in 0..6 {
        let terms = B256::repeat_byte(round);
        flow.datanets().create(&format!("create/{round}"), terms, "ipfs://terms").await.unwrap();
    }
    let mut logs = Vec::new();
    for (until, batch) in [(Until::Latest, 1_000), (Until::Finalized, 1), (Until::Latest, 3)] {
        let indexer = Indexer::new(network.client.clone(), *flow.addresses(), 0, until).with_batch(batch);
        let mut sink = MemorySink::default();
        let added = indexer.catch_up(&mut sink).await.unwrap().events;
        assert_eq!(added, sink.events().len());
        logs.push(sink.events().iter().map(|event| event.log.clone()).collect::<Vec<_>>());
    }
    assert_eq!(logs[0].len(), 12, "a creation and a mint for each datanet");
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0], logs[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_indexer_goes_on_where_it_stopped_and_transfers_tell_the_holder() {
    let (network, flow) = deployed().await;
    let indexer = Indexer::new(network.client.clone(), *flow.addresses(), 0, Until::Latest);
    let mut sink = MemorySink::default();
    flow.datanets().create("create/0", B256::ZERO, "").await.unwrap();
    assert_eq!(indexer.catch_up(&mut sink).await.unwrap().events, 2);
    let created = flow.datanets().create("create/1", B256::ZERO, "").await.unwrap();
    assert_eq!(indexer.catch_up(&mut sink).await.unwrap().events, 2);
    assert_eq!(indexer.catch_up(&mut sink).await.unwrap().events, 0);

    let mut history = TitleHistory::default();
    for found in sink.events() {
        let ChainEvent::Datanets(DatanetsEvents::Transfer(transfer)) = &found.event else { continue };
        if transfer.tokenId == U256::from(created.value.0) {
            let (block, log_index) = (found.log.block_number, found.log.log_index);
            history.push(TitleTransfer { block, log_index, from: transfer.from, to: transfer.to }).unwrap();
        }
    }
    assert_eq!(history.owner_at(created.mined.block), Some(flow.account()));
    assert_eq!(history.owner_at(created.mined.block - 1), None);
}

fn logs(sink: &MemorySink) -> Vec<Log> {
    sink.events().iter().map(|event| event.log.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reorganisation_the_index_equals_a_rebuild() {
    let Some(anvil) = Anvil::start(&[]).await else { return };
    let client = anvil.client();
    let node = Arc::new(sender(&client, "node").await);
    deployment().deploy(&node).await.unwrap();
    let flow = Flow::new(node, deployment().addresses);
    flow.datanets().create("before", B256::repeat_byte(1), "").await.unwrap();
    let at = *flow.addresses();
    let mut sink = MemorySink::default();
    let short = Indexer::new(client.clone(), at, 0, Until::Latest).with_batch(2);
    short.catch_up(&mut sink).await.unwrap();
    let shared = logs(&sink);

    let snapshot = anvil.ask("evm_snapshot", json!([])).await;
    for round in 0..3 {
        flow.datanets().create(&format!("replaced/{round}"), B256::repeat_byte(2), "").await.unwrap();
    }
    short.catch_up(&mut sink).await.unwrap();
    let replaced = logs(&sink);
    assert_eq!(replaced.len(), shared.len() + 6);
    anvil.ask("evm_revert", json!([snapshot])).await;
    // Another account, so that the history is another one; more blocks, so that the old head has a
    // successor.
    let other = Flow::new(Arc::new(sender(&client, "night-desk").await), at);
    for round in 0..5 {
        other.datanets().create(&format!("instead/{round}"), B256::repeat_byte(3), "").await.unwrap();
    }

    // A process that was stopped in the middle of it goes on from what its sink holds.
    let restarted = Indexer::new(client.clone(), at, 0, Until::Latest).with_batch(3);
    restarted.catch_up(&mut sink).await.unwrap();
    let mut rebuilt = MemorySink::default();
    Indexer::new(client, at, 0, Until::Latest).catch_up(&mut rebuilt).await.unwrap();
    assert_eq!(logs(&sink), logs(&rebuilt));
    assert_eq!(logs(&sink)[..shared.len()], shared);
    assert_eq!(logs(&sink).len(), shared.len() + 10);
    assert!(!logs(&sink).contains(replaced.last().unwrap()));
}

/// Counts what the indexer asks.
struct Counted(Client, Arc<AtomicUsize>);

impl ChainRpc for Counted {
    fn call<'a>(&'a self, method: &'a str, params: Value) -> RpcFuture<'a, Value> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.rpc().call(method, params)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_costs_a_handful_of_calls_however_long_the_chain_and_two_when_nothing_is_new() {
    let (network, flow) = deployed().await;
    for round in 0..20 {
        flow.datanets().create(&format!("create/{round}"), B256::ZERO, "").await.unwrap();
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let client = Client::new(Arc::new(Counted(network.client.clone(), Arc::clone(&asked))));
    let indexer = Indexer::new(client, *flow.addresses(), 0, Until::Latest);
    let mut sink = MemorySink::default();
    indexer.poll(&mut sink).await.unwrap();
    assert_eq!(sink.events().len(), 40, "one poll reads up to a thousand blocks");
    assert!(asked.swap(0, Ordering::SeqCst) <= 6);
    indexer.poll(&mut sink).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2, "the block at the cursor, and the head");
}
