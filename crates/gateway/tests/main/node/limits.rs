//! What one caller may read and use up: receipts of its own channel, pages, free work.

use futures::future::join_all;
use openledger_protocol::{Amount, sha256};
use serde_json::json;

use super::story::{QUESTION, fixture, on};
use super::world::World;

/// Deposits into a second channel of a payer, and gives the key that spends it.
async fn second_channel(world: &World, payer: &str) -> String {
    let mut config = world.channel(payer).await;
    config.salt = sha256("second channel");
    let asked = json!({ "payer": config.payer, "salt": config.salt });
    let session = world.post("/api/v1/channels/keys", &asked).await.done();
    config.authorizer = serde_json::from_value(session["authorizer"].clone()).unwrap();
    let (flow, amount) = (world.flow(payer).await, Amount::open(50).unwrap());
    flow.token().wrap(&format!("wrap/{payer}/second"), amount).await.unwrap();
    flow.token().approve(&format!("approve/{payer}/second"), world.addresses.channels, amount).await.unwrap();
    flow.channels().deposit(&format!("deposit/{payer}/second"), &config, amount).await.unwrap();
    let opened = world.post("/api/v1/channels", &json!({ "config": config })).await.done();
    opened["api_key"].as_str().unwrap().to_owned()
}

#[test]
fn the_keys_of_two_channels_of_one_payer_each_read_the_receipts_of_their_own() {
    let world = &fixture().world;
    on(async {
        let first = world.payer("of-two-channels").await;
        let second = second_channel(world, "of-two-channels").await;
        let mut ids = Vec::new();
        for key in [&first, &second] {
            let answer = world.ask(key, QUESTION, json!({})).await.done();
            ids.push(answer["openledger"]["receipt_id"].as_str().unwrap().to_owned());
        }
        let keys = [&first, &second];
        for (at, id) in ids.iter().enumerate() {
            for what in ["detail", "bundle"] {
                let path = format!("/api/v1/receipts/{id}/{what}");
                for (of, key) in keys.iter().enumerate() {
                    let read = world.send(world.request("get", &path).bearer_auth(key)).await;
                    assert_eq!(read.status, if at == of { 200 } else { 404 }, "{path}: {}", read.text);
                }
                assert_eq!(world.get(&path).await.status, 200, "the operator reads all");
            }
        }
    });
}

#[test]
fn texts_beyond_32_kib_are_not_tokenized_and_those_at_once_have_turns() {
    let world = &fixture().world;
    on(async {
        let fits = json!({ "prompt": "a b ".repeat(8_000) });
        let long = json!({ "prompt": "a b ".repeat(8_200) });
        for path in ["/tokenize", "/detokenize"] {
            let refused = world.send(world.request("post", path).json(&long)).await;
            assert_eq!((refused.status, refused.code()), (413, "unreadable_body"), "{path}: {}", refused.text);
        }
        let at_once = (0..12).map(|_| world.send(world.request("post", "/tokenize").json(&fits)));
        let answers = join_all(at_once).await;
        assert!(answers.iter().any(|answer| answer.status == 200));
        for answer in answers {
            let busy = (answer.status, answer.code()) == (503, "overloaded");
            assert!(answer.status == 200 || busy, "{}: {}", answer.status, answer.text);
        }
        // The turns are given back.
        assert_eq!(world.send(world.request("post", "/tokenize").json(&fits)).await.status, 200);
    });
}

#[test]
fn an_epoch_that_is_open_has_no_header_yet_and_says_so() {
    let world = &fixture().world;
    on(async {
        let key = world.payer("opens-an-epoch").await;
        world.ask(&key, QUESTION, json!({})).await.done();
        let newest = world.get("/api/v1/epochs").await.done()["items"][0]["number"].as_u64().unwrap();
        let open = world.get_anonymously(&format!("/api/v1/epochs/{}", newest + 1)).await;
        assert_eq!((open.status, open.code()), (404, "epoch-open"), "{}", open.text);
        let none = world.get_anonymously("/api/v1/epochs/999").await;
        assert_eq!((none.status, none.code()), (404, "not-found"), "{}", none.text);
    });
}

#[test]
fn a_list_of_receipts_is_complete_and_in_order_over_its_pages() {
    let world = &fixture().world;
    on(async {
        let key = world.payer("lists").await;
        for _ in 0..12 {
            world.ask(&key, QUESTION, json!({ "max_tokens": 1 })).await.done();
        }
        let ids = |page: &serde_json::Value| -> Vec<String> {
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 100);
            items.iter().map(|receipt| receipt["id"].as_str().unwrap().to_owned()).collect()
        };
        let times = |page: &serde_json::Value| -> Vec<u64> {
            page["items"].as_array().unwrap().iter().map(|receipt| receipt["time"].as_u64().unwrap()).collect()
        };
        // Reads of ten bodies at a time make one page.
        let page = world.get("/api/v1/receipts?limit=500").await.done();
        let (listed, times) = (ids(&page), times(&page));
        assert!(listed.len() > 11 && times.is_sorted_by(|one, next| one >= next), "{times:?}");
        let unique: std::collections::BTreeSet<_> = listed.iter().collect();
        assert_eq!(unique.len(), listed.len());
    });
}
