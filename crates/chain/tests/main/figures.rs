//! Figures of the embedded chain, printed; the bounds are far above them and catch only what is
//! broken.

use std::time::{Duration, Instant};

use alloy_primitives::{B256, Bytes, U256};
use openledger_chain::rpc::{ChainRpc, RpcError};

use crate::support::{Network, SEEDED, address, network, reopen, sender};

/// Transfers of the throughput figure, from all seeded accounts together.
const TRANSFERS: u64 = 2_000;

/// Hands a transaction in, as often as the pool says that it holds too many of the account's: a
/// block makes room.
async fn taken(network: &Network, raw: &Bytes) -> B256 {
    for _ in 0..100 {
        match network.client.send_raw(raw).await {
            Ok(hash) => return hash,
            Err(RpcError::Refused { message, .. }) if message.contains("per-account cap") => {
                network.chain.next_block(network.chain.head()).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("a hundred blocks made no room")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_transfers_is_mined_and_the_chain_opens_again_in_seconds() {
    let network = network().await;
    let sender = sender(&network.client, "night-desk").await;
    let mut latencies = Vec::new();
    for gift in 0..50 {
        let started = Instant::now();
        sender.send(&format!("gift/{gift}"), address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
        latencies.push(started.elapsed());
    }
    latencies.sort();

    let raws: Vec<Bytes> = (0..TRANSFERS).map(crate::blocks::signed_transfer).collect();
    let started = Instant::now();
    let mut last = None;
    for raw in &raws {
        last = Some(taken(&network, raw).await);
    }
    let mut head = 0;
    while network.client.receipt(last.unwrap()).await.unwrap().is_none() {
        network.chain.next_block(head).await;
        head = network.chain.head();
    }
    let burst = started.elapsed();
    let blocks = network.chain.head() - 50;
    assert_eq!(network.client.balance(address("stranger")).await.unwrap(), U256::from(TRANSFERS + 50));
    drop(sender);
    drop(network.client);
    network.chain.shutdown().await.unwrap();

    let started = Instant::now();
    let (chain, client) = reopen(network.dir.path()).await;
    let opening = started.elapsed();
    assert_eq!(client.nonce(address(SEEDED[0])).await.unwrap(), TRANSFERS);
    println!(
        "send to receipt p50 {:?} p98 {:?}; {TRANSFERS} transfers in {blocks} blocks {burst:?}, {:.0} a second; \
         opened in {opening:?}, {} blocks executed again",
        latencies[25],
        latencies[49],
        TRANSFERS as f64 / burst.as_secs_f64(),
        chain.recovered().head - chain.recovered().state_on_disk,
    );
    assert!(latencies[25] < Duration::from_secs(2) && opening < Duration::from_secs(60));
}
