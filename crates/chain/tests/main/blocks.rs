//! When blocks are made, and what opening a directory again finds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes, U256};
use openledger_chain::embedded::{BlockClock, ChainConfig, EmbeddedChain, EmbeddedError, Now, TOTAL_SUPPLY, TREASURY};
use openledger_chain::rpc::{ChainRpc, Client};
use serde_json::{Value, json};

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
    // The second transaction of another account proves that the producer has looked at the pool
    // since.
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
async fn what_is_handed_in_in_order_is_taken_whatever_blocks_are_made_meanwhile() {
    const COUNT: u64 = 8_000;
    let network = network().await;
    let signed: Vec<Bytes> = (0..COUNT).map(signed_transfer).collect();
    for (nonce, raw) in signed.iter().enumerate() {
        network.client.send_raw(raw).await.unwrap_or_else(|error| panic!("nonce {nonce}: {error}"));
    }
    while network.client.nonce(address("river-gauge")).await.unwrap() < COUNT {
        network.chain.next_block(network.chain.head()).await;
    }
    assert!(network.chain.head() > 4, "blocks were made while transactions came in");
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

/// A chain whose clock is moved by hand, and the hand: milliseconds after the genesis block.
async fn with_clock(clock: BlockClock) -> (tempfile::TempDir, EmbeddedChain, Client, Arc<AtomicU64>) {
    let after = Arc::new(AtomicU64::new(0));
    let hand = Arc::clone(&after);
    let genesis = Duration::from_secs(clock.genesis_time());
    let now = Now::of(move || genesis + Duration::from_millis(hand.load(Ordering::SeqCst)));
    let dir = tempfile::tempdir().unwrap();
    let chain = EmbeddedChain::open(dir.path(), &ChainConfig { clock, now, ..config() }).await.unwrap();
    let client = Client::new(Arc::new(chain.clone()));
    (dir, chain, client, after)
}

/// Hands a transfer in and gives the time of its block after genesis; none when the clock lets no
/// block be made within a long wait of several looks at it.
async fn block_time(chain: &EmbeddedChain, client: &Client, nonce: u64, clock: BlockClock) -> Option<u64> {
    let hash = client.send_raw(&signed_transfer(nonce)).await.unwrap();
    for _ in 0..4 {
        if let Some(receipt) = client.receipt(hash).await.unwrap() {
            let block = client.block(receipt.block_number).await.unwrap().unwrap();
            return Some(block.timestamp - clock.genesis_time());
        }
        chain.next_block(chain.head()).await;
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn on_demand_a_block_comes_at_once_until_time_is_600_seconds_ahead_and_then_once_a_second() {
    let clock = BlockClock::Wall;
    let (_dir, chain, client, after) = with_clock(clock).await;
    after.store(1_000, Ordering::SeqCst);
    assert_eq!(block_time(&chain, &client, 0, clock).await, Some(1));
    for nonce in 1..=600 {
        assert_eq!(block_time(&chain, &client, nonce, clock).await, Some(nonce + 1));
    }
    // 601 after genesis is 600 ahead of the clock.
    assert_eq!(block_time(&chain, &client, 601, clock).await, None);
    assert_eq!(chain.head(), 601);
    after.store(2_000, Ordering::SeqCst);
    let known = json!([format!("{:#x}", 602), false]);
    while chain.call("eth_getBlockByNumber", known.clone()).await.unwrap().is_null() {
        chain.next_block(601).await;
    }
    assert_eq!(client.latest().await.unwrap().unwrap().timestamp - clock.genesis_time(), 602);
    assert_eq!(block_time(&chain, &client, 602, clock).await, None, "the second has its block");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_second_blocks_what_comes_in_a_second_stands_in_the_next_ones_block() {
    let clock = BlockClock::Interval;
    let (_dir, chain, client, after) = with_clock(clock).await;
    after.store(5_200, Ordering::SeqCst);
    assert_eq!(block_time(&chain, &client, 0, clock).await, Some(5), "the second had no block yet");
    // Two more in the same second wait, and no empty block is made for them or after them.
    assert_eq!(block_time(&chain, &client, 1, clock).await, None);
    client.send_raw(&signed_transfer(2)).await.unwrap();
    assert_eq!(chain.head(), 1);
    after.store(9_000, Ordering::SeqCst);
    while chain.head() < 2 {
        chain.next_block(1).await;
    }
    let block = chain.call("eth_getBlockByNumber", json!(["latest", false])).await.unwrap();
    assert_eq!(block["transactions"].as_array().unwrap().len(), 2);
    assert_eq!(block["timestamp"], json!(format!("{:#x}", clock.genesis_time() + 9)));
    after.store(20_000, Ordering::SeqCst);
    assert_eq!(block_time(&chain, &client, 3, clock).await, Some(20));
    assert_eq!(chain.head(), 3, "eleven seconds without a transaction made no block");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_asked_for_before_its_block_is_answered_with_it_and_what_cannot_come_is_not_waited_for_long()
{
    let (_dir, chain, client, after) = with_clock(BlockClock::Interval).await;
    after.store(5_000, Ordering::SeqCst);
    let receipt = async |hash: B256| {
        let asked = json!({ "id": 1, "method": "eth_getTransactionReceipt", "params": [hash] });
        chain.rpc(asked).await.unwrap()["result"].clone()
    };
    client.send_raw(&signed_transfer(0)).await.unwrap();
    while chain.head() < 1 {
        chain.next_block(0).await;
    }
    // The second's block is made, so this one waits until the clock moves on.
    let second = client.send_raw(&signed_transfer(1)).await.unwrap();
    let moved = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(chain.head(), 1);
        after.store(6_000, Ordering::SeqCst);
    };
    let (found, ()) = tokio::join!(receipt(second), moved);
    assert_eq!((&found["blockNumber"], &found["transactionHash"]), (&json!("0x2"), &json!(second)));

    let since = std::time::Instant::now();
    assert_eq!(receipt(B256::repeat_byte(7)).await, Value::Null, "nobody sent it");
    assert!(since.elapsed() < Duration::from_secs(1));
    // One of a later nonce has no block to come; a batch waits for all its receipts together.
    let gap = client.send_raw(&signed_transfer(9)).await.unwrap();
    let asked = json!({ "id": 1, "method": "eth_getTransactionReceipt", "params": [gap] });
    let answers = chain.rpc(Value::Array(vec![asked; 20])).await.unwrap();
    assert!(answers.as_array().unwrap().iter().all(|answer| answer["result"].is_null()), "{answers}");
    assert!(since.elapsed() < Duration::from_secs(10));
}

/// A signed transfer of river-gauge's.
pub(crate) fn signed_transfer(nonce: u64) -> Bytes {
    signed("river-gauge", |transaction| transaction.nonce = nonce)
}

/// A transfer of one unit to `stranger`, changed and then signed by an account.
pub(crate) fn signed(by: &str, change: impl FnOnce(&mut TxEip1559)) -> Bytes {
    let mut transaction = TxEip1559 {
        chain_id: 2626,
        gas_limit: 30_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: address("stranger").into(),
        value: U256::ONE,
        ..TxEip1559::default()
    };
    change(&mut transaction);
    let bytes = key(by).sign(transaction.signature_hash()).0;
    let signature = alloy_primitives::Signature::from_bytes_and_parity(&bytes[..64], bytes[64] == 28);
    transaction.into_signed(signature).encoded_2718().into()
}
