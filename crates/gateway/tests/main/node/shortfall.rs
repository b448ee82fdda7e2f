//! Epochs that the redeemed money does not cover: channels are redeemed again, and named where they
//! owe.

use openledger_protocol::Amount;
use serde_json::json;

use super::calls;
use super::story::{QUESTION, on};
use super::world::{Answer, World, key};

/// Puts a transaction of the node's into its outbox as if a step had sent it: it did nothing.
async fn skip(world: &World, step: &str) {
    let (node, outbox) = world.as_the_node().await;
    node.send(step, key("node").address(), Default::default(), Default::default()).await.unwrap();
    world.put_signed(step, &outbox).await;
}

async fn settle(world: &World) -> Answer {
    world.post("/api/v1/epochs", &json!({})).await
}

#[test]
fn a_channel_that_was_redeemed_for_too_little_is_redeemed_again_before_the_proposal() {
    on(async {
        let world = World::another_life().await;
        let payer = world.payer("late").await;
        world.ask(&payer, QUESTION, json!({})).await.done();
        skip(&world, "epoch/2/redeem/0").await;
        assert_eq!(settle(&world).await.done()["header"]["epoch"], 2);
        let audit = world.get("/api/v1/audit").await.done();
        assert_eq!(audit["ok"], true, "{audit}");
    });
}

#[test]
fn an_epoch_whose_payer_took_its_money_names_the_channel_and_settles_once_it_is_deposited_again() {
    on(async {
        let world = World::another_life().await;
        let payer = world.payer("thief").await;
        world.ask(&payer, QUESTION, json!({})).await.done();
        let config = world.channel("thief").await;
        let id = config.id(world.chain_id, world.addresses.channels);
        // The node redeems nothing, neither at the withdrawal nor for the epoch.
        skip(&world, &format!("channel/{id}/redeem/1")).await;
        skip(&world, "epoch/2/redeem/0").await;
        let (thief, all) = (world.flow("thief").await, Amount::open(50).unwrap());
        calls::request_withdrawal(&thief, "ask/thief", &config, all).await.unwrap();
        world.pass("thief", u32::try_from(config.withdraw_delay).unwrap()).await;
        assert_eq!(calls::withdraw(&thief, "withdraw/thief", &config).await.unwrap(), all);

        for _ in 0..2 {
            let refused = settle(&world).await;
            assert_eq!((refused.status, refused.code()), (409, "underfunded"), "{}", refused.text);
            assert!(refused.text.contains(&id.to_string()), "{}", refused.text);
        }
        // Anyone may deposit what is missing.
        world.fund(&["helper"]).await;
        let (helper, missing) = (world.flow("helper").await, Amount::open(5).unwrap());
        World::deposit_into(&helper, "helper", &config, missing).await;
        assert_eq!(settle(&world).await.done()["header"]["epoch"], 2);
    });
}
