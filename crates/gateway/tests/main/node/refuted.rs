//! Books that were changed behind the node's back are not proposed, and an epoch that somebody else
//! finalized is taken. On the machine's clock, so that the window is waited out and not hurried
//! along.

use openledger_protocol::{Amount, B256, PayeeRole};
use serde_json::{Value, json};

use super::story::{QUESTION, Story, on, on_both_databases};
use super::world::{BOND, WINDOW_S, World, key};

on_both_databases! {
    false_lines_are_not_proposed_and_an_epoch_that_another_finalized_is_taken,
}

/// Writes down what a receipt's lines pay: in the books, and in the bundle that is published.
async fn write_lines(world: &World, receipt: B256, entries: &Value) {
    let mut rows = world.database.rows(&world.data).await;
    let mut body: Value = serde_json::from_str(&rows.body(&receipt[..]).await).unwrap();
    body["entries"] = entries.clone();
    rows.write_body(&receipt[..], &body.to_string()).await;
    for entry in entries.as_array().unwrap() {
        let amount: Amount = serde_json::from_value(entry["amount"].clone()).unwrap();
        rows.write_amount(&receipt[..], entry["line"].as_i64().unwrap(), amount.0).await;
    }
}

/// The lines with a thousand units moved from the first of one role to the first of another.
fn moved(entries: &Value, from: PayeeRole, to: PayeeRole) -> Value {
    let mut entries = entries.clone();
    for (role, gain) in [(from, -1_000_i128), (to, 1_000)] {
        let lines = entries.as_array_mut().unwrap();
        let role = serde_json::to_value(role).unwrap();
        let line = lines.iter_mut().find(|line| line["role"] == role && line["amount"] != "0").unwrap();
        let amount: Amount = serde_json::from_value(line["amount"].clone()).unwrap();
        line["amount"] = serde_json::to_value(Amount(amount.0.checked_add_signed(gain).unwrap())).unwrap();
    }
    entries
}

fn false_lines_are_not_proposed_and_an_epoch_that_another_finalized_is_taken(story: &Story) {
    on(async {
        let world = World::open_by_the_clock(story.kept_database.copied(), story.copied()).await;
        let payer = world.payer("patient").await;
        world.fund(&["watchdog"]).await;
        let watchdog = world.flow("watchdog").await;
        let answer = world.ask(&payer, QUESTION, json!({})).await.done();
        let receipt: B256 = serde_json::from_value(answer["openledger"]["receipt_id"].clone()).unwrap();
        let honest = world.bundle(&answer).await["entries"].clone();
        let settle = async || world.post("/api/v1/epochs", &json!({})).await;
        let stake = async || watchdog.payouts().operator(key("node").address()).await.unwrap().stake;
        let bond = Amount::open(BOND).unwrap();

        // Lines that were not signed are never proposed: no bond is put at stake for them.
        let before = stake().await;
        write_lines(&world, receipt, &moved(&honest, PayeeRole::Contributor, PayeeRole::Node)).await;
        for _ in 0..2 {
            let refused = settle().await;
            assert_eq!((refused.status, refused.code()), (409, "false-books"), "{}", refused.text);
            assert!(refused.text.contains("are not those that were signed"), "{}", refused.text);
        }
        assert_eq!((stake().await, watchdog.payouts().pending().await.unwrap()), (before, None));

        // Mended books are proposed with a bond of their own; asked again meanwhile, there is one proposal and one bond.
        write_lines(&world, receipt, &honest).await;
        for _ in 0..2 {
            let open = settle().await;
            assert_eq!((open.status, open.code()), (409, "window-open"), "{}", open.text);
        }
        assert_eq!(stake().await, bond);
        let watch = world.request("post", "/api/v1/epochs/pending/watch").bearer_auth(&world.token);
        let verdict = world.send(watch).await.done();
        assert_eq!((&verdict["verdict"], &verdict["epoch"]), (&json!("agrees"), &json!(2)), "{verdict}");

        // Somebody else finalizes it; the node takes note, and pays by it.
        world.pass("window", u32::try_from(WINDOW_S).unwrap()).await;
        watchdog.payouts().finalize("finalize").await.unwrap();
        let settled = settle().await.done();
        assert_eq!(settled["header"]["epoch"], 2, "{settled}");
        assert!(settled["steps"].as_array().unwrap().iter().all(|step| step["what"] != "finalize"), "{settled}");
        let epochs = world.get("/api/v1/epochs").await.done();
        assert!(epochs["items"].as_array().unwrap().iter().all(|epoch| epoch["state"] == "finalized"), "{epochs}");
        assert!(!world.post("/api/v1/claims", &json!({})).await.done()["claims"].as_array().unwrap().is_empty());
        let audit = world.get("/api/v1/audit").await.done();
        assert_eq!(audit["ok"], true, "{audit}");
    });
}
