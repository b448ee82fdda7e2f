//! The node on an external network: the same thread, the same refusals, the same refutation, on anvil by JSON-RPC.

use std::sync::Arc;

use openledger_protocol::Amount;
use serde_json::json;

use super::calls;
use super::database::Database;
use super::dispute_fixture::wrong_payee;
use super::disputes::{pays_what_receipts_say, refuted_as};
use super::ground::{Anvil, refused, set_balance};
use super::permission::{check, expire};
use super::settling::{each_contributor_gets_half, each_holder_is_paid_its_part};
use super::story::{QUESTION, folder, on, story};
use super::world::{Place, World, key};

#[test]
fn the_node_does_on_an_external_network_what_it_does_on_its_own() {
    let Some(anvil) = Anvil::start() else { return };
    on(async {
        let client = anvil.client().await;
        for name in ["node", "faucet"] {
            set_balance(&client, name, 1_000_000).await;
        }
        let world = World::open_on(Place::Anvil(anvil.url.clone()), Database::Sqlite, folder(), Arc::default()).await;
        let story = story(world).await;
        each_holder_is_paid_its_part(&story);
        each_contributor_gets_half(&story);
        assert_eq!(story.settled_again.code(), "no-receipts");
        assert_eq!(story.claims_again, story.claims);
        check(&story.world, "expired", async |datanet, version| {
            expire(&story.world, datanet, version).await;
        })
        .await;
        withdrawn(&story.world, &story.payer).await;
        let disputes = wrong_payee(story.world, &story.sold).await;
        refuted_as(&disputes.refuted["payee"], &["wrong payee", "wrong lines"], key("second-buyer").address());
        assert_eq!(disputes.honest["verdict"], "agrees", "{}", disputes.honest);
        pays_what_receipts_say(&disputes);
    });
}

/// The payer of the settled answers takes back what is left of its 50 OPEN. Another answer is paid before it can, and from
/// then on nothing is answered.
async fn withdrawn(world: &World, api_key: &str) {
    let last = world.bundle(&world.ask(api_key, QUESTION, json!({})).await.done()).await;
    let price: Amount = serde_json::from_value(last["signed"]["receipt"]["price"].clone()).unwrap();
    let (config, flow) = (world.channel("payer").await, world.flow("payer").await);
    let id = config.id(world.chain_id, world.addresses.channels);
    let state = flow.channels().state(id).await.unwrap();
    let left = state.balance.minus(state.redeemed).unwrap();
    let left = left.minus(price).unwrap();
    assert!(state.redeemed > Amount::ZERO && left > Amount::ZERO);
    let before = flow.token().balance(flow.account()).await.unwrap();
    calls::request_withdrawal(&flow, "ask-back", &config, state.balance).await.unwrap();
    refused(calls::withdraw(&flow, "withdraw/early", &config).await, "WithdrawalNotDue");
    // Nobody tells the node and nobody asks it: it looks by itself, and redeems what was spent.
    let since = std::time::Instant::now();
    while flow.channels().state(id).await.unwrap().redeemed == state.redeemed {
        assert!(since.elapsed() < std::time::Duration::from_secs(60), "what was spent is still not redeemed");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(flow.channels().state(id).await.unwrap().redeemed, state.redeemed.plus(price).unwrap());
    refused_answer(world, api_key).await;
    world.pass("withdrawal", u32::try_from(config.withdraw_delay).unwrap()).await;
    assert_eq!(calls::withdraw(&flow, "withdraw", &config).await.unwrap(), left);
    assert_eq!(flow.token().balance(flow.account()).await.unwrap(), before.plus(left).unwrap());
    refused_answer(world, api_key).await;
}

async fn refused_answer(world: &World, api_key: &str) {
    let answer = world.ask(api_key, QUESTION, json!({})).await;
    assert_eq!((answer.status, answer.code()), (402, "deposit-withdrawn"), "{}", answer.text);
}
