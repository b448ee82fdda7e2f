//! The `/rpc` routes as wallets and explorers use them.

use alloy_primitives::{Bytes, U256};
use futures::{SinkExt, StreamExt};
use openledger_chain::embedded::{ChainConfig, EmbeddedChain};
use openledger_chain::rpc::{ChainRpc, Client, HttpRpc, RpcError};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Network, address, config, deployed, network, sender};

/// Serves the network's routes on a free port; the result is `127.0.0.1:port`.
pub(crate) async fn serve(network: &Network) -> String {
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
    let at = serve(&network).await;
    let (url, http) = (format!("http://{at}/rpc"), reqwest::Client::new());
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
    for (wrong, code) in [
        ("{}", -32600),
        ("5", -32600),
        ("[]", -32600),
        (r#"{"id":1,"method":7}"#, -32600),
        (r#"{"id":1,"method":"eth_getBalance","params":{}}"#, -32602),
        (r#"{"id":1,"method":"eth_getBalance","params":[]}"#, -32602),
        (r#"{"id":1,"method":"eth_getBalance","params":["0x12","latest"]}"#, -32602),
        (r#"{"id":1,"method":"eth_nothing","params":[]}"#, -32601),
        (r#"{"id":1,"method":"nothing","params":[]}"#, -32601),
        (r#"{"id":1,"method":"eth_sendRawTransaction","params":["0x00"]}"#, -32000),
    ] {
        let answer: Value = post(wrong.into()).await.unwrap().json().await.unwrap();
        assert_eq!(answer["error"]["code"], json!(code), "{wrong}: {answer}");
    }
    // Each element of a batch fails for itself.
    let mixed: Value = post(r#"[7, {"id":2,"method":"eth_chainId"}]"#.into()).await.unwrap().json().await.unwrap();
    assert_eq!((&mixed[0]["error"]["code"], &mixed[1]["result"]), (&json!(-32600), &json!("0xa42")));
    let call = r#"{"id":1,"method":"eth_chainId"}"#;
    let full: Value = post(format!("[{}]", [call; 1_000].join(","))).await.unwrap().json().await.unwrap();
    assert_eq!(full.as_array().unwrap().len(), 1_000);
    let over: Value = post(format!("[{}]", [call; 1_001].join(","))).await.unwrap().json().await.unwrap();
    assert_eq!(over["error"]["code"], json!(-32600));
    // One byte more than is taken, and no more: a client that is still writing may not get to read
    // the refusal.
    let head = "POST /rpc HTTP/1.1\r\nhost: chain\r\ncontent-length: 6291456\r\n\r\n";
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 5 * 1024 * 1024 + 1]).await.unwrap();
    let mut status = [0; 12];
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_exact(&mut status)).await;
    read.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_ask_beforehand_whether_it_may_post_json() {
    let network = network().await;
    let url = format!("http://{}/rpc", serve(&network).await);
    let asked = reqwest::Client::new()
        .request(reqwest::Method::OPTIONS, url)
        .header("origin", "https://wallet.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send()
        .await
        .unwrap();
    assert!(asked.status().is_success());
    let header = |name: &str| asked.headers()[name].to_str().unwrap().to_lowercase();
    assert_eq!(header("access-control-allow-origin"), "https://wallet.example");
    assert!(header("access-control-allow-methods").contains("post"));
    assert!(header("access-control-allow-headers").contains("content-type"));
    assert!(!asked.headers().contains_key("access-control-allow-credentials"));
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_is_gone_is_refused_by_name_and_recent_state_is_proven() {
    let network = network().await;
    let stranger = address("stranger");
    let mut last = None;
    for nonce in 0..300 {
        let hash = network.client.send_raw(&crate::blocks::signed_transfer(nonce)).await.unwrap();
        while network.client.receipt(hash).await.unwrap().is_none() {
            network.chain.next_block(network.chain.head()).await;
        }
        last = Some(hash);
    }
    assert_eq!(network.chain.head(), 300);
    let ask = |method: &'static str, params: Value| {
        let chain = network.chain.clone();
        async move { chain.call(method, params).await }
    };
    for recent in [json!("latest"), json!("0x12b"), json!("0xf0"), json!({ "blockNumber": "0xf0" })] {
        let proof = ask("eth_getProof", json!([stranger, [], recent])).await.unwrap();
        let balance = ask("eth_getBalance", json!([stranger, recent])).await.unwrap();
        assert_eq!(proof["balance"], balance);
        assert!(!proof["accountProof"].as_array().unwrap().is_empty());
    }
    assert_eq!(ask("eth_getBalance", json!([stranger, "0xf0"])).await.unwrap(), json!("0xf0"));
    let old = network.client.block(1).await.unwrap().unwrap();
    for at in [json!("0x1"), json!("earliest"), json!({ "blockHash": old.hash })] {
        let call = json!({ "to": stranger });
        for (method, params) in [
            ("eth_getProof", json!([stranger, [], at])),
            ("eth_getBalance", json!([stranger, at])),
            ("eth_getTransactionCount", json!([stranger, at])),
            ("eth_getCode", json!([stranger, at])),
            ("eth_getStorageAt", json!([stranger, "0x0", at])),
            ("eth_call", json!([call, at])),
        ] {
            let answer = ask(method, params).await;
            let Err(RpcError::Refused { code: -32001, message, .. }) = &answer else { panic!("{method}: {answer:?}") };
            assert!(message.contains("is gone"), "{message}");
        }
    }
    let trace = ask("debug_traceTransaction", json!([last.unwrap(), { "tracer": "callTracer" }])).await.unwrap();
    assert_eq!((&trace["type"], &trace["value"]), (&json!("CALL"), &json!("0x1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_block_that_is_visible_has_its_logs() {
    let (network, flow) = deployed().await;
    let client = Client::new(std::sync::Arc::new(network.chain.clone()));
    let mut last = client.block_number().await.unwrap();
    let (chain, wopen) = (network.chain.clone(), flow.addresses().wopen);
    let sending = tokio::spawn(async move {
        for step in 0..60 {
            flow.token().wrap(&format!("wrap {step}"), openledger_protocol::Amount(5)).await.unwrap();
        }
    });
    let mut seen = 0;
    while !sending.is_finished() {
        let newest = client.block_number().await.unwrap();
        for number in last + 1..=newest {
            let number = format!("{number:#x}");
            let range = json!([{ "address": wopen, "fromBlock": number, "toBlock": number }]);
            let logs = chain.call("eth_getLogs", range).await.unwrap();
            assert!(!logs.as_array().unwrap().is_empty(), "block {number} was shown without its logs");
            seen += 1;
        }
        last = newest;
    }
    sending.await.unwrap();
    assert!(seen > 20, "only {seen} blocks were seen as they came");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_filters_report_each_log_once_and_the_oldest_makes_room() {
    let (network, flow) = deployed().await;
    let ask = |method: &'static str, params: Value| {
        let chain = network.chain.clone();
        async move { chain.call(method, params).await }
    };
    let wanted = json!([{ "address": flow.addresses().wopen }]);
    let filter = ask("eth_newFilter", wanted.clone()).await.unwrap();
    let wrapped = flow.token().wrap("wrap", openledger_protocol::Amount(5)).await.unwrap();
    let found = ask("eth_getFilterChanges", json!([filter])).await.unwrap();
    assert_eq!(found[0]["transactionHash"], json!(wrapped.hash));
    flow.datanets().create("create", Default::default(), "").await.unwrap();
    assert_eq!(ask("eth_getFilterChanges", json!([filter])).await.unwrap(), json!([]));
    let range = json!([{ "address": flow.addresses().wopen, "fromBlock": "0x0" }]);
    let whole = ask("eth_newFilter", range.clone()).await.unwrap();
    let logs = ask("eth_getFilterLogs", json!([whole])).await.unwrap();
    assert_eq!(logs, ask("eth_getLogs", range).await.unwrap());
    assert!(!logs.as_array().unwrap().is_empty());
    let all = ask("eth_getFilterLogs", json!([filter])).await.unwrap();
    assert_eq!(all, json!([]), "a filter without a range is of the newest block");
    for _ in 0..1_000 {
        ask("eth_newFilter", wanted.clone()).await.unwrap();
    }
    let gone = ask("eth_getFilterChanges", json!([filter])).await;
    assert!(matches!(gone, Err(RpcError::Refused { code: -32000, .. })), "{gone:?}");
    assert_eq!(ask("eth_uninstallFilter", json!([filter])).await.unwrap(), json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_is_dropped_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let patience = std::time::Duration::from_millis(200);
    let config = ChainConfig { reader_patience: patience, ..config() };
    let chain = EmbeddedChain::open(dir.path(), &config).await.unwrap();
    let client = Client::new(std::sync::Arc::new(chain.clone()));
    let network = Network { chain, client, dir };
    let url = format!("ws://{}/rpc", serve(&network).await);
    let (mut idle, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let (mut reader, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let request = json!({ "id": 1, "method": "eth_subscribe", "params": ["newHeads"] }).to_string();
    // Many subscriptions, so that what is not read fills the system's buffers within some dozens of
    // blocks.
    for _ in 0..128 {
        idle.send(Message::text(request.clone())).await.unwrap();
        next(&mut idle).await;
    }
    idle.send(Message::text(request.clone())).await.unwrap();
    assert_eq!(next(&mut idle).await["error"]["code"], json!(-32000), "one subscription too many");
    reader.send(Message::text(request)).await.unwrap();
    next(&mut reader).await;

    const BLOCKS: u64 = 120;
    for number in 1..=BLOCKS {
        network.client.send_raw(&crate::blocks::signed_transfer(number - 1)).await.unwrap();
        let news = next(&mut reader).await;
        assert_eq!(news["params"]["result"]["number"], json!(format!("{number:#x}")));
    }
    // The reader that was not idle is served still; the idle one finds its connection ended short
    // of the news.
    let mut received = 0;
    while let Some(Ok(Message::Text(_))) = idle.next().await {
        received += 1;
    }
    assert!(received < 128 * BLOCKS, "{received} messages waited for a reader that did not read");
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
    let wrapped = flow.token().wrap("wrap", openledger_protocol::Amount(5)).await.unwrap();
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

    let (block, account) = (json!(wrapped.block_hash), json!(flow.account()));
    assert_eq!(call("eth_chainId", json!([])).await, json!("0xa42"));
    assert_eq!(call("eth_blockNumber", json!([])).await, json!(format!("{:#x}", wrapped.block)));
    assert_eq!(call("eth_accounts", json!([])).await, json!([]));
    assert_eq!(call("net_listening", json!([])).await, json!(true));
    assert_eq!(call("net_peerCount", json!([])).await, json!("0x0"));
    assert_eq!(call("txpool_status", json!([])).await["pending"], json!("0x0"));
    for (method, params) in [
        ("eth_getBlockByHash", json!([block, false])),
        ("eth_getBlockByNumber", json!([format!("{:#x}", wrapped.block), true])),
    ] {
        assert_eq!(call(method, params).await["hash"], block, "{method}");
    }
    for (method, params) in [
        ("eth_getTransactionByHash", json!([hash])),
        ("eth_getTransactionByBlockHashAndIndex", json!([block, "0x0"])),
        ("eth_getTransactionByBlockNumberAndIndex", json!([format!("{:#x}", wrapped.block), "0x0"])),
    ] {
        assert_eq!(call(method, params).await["hash"], hash, "{method}");
    }
    assert_eq!(call("eth_getTransactionReceipt", json!([hash])).await["status"], json!("0x1"));
    assert_eq!(call("eth_getBlockTransactionCountByHash", json!([block])).await, json!("0x1"));
    assert_eq!(call("eth_getBlockTransactionCountByNumber", json!(["latest"])).await, json!("0x1"));
    assert!(call("eth_getCode", json!([flow.addresses().wopen, "latest"])).await.as_str().unwrap().len() > 100);
    assert_eq!(call("eth_getStorageAt", json!([account, "0x0", "latest"])).await.as_str().unwrap().len(), 66);
    assert_ne!(call("eth_getTransactionCount", json!([account, "latest"])).await, json!("0x0"));
    assert_ne!(call("eth_getBalance", json!([account, "finalized"])).await, json!("0x0"));
    let transfer = json!({ "from": account, "to": address("stranger"), "value": "0x1" });
    assert_eq!(call("eth_estimateGas", json!([transfer])).await, json!("0x5208"));
    assert_eq!(call("eth_call", json!([transfer, "latest"])).await, json!("0x"));
    assert!(call("eth_createAccessList", json!([transfer, "latest"])).await["accessList"].is_array());
    let logs = call("eth_getLogs", json!([{ "fromBlock": "latest", "address": flow.addresses().wopen }])).await;
    assert_eq!(logs[0]["transactionHash"], hash);
    let traces = call("debug_traceBlockByNumber", json!([format!("{:#x}", wrapped.block)])).await;
    assert_eq!(traces.as_array().unwrap().len(), 1);

    let filter = call("eth_newBlockFilter", json!([])).await;
    flow.token().wrap("wrap/2", openledger_protocol::Amount(5)).await.unwrap();
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
    flow.datanets().create("create", Default::default(), "").await.unwrap();
    let wrapped = flow.token().wrap("wrap", openledger_protocol::Amount(5)).await.unwrap();

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

pub(crate) type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

pub(crate) async fn next(socket: &mut Socket) -> Value {
    let message = tokio::time::timeout(std::time::Duration::from_secs(20), socket.next()).await;
    serde_json::from_str(message.unwrap().unwrap().unwrap().to_text().unwrap()).unwrap()
}
