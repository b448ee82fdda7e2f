//! When blocks are made, and what opening a directory again finds.

use alloy_primitives::{Bytes, U256};
use openledger_chain::embedded::{ChainConfig, EmbeddedChain, EmbeddedError, TOTAL_SUPPLY, TREASURY};
use openledger_chain::rpc::ChainRpc;
use serde_json::json;

use crate::support::{address, config, key, network, open_amount, reopen, sender};

#[tokio::test(flavor = "multi_thread")]
async fn genesis_gives_the_supply_to_the_seeded_accounts_and_the_treasury() {
    let network = network().await;
    let seeded = network.client.balance(address("river-gauge")).await.unwrap();
    assert_eq!(seeded, U256::from(open_amount(1_000_000).0));
    let treasury = network.client.balance(TREASURY).await.unwrap();
    assert_eq!(treasury, U256::from(TOTAL_SUPPLY) - seeded * U256::from(4));
    assert_eq!(network.client.chain_id().await.unwrap(), 2626);
    assert_eq!(network.chain.head(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_makes_one_block_one_second_after_its_parent() {
    let network = network().await;
    let sender = sender(&network.client, "river-gauge").await;
    let mined = sender.send("gift", address("stranger"), Bytes::new(), U256::from(7)).await.unwrap();
    assert_eq!((mined.block, network.chain.head()), (1, 1));
    assert_eq!(network.client.balance(address("stranger")).await.unwrap(), U256::from(7));
    let block = network.client.block(1).await.unwrap().unwrap();
    assert_eq!(block.timestamp, 1_800_000_001);
    assert_eq!(network.client.finalized().await.unwrap().unwrap().hash, block.hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_from_the_future_makes_no_empty_block_and_is_mined_when_its_turn_comes() {
    let network = network().await;
    let raw = |nonce| signed_transfer(nonce);
    network.client.send_raw(&raw(1)).await.unwrap();
    // The second transaction of another account proves that the producer has looked at the pool since.
    let other = sender(&network.client, "night-desk").await;
    let mined = other.send("gift", address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
    assert_eq!((mined.block, network.chain.head()), (1, 1));
    let waiting = network.client.send_raw(&raw(0)).await.unwrap();
    while network.client.receipt(waiting).await.unwrap().is_none() {
        network.chain.next_block(1).await;
    }
    while network.client.nonce(address("river-gauge")).await.unwrap() < 2 {
        network.chain.next_block(network.chain.head()).await;
    }
    for number in 1..=network.chain.head() {
        let block = network.chain.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await.unwrap();
        assert!(!block["transactions"].as_array().unwrap().is_empty(), "block {number} is empty");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_and_opening_keeps_the_head_and_the_state() {
    let network = network().await;
    let sender = sender(&network.client, "river-gauge").await;
    for gift in 0..5 {
        sender.send(&format!("gift/{gift}"), address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
    }
    let head = network.client.latest().await.unwrap().unwrap();
    drop(sender);
    drop(network.client);
    network.chain.shutdown().await.unwrap();

    let (chain, client) = reopen(network.dir.path()).await;
    assert_eq!(client.latest().await.unwrap().unwrap(), head);
    assert_eq!(chain.recovered().head, 5);
    assert_eq!(client.balance(address("stranger")).await.unwrap(), U256::from(5));
    let sender = crate::support::sender(&client, "river-gauge").await;
    let mined = sender.send("gift/5", address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
    assert_eq!(mined.block, 6);
}

#[test]
fn a_chain_dropped_without_being_closed_keeps_its_head() {
    let dir = tempfile::tempdir().unwrap();
    let before = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (_chain, client) = reopen(dir.path()).await;
        let sender = sender(&client, "river-gauge").await;
        for gift in 0..5 {
            sender.send(&format!("gift/{gift}"), address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
        }
        client.latest().await.unwrap()
    });
    let after = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (_chain, client) = reopen(dir.path()).await;
        client.latest().await.unwrap()
    });
    assert_eq!(before.map(|head| head.number), Some(5));
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_with_another_genesis_is_refused() {
    let network = network().await;
    drop(network.client);
    network.chain.shutdown().await.unwrap();
    let other = ChainConfig { chain_id: 2627, ..config() };
    let refused = EmbeddedChain::open(network.dir.path(), &other).await;
    assert!(matches!(refused, Err(EmbeddedError::OtherGenesis { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_transactions_give_the_same_blocks() {
    let mut heads = Vec::new();
    for _ in 0..2 {
        let network = network().await;
        let sender = sender(&network.client, "river-gauge").await;
        for gift in 0..3 {
            sender.send(&format!("gift/{gift}"), address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
        }
        heads.push(network.client.latest().await.unwrap().unwrap());
    }
    assert_eq!(heads[0], heads[1]);
}

/// A signed transfer of river-gauge's.
pub(crate) fn signed_transfer(nonce: u64) -> Bytes {
    use alloy_consensus::{SignableTransaction, TxEip1559};
    use alloy_eips::eip2718::Encodable2718;
    let transaction = TxEip1559 {
        chain_id: 2626,
        nonce,
        gas_limit: 30_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: address("stranger").into(),
        value: U256::ONE,
        ..TxEip1559::default()
    };
    let bytes = key("river-gauge").sign(transaction.signature_hash()).0;
    let signature = alloy_primitives::Signature::from_bytes_and_parity(&bytes[..64], bytes[64] == 28);
    transaction.into_signed(signature).encoded_2718().into()
}
