//! The life of each title, on both chains: made, written under an expected version, delegated, sold.

use openledger_chain::flow::{NewContribution, NewModel};
use openledger_protocol::{
    Address, Amount, B256, Contribution, Domain, Grant, Publication, Purpose, Purposes, contribution_id,
};

use super::calls::{self, Title};
use super::ground::{CHAIN_ID, Ground, on_both, refused};
use super::world::key;

on_both! {
    a_datanet_is_written_by_its_holder_or_with_its_signature_and_only_at_the_expected_version,
    a_contribution_is_committed_then_revealed_and_paid_to_whoever_holds_it,
    a_model_is_priced_by_its_holder_and_pays_its_first_holder_a_royalty,
}

/// `bps` of every price goes to the first holder, also after a sale, which fixes it; the sale is remembered by block.
async fn sold(ground: &Ground, title: Title, seller: &str, bps: u16) {
    let flow = ground.flow(seller).await;
    refused(title.set_royalty(&flow, "too-high", 1_001).await, "RoyaltyTooHigh");
    title.set_royalty(&flow, "royalty", bps).await.unwrap();
    let stranger = ground.flow("stranger").await;
    refused(title.set_royalty(&stranger, "stranger", 1).await, "RoyaltyFixed");
    refused(title.transfer(&stranger, "steal", stranger.account()).await, "ERC721InsufficientApproval");
    let price = Amount::open(10).unwrap();
    let owed = (flow.account(), Amount(price.0 * u128::from(bps) / 10_000));
    assert_eq!(title.royalty(&flow, price).await, owed);

    let before = flow.client().block_number().await.unwrap();
    let buyer = key("buyer").address();
    let sale = title.transfer(&flow, "sale", buyer).await.unwrap();
    assert_eq!(title.holder(&flow).await, buyer);
    assert_eq!(title.holder_at(&flow, before).await, flow.account());
    assert_eq!(title.holder_at(&flow, sale.block).await, buyer);
    assert_eq!(title.royalty(&flow, price).await, owed);
    refused(title.set_royalty(&flow, "late", 1).await, "RoyaltyFixed");
}

async fn a_datanet_is_written_by_its_holder_or_with_its_signature_and_only_at_the_expected_version(ground: &Ground) {
    let owner = ground.rich("owner", 10).await;
    let (relayer, buyer) = (ground.rich("relayer", 10).await, ground.rich("buyer", 10).await);
    ground.rich("stranger", 10).await;
    let terms = B256::repeat_byte(1);
    let datanet = owner.datanets().create("create", terms, "tide tables").await.unwrap().value;
    let version =
        |expected_version, root| Publication { datanet, expected_version, root: B256::repeat_byte(root), records: 3 };
    assert_eq!(calls::publish(&owner, "first", &version(1, 7)).await.unwrap(), 1);
    refused(calls::publish(&owner, "stale", &version(1, 8)).await, "WrongVersion");
    refused(calls::publish(&relayer, "not-mine", &version(2, 8)).await, "NotDatanetOwner");

    let domain = Domain { chain_id: CHAIN_ID, contract: ground.addresses.datanets };
    let next = version(2, 8);
    let signature = key("owner").sign(domain.digest(next.struct_hash()));
    let forged = key("stranger").sign(domain.digest(next.struct_hash()));
    refused(relayer.datanets().publish_signed("forged", &next, &forged).await, "NotSignedByOwner");
    assert_eq!(relayer.datanets().publish_signed("second", &next, &signature).await.unwrap().value, 2);
    refused(relayer.datanets().publish_signed("replayed", &next, &signature).await, "WrongVersion");
    assert_eq!(calls::version_root(&owner, datanet, 1).await, B256::repeat_byte(7));
    assert_eq!(owner.datanets().state(datanet).await.unwrap().version, 2);

    let until = ground.now().await + 1_000;
    let purposes = Purposes::of(&[Purpose::Finetune]);
    let grant = Grant { datanet, version: 2, grantee: key("trainer").address(), purposes, until, terms };
    let granted = key("owner").sign(domain.digest(grant.struct_hash()));
    relayer.datanets().grant_signed("grant", &grant, &granted).await.unwrap();
    let trainer = grant.grantee;
    assert_eq!(owner.datanets().granted_until(datanet, trainer, Purpose::Finetune).await.unwrap(), until);
    calls::revoke(&owner, "revoke", datanet, trainer, purposes).await;
    assert_eq!(owner.datanets().granted_until(datanet, trainer, Purpose::Finetune).await.unwrap(), 0);
    refused(relayer.datanets().grant_signed("regrant", &grant, &granted).await, "GrantStale");

    sold(ground, Title::Datanet(datanet), "owner", 500).await;
    refused(calls::publish(&owner, "sold", &version(3, 9)).await, "NotDatanetOwner");
    assert_eq!(calls::publish(&buyer, "third", &version(3, 9)).await.unwrap(), 3);
}

async fn a_contribution_is_committed_then_revealed_and_paid_to_whoever_holds_it(ground: &Ground) {
    let owner = ground.rich("owner", 10).await;
    let (relayer, thief) = (ground.rich("relayer", 10).await, ground.rich("stranger", 10).await);
    ground.rich("river-gauge", 10).await;
    let terms = B256::repeat_byte(1);
    let datanet = owner.datanets().create("create", terms, "tide tables").await.unwrap().value;
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
    refused(relayer.contributions().register("unseen", std::slice::from_ref(&batch)).await, "NotCommitted");
    let committed = relayer.contributions().commit("commit", std::slice::from_ref(&batch)).await.unwrap();
    ground.pass(1).await;
    // Who copies the commitment's batch under another name has a commitment of its own, and a later one.
    let copied = NewContribution { registrant: thief.account(), signature: None, ..batch.clone() };
    refused(thief.contributions().register("copied", std::slice::from_ref(&copied)).await, "NotCommitted");
    let unsigned = NewContribution { count: 4, ..batch.clone() };
    refused(
        relayer.contributions().register("changed", std::slice::from_ref(&unsigned)).await,
        "NotSignedByRegistrant",
    );
    let done = relayer.contributions().register("register", std::slice::from_ref(&batch)).await.unwrap();
    assert_eq!(done.value, [id]);
    assert!(done.mined.block > committed.block);
    assert_eq!(Title::Contribution(id).holder(&relayer).await, registrant);
    relayer.contributions().commit("commit/again", std::slice::from_ref(&batch)).await.unwrap();
    ground.pass(1).await;
    refused(relayer.contributions().register("replayed", std::slice::from_ref(&batch)).await, "NotSignedByRegistrant");

    let (second, pair) = of(1, B256::repeat_byte(3), vec![registrant, key("night-desk").address()]);
    relayer.contributions().commit("commit/pair", std::slice::from_ref(&pair)).await.unwrap();
    assert_eq!(relayer.contributions().register("register/pair", &[pair]).await.unwrap().value, [second]);
    let splitter = Title::Contribution(second).holder(&relayer).await;
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
    refused(builder.models().register("greedy", &greedy, "").await, "SplitOutOfBounds");
    let id = builder.models().register("register", &model, "card").await.unwrap().value;
    assert_eq!(builder.models().state(id).await.unwrap().model, model);
    let child = NewModel { parent: Some(id), parent_bps: 2_000, weights: B256::repeat_byte(3), ..model.clone() };
    let child = builder.models().register("child", &child, "card").await.unwrap().value;
    assert_eq!(builder.models().state(child).await.unwrap().depth, 1);

    let price = [1, 2, 3];
    refused(calls::set_price(&stranger, "cheap", id, price).await, "NotModelOwner");
    calls::set_price(&builder, "price", id, price).await.unwrap();
    sold(ground, Title::Model(id), "builder", 1_000).await;
    refused(calls::set_price(&builder, "after", id, [3, 2, 1]).await, "NotModelOwner");
    calls::set_price(&buyer, "dear", id, [3, 2, 1]).await.unwrap();
    let now = buyer.models().state(id).await.unwrap().model;
    assert_eq!((now.price_in, now.price_out, now.price_flat), (Amount(3), Amount(2), Amount(1)));
    assert_eq!((now.platform_bps, now.model_bps, now.stakers_bps), (1_000, 2_000, 2_000), "the split never changes");
}
