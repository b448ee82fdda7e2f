//! Deposits that payers take back, before and after their channel was opened on the node.

use std::time::{Duration, Instant};

use openledger_protocol::{Amount, ChannelConfig};
use serde_json::{Value, json};

use super::calls;
use super::story::{QUESTION, on};
use super::world::{Answer, World};

async fn open(world: &World, config: &ChannelConfig) -> Answer {
    world.post("/api/v1/channels", &json!({ "config": config })).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.text);
}

fn amount(value: &Value) -> Amount {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn a_deposit_that_was_asked_back_opens_no_channel_until_it_is_paid_out_and_deposited_again() {
    on(async {
        let world = World::another_life().await;
        world.fund(&["undecided"]).await;
        let (config, flow) = (world.channel("undecided").await, world.flow("undecided").await);
        let id = config.id(world.chain_id, world.addresses.channels);
        let wait = u32::try_from(config.withdraw_delay).unwrap();

        // Asked back before the node knows of the channel: no event of it will come later.
        let (all, less) = (Amount::open(50).unwrap(), Amount::open(20).unwrap());
        World::deposit_into(&flow, "first", &config, all).await;
        calls::request_withdrawal(&flow, "ask/first", &config, all).await.unwrap();
        refused(&open(&world, &config).await, 409, "withdrawal-pending");
        world.pass("first", wait).await;
        assert_eq!(calls::withdraw(&flow, "withdraw/first", &config).await.unwrap(), all);
        refused(&open(&world, &config).await, 402, "not-funded");

        World::deposit_into(&flow, "second", &config, all).await;
        let opened = open(&world, &config).await.done();
        assert_eq!(amount(&opened["deposited"]), all);
        let key = opened["api_key"].as_str().unwrap().to_owned();
        let answer = world.bundle(&world.ask(&key, QUESTION, json!({})).await.done()).await;
        let spent = amount(&answer["signed"]["receipt"]["cumulative"]);

        // Asked back while it is open: the node redeems what was spent, and the rest is paid out.
        calls::request_withdrawal(&flow, "ask/second", &config, all).await.unwrap();
        refused(&world.ask(&key, QUESTION, json!({})).await, 402, "deposit-withdrawn");
        refused(&open(&world, &config).await, 409, "withdrawal-pending");
        let since = Instant::now();
        while flow.channels().state(id).await.unwrap().redeemed < spent {
            assert!(since.elapsed() < Duration::from_secs(60), "what was spent is not redeemed");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        world.pass("second", wait).await;
        let left = all.minus(spent).unwrap();
        assert_eq!(calls::withdraw(&flow, "withdraw/second", &config).await.unwrap(), left);
        refused(&world.ask(&key, QUESTION, json!({})).await, 402, "deposit-withdrawn");

        // The channel goes on with less than was deposited before; its receipts count on.
        World::deposit_into(&flow, "third", &config, less).await;
        let opened = open(&world, &config).await.done();
        assert_eq!(amount(&opened["deposited"]), less.plus(spent).unwrap());
        assert_eq!(opened["api_key"], key.as_str());
        let answer = world.bundle(&world.ask(&key, QUESTION, json!({})).await.done()).await;
        assert_eq!(answer["signed"]["receipt"]["nonce"], 2);
    });
}
