//! One key, one transaction.

use std::sync::Arc;

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolCall;
use openledger_chain::contracts::bindings::datanets::Datanets;
use openledger_chain::contracts::bindings::payouts::Payouts;
use openledger_chain::rpc::{ChainRpc, Client, RpcError, RpcFuture};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Outbox, SendError, Sender};
use serde_json::Value;

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
