//! What becomes of files: damaged ones, repeated ones, unsigned ones, overtaken ones.

use serde_json::{Value, json};

use super::story::{Story, on, on_both_databases};
use super::world::{World, jsonl, key, record, repository};

on_both_databases! {
    a_damaged_file_is_refused_whole_with_every_bad_line,
    what_a_rule_refuses_is_listed_and_the_rest_is_taken,
    the_same_file_again_gives_the_same_answer_before_and_after_it_is_registered,
    a_text_that_the_datanet_holds_is_refused_as_a_duplicate_of_the_first,
    an_unsigned_or_wrongly_signed_batch_registers_nothing,
    a_file_that_nobody_signed_blocks_no_later_one_and_cannot_be_signed_after_it,
    a_version_published_again_under_the_same_signature_is_the_same_version,
}

/// Status, accepted lines and told lines of a bad sample.
#[track_caller]
fn check(world: &World, file: &str, status: u16, accepted: u64, lines: &[u64]) {
    on(async {
        world.handle("river-gauge").await;
        let name = format!("bad {file}");
        let datanet = world.datanet(&name).await;
        let bytes = std::fs::read(repository(&format!("samples/bad/{file}.jsonl"))).unwrap();
        let answer = world.import(datanet, &bytes).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let told = if status == 200 { &answer.body["refused"] } else { &answer.body["problems"] };
        let told: Vec<u64> = told.as_array().unwrap().iter().map(|one| one["line"].as_u64().unwrap()).collect();
        assert_eq!(told, lines);
        if status == 200 {
            assert_eq!(answer.body["accepted"], accepted);
        } else {
            assert_eq!(answer.code(), "malformed-file");
        }
        let cards = world.get("/api/v1/datanets").await.done();
        let card = cards["items"].as_array().unwrap().iter().find(|card| card["name"] == name.as_str()).unwrap();
        assert_eq!((&card["records"], &card["contributions"]), (&json!(0), &json!(0)), "nothing is in it unsigned");
    });
}

fn a_damaged_file_is_refused_whole_with_every_bad_line(story: &Story) {
    check(&story.world, "truncated", 422, 0, &[3]);
    check(&story.world, "invalid-utf8", 422, 0, &[2]);
    check(&story.world, "nul", 422, 0, &[2, 3]);
    check(&story.world, "duplicate-ids", 422, 0, &[3, 5]);
}

fn what_a_rule_refuses_is_listed_and_the_rest_is_taken(story: &Story) {
    check(&story.world, "missing-license", 200, 1, &[2, 3]);
    check(&story.world, "empty-text", 200, 1, &[2, 3, 4, 5]);
    check(&story.world, "bom-crlf", 200, 3, &[]);
}

fn the_same_file_again_gives_the_same_answer_before_and_after_it_is_registered(story: &Story) {
    let world = &story.world;
    on(async {
        world.handle("twice").await;
        let datanet = world.datanet("repeated").await;
        let file = jsonl(&[record("r/1", "twice", "the north weir"), record("r/2", "twice", "the south weir")]);
        let first = world.import(datanet, &file).await.done();
        assert_eq!(world.import(datanet, &file).await.done(), first);
        let signatures = world.signatures(&first);
        let registered = world.register(&first, &signatures).await.done();
        assert_eq!(world.register(&first, &signatures).await.done(), registered);
        assert_eq!(world.import(datanet, &file).await.done(), first);
    });
}

fn a_text_that_the_datanet_holds_is_refused_as_a_duplicate_of_the_first(story: &Story) {
    let world = &story.world;
    on(async {
        for name in ["earlier", "later"] {
            world.handle(name).await;
        }
        let datanet = world.datanet("duplicates").await;
        world.contribute(datanet, &[record("first", "earlier", "the long lock")]).await;
        let again = world.import(datanet, &jsonl(&[record("copy", "later", "the long lock")])).await.done();
        assert_eq!((&again["accepted"], &again["refused"][0]["id"]), (&json!(0), &json!("copy")));
        assert!(again["refused"][0]["reason"].as_str().unwrap().contains("`first`"), "{again}");
    });
}

fn an_unsigned_or_wrongly_signed_batch_registers_nothing(story: &Story) {
    let world = &story.world;
    on(async {
        for name in ["signs", "signs-not"] {
            world.handle(name).await;
        }
        let datanet = world.datanet("signing").await;
        let file = jsonl(&[record("s/1", "signs", "the gate"), record("s/2", "signs-not", "the bar")]);
        let import = world.import(datanet, &file).await.done();
        let good = world.signatures(&import);
        let unsigned = world.register(&import, &good[..1]).await;
        assert_eq!((unsigned.status, unsigned.code()), (403, "unsigned"));
        let mut forged = good.clone();
        forged[1]["signature"] = forged[0]["signature"].clone();
        let wrong = world.register(&import, &forged).await;
        assert_eq!((wrong.status, wrong.code()), (403, "bad-signature"));
        let next = world.get(&format!("/api/v1/datanets/{datanet}/next-version")).await;
        assert_eq!((next.status, next.code()), (409, "nothing-new"));
        let nonce = world.flow("faucet").await.contributions().nonce(key("signs").address()).await.unwrap();
        assert_eq!(nonce, 0);
        assert_eq!(world.register(&import, &good).await.done()["registered"].as_array().unwrap().len(), 2);
    });
}

fn a_file_that_nobody_signed_blocks_no_later_one_and_cannot_be_signed_after_it(story: &Story) {
    let world = &story.world;
    on(async {
        world.handle("changes-mind").await;
        let datanet = world.datanet("abandoned").await;
        let left = jsonl(&[record("a/1", "changes-mind", "the first draft")]);
        let left_import = world.import(datanet, &left).await.done();
        world.contribute(datanet, &[record("a/2", "changes-mind", "the second draft")]).await;
        let late = world.register(&left_import, &world.signatures(&left_import)).await;
        assert_eq!((late.status, late.code()), (409, "stale-import"));
        let again: Value = world.import(datanet, &left).await.done();
        assert_ne!(again["batches"][0]["digest"], left_import["batches"][0]["digest"]);
        assert_eq!(world.register(&again, &world.signatures(&again)).await.status, 200);
    });
}

fn a_version_published_again_under_the_same_signature_is_the_same_version(story: &Story) {
    let world = &story.world;
    on(async {
        world.handle("publishes").await;
        let datanet = world.datanet("versions").await;
        world.contribute(datanet, &[record("v/1", "publishes", "the towpath")]).await;
        let next = world.get(&format!("/api/v1/datanets/{datanet}/next-version")).await.done();
        let digest = serde_json::from_value(next["digest"].clone()).unwrap();
        let path = format!("/api/v1/datanets/{datanet}/versions");
        let stranger = world.post(&path, &json!({ "signature": key("publishes").sign(digest) })).await;
        assert_eq!((stranger.status, stranger.code()), (403, "bad-signature"));
        let signed = json!({ "signature": key("versions-owner").sign(digest) });
        let first = world.post(&path, &signed).await.done();
        assert_eq!(first["version"], 1);
        assert_eq!(world.post(&path, &signed).await.done(), first);
    });
}
