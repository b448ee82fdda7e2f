//! The life of each title, on both chains: made, written under an expected version, delegated, sold.

use openledger_chain::flow::{NewContribution, NewModel, Royalty, Title};
use openledger_protocol::{
    Address, Amount, B256, Contribution, Domain, Grant, Publication, Purpose, Purposes, contribution_id,
};

use crate::ground::{CHAIN_ID, Ground, on_both, refused};
use crate::world::key;

on_both! {
    a_datanet_is_written_by_its_holder_or_with_its_signature_and_only_at_the_expected_version,
    a_contribution_is_committed_then_revealed_and_paid_to_whoever_holds_it,
    a_model_is_priced_by_its_holder_and_pays_its_first_holder_a_royalty,
}

/// `bps` of every price goes to the first holder, also after a sale, which fixes it; the sale is remembered by block.
async fn sold(ground: &Ground, title: Title, seller: &str, bps: u16) {
    let flow = ground.flow(seller).await;
    refused(flow.set_royalty("too-high", title, 1_001).await, "RoyaltyTooHigh");
    flow.set_royalty("royalty", title, bps).await.unwrap();
    let stranger = ground.flow("stranger").await;
    refused(stranger.set_royalty("stranger", title, 1).await, "RoyaltyFixed");
    refused(stranger.transfer_title("steal", title, stranger.account()).await, "ERC721InsufficientApproval");
    let price = Amount::open(10).unwrap();
    let owed = Royalty { receiver: flow.account(), amount: Amount(price.0 * u128::from(bps) / 10_000) };
    assert_eq!(flow.royalty(title, price).await.unwrap(), owed);

    let before = flow.client().block_number().await.unwrap();
    let buyer = key("buyer").address();
    let sale = flow.transfer_title("sale", title, buyer).await.unwrap();
    assert_eq!(flow.title_holder(title).await.unwrap(), buyer);
    assert_eq!(flow.title_holder_at(title, before).await.unwrap(), flow.account());
    assert_eq!(flow.title_holder_at(title, sale.block).await.unwrap(), buyer);
    assert_eq!(flow.royalty(title, price).await.unwrap(), owed);
    refused(flow.set_royalty("late", title, 1).await, "RoyaltyFixed");
}

async fn a_datanet_is_written_by_its_holder_or_with_its_signature_and_only_at_the_expected_version(ground: &Ground) {
    let owner = ground.rich("owner", 10).await;
    let (relayer, buyer) = (ground.rich("relayer", 10).await, ground.rich("buyer", 10).await);
    ground.rich("stranger", 10).await;
    let terms = B256::repeat_byte(1);
    let datanet = owner.create_datanet("create", terms, "tide tables").await.unwrap().value;
    let version =
        |expected_version, root| Publication { datanet, expected_version, root: B256::repeat_byte(root), records: 3 };
    assert_eq!(owner.publish("first", &version(1, 7)).await.unwrap().value, 1);
    refused(owner.publish("stale", &version(1, 8)).await, "WrongVersion");
    refused(relayer.publish("not-mine", &version(2, 8)).await, "NotDatanetOwner");

    let domain = Domain { chain_id: CHAIN_ID, contract: ground.addresses.datanets };
    let next = version(2, 8);
    let signature = key("owner").sign(domain.digest(next.struct_hash()));
    let forged = key("stranger").sign(domain.digest(next.struct_hash()));
    refused(relayer.publish_signed("forged", &next, &forged).await, "NotSignedByOwner");
    assert_eq!(relayer.publish_signed("second", &next, &signature).await.unwrap().value, 2);
    refused(relayer.publish_signed("replayed", &next, &signature).await, "WrongVersion");
    assert_eq!(owner.version_root(datanet, 1).await.unwrap(), B256::repeat_byte(7));
    assert_eq!(owner.datanet(datanet).await.unwrap().version, 2);

    let until = ground.now().await + 1_000;
    let purposes = Purposes::of(&[Purpose::Finetune]);
    let grant = Grant { datanet, version: 2, grantee: key("trainer").address(), purposes, until, terms };
    let granted = key("owner").sign(domain.digest(grant.struct_hash()));
    relayer.grant_signed("grant", &grant, &granted).await.unwrap();
    let trainer = grant.grantee;
    assert_eq!(owner.granted_until(datanet, trainer, Purpose::Finetune).await.unwrap(), until);
    owner.revoke("revoke", datanet, trainer, purposes).await.unwrap();
    assert_eq!(owner.granted_until(datanet, trainer, Purpose::Finetune).await.unwrap(), 0);
    refused(relayer.grant_signed("regrant", &grant, &granted).await, "GrantStale");

    sold(ground, Title::Datanet(datanet), "owner", 500).await;
    refused(owner.publish("sold", &version(3, 9)).await, "NotDatanetOwner");
    assert_eq!(buyer.publish("third", &version(3, 9)).await.unwrap().value, 3);
}

async fn a_contribution_is_committed_then_revealed_and_paid_to_whoever_holds_it(ground: &Ground) {
    let owner = ground.rich("owner", 10).await;
    let (relayer, thief) = (ground.rich("relayer", 10).await, ground.rich("stranger", 10).await);
    ground.rich("river-gauge", 10).await;
    let terms = B256::repeat_byte(1);
    let datanet = owner.create_datanet("create", terms, "tide tables").await.unwrap().value;
    let registrant = key("river-gauge").address();
    let titles = ground.addresses.contributions;
    let of = |nonce, root, contributors: Vec<Address>| {
        let id = contribution_id(CHAIN_ID, titles, registrant, nonce);
        let contribution = Contribution { id, datanet, registrant, contributors, root, count: 3, terms, nonce };
        let domain = Domain { chain_id: CHAIN_ID, contract: titles };
        let signature = key("river-gauge").sign(domain.digest(contribution.registration().struct_hash()));
        let Contribution { contributors, .. } = contribution;
        let salt = B256::repeat_byte(0x5a);
        let signature = Some(signature);
        (id, NewContribution { datanet, root, count: 3, terms, contributors, registrant, salt, signature })
    };
    let (id, batch) = of(0, B256::repeat_byte(2), vec![registrant]);
    refused(relayer.register("unseen", &batch).await, "NotCommitted");
    let committed = relayer.commit("commit", std::slice::from_ref(&batch)).await.unwrap();
    ground.pass(1).await;
    // Who copies the commitment's batch under another name has a commitment of its own, and a later one.
    let copied = NewContribution { registrant: thief.account(), signature: None, ..batch.clone() };
    refused(thief.register("copied", &copied).await, "NotCommitted");
    let unsigned = NewContribution { count: 4, ..batch.clone() };
    refused(relayer.register("changed", &unsigned).await, "NotSignedByRegistrant");
    let done = relayer.register("register", &batch).await.unwrap();
    assert_eq!(done.value, id);
    assert!(done.mined.block > committed.block);
    assert_eq!(relayer.contribution_holder(id).await.unwrap(), registrant);
    relayer.commit("commit/again", std::slice::from_ref(&batch)).await.unwrap();
    ground.pass(1).await;
    refused(relayer.register("replayed", &batch).await, "NotSignedByRegistrant");

    let (second, pair) = of(1, B256::repeat_byte(3), vec![registrant, key("night-desk").address()]);
    relayer.commit("commit/pair", std::slice::from_ref(&pair)).await.unwrap();
    assert_eq!(relayer.register_many("register/pair", &[pair]).await.unwrap().value, [second]);
    let splitter = relayer.contribution_holder(second).await.unwrap();
    assert!(!relayer.client().code(splitter).await.unwrap().is_empty(), "held by a splitter of both");

    ground.rich("buyer", 10).await;
    sold(ground, Title::Contribution(id), "river-gauge", 250).await;
}

async fn a_model_is_priced_by_its_holder_and_pays_its_first_holder_a_royalty(ground: &Ground) {
    let (builder, buyer) = (ground.rich("builder", 10).await, ground.rich("buyer", 10).await);
    let stranger = ground.rich("stranger", 10).await;
    let model = NewModel {
        weights: B256::repeat_byte(1),
        manifest: B256::repeat_byte(2),
        price_in: Amount(100),
        price_out: Amount(200),
        price_flat: Amount(5),
        parent: None,
        platform_bps: 1_000,
        model_bps: 2_000,
        stakers_bps: 2_000,
        parent_bps: 0,
        stake_vault: Address::ZERO,
    };
    let greedy = NewModel { platform_bps: 2_000, model_bps: 4_000, stakers_bps: 3_000, ..model.clone() };
    refused(builder.register_model("greedy", &greedy, "").await, "SplitOutOfBounds");
    let id = builder.register_model("register", &model, "card").await.unwrap().value;
    assert_eq!(builder.model(id).await.unwrap().model, model);
    let child = NewModel { parent: Some(id), parent_bps: 2_000, weights: B256::repeat_byte(3), ..model.clone() };
    let child = builder.register_model("child", &child, "card").await.unwrap().value;
    assert_eq!(builder.model(child).await.unwrap().depth, 1);

    let price = (Amount(1), Amount(2), Amount(3));
    refused(stranger.set_price("cheap", id, price.0, price.1, price.2).await, "NotModelOwner");
    builder.set_price("price", id, price.0, price.1, price.2).await.unwrap();
    sold(ground, Title::Model(id), "builder", 1_000).await;
    refused(builder.set_price("after", id, price.2, price.1, price.0).await, "NotModelOwner");
    buyer.set_price("dear", id, price.2, price.1, price.0).await.unwrap();
    let now = buyer.model(id).await.unwrap().model;
    assert_eq!((now.price_in, now.price_out, now.price_flat), (Amount(3), Amount(2), Amount(1)));
    assert_eq!((now.platform_bps, now.model_bps, now.stakers_bps), (1_000, 2_000, 2_000), "the split never changes");
}
