//! How a node stops while jobs are followed, and what a response says of a fault of the node.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openledger_store::jobs::NewJob;
use openledger_store::{BlobsConfig, Store, transact_locked};
use serde_json::{Value, json};

use super::story::{QUESTION, fixture, on};
use super::world::World;

/// The year 2100, in Unix milliseconds: no worker takes a job of then.
const MUCH_LATER: u64 = 4_102_444_800_000;

/// Puts a job into the database of a node that does not run.
async fn put_job(data: &Path, kind: &str) -> u64 {
    let blobs = BlobsConfig::new(format!("file://{}", data.join("blobs").display()));
    let store = Store::open(&format!("sqlite://{}", data.join("openledger.db").display()), blobs).await.unwrap();
    let job = NewJob {
        kind: kind.into(),
        key: None,
        order: "never".into(),
        not_before: MUCH_LATER,
        max_attempts: 9,
        created: 1,
    };
    let (id, _) = transact_locked!(store, |tx| tx.enqueue(&job).await).unwrap();
    store.close().await;
    id
}

#[test]
fn a_follower_of_a_job_that_never_ends_does_not_keep_the_node_from_stopping() {
    on(async {
        let data = fixture().copied();
        let job = put_job(&data, "train").await;
        let world = World::open(data, Arc::default()).await;
        let request = world.request("get", &format!("/api/v1/jobs/{job}/events")).bearer_auth(&world.token);
        let mut following = request.send().await.unwrap();
        assert_eq!(following.status().as_u16(), 200);
        let (began, mut took) = (Instant::now(), Duration::MAX);
        let _world = world.reopened(async |_| took = began.elapsed()).await;
        assert!(took < Duration::from_secs(15), "the node took {took:?} to stop");
        // A stream that ends in order would say that the job has ended.
        let broken = loop {
            match following.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(broken);
    });
}

#[test]
fn a_fault_of_the_node_is_told_by_a_sentence_with_the_requests_id() {
    on(async {
        let data = fixture().copied();
        let job = put_job(&data, "of-another-release").await;
        let world = World::open(data, Arc::default()).await;
        let request = world.request("get", &format!("/api/v1/jobs/{job}")).bearer_auth(&world.token);
        let failed = world.send(request.header("x-request-id", "looked-at")).await;
        assert_eq!((failed.status, failed.code()), (500, "unknown-kind"), "{}", failed.text);
        assert!(!failed.text.contains("of-another-release"), "{}", failed.text);
        assert_eq!(failed.body["request_id"], "looked-at");
        assert!(failed.body["detail"].as_str().unwrap().ends_with("looked-at"), "{}", failed.text);
    });
}

#[test]
fn a_stream_that_fails_after_it_began_carries_the_requests_id() {
    on(async {
        let world = World::another_life().await;
        let payer = world.payer("unlucky").await;
        // Without the model's title nobody is known who is paid for its answers.
        let removed = sqlx::query("DELETE FROM transfers WHERE contract = ?").bind(world.addresses.models.to_vec());
        assert_eq!(removed.execute(&mut world.sqlite().await).await.unwrap().rows_affected(), 1);
        let body = json!({ "model": "thread", "stream": true, "messages": [{ "role": "user", "content": QUESTION }] });
        let request = world.request("post", "/v1/chat/completions").bearer_auth(&payer).json(&body);
        let failed = world.send(request.header("x-request-id", "looked-at")).await;
        assert_eq!(failed.status, 200, "{}", failed.text);
        let last = failed.text.trim_end().rsplit("\n\n").next().unwrap();
        let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(error["error"]["code"], "damaged-data", "{}", failed.text);
        assert!(error["error"]["message"].as_str().unwrap().ends_with("looked-at"), "{}", failed.text);
    });
}

#[test]
fn events_of_a_job_are_named_by_their_type_and_end_with_the_job() {
    let story = fixture();
    on(async {
        let job = story.job["job"].as_u64().unwrap();
        let events = story.world.get(&format!("/api/v1/jobs/{job}/events")).await;
        assert_eq!(events.status, 200);
        let mut kinds = Vec::new();
        for block in events.text.split("\n\n").filter(|block| block.contains("data:")) {
            let of = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.trim_start().to_owned()
            };
            let data: Value = serde_json::from_str(&of("data:")).unwrap();
            assert_eq!((of("event:"), of("id:")), (data["type"].as_str().unwrap().to_owned(), data["seq"].to_string()));
            kinds.push(of("event:"));
        }
        assert!(kinds.iter().any(|kind| kind == "progress"), "{kinds:?}");
        assert_eq!(kinds.last().unwrap(), "state");
    });
}
