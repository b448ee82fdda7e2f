//! Asking and paying: keys, repeats, deposits, streams.

use openledger_protocol::Amount;
use serde_json::json;

use super::story::{Story, on, on_both_databases};
use super::world::World;

on_both_databases! {
    the_same_key_is_answered_and_charged_once_also_at_the_same_time,
    a_deposit_that_is_too_small_is_402_and_charges_nothing,
    a_price_above_the_callers_limit_is_402,
    an_unknown_model_is_404_and_neither_it_nor_the_base_answers,
    a_missing_or_wrong_api_key_is_401,
    a_stream_carries_the_answer_and_its_receipt_and_ends_with_done,
}

/// Nonce and cumulative amount of an answer's receipt.
async fn charged(world: &World, answer: &serde_json::Value) -> (u64, Amount, Amount) {
    let bundle = world.bundle(answer).await;
    let receipt = &bundle["signed"]["receipt"];
    let amount = |name: &str| serde_json::from_value(receipt[name].clone()).unwrap();
    (receipt["nonce"].as_u64().unwrap(), amount("cumulative"), amount("price"))
}

fn the_same_key_is_answered_and_charged_once_also_at_the_same_time(story: &Story) {
    let world = &story.world;
    on(async {
        let payer = world.payer("repeats").await;
        let body = json!({ "openledger": { "idempotency_key": "k" } });
        let asked = (0..8).map(|_| world.ask(&payer, "Which star is the brightest?", body.clone()));
        let answers = futures::future::join_all(asked).await;
        let first = answers[0].clone().done();
        for answer in answers {
            let answer = answer.done();
            assert_eq!(answer["openledger"]["receipt_id"], first["openledger"]["receipt_id"]);
            assert_eq!(answer["choices"], first["choices"]);
        }
        let again = world.ask(&payer, "Which star is the brightest?", body.clone()).await;
        assert!(again.replayed);
        let other = world.ask(&payer, "Is Polaris the brightest star?", body).await;
        assert_eq!((other.status, other.code()), (409, "key-reused"));
        let (nonce, cumulative, price) = charged(world, &first).await;
        assert_eq!((nonce, cumulative), (1, price));
        let next = world.ask(&payer, "How do I find Polaris?", json!({})).await.done();
        let (nonce, cumulative, second) = charged(world, &next).await;
        assert_eq!((nonce, cumulative), (2, price.plus(second).unwrap()));
    });
}

fn a_deposit_that_is_too_small_is_402_and_charges_nothing(story: &Story) {
    let world = &story.world;
    on(async {
        world.fund(&["poor"]).await;
        let payer = world.deposit("poor", "first", Amount(1_000)).await;
        for stream in [false, true] {
            let refused = world.ask(&payer, "What is a weir?", json!({ "stream": stream })).await;
            assert_eq!((refused.status, refused.code()), (402, "insufficient-deposit"));
        }
        let same = world.deposit("poor", "more", Amount::open(5).unwrap()).await;
        assert_eq!(same, payer, "a channel keeps its key");
        let paid = world.ask(&payer, "What is a weir?", json!({})).await.done();
        let (nonce, cumulative, price) = charged(world, &paid).await;
        assert_eq!((nonce, cumulative), (1, price));
    });
}

fn a_price_above_the_callers_limit_is_402(story: &Story) {
    let world = &story.world;
    on(async {
        let payer = world.payer("careful").await;
        let refused = world.ask(&payer, "What is a weir?", json!({ "openledger": { "max_price": "1" } })).await;
        assert_eq!((refused.status, refused.code()), (402, "over-max-price"));
    });
}

fn an_unknown_model_is_404_and_neither_it_nor_the_base_answers(story: &Story) {
    let world = &story.world;
    on(async {
        let payer = world.payer("lost").await;
        let base = world.network["base"]["name"].as_str().unwrap().to_owned();
        for model in ["no-such-model", base.as_str()] {
            let answer = world.ask(&payer, "What is a weir?", json!({ "model": model })).await;
            assert_eq!((answer.status, answer.code()), (404, "model_not_found"), "{}", answer.text);
            assert!(answer.body.get("choices").is_none());
        }
    });
}

fn a_missing_or_wrong_api_key_is_401(story: &Story) {
    let world = &story.world;
    on(async {
        let wrong = world.ask("ol_0000", "What is a weir?", json!({})).await;
        assert_eq!((wrong.status, wrong.code()), (401, "invalid_api_key"));
        let body = json!({ "model": "thread", "messages": [{ "role": "user", "content": "What is a weir?" }] });
        let none = world.send(world.request("post", "/v1/chat/completions").json(&body)).await;
        assert_eq!((none.status, none.code()), (401, "invalid_api_key"));
        let operator = world.ask(&world.token, "What is a weir?", json!({})).await;
        assert_eq!(operator.status, 403, "the operator's token spends nobody's deposit");
        assert!(operator.text.contains("needs the API key of a channel"), "{}", operator.text);
    });
}

fn a_stream_carries_the_answer_and_its_receipt_and_ends_with_done(story: &Story) {
    let world = &story.world;
    on(async {
        let payer = world.payer("streams").await;
        let ask = |stream: bool| {
            world.ask(
                &payer,
                "How do I find Polaris?",
                json!({ "stream": stream, "openledger": { "idempotency_key": "s" } }),
            )
        };
        let streamed = ask(true).await;
        assert_eq!(streamed.status, 200);
        assert!(streamed.text.trim_end().ends_with("data: [DONE]"), "{}", streamed.text);
        let (text, receipt) = read_stream(&streamed.text);
        let whole = ask(false).await;
        assert!(whole.replayed);
        assert_eq!(whole.body["choices"][0]["message"]["content"], text.as_str());
        assert_eq!(whole.body["openledger"]["receipt_id"], receipt["receipt_id"]);
        assert_eq!(read_stream(&ask(true).await.text), (text, receipt), "a repeated stream tells the same");
    });
}

/// The text of a stream's pieces, and the note of its receipt.
fn read_stream(events: &str) -> (String, serde_json::Value) {
    let (mut text, mut receipt) = (String::new(), serde_json::Value::Null);
    for event in events.split("\n\n") {
        let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
        let Ok(value) = serde_json::from_str::<serde_json::Value>(data) else { continue };
        if event.contains("event: openledger.receipt") {
            receipt = value;
        } else {
            text.push_str(value["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        }
    }
    (text, receipt)
}
