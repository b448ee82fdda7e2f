//! Training waits for a live grant.

use serde_json::json;

use super::calls;
use super::story::{Story, on, on_both_databases};
use super::world::{World, YEAR, record};
use openledger_protocol::{DatanetId, Purpose, Purposes};

on_both_databases! {
    without_a_grant_nothing_is_trained,
    an_expired_grant_trains_nothing,
    a_revoked_grant_trains_nothing,
    a_grant_that_the_owner_did_not_sign_is_refused,
}

/// Orders training on a fresh datanet; `before` makes its grant as it should be.
pub(crate) async fn check(world: &World, name: &str, before: impl AsyncFn(u64, u64)) {
    world.handle("granter").await;
    let datanet = world.datanet(name).await;
    world.contribute(datanet, &[record(&format!("{name}/1"), "granter", name)]).await;
    let version = world.publish(datanet, name).await;
    before(datanet, version).await;
    let mix = json!({ "spans_bps": 5_000, "influence_bps": 5_000, "retrieval_bps": 0 });
    let versions = json!([{ "datanet": datanet, "version": version }]);
    let order = json!({ "kind": "train", "name": name, "datanets": versions, "recipe": {}, "mix": mix });
    let answer = world.post("/api/v1/jobs", &order).await;
    assert_eq!((answer.status, answer.code()), (403, "no-grant"), "{}", answer.text);
}

/// A grant for four seconds, of which six pass.
pub(crate) async fn expire(world: &World, datanet: u64, version: u64) {
    world.grant(datanet, "expired", version, 4).await.done();
    world.pass("expired", 6).await;
}

fn without_a_grant_nothing_is_trained(story: &Story) {
    on(check(&story.world, "ungranted", async |_, _| {}));
}

fn an_expired_grant_trains_nothing(story: &Story) {
    let world = &story.world;
    on(check(world, "expired", async |datanet, version| expire(world, datanet, version).await));
}

fn a_revoked_grant_trains_nothing(story: &Story) {
    let world = &story.world;
    on(check(world, "revoked", async |datanet, version| {
        world.grant(datanet, "revoked", version, YEAR).await.done();
        let purposes = Purposes::of(&[Purpose::Finetune, Purpose::Evaluate, Purpose::Infer]);
        let owner = world.flow("revoked-owner").await;
        let node = super::world::key("node").address();
        calls::revoke(&owner, "revoke", DatanetId(datanet), node, purposes).await;
    }));
}

fn a_grant_that_the_owner_did_not_sign_is_refused(story: &Story) {
    let world = &story.world;
    on(async {
        world.handle("granter").await;
        let datanet = world.datanet("forged").await;
        world.contribute(datanet, &[record("forged/1", "granter", "forged")]).await;
        let version = world.publish(datanet, "forged").await;
        let answer = world.grant(datanet, "stranger", version, YEAR).await;
        assert_eq!((answer.status, answer.code()), (403, "bad-signature"));
    });
}
