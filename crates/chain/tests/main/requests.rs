//! Requests as other nodes answer them: what ethers, viem and web3 rely on, and what JSON-RPC 2.0
//! says.

use alloy_primitives::{Address, B256, Bytes, U256};
use futures::SinkExt;
use openledger_chain::rpc::{ChainRpc, RpcError};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::blocks::{signed, signed_transfer};
use crate::serving::{Socket, next, serve};
use crate::support::{Network, address, deployed, network, sender};

/// The result of a call.
async fn ask(network: &Network, method: &str, params: Value) -> Value {
    network.chain.call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// Code and message of a refusal.
async fn refused(network: &Network, method: &str, params: Value) -> (i64, String) {
    match network.chain.call(method, params.clone()).await {
        Err(RpcError::Refused { code, message, .. }) => (code, message),
        other => panic!("{method} {params}: {other:?}"),
    }
}

/// A network with one block, which gave one unit to `stranger`; its hash.
async fn with_a_block() -> (Network, B256) {
    let network = network().await;
    let sender = sender(&network.client, "river-gauge").await;
    let mined = sender.send("gift", address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
    (network, mined.block_hash)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_block_that_does_not_exist_is_not_answered_as_if_it_were_empty() {
    let (network, _) = with_a_block().await;
    let stranger = address("stranger");
    let call = json!({ "to": stranger });
    let nowhere = B256::repeat_byte(7);
    for block in [json!("0xffffff"), json!({ "blockNumber": "0x2" }), json!(nowhere), json!({ "blockHash": nowhere })] {
        for (method, params) in [
            ("eth_getBalance", json!([stranger, block])),
            ("eth_getCode", json!([stranger, block])),
            ("eth_getTransactionCount", json!([stranger, block])),
            ("eth_getStorageAt", json!([stranger, "0x0", block])),
            ("eth_getProof", json!([stranger, [], block])),
            ("eth_call", json!([call, block])),
            ("eth_estimateGas", json!([call, block])),
            ("eth_createAccessList", json!([call, block])),
        ] {
            let (code, message) = refused(&network, method, params).await;
            assert!(code == -32001 && message.contains("does not exist"), "{method} at {block}: {code} {message}");
        }
    }
    for (method, params) in [
        ("debug_traceBlockByNumber", json!(["0xffffff"])),
        ("debug_traceTransaction", json!([nowhere])),
        ("eth_getLogs", json!([{ "blockHash": nowhere }])),
    ] {
        let (code, message) = refused(&network, method, params).await;
        assert!(code == -32001 && message.contains("does not exist"), "{method}: {code} {message}");
    }
    // What asks for the block itself, and not for its state, has null for an answer.
    assert_eq!(ask(&network, "eth_getBlockByNumber", json!(["0xffffff", false])).await, Value::Null);
    assert_eq!(
        ask(&network, "eth_getLogs", json!([{ "fromBlock": "0xfffff0", "toBlock": "0xffffff" }])).await,
        json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_exists_may_be_named_in_every_way() {
    let (network, hash) = with_a_block().await;
    let stranger = address("stranger");
    for block in [
        json!("0x1"),
        json!("latest"),
        json!("safe"),
        json!("finalized"),
        json!("pending"),
        json!(hash),
        json!({ "blockHash": hash, "requireCanonical": true }),
        json!({ "blockNumber": "0x1", "blockHash": null }),
        json!({ "blockNumber": "latest" }),
        json!(null),
    ] {
        assert_eq!(ask(&network, "eth_getBalance", json!([stranger, block])).await, json!("0x1"), "{block}");
        assert_eq!(
            ask(&network, "eth_getProof", json!([stranger, [], block])).await["balance"],
            json!("0x1"),
            "{block}"
        );
        let transfer = json!({ "from": address("node"), "to": address("nobody"), "value": "0x1" });
        assert_eq!(ask(&network, "eth_estimateGas", json!([transfer, block])).await, json!("0x5208"), "{block}");
        let list = ask(&network, "eth_createAccessList", json!([transfer, block])).await;
        assert!(list["accessList"].is_array(), "{block}: {list}");
    }
    assert_eq!(ask(&network, "eth_getBalance", json!([stranger, "0x0"])).await, json!("0x0"));
    assert_eq!(ask(&network, "eth_getBalance", json!([stranger, "earliest"])).await, json!("0x0"));
    let both = json!({ "blockNumber": "0x1", "blockHash": hash });
    for wrong in [both, json!({}), json!("newest"), json!(1), json!({ "blockHash": "0x1" })] {
        let (code, message) = refused(&network, "eth_getBalance", json!([stranger, wrong])).await;
        assert!(code == -32602 && message.contains("`block"), "{wrong}: {code} {message}");
    }
    // Before the first block, too.
    let fresh = crate::support::network().await;
    assert_eq!(ask(&fresh, "eth_getBalance", json!([stranger, "finalized"])).await, json!("0x0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pending_nonce_is_the_next_one_that_can_be_mined() {
    let network = network().await;
    let account = address("river-gauge");
    let nonce = async |block: Value| ask(&network, "eth_getTransactionCount", json!([account, block])).await;
    network.client.send_raw(&signed_transfer(5)).await.unwrap();
    assert_eq!((nonce(json!("latest")).await, nonce(json!("pending")).await), (json!("0x0"), json!("0x0")));
    network.client.send_raw(&signed_transfer(1)).await.unwrap();
    assert_eq!(nonce(json!("pending")).await, json!("0x0"));
    // The gap at 0 closes, that at 2 stays: 0 and 1 count, wherever they are, 5 does not.
    network.client.send_raw(&signed_transfer(0)).await.unwrap();
    assert_eq!(nonce(json!("pending")).await, json!("0x2"));
    while nonce(json!("latest")).await != json!("0x2") {
        network.chain.next_block(network.chain.head()).await;
    }
    assert_eq!(nonce(json!({ "blockNumber": "pending" })).await, json!("0x2"));
    assert_eq!(ask(&network, "eth_getTransactionCount", json!([address("nobody"), "pending"])).await, json!("0x0"));
    let (code, message) = refused(&network, "eth_getTransactionCount", json!(["0x12", "pending"])).await;
    assert!(code == -32602 && message.contains("`address`"), "{code} {message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_absent_in_objects_and_a_refusal_names_the_field() {
    let (network, _) = with_a_block().await;
    let to = Address::repeat_byte(0x11);
    for field in ["from", "data", "input", "value", "gas", "gasPrice", "nonce", "maxFeePerGas", "maxPriorityFeePerGas"]
        .into_iter()
        .chain(["accessList", "type", "chainId", "maxFeePerBlobGas", "blobVersionedHashes", "authorizationList"])
    {
        let mut call = json!({ "to": to });
        call[field] = Value::Null;
        assert_eq!(ask(&network, "eth_call", json!([call, "latest"])).await, json!("0x"), "{field}");
        assert_eq!(ask(&network, "eth_estimateGas", json!([call, null])).await, json!("0x5208"), "{field}");
        ask(&network, "eth_createAccessList", json!([call])).await;
    }
    // Code that gives back nothing is deployed where `to` is null or absent.
    for call in [json!({ "to": null, "data": "0x00" }), json!({ "data": "0x00" })] {
        assert_eq!(ask(&network, "eth_call", json!([call, "latest", null])).await, json!("0x"));
    }
    let listed = json!({ "to": to, "accessList": [{ "address": to, "storageKeys": [] }] });
    assert_eq!(ask(&network, "eth_call", json!([listed])).await, json!("0x"));
    let filter = json!({ "address": null, "topics": null, "fromBlock": null, "toBlock": null, "blockHash": null });
    assert_eq!(ask(&network, "eth_getLogs", json!([filter])).await, json!([]));
    assert!(ask(&network, "eth_newFilter", json!([filter])).await.is_string());
    let hash = ask(&network, "eth_getBlockByNumber", json!(["0x1", false])).await["transactions"][0].clone();
    for options in [json!(null), json!({ "tracer": null, "tracerConfig": null, "timeout": null })] {
        let trace = ask(&network, "debug_traceTransaction", json!([hash, options])).await;
        assert_eq!(trace["type"], json!("CALL"));
    }
    for (field, value) in [("from", json!("0x12")), ("value", json!("x")), ("data", json!(7)), ("gas", json!("0xg"))] {
        for method in ["eth_call", "eth_estimateGas", "eth_createAccessList"] {
            let mut call = json!({ "to": to });
            call[field] = value.clone();
            let (code, message) = refused(&network, method, json!([call, "latest"])).await;
            assert!(code == -32602 && message.contains(&format!("`{field}`")), "{method}: {code} {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_refuses_in_the_words_that_clients_know() {
    let (network, _) = with_a_block().await;
    let send = async |raw: Bytes| refused(&network, "eth_sendRawTransaction", json!([raw])).await;
    let gift = |nonce| move |t: &mut alloy_consensus::TxEip1559| t.nonce = nonce;
    let poor = signed("nobody", gift(0));
    let beyond = signed("node", |t| t.value = U256::MAX / U256::from(2));
    let (late, waiting) = (signed("river-gauge", gift(0)), signed("river-gauge", gift(7)));
    let hash = ask(&network, "eth_sendRawTransaction", json!([waiting])).await;
    let again = ask(&network, "eth_sendRawTransaction", json!([waiting])).await;
    assert_eq!(hash, again, "handed in again it is the same transaction");
    let cheaper = signed("river-gauge", |t| {
        t.nonce = 7;
        t.value = U256::from(2);
    });
    // Enough for this one alone, but not for what waits besides.
    let held = network.client.balance(address("river-gauge")).await.unwrap();
    let almost_all = held - U256::from(30_000_u64 * 100_000_000_000);
    let sum = signed("river-gauge", |t| {
        t.nonce = 8;
        t.value = almost_all;
    });
    for (raw, words) in [
        (poor, "insufficient funds for gas * price + value"),
        (beyond, "insufficient funds for gas * price + value"),
        (sum, "insufficient funds for gas * price + value"),
        (late, "nonce too low"),
        (cheaper, "replacement transaction underpriced"),
        (signed("node", |t| t.gas_limit = 20_999), "intrinsic gas too low"),
        (signed("node", |t| t.gas_limit = 60_000_001), "exceeds block gas limit"),
        (
            signed("node", |t| t.max_priority_fee_per_gas = t.max_fee_per_gas + 1),
            "max priority fee per gas higher than max fee per gas",
        ),
        (signed("node", |t| t.chain_id = 1), "invalid chain id"),
        (signed("node", |t| t.input = vec![0; 200 * 1024].into()), "oversized data"),
        (
            signed("node", |t| {
                t.to = alloy_primitives::TxKind::Create;
                t.input = vec![0; 60 * 1024].into();
            }),
            "max initcode size exceeded",
        ),
        (Bytes::from_static(&[0x7d, 0xc0]), "transaction type not supported"),
        (Bytes::from_static(&[0x04, 0xc0]), "transaction type not supported"),
        (Bytes::from_static(&[0xc0]), "rlp"),
    ] {
        let (code, message) = send(raw).await;
        assert!(code == -32000 && message.starts_with(words), "{words}: {code} {message}");
    }
    for wrong in [json!([]), json!([7]), json!(["0xzz"]), json!([null])] {
        let (code, message) = refused(&network, "eth_sendRawTransaction", wrong).await;
        assert!(code == -32602 && message.contains("`transaction`"), "{code} {message}");
    }
    // Executing without sending refuses in the same words.
    let transfer = json!({ "from": address("nobody"), "to": address("stranger"), "value": "0x1", "gasPrice": "0x1" });
    let (code, message) = refused(&network, "eth_estimateGas", json!([transfer])).await;
    assert!(code == -32000 && message.contains("insufficient funds"), "{code} {message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_looked_at_when_it_is_made() {
    let (network, flow) = deployed().await;
    let (url, token) = (format!("ws://{}/rpc", serve(&network).await), flow.addresses().wopen);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    for (filter, field) in [
        (json!({ "address": "0x12" }), "address"),
        (json!({ "address": [token, 7] }), "address"),
        (json!({ "topics": ["0x12"] }), "topics"),
        (json!({ "topics": [null, null, null, null, null] }), "topics"),
        (json!({ "fromBlock": "first" }), "fromBlock"),
        (json!({ "fromBlock": "0x2", "toBlock": "0x1" }), "fromBlock"),
        (json!({ "blockHash": "0x1" }), "blockHash"),
        (json!("0x12"), "filter"),
    ] {
        for method in ["eth_newFilter", "eth_getLogs"] {
            let (code, message) = refused(&network, method, json!([filter])).await;
            assert!(code == -32602 && message.contains(&format!("`{field}`")), "{method} {filter}: {code} {message}");
        }
        let answer = over(&mut socket, json!({ "id": 1, "method": "eth_subscribe", "params": ["logs", filter] })).await;
        assert_eq!(answer["error"]["code"], json!(-32602), "{filter}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(&format!("`{field}`")), "{filter}: {answer}");
    }
    for params in [json!([]), json!([null])] {
        assert_eq!(refused(&network, "eth_newFilter", params).await.0, -32602);
    }
    // Lists, nulls and places without a topic are in order, and mean what they say.
    let transfer = alloy_primitives::keccak256("Transfer(address,address,uint256)");
    let filter = json!({ "address": [token], "topics": [[transfer, B256::ZERO], null, [], [null]] });
    let any = json!({ "address": token, "topics": [transfer] });
    let id = ask(&network, "eth_newFilter", json!([any])).await;
    let subscribed = over(&mut socket, json!({ "id": 1, "method": "eth_subscribe", "params": ["logs", any] })).await;
    let wrapped = flow.token().wrap("wrap", openledger_protocol::Amount(5)).await.unwrap();
    let found = ask(&network, "eth_getFilterChanges", json!([id])).await;
    assert_eq!((found.as_array().unwrap().len(), &found[0]["transactionHash"]), (1, &json!(wrapped.hash)));
    let news = next(&mut socket).await;
    assert_eq!(news["params"], json!({ "subscription": subscribed["result"], "result": found[0] }));
    assert_eq!(ask(&network, "eth_getLogs", json!([any])).await, found);
    // A transfer has three topics, and the fourth place is one more than it has.
    assert_eq!(ask(&network, "eth_getLogs", json!([filter])).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_id_is_done_and_not_answered() {
    let network = network().await;
    let at = serve(&network).await;
    let http = reqwest::Client::new();
    let post = |body: Value| http.post(format!("http://{at}/rpc")).body(body.to_string()).send();
    let chain_id = json!({ "jsonrpc": "2.0", "method": "eth_chainId", "params": [] });
    let unknown = json!({ "jsonrpc": "2.0", "method": "eth_nothing" });
    let transfer = json!({ "jsonrpc": "2.0", "method": "eth_sendRawTransaction", "params": [signed_transfer(0)] });
    for silent in [chain_id.clone(), unknown.clone(), transfer, json!([chain_id]), json!([chain_id, unknown])] {
        let response = post(silent.clone()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (204, ""), "{silent}");
        assert_eq!(network.chain.rpc(silent).await, None);
    }
    while network.chain.head() == 0 {
        network.chain.next_block(0).await;
    }
    let asked = json!({ "id": 1, "method": "eth_chainId" });
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": "0xa42" });
    let mixed: Value = post(json!([chain_id, asked, unknown])).await.unwrap().json().await.unwrap();
    assert_eq!(mixed, json!([answer]));
    let with_null: Value = post(json!({ "id": null, "method": "eth_chainId" })).await.unwrap().json().await.unwrap();
    assert_eq!(with_null, json!({ "jsonrpc": "2.0", "id": null, "result": "0xa42" }));
    // What is no request is answered even without an id: nobody can tell that it was to be a
    // notification.
    let invalid: Value = post(json!([chain_id, 7])).await.unwrap().json().await.unwrap();
    assert_eq!((invalid.as_array().unwrap().len(), &invalid[0]["error"]["code"]), (1, &json!(-32600)));

    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{at}/rpc")).await.unwrap();
    let subscribe = json!({ "method": "eth_subscribe", "params": ["newHeads"] });
    for silent in [chain_id.clone(), json!([chain_id]), subscribe] {
        socket.send(Message::text(silent.to_string())).await.unwrap();
    }
    network.client.send_raw(&signed_transfer(1)).await.unwrap();
    assert_eq!(over(&mut socket, asked).await, answer, "neither an answer nor news came before");
}

/// Sends a message and gives the next one that comes.
async fn over(socket: &mut Socket, message: Value) -> Value {
    socket.send(Message::text(message.to_string())).await.unwrap();
    next(socket).await
}
