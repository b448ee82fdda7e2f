//! The `/rpc` routes as wallets and explorers use them.

use alloy_primitives::{Bytes, U256};
use futures::{SinkExt, StreamExt};
use openledger_chain::rpc::{ChainRpc, Client, HttpRpc, RpcError};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Network, address, deployed, network, sender};

/// Serves the network's routes on a free port; the result is `127.0.0.1:port`.
async fn serve(network: &Network) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let router = network.chain.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    at
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_client_sends_and_reads_as_the_process_does() {
    let network = network().await;
    let at = serve(&network).await;
    let http = Client::new(std::sync::Arc::new(HttpRpc::new(format!("http://{at}/rpc")).unwrap()));
    let sender = sender(&http, "river-gauge").await;
    let mined = sender.send("gift", address("stranger"), Bytes::new(), U256::ONE).await.unwrap();
    assert_eq!(network.client.receipt(mined.hash).await.unwrap().unwrap().block_number, mined.block);
    let refused = HttpRpc::new(format!("http://{at}/rpc")).unwrap().call("eth_nothing", json!([])).await;
    assert!(matches!(refused, Err(RpcError::Refused { code: -32601, .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_tried_again_when_the_network_is_down_and_transactions_are_not() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = std::sync::Arc::clone(&asked);
    let flaky = move || async move {
        match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 | 2 => Err(axum::http::StatusCode::SERVICE_UNAVAILABLE),
            _ => Ok(axum::Json(json!({ "jsonrpc": "2.0", "id": 1, "result": "0x1" }))),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = HttpRpc::new(format!("http://{}/secret-key", listener.local_addr().unwrap())).unwrap();
    let router = axum::Router::new().fallback(flaky);
    tokio::spawn(async move { axum::serve(listener, router).await });
    assert_eq!(http.call("eth_blockNumber", json!([])).await.unwrap(), json!("0x1"));
    let failed = http.call("eth_sendRawTransaction", json!(["0x"])).await.unwrap_err();
    assert!(failed.is_transient());
    assert!(!failed.to_string().contains("secret-key") && !format!("{failed:?}").contains("secret-key"));
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_errors_and_pages_of_other_origins_are_answered() {
    let network = network().await;
    let url = format!("http://{}/rpc", serve(&network).await);
    let http = reqwest::Client::new();
    let post = |body: String| http.post(&url).header("origin", "https://wallet.example").body(body).send();

    let batch = post(
        r#"[{"jsonrpc":"2.0","id":"a","method":"eth_chainId","params":[]},{"id":7,"method":"eth_accounts"}]"#.into(),
    );
    let response = batch.await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "https://wallet.example");
    let answers: Value = response.json().await.unwrap();
    assert_eq!(answers[0], json!({ "jsonrpc": "2.0", "id": "a", "result": "0xa42" }));
    assert_eq!(answers[1], json!({ "jsonrpc": "2.0", "id": 7, "result": [] }));

    let broken: Value = post("{".into()).await.unwrap().json().await.unwrap();
    assert_eq!((&broken["id"], &broken["error"]["code"]), (&Value::Null, &json!(-32700)));
    let nameless: Value = post("{}".into()).await.unwrap().json().await.unwrap();
    assert_eq!(nameless["error"]["code"], json!(-32600));
    let too_long = post(" ".repeat(6 * 1024 * 1024)).await.unwrap();
    assert_eq!(too_long.status().as_u16(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_change_the_chain_from_outside_is_not_served() {
    let network = network().await;
    for method in ["debug_setHead", "engine_forkchoiceUpdatedV3", "admin_nodeInfo", "testing_buildBlockV1"] {
        let answer = network.chain.call(method, json!(["0x0"])).await;
        assert!(matches!(answer, Err(RpcError::Refused { code: -32601, .. })), "{method}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_methods_that_wallets_and_explorers_need_answer() {
    let (network, flow) = deployed().await;
    let wrapped = flow.wrap("wrap", openledger_protocol::Amount(5)).await.unwrap();
    let hash = json!(wrapped.hash);
    let call = |method: &'static str, params: Value| {
        let chain = network.chain.clone();
        async move { chain.call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}")) }
    };
    assert_eq!(call("eth_syncing", json!([])).await, json!(false));
    assert_eq!(call("net_version", json!([])).await, json!("2626"));
    assert_eq!(
        call("eth_feeHistory", json!(["0x2", "latest", [50]])).await["baseFeePerGas"].as_array().unwrap().len(),
        3
    );
    let proof = call("eth_getProof", json!([flow.addresses().wopen, ["0x0"], "latest"])).await;
    assert!(!proof["accountProof"].as_array().unwrap().is_empty());
    let trace = call("debug_traceTransaction", json!([hash, { "tracer": "callTracer" }])).await;
    assert_eq!(trace["value"], json!("0x5"));
    assert!(call("eth_gasPrice", json!([])).await.is_string());
    assert!(call("eth_maxPriorityFeePerGas", json!([])).await.is_string());
    assert!(call("web3_clientVersion", json!([])).await.as_str().unwrap().starts_with("openledger/"));
    assert_eq!(call("eth_getBlockReceipts", json!(["latest"])).await.as_array().unwrap().len(), 1);

    let filter = call("eth_newBlockFilter", json!([])).await;
    flow.wrap("wrap/2", openledger_protocol::Amount(5)).await.unwrap();
    let latest = network.client.latest().await.unwrap().unwrap();
    assert_eq!(call("eth_getFilterChanges", json!([filter])).await, json!([latest.hash]));
    assert_eq!(call("eth_uninstallFilter", json!([filter])).await, json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_hears_of_new_heads_and_of_the_logs_it_asked_for() {
    let (network, flow) = deployed().await;
    let at = serve(&network).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{at}/rpc")).await.unwrap();
    let address = flow.addresses().wopen;
    for (id, params) in [(1, json!(["newHeads"])), (2, json!(["logs", { "address": address }]))] {
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": "eth_subscribe", "params": params });
        socket.send(Message::text(request.to_string())).await.unwrap();
        let answer = next(&mut socket).await;
        assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": id, "result": format!("{id:#x}") }));
    }
    flow.create_datanet("create", Default::default(), "").await.unwrap();
    let wrapped = flow.wrap("wrap", openledger_protocol::Amount(5)).await.unwrap();

    let first = next(&mut socket).await;
    assert_eq!(first["params"]["result"]["number"], json!(format!("{:#x}", wrapped.block - 1)));
    let second = next(&mut socket).await;
    assert_eq!(second["params"]["result"]["hash"], json!(wrapped.block_hash));
    let log = next(&mut socket).await;
    assert_eq!(
        (&log["params"]["subscription"], &log["params"]["result"]["transactionHash"]),
        (&json!("0x2"), &json!(wrapped.hash))
    );

    let request = json!({ "jsonrpc": "2.0", "id": 9, "method": "eth_blockNumber", "params": [] });
    socket.send(Message::text(request.to_string())).await.unwrap();
    let mut answer = next(&mut socket).await;
    while answer.get("id").is_none() {
        answer = next(&mut socket).await;
    }
    assert_eq!(answer["result"], json!(format!("{:#x}", wrapped.block)));
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn next(socket: &mut Socket) -> Value {
    let message = tokio::time::timeout(std::time::Duration::from_secs(20), socket.next()).await;
    serde_json::from_str(message.unwrap().unwrap().unwrap().to_text().unwrap()).unwrap()
}
