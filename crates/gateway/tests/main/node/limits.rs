//! What one caller may read and use up: receipts of its own channel, pages, free work.

use std::collections::BTreeSet;

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
    let amount = Amount::open(50).unwrap();
    World::deposit_into(&world.flow(payer).await, &format!("{payer}/second"), &config, amount).await;
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
fn texts_beyond_32_kib_are_not_tokenized() {
    let world = &fixture().world;
    on(async {
        let fits = json!({ "prompt": "a b ".repeat(8_000) });
        let long = json!({ "prompt": "a b ".repeat(8_200) });
        for path in ["/tokenize", "/detokenize"] {
            let refused = world.send(world.request("post", path).json(&long)).await;
            assert_eq!((refused.status, refused.code()), (413, "unreadable_body"), "{path}: {}", refused.text);
        }
        let answer = world.send(world.request("post", "/tokenize").json(&fits)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
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
        let mut asked = BTreeSet::new();
        for _ in 0..12 {
            let answer = world.ask(&key, QUESTION, json!({ "max_tokens": 1 })).await.done();
            asked.insert(answer["openledger"]["receipt_id"].as_str().unwrap().to_owned());
        }
        assert_eq!(asked.len(), 12);
        // Time and id of each receipt, page by page, up to the oldest of those asked for. Receipts
        // of other facts may come meanwhile: they stand before these.
        let mut listed: Vec<(u64, String)> = Vec::new();
        let mut path = "/api/v1/receipts?limit=5".to_owned();
        loop {
            let page = world.get(&path).await.done();
            let items = page["items"].as_array().unwrap();
            for receipt in items {
                listed.push((receipt["time"].as_u64().unwrap(), receipt["id"].as_str().unwrap().to_owned()));
            }
            if asked.iter().all(|id| listed.iter().any(|(_, found)| found == id)) {
                break;
            }
            let Some(next) = page["next"].as_str() else { panic!("{asked:?} are not all in {listed:?}") };
            assert_eq!(items.len(), 5);
            path = format!("/api/v1/receipts?limit=5&after={next}");
        }
        assert!(listed.len() > 5, "the list had one page");
        assert!(listed.is_sorted_by(|one, next| one > next), "{listed:?}");
    });
}
