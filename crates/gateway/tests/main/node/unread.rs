//! Answers whose clients do not read them: what is produced is charged.

use std::time::{Duration, Instant};

use openledger_protocol::Amount;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::story::{QUESTION, fixture, on};
use super::world::World;

/// How long the node may take to charge an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The newest receipts of the node, as everybody sees them.
async fn receipts(world: &World) -> Vec<Value> {
    world.get("/api/v1/receipts").await.done()["items"].as_array().unwrap().clone()
}

/// What is reserved and spent of a payer's channel.
async fn money(world: &World, payer: &str) -> (Amount, Amount) {
    let id = world.channel(payer).await.id(world.chain_id, world.addresses.channels);
    let store = world.database.store(&world.data).await;
    let channel = store.channel(id).await.unwrap().unwrap();
    store.close().await;
    (channel.reserved, channel.spent)
}

/// Sends a request for a long answer and hangs up without reading it: a stream when its response has
/// begun, a whole answer `wait` after it was reserved for.
async fn hang_up(world: &World, payer: &str, key: &str, stream: bool, wait: Duration) {
    let body = json!({
        "model": "thread", "max_tokens": 300, "temperature": 0, "stream": stream,
        "messages": [{ "role": "user", "content": QUESTION }], "openledger": {},
    });
    let body = body.to_string();
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

/// Asserts that an answer nobody reads is charged and leaves nothing reserved.
fn is_charged(payer: &str, stream: bool) {
    let world = &fixture().world;
    on(async {
        let key = world.payer(payer).await;
        // A request whose client hangs up before the answer begins costs nothing. On a busy machine
        // the answer begins a while after it is reserved for.
        for wait in [10, 40, 160, 640] {
            hang_up(world, payer, &key, stream, Duration::from_millis(wait)).await;
            let spent = spent(world, payer).await;
            if spent > Amount::ZERO {
                let paid = receipts(world).await.into_iter().any(|receipt| receipt["price"] == json!(spent));
                assert!(paid, "the charge has a receipt");
                return;
            }
            assert!(!stream, "a stream that had begun was not charged");
        }
        panic!("no answer was charged");
    });
}

#[test]
fn a_whole_answer_whose_client_hangs_up_is_charged() {
    is_charged("hangs-up", false);
}

#[test]
fn a_stream_whose_client_hangs_up_is_charged_for_what_was_produced() {
    is_charged("hangs-up-in-a-stream", true);
}
