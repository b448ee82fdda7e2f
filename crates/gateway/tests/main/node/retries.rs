//! Settlement goes on after its transactions reverted, and claims are paid by the stored tree.

use openledger_chain::sender::SendError;
use openledger_protocol::{Address, Amount, Params, keccak};
use serde_json::{Value, json};

use super::story::{QUESTION, on};
use super::world::{Answer, World};

/// Another life of the story's network, with an answer to settle.
async fn with_an_answer() -> World {
    let world = World::another_life().await;
    let payer = world.payer("steady").await;
    world.ask(&payer, QUESTION, json!({})).await.done();
    world
}

/// Puts a transaction of the node's into its outbox as if a step had sent it: it stands in a block
/// and reverted.
async fn revert(world: &World, step: &str) {
    let (node, outbox) = world.as_the_node().await;
    // No proposal is pending, so that there is nothing to finalize.
    let finalize = keccak("finalize()")[..4].to_vec();
    let sent = node.send_with_gas(step, world.addresses.payouts, finalize.into(), 200_000).await;
    assert!(matches!(sent, Err(SendError::Reverted { .. })), "{sent:?}");
    world.put_signed(step, &outbox).await;
}

async fn settle(world: &World) -> Answer {
    world.post("/api/v1/epochs", &json!({})).await
}

#[test]
fn a_settlement_whose_transactions_revert_goes_on_with_others() {
    on(async {
        let world = with_an_answer().await;
        let steps = ["redeem/0", "propose", "finalize"].map(|step| format!("epoch/2/{step}"));
        for step in &steps {
            revert(&world, step).await;
        }
        for step in &steps {
            let failed = settle(&world).await;
            assert_eq!((failed.status, failed.code()), (503, "step-reverted"), "{}", failed.text);
            assert!(failed.text.contains(step) && failed.text.contains("NothingPending"), "{}", failed.text);
        }
        assert_eq!(settle(&world).await.done()["header"]["epoch"], 2);
        assert_eq!((settle(&world).await.status, world.get("/api/v1/epochs").await.status), (409, 200));
        let (params,): (Vec<u8>,) = sqlx::query_as("SELECT params FROM epochs WHERE number = 2")
            .fetch_one(&mut world.sqlite().await)
            .await
            .unwrap();
        assert_eq!(params, Params::GENESIS.hash().to_vec());
        let audit = world.get("/api/v1/audit").await.done();
        assert_eq!(audit["ok"], true, "{audit}");
    });
}

/// What an account has earned in all, in the books of epoch 2.
async fn set_earned(world: &World, account: Address, cumulative: Amount) {
    let written = sqlx::query("UPDATE payouts SET cumulative = ? WHERE epoch = 2 AND account = ?")
        .bind(cumulative.to_be_bytes().to_vec())
        .bind(account.to_vec())
        .execute(&mut world.sqlite().await)
        .await
        .unwrap();
    assert_eq!(written.rows_affected(), 1);
}

async fn claim(world: &World, account: Address) -> Answer {
    world.post("/api/v1/claims", &json!({ "accounts": [account] })).await
}

fn amount(value: &Value) -> Amount {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn a_claim_rests_on_the_stored_tree_and_one_that_the_chain_does_not_pay_is_refused_by_name() {
    on(async {
        let world = with_an_answer().await;
        settle(&world).await.done();
        let payouts = world.get("/api/v1/epochs/2/payouts").await.done();
        let owing = payouts["items"].as_array().unwrap().iter().map(|payout| {
            let account: Address = serde_json::from_value(payout["account"].clone()).unwrap();
            let (earned, claimed) = (amount(&payout["cumulative"]), amount(&payout["claimed"]));
            (account, earned, earned.minus(claimed).unwrap())
        });
        let owing: Vec<_> = owing.filter(|(_, _, due)| *due > Amount::ZERO).collect();
        let [(one, _, due), (other, earned, others_due), ..] = owing[..] else { panic!("{payouts}") };

        // The books of another account are damaged: its proof is not needed, and no longer holds.
        set_earned(&world, other, earned.plus(Amount(1)).unwrap()).await;
        let paid = claim(&world, one).await.done();
        assert_eq!(amount(&paid["claims"][0]["amount"]), due, "{paid}");
        let refused = claim(&world, other).await;
        assert_eq!((refused.status, refused.code()), (409, "claim-passed-over"), "{}", refused.text);
        assert!(refused.text.contains(&other.to_string()), "{}", refused.text);

        set_earned(&world, other, earned).await;
        for _ in 0..2 {
            let paid = claim(&world, other).await.done();
            assert_eq!(amount(&paid["claims"][0]["amount"]), others_due, "{paid}");
        }
        let all = world.post("/api/v1/claims", &json!({})).await.done();
        assert_eq!(all["claims"].as_array().unwrap().len(), payouts["items"].as_array().unwrap().len());
        let audit = world.get("/api/v1/audit").await.done();
        assert_eq!(audit["ok"], true, "{audit}");
    });
}
