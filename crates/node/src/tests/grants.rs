//! Grants: what is kept, and which use is live.

use std::sync::Arc;

use openledger_datanet::REQUIRED_PURPOSES;
use openledger_protocol::{Address, Grant, Key, Purpose, Purposes, Signature, keccak};
use openledger_store::datanets::DatanetVersion;
use openledger_store::{Result as Stored, transact};

use super::code;
use super::datanets::{DATANET, DOMAIN, NODE, World as Datanets, rights, tides};
use crate::error::{Blame, NodeError};
use crate::grants::Grants;
use crate::pipeline;

/// How long the owner grants the use, in seconds.
const GRANTED_S: u64 = 3_600;

/// A datanet and the grants to its versions.
pub(super) struct World {
    pub(super) datanets: Datanets,
    pub(super) grants: Grants,
}

impl World {
    /// Without a published version.
    pub(super) async fn new() -> Self {
        let datanets = Datanets::new().await;
        datanets.datanets.take_up(&tides()).await.unwrap();
        let contract = Arc::clone(&datanets.contract);
        let grants = Grants::new(datanets.store.clone(), contract, datanets.datanets.clone());
        Self { datanets, grants }
    }

    /// With versions 1 and 2.
    async fn published() -> Self {
        let world = Self::new().await;
        for version in [1, 2] {
            let root = keccak(format!("version {version}"));
            let row = DatanetVersion { datanet: DATANET, version, root, contributions: Vec::new() };
            let kept: Stored<()> = transact!(world.datanets.store, |tx| tx.put_datanet_version(&row).await);
            kept.unwrap();
        }
        world
    }

    /// Unix seconds.
    fn until(&self) -> u64 {
        self.datanets.contract.time.now() / 1000 + GRANTED_S
    }

    /// A grant of all that training needs, for version 1.
    pub(super) fn grant(&self) -> Grant {
        Grant {
            datanet: DATANET,
            version: 1,
            grantee: NODE,
            purposes: Purposes::of(&REQUIRED_PURPOSES),
            until: self.until(),
            terms: rights().terms_hash().unwrap(),
        }
    }

    fn signed(&self, grant: &Grant) -> Signature {
        self.datanets.owner.sign(DOMAIN.digest(grant.struct_hash()))
    }

    /// Sets what the chain allows this node until a time.
    pub(super) fn allow(&self, purposes: &[Purpose], until: u64) {
        let mut slots = self.datanets.contract.slots.lock().unwrap();
        slots.extend(purposes.iter().map(|purpose| (*purpose, until)));
    }

    /// Publishes a grant as its owner does.
    pub(super) async fn publish(&self, grant: &Grant) {
        self.allow(&REQUIRED_PURPOSES, grant.until);
        pipeline::grant(&self.grants, grant, &self.signed(grant)).await.unwrap();
    }

    /// Why no grant is live for version 1.
    async fn refusal(&self) -> String {
        let refused = self.grants.live(DATANET, 1, &REQUIRED_PURPOSES).await.unwrap_err();
        assert_eq!((refused.blame(), refused.code()), (Blame::Permission, "no-grant"));
        refused.to_string()
    }
}

#[tokio::test]
async fn a_published_grant_is_live_and_a_repeat_names_the_same_transaction() {
    let world = World::published().await;
    let grant = world.grant();
    assert!(world.refusal().await.contains("no grant names this node"));
    world.publish(&grant).await;
    assert_eq!(world.grants.live(DATANET, 1, &REQUIRED_PURPOSES).await.unwrap(), grant);
    world.publish(&grant).await;
    let key = format!("grant/{}", grant.struct_hash());
    assert_eq!(*world.datanets.contract.sent.lock().unwrap(), [key.clone(), key]);
}

#[tokio::test]
async fn a_grant_that_the_owner_did_not_sign_is_neither_sent_nor_kept() {
    let world = World::published().await;
    let grant = world.grant();
    let forged = Key::demo(1, "somebody else").sign(DOMAIN.digest(grant.struct_hash()));
    let refused = pipeline::grant(&world.grants, &grant, &forged).await;
    assert!(matches!(refused, Err(NodeError::Signature(_))), "{refused:?}");
    assert!(world.datanets.contract.sent.lock().unwrap().is_empty());
    world.allow(&REQUIRED_PURPOSES, grant.until);
    assert!(world.refusal().await.contains("no grant names this node"));
}

#[tokio::test]
async fn a_grant_under_other_terms_is_refused() {
    let world = World::published().await;
    let grant = Grant { terms: Default::default(), ..world.grant() };
    let refused = pipeline::grant(&world.grants, &grant, &world.signed(&grant)).await;
    assert_eq!(code(refused), "terms-differ");
}

#[tokio::test]
async fn a_grant_of_a_version_that_does_not_exist_is_neither_sent_nor_kept() {
    let world = World::published().await;
    for version in [0, 3] {
        let grant = Grant { version, ..world.grant() };
        let refused = pipeline::grant(&world.grants, &grant, &world.signed(&grant)).await.unwrap_err();
        assert_eq!(refused.code(), "not-found");
        assert!(refused.to_string().contains(&format!("datanet version `3/{version}`")), "{refused}");
    }
    assert!(world.datanets.contract.sent.lock().unwrap().is_empty());
    assert!(world.datanets.store.grants_of(DATANET).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_grant_ends_at_its_time_and_is_live_until_then() {
    let world = World::published().await;
    world.publish(&world.grant()).await;
    world.allow(&REQUIRED_PURPOSES, u64::MAX >> 1);
    world.datanets.contract.time.pass(GRANTED_S * 1000 - 1);
    world.grants.live(DATANET, 1, &REQUIRED_PURPOSES).await.unwrap();
    world.datanets.contract.time.pass(1);
    assert!(world.refusal().await.contains("the grant ended"));
}

#[tokio::test]
async fn a_grant_that_is_revoked_on_chain_for_one_purpose_is_not_live() {
    let world = World::published().await;
    world.publish(&world.grant()).await;
    world.allow(&[Purpose::Infer], 0);
    assert!(world.refusal().await.contains("revoked on chain for Infer"));
}

#[tokio::test]
async fn a_grant_is_live_for_its_version_and_its_grantee_only() {
    let world = World::published().await;
    world.publish(&Grant { version: 2, ..world.grant() }).await;
    world.publish(&Grant { grantee: Address::repeat_byte(8), ..world.grant() }).await;
    assert!(world.refusal().await.contains("the grant is for version 2, not 1"));
    world.grants.live(DATANET, 2, &REQUIRED_PURPOSES).await.unwrap();
}

#[tokio::test]
async fn of_several_grants_one_that_serves_is_enough() {
    let world = World::published().await;
    let ended = Grant { until: world.until() - GRANTED_S - 1, ..world.grant() };
    world.publish(&ended).await;
    let serves = world.grant();
    world.publish(&serves).await;
    assert_eq!(world.grants.live(DATANET, 1, &REQUIRED_PURPOSES).await.unwrap(), serves);
}
