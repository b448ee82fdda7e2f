//! Requests at the same time: money that several want, and a chain that lets everybody wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use futures::future::join_all;
use openledger_protocol::Amount;
use serde_json::{Value, json};

use super::ground::{Anvil, set_balance};
use super::story::{QUESTION, Story, folder, on, on_both_databases, story};
use super::world::{Place, World};

on_both_databases! {
    of_fifty_requests_at_once_on_a_channel_that_can_pay_ten_exactly_ten_are_answered,
}

fn amount(value: &Value) -> Amount {
    serde_json::from_value(value.clone()).unwrap()
}

fn of_fifty_requests_at_once_on_a_channel_that_can_pay_ten_exactly_ten_are_answered(story: &Story) {
    let world = &story.world;
    on(async {
        // A full answer costs what is reserved for it: the price depends on tokens alone.
        let more = json!({ "max_tokens": 2, "temperature": 0 });
        let rich = world.payer("measures").await;
        let one = world.ask(&rich, QUESTION, more.clone()).await.done();
        assert_eq!(one["usage"]["completion_tokens"], 2);
        let price = amount(&one["openledger"]["price"]);
        let deposit = Amount(price.0 * 10 + price.0 / 2);
        world.fund(&["ten-answers"]).await;
        let key = world.deposit("ten-answers", "first", deposit).await;

        let answers = join_all((0..50).map(|_| world.ask(&key, QUESTION, more.clone()))).await;
        let (answered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((answered.len(), refused.len()), (10, 40));
        for answer in refused {
            assert_eq!((answer.status, answer.code()), (402, "insufficient-deposit"), "{}", answer.text);
        }
        let mut nonces = Vec::new();
        let mut spent = Amount::ZERO;
        for answer in answered {
            let bundle = world.bundle(&answer.done()).await;
            let receipt = &bundle["signed"]["receipt"];
            assert_eq!(amount(&receipt["price"]), price);
            spent = spent.max(amount(&receipt["cumulative"]));
            nonces.push(receipt["nonce"].as_u64().unwrap());
        }
        nonces.sort_unstable();
        assert_eq!(nonces, (1..=10).collect::<Vec<u64>>());
        assert_eq!(spent, Amount(price.0 * 10), "what is charged is what the receipts say");
    });
}

/// An RPC that passes calls on to another one, some time later.
struct SlowRpc {
    url: String,
    delay_ms: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Passing {
    to: String,
    delay_ms: Arc<AtomicU64>,
    client: reqwest::Client,
}

impl SlowRpc {
    async fn before(to: &str) -> Self {
        let delay_ms = Arc::new(AtomicU64::new(0));
        let state = Passing { to: to.to_owned(), delay_ms: Arc::clone(&delay_ms), client: reqwest::Client::new() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(pass_on)).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, delay_ms }
    }
}

async fn pass_on(State(state): State<Passing>, body: Bytes) -> String {
    tokio::time::sleep(Duration::from_millis(state.delay_ms.load(Ordering::Relaxed))).await;
    let request = state.client.post(&state.to).header("content-type", "application/json").body(body);
    request.send().await.unwrap().text().await.unwrap()
}

#[test]
fn an_answer_completes_while_an_epoch_settles_and_while_the_chain_is_slow() {
    let Some(anvil) = Anvil::start() else { return };
    on(async {
        let client = anvil.client().await;
        for name in ["node", "faucet"] {
            set_balance(&client, name, 1_000_000).await;
        }
        let slow = SlowRpc::before(&anvil.url).await;
        let place = Place::Anvil(anvil.url.clone());
        let world = World::open_behind(place, folder(), slow.url.clone()).await;
        let story = story(world).await;
        let world = &story.world;
        let before = world.ask(&story.payer, QUESTION, json!({})).await.done();

        slow.delay_ms.store(1_500, Ordering::Relaxed);
        let nothing = json!({});
        let settling = world.post("/api/v1/epochs", &nothing);
        let asking = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let began = Instant::now();
            let answer = world.ask(&story.payer, QUESTION, json!({})).await.done();
            let took = began.elapsed();
            slow.delay_ms.store(0, Ordering::Relaxed);
            (answer, took)
        };
        let (settled, (during, took)) = tokio::join!(settling, asking);
        assert!(took < Duration::from_millis(1_500), "the answer waited for the chain: {took:?}");
        assert_eq!((settled.status, settled.code()), (409, "window-open"), "{}", settled.text);

        // The answer of meanwhile is in the next epoch, the one before in the epoch that was closed.
        let epoch = async |answer: &Value| {
            let id = answer["openledger"]["receipt_id"].as_str().unwrap().to_owned();
            world.get(&format!("/api/v1/receipts/{id}")).await.done()["epoch"].clone()
        };
        assert_eq!(epoch(&before).await, 2);
        assert_eq!(epoch(&during).await, Value::Null);
    });
}
