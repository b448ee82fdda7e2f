//! Answers whose clients do not read them are charged for the tokens produced.

use std::time::{Duration, Instant};

use openledger_protocol::Amount;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::story::{QUESTION, fixture, on};
use super::world::World;

/// How long the node may take to charge an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a client hangs up before the test gives up.
const ATTEMPTS: u64 = 8;

/// A request for a long answer. At this temperature an answer seldom ends by itself.
fn request(seed: u64, stream: bool) -> Value {
    json!({
        "model": "thread", "max_tokens": 300, "temperature": 2, "seed": seed, "stream": stream,
        "messages": [{ "role": "user", "content": QUESTION }], "openledger": {},
    })
}

/// The public view of the receipt that cost `price`, of the channel of `key`.
async fn receipt(world: &World, key: &str, price: Amount) -> Option<Value> {
    let newest = world.get("/api/v1/receipts").await.done()["items"].as_array().unwrap().clone();
    for receipt in newest.into_iter().filter(|receipt| receipt["price"] == json!(price)) {
        let path = format!("/api/v1/receipts/{}/detail", receipt["id"].as_str().unwrap());
        if world.send(world.request("get", &path).bearer_auth(key)).await.status == 200 {
            return Some(receipt);
        }
    }
    None
}

/// What is reserved and spent of a payer's channel.
async fn money(world: &World, payer: &str) -> (Amount, Amount) {
    let id = world.channel(payer).await.id(world.chain_id, world.addresses.channels);
    let store = world.database.store(&world.data).await;
    let channel = store.channel(id).await.unwrap().unwrap();
    store.close().await;
    (channel.reserved, channel.spent)
}

/// Sends a request and hangs up without reading its answer: a stream when its response has begun, a
/// whole answer `wait` after it was reserved for.
async fn hang_up(world: &World, payer: &str, key: &str, body: &Value, wait: Duration) {
    let (stream, body) = (body["stream"] == true, body.to_string());
    let url = world.address("");
    let host = url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all((head + &body).as_bytes()).await.unwrap();
    if stream {
        let mut head = [0; 12];
        connection.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        return;
    }
    let since = Instant::now();
    while money(world, payer).await == (Amount::ZERO, Amount::ZERO) {
        assert!(since.elapsed() < PATIENCE, "the answer does not begin");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(wait).await;
}

/// Waits until nothing is reserved on a payer's channel; what it has spent.
async fn spent(world: &World, payer: &str) -> Amount {
    let since = Instant::now();
    loop {
        let (reserved, spent) = money(world, payer).await;
        if reserved == Amount::ZERO {
            return spent;
        }
        assert!(since.elapsed() < PATIENCE, "reserved {reserved}, spent {spent}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tokens of the answer to a request whose client hangs up, by its receipt; `None` when nothing was
/// charged.
async fn charged(world: &World, payer: &str, body: &Value, wait: Duration) -> Option<u64> {
    let key = world.payer(payer).await;
    hang_up(world, payer, &key, body, wait).await;
    let spent = spent(world, payer).await;
    if spent == Amount::ZERO {
        return None;
    }
    let receipt = receipt(world, &key, spent).await.expect("the charge has a receipt");
    receipt["tokens_out"].as_u64()
}

/// Of a few answers that `payer` reads the longest: its seed and its tokens.
async fn longest(world: &World, payer: &str) -> (u64, u64) {
    let key = world.payer(payer).await;
    let mut longest = (0, 0);
    for seed in 0..ATTEMPTS {
        let asked = world.request("post", "/v1/chat/completions").bearer_auth(&key).json(&request(seed, false));
        let answer = world.send(asked).await.done();
        let tokens = answer["usage"]["completion_tokens"].as_u64().unwrap();
        if tokens > longest.1 {
            longest = (seed, tokens);
        }
    }
    longest
}

#[test]
fn a_whole_answer_whose_client_hangs_up_is_charged_to_its_end() {
    let world = &fixture().world;
    on(async {
        let (seed, whole) = longest(world, "reads-whole-answers").await;
        // A request whose client hangs up before the answer begins costs nothing. On a busy machine
        // the answer begins a while after it is reserved for.
        for wait in [10, 40, 160, 640] {
            let (payer, wait) = (format!("hangs-up-after-{wait}"), Duration::from_millis(wait));
            if let Some(tokens) = charged(world, &payer, &request(seed, false), wait).await {
                assert_eq!(tokens, whole);
                return;
            }
        }
        panic!("no answer was charged");
    });
}

#[test]
fn a_stream_whose_client_hangs_up_ends_and_is_charged_for_the_tokens_until_then() {
    let world = &fixture().world;
    on(async {
        let (seed, whole) = longest(world, "reads-before-it-hangs-up").await;
        // On a busy machine an answer may end before the node notices that its client is gone.
        for attempt in 0..ATTEMPTS {
            let payer = format!("hangs-up-in-stream-{attempt}");
            let tokens = charged(world, &payer, &request(seed, true), Duration::ZERO).await;
            let tokens = tokens.expect("a stream that has begun is charged");
            assert!(tokens <= whole, "{tokens} of {whole}");
            if tokens < whole {
                return;
            }
        }
        panic!("no stream ended early: the whole answer has {whole} tokens");
    });
}
