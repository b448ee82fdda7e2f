//! One key, one transaction.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolCall;
use openledger_chain::contracts::bindings::datanets::Datanets;
use openledger_chain::contracts::bindings::payouts::Payouts;
use openledger_chain::rpc::{ChainRpc, Client, RpcError, RpcFuture};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Outbox, SendError, Sender};
use serde_json::Value;

use crate::anvil::Anvil;
use crate::support::{address, deployed, key, network, sender, sender_with};

#[tokio::test(flavor = "multi_thread")]
async fn sending_twice_under_one_key_gives_one_transaction() {
    let network = network().await;
    let sender = sender(&network.client, "river-gauge").await;
    let first = sender.send("gift", address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
    let second = sender.send("gift", address("stranger"), Bytes::new(), U256::from(99)).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(network.client.nonce(sender.address()).await.unwrap(), 1);
    assert_eq!(network.client.balance(address("stranger")).await.unwrap(), U256::ONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_at_once_under_one_key_gives_one_transaction() {
    let network = network().await;
    let sender = Arc::new(sender(&network.client, "river-gauge").await);
    let same = (0..8).map(|_| {
        let sender = Arc::clone(&sender);
        tokio::spawn(async move { sender.send("gift", address("stranger"), Bytes::new(), U256::ONE).await.unwrap() })
    });
    let hashes: Vec<_> = futures::future::join_all(same).await.into_iter().map(|mined| mined.unwrap().hash).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    assert_eq!(network.client.nonce(sender.address()).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_at_once_under_many_keys_uses_each_nonce_once() {
    let network = network().await;
    let sender = Arc::new(sender(&network.client, "river-gauge").await);
    let gifts = (0..40).map(|gift| {
        let sender = Arc::clone(&sender);
        let key = format!("gift/{gift}");
        tokio::spawn(async move { sender.send(&key, address("stranger"), Bytes::new(), U256::ONE).await.unwrap() })
    });
    for mined in futures::future::join_all(gifts).await {
        mined.unwrap();
    }
    assert_eq!(network.client.nonce(sender.address()).await.unwrap(), 40);
    assert_eq!(network.client.balance(address("stranger")).await.unwrap(), U256::from(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_of_one_account_share_an_outbox_and_send_each_key_once() {
    let network = network().await;
    let outbox: Arc<dyn Outbox> = Arc::new(MemoryOutbox::default());
    let mut senders = Vec::new();
    for _ in 0..2 {
        senders.push(Arc::new(sender_with(&network.client, "river-gauge", Arc::clone(&outbox)).await));
    }
    // Keys 0 to 39 through one, 20 to 59 through the other, at once.
    let gifts = (0..80).map(|gift| {
        let (sender, key) = (Arc::clone(&senders[gift / 40]), format!("gift/{}", gift % 40 + gift / 40 * 20));
        tokio::spawn(async move {
            let mined = sender.send(&key, address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
            (key, mined.hash)
        })
    });
    let mut hashes = std::collections::BTreeMap::new();
    for gift in futures::future::join_all(gifts).await {
        let (key, hash) = gift.unwrap();
        assert_eq!(*hashes.entry(key).or_insert(hash), hash);
    }
    assert_eq!(hashes.len(), 60);
    assert_eq!(network.client.nonce(senders[0].address()).await.unwrap(), 60);
    assert_eq!(network.client.balance(address("stranger")).await.unwrap(), U256::from(60));
}

/// A network that loses every transaction on its way, as a crash after signing would.
struct LosesTransactions(Client);

impl ChainRpc for LosesTransactions {
    fn call<'a>(&'a self, method: &'a str, params: Value) -> RpcFuture<'a, Value> {
        if method == "eth_sendRawTransaction" {
            let lost = RpcError::Refused { code: -32000, message: "lost".to_owned(), data: None };
            return Box::pin(async move { Err(lost) });
        }
        self.0.rpc().call(method, params)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_before_a_crash_is_sent_afterwards_and_not_signed_again() {
    let network = network().await;
    let outbox: Arc<dyn Outbox> = Arc::new(MemoryOutbox::default());
    let losing = Client::new(Arc::new(LosesTransactions(network.client.clone())));
    let crashed = sender_with(&losing, "river-gauge", Arc::clone(&outbox)).await;
    let lost = crashed.send("gift", address("stranger"), Bytes::new(), U256::ONE).await;
    assert!(matches!(lost, Err(SendError::NotTaken { .. })), "{lost:?}");
    let signed = outbox.get("gift").await.unwrap().unwrap().transaction;
    assert_eq!(network.client.nonce(crashed.address()).await.unwrap(), 0);
    drop(crashed);

    let restarted = sender_with(&network.client, "river-gauge", Arc::clone(&outbox)).await;
    let mined = restarted.send("gift", address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
    assert_eq!(mined.hash, signed.hash);
    assert_eq!(network.client.nonce(restarted.address()).await.unwrap(), 1);
    assert!(outbox.unmined(restarted.address()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_used_elsewhere_is_reported_and_nothing_is_sent_twice() {
    let network = network().await;
    let outbox: Arc<dyn Outbox> = Arc::new(MemoryOutbox::default());
    let losing = Client::new(Arc::new(LosesTransactions(network.client.clone())));
    let ours = sender_with(&losing, "river-gauge", Arc::clone(&outbox)).await;
    ours.send("gift", address("stranger"), Bytes::new(), U256::ONE).await.unwrap_err();
    sender(&network.client, "river-gauge").await.send("other", address("x"), Bytes::new(), U256::ONE).await.unwrap();

    let ours = Sender::new(network.client.clone(), outbox, key("river-gauge"), FeePolicy::default()).await.unwrap();
    let refused = ours.send("gift", address("stranger"), Bytes::new(), U256::ONE).await;
    assert!(matches!(refused, Err(SendError::NonceTaken { nonce: 0, .. })), "{refused:?}");
    assert_eq!(network.client.balance(address("stranger")).await.unwrap(), U256::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverted_transaction_names_the_contracts_error_and_uses_up_its_key() {
    let (network, flow) = deployed().await;
    let data: Bytes = SolCall::abi_encode(&Payouts::finalizeCall {}).into();
    let before = network.client.nonce(flow.account()).await.unwrap();
    for _ in 0..2 {
        let reverted = flow.sender().send_with_gas("finalize", flow.addresses().payouts, data.clone(), 200_000).await;
        let Err(SendError::Reverted { revert, .. }) = reverted else { panic!("{reverted:?}") };
        assert_eq!(revert.name, Some("NothingPending"));
    }
    assert_eq!(network.client.nonce(flow.account()).await.unwrap(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_the_contract_refuses_is_not_signed_and_names_the_contracts_error() {
    let (network, flow) = deployed().await;
    let before = network.client.nonce(flow.account()).await.unwrap();
    let refused = flow.sender().send(
        "publish",
        flow.addresses().datanets,
        SolCall::abi_encode(&Datanets::setRoyaltyCall {
            title: U256::from(1),
            bps: alloy_primitives::aliases::U96::from(1),
        })
        .into(),
        U256::ZERO,
    );
    let Err(SendError::Refused { revert, .. }) = refused.await else { panic!("not refused") };
    assert_eq!(revert.name, Some("ERC721NonexistentToken"));
    assert_eq!(network.client.nonce(flow.account()).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_callers_than_a_pool_takes_of_one_account_wait_their_turn() {
    let network = network().await;
    let sender = Arc::new(sender(&network.client, "river-gauge").await);
    // Each key twice, at once.
    let gifts = (0..300).map(|gift| {
        let sender = Arc::clone(&sender);
        let key = format!("gift/{}", gift % 150);
        tokio::spawn(async move { sender.send(&key, address("stranger"), Bytes::new(), U256::ONE).await.unwrap().hash })
    });
    let hashes = futures::future::join_all(gifts).await.into_iter().map(|hash| hash.unwrap());
    let hashes: Vec<_> = hashes.collect();
    assert_eq!(hashes[..150], hashes[150..]);
    assert_eq!(network.client.nonce(sender.address()).await.unwrap(), 150);
    assert_eq!(network.client.balance(address("stranger")).await.unwrap(), U256::from(150));
}

/// An RPC that forgets the first transaction it is handed: it says it took it, and never has it.
struct Forgets(Client, std::sync::atomic::AtomicBool);

impl ChainRpc for Forgets {
    fn call<'a>(&'a self, method: &'a str, params: Value) -> RpcFuture<'a, Value> {
        use std::sync::atomic::Ordering::SeqCst;
        if method == "eth_sendRawTransaction" && !self.1.swap(true, SeqCst) {
            return Box::pin(async { Ok(serde_json::json!(alloy_primitives::B256::ZERO)) });
        }
        self.0.rpc().call(method, params)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_left_by_a_transaction_that_the_network_forgot_heals_for_whoever_waits_behind_it() {
    let network = network().await;
    let outbox: Arc<dyn Outbox> = Arc::new(MemoryOutbox::default());
    let forgetful = Client::new(Arc::new(Forgets(network.client.clone(), false.into())));
    let sender = sender_with(&forgetful, "river-gauge", Arc::clone(&outbox)).await;
    let sender = sender.with_wait(Duration::ZERO).with_patience(Duration::ZERO);
    let lost = sender.send("lost", address("stranger"), Bytes::new(), U256::ONE).await;
    assert!(matches!(lost, Err(SendError::NotMined { .. })), "{lost:?}");
    // Nobody asks for `lost` any more; the next key's transaction has a nonce too high without it.
    let sender = sender.with_wait(Duration::from_secs(20));
    let mined = sender.send("next", address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
    assert_eq!(network.client.nonce(sender.address()).await.unwrap(), 2);
    assert_eq!(network.client.receipt(mined.hash).await.unwrap().unwrap().status, 1);
    let lost = sender.send("lost", address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
    assert_eq!(Some(lost.hash), outbox.get("lost").await.unwrap().map(|entry| entry.transaction.hash));
    assert_eq!(network.client.nonce(sender.address()).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_stuck_under_a_risen_base_fee_is_mined_for_more_and_its_key_means_what_it_meant() {
    let Some(anvil) = Anvil::start(&["--no-mining"]).await else { return };
    let client = anvil.client();
    let outbox: Arc<dyn Outbox> = Arc::new(MemoryOutbox::default());
    let fees = FeePolicy { max_fee: 10_000_000_000, tip: 1_000_000_000, ceiling: 1_000_000_000_000 };
    let open = async |wait: u64| {
        let sender = Sender::new(client.clone(), Arc::clone(&outbox), key("river-gauge"), fees).await.unwrap();
        sender.with_wait(Duration::from_secs(wait)).with_patience(Duration::ZERO)
    };
    let gift = async |sender: &Sender| sender.send("gift", address("stranger"), Bytes::new(), U256::ONE).await;
    let stuck = gift(&open(0).await).await;
    assert!(matches!(stuck, Err(SendError::NotMined { .. })), "{stuck:?}");
    let signed = outbox.get("gift").await.unwrap().unwrap().transaction;

    // Ten times what it pays.
    for _ in 0..3 {
        anvil.ask("anvil_setNextBlockBaseFeePerGas", serde_json::json!(["0x174876e800"])).await;
        anvil.ask("evm_mine", serde_json::json!([])).await;
    }
    assert!(client.receipt(signed.hash).await.unwrap().is_none());
    // Another process, after a crash: it knows what the outbox holds.
    let sender = open(20).await;
    let mining = async {
        while client.nonce(sender.address()).await.unwrap() == 0 {
            anvil.ask("anvil_setNextBlockBaseFeePerGas", serde_json::json!(["0x174876e800"])).await;
            anvil.ask("evm_mine", serde_json::json!([])).await;
            tokio::task::yield_now().await;
        }
    };
    let (mined, ()) = futures::join!(gift(&sender), mining);
    let mined = mined.unwrap();
    assert_ne!(mined.hash, signed.hash, "the dearer form of it was mined");
    assert_eq!(client.balance(address("stranger")).await.unwrap(), U256::ONE);
    // And a third one finds the receipt without having offered anything itself.
    let again = gift(&open(20).await).await.unwrap();
    assert_eq!(again, mined);
    assert_eq!(client.nonce(sender.address()).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_offered_above_the_ceiling() {
    let Some(anvil) = Anvil::start(&["--no-mining"]).await else { return };
    let client = anvil.client();
    anvil.ask("anvil_setNextBlockBaseFeePerGas", serde_json::json!(["0x174876e800"])).await;
    anvil.ask("evm_mine", serde_json::json!([])).await;
    let fees = FeePolicy { max_fee: 10_000_000_000, tip: 1_000_000_000, ceiling: 90_000_000_000 };
    let outbox = Arc::new(MemoryOutbox::default());
    let sender = Sender::new(client.clone(), outbox, key("river-gauge"), fees).await.unwrap();
    let sender = sender.with_wait(Duration::ZERO).with_patience(Duration::ZERO);
    let waits = sender.send("gift", address("stranger"), Bytes::new(), U256::ONE).await.unwrap_err();
    assert!(matches!(waits, SendError::NotMined { .. } | SendError::NotTaken { .. }), "{waits}");
    for _ in 0..20 {
        anvil.ask("anvil_setNextBlockBaseFeePerGas", serde_json::json!(["0x174876e800"])).await;
        anvil.ask("evm_mine", serde_json::json!([])).await;
        sender.send("gift", address("stranger"), Bytes::new(), U256::ONE).await.unwrap_err();
    }
    assert_eq!(client.nonce(sender.address()).await.unwrap(), 0);
    for transaction in anvil.ask("txpool_content", serde_json::json!([])).await["pending"].as_object().unwrap().values()
    {
        for fields in transaction.as_object().unwrap().values() {
            let fee: U256 = fields["maxFeePerGas"].as_str().unwrap().parse().unwrap();
            assert!(fee <= U256::from(fees.ceiling), "{fee}");
        }
    }
}
