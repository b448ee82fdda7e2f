//! Events read back from the chain.

use alloy_primitives::{B256, U256};
use openledger_chain::contracts::bindings::datanets::Datanets::DatanetsEvents;
use openledger_chain::indexer::{ChainEvent, Indexer, MemorySink, TitleHistory, TitleTransfer, Until};

use crate::support::deployed;

#[tokio::test(flavor = "multi_thread")]
async fn rebuilding_from_genesis_gives_the_same_events_whatever_the_ranges() {
    let (network, flow) = deployed().await;
    for round in 0..6 {
        let terms = B256::repeat_byte(round);
        flow.create_datanet(&format!("create/{round}"), terms, "ipfs://terms").await.unwrap();
    }
    let mut logs = Vec::new();
    for (until, batch) in [(Until::Latest, 1_000), (Until::Finalized, 1), (Until::Latest, 3)] {
        let indexer = Indexer::new(network.client.clone(), *flow.addresses(), 0, until).with_batch(batch);
        let mut sink = MemorySink::default();
        let added = indexer.catch_up(&mut sink).await.unwrap();
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
    flow.create_datanet("create/0", B256::ZERO, "").await.unwrap();
    assert_eq!(indexer.catch_up(&mut sink).await.unwrap(), 2);
    let created = flow.create_datanet("create/1", B256::ZERO, "").await.unwrap();
    assert_eq!(indexer.catch_up(&mut sink).await.unwrap(), 2);
    assert_eq!(indexer.catch_up(&mut sink).await.unwrap(), 0);

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
