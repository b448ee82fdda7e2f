//! Datanets: titles taken up from the chain, versions published with the owner's signature.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use openledger_api::NewDatanet;
use openledger_chain::flow::Done;
use openledger_chain::sender::Mined;
use openledger_datanet::REQUIRED_PURPOSES;
use openledger_protocol::{
    Address, B256, Body, ContributionId, DatanetId, Domain, Grant, Key, Publication, Purpose, Purposes, Record,
    RecordRef, Rights, Signature, keccak, word,
};
use openledger_store::chain_events::BlockRef;
use openledger_store::contributions::{ContributionRow, ContributionState};
use openledger_store::records::RecordRow;
use openledger_store::titles::Transfer;
use openledger_store::{Result as Stored, Store, transact};

use super::{ManualTime, code, store};
use crate::datanets::{Datanets, Plan};
use crate::error::{Blame, NodeError, Result};
use crate::on_chain::{DatanetsOnChain, PublishedVersion};
use crate::pipeline;

pub(super) const DATANET: DatanetId = DatanetId(3);
pub(super) const NODE: Address = Address::repeat_byte(0xa4);
pub(super) const DOMAIN: Domain = Domain { chain_id: 7, contract: Address::repeat_byte(0xda) };

/// The contract of datanets as a test sets it up.
#[derive(Default)]
pub(super) struct Contract {
    pub(super) time: ManualTime,
    pub(super) terms: Mutex<BTreeMap<DatanetId, B256>>,
    /// Until when this node may use the datanet, by purpose.
    pub(super) slots: Mutex<BTreeMap<Purpose, u64>>,
    /// The keys of all transactions, as they were sent.
    pub(super) sent: Mutex<Vec<String>>,
    /// The roots of the datanet's versions, from version 1 on.
    roots: Mutex<Vec<B256>>,
    /// What the transaction of each key has published: a key has one transaction.
    published: Mutex<BTreeMap<String, PublishedVersion>>,
}

impl Contract {
    fn send(&self, key: &str) -> Mined {
        self.sent.lock().unwrap().push(key.to_owned());
        Mined { hash: keccak(key), block: 8, block_hash: keccak("block"), gas_used: 1, logs: Vec::new() }
    }

    /// The transaction of a key: found, or sent now.
    fn published(&self, key: &str, publication: &Publication) -> Result<Done<PublishedVersion>> {
        let mined = self.send(key);
        if let Some(&value) = self.published.lock().unwrap().get(key) {
            return Ok(Done { value, mined });
        }
        let Publication { datanet, expected_version: version, root, .. } = publication.clone();
        let mut roots = self.roots.lock().unwrap();
        if version != roots.len() as u64 + 1 {
            return Err(NodeError::refused(Blame::Operator, "internal", "WrongVersion"));
        }
        roots.push(root);
        let value = PublishedVersion { datanet, version, root };
        self.published.lock().unwrap().insert(key.to_owned(), value);
        Ok(Done { value, mined })
    }
}

impl DatanetsOnChain for Contract {
    fn node(&self) -> Address {
        NODE
    }

    fn domain(&self) -> Domain {
        DOMAIN
    }

    fn signing_time(&self) -> u64 {
        self.time.now() / 1000
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn terms(&self, datanet: DatanetId) -> BoxFuture<'_, Result<B256>> {
        let terms = self.terms.lock().unwrap().get(&datanet).copied().unwrap_or_default();
        Box::pin(async move { Ok(terms) })
    }

    fn granted_until(&self, datanet: DatanetId, purpose: Purpose) -> BoxFuture<'_, Result<u64>> {
        assert_eq!(datanet, DATANET);
        let until = self.slots.lock().unwrap().get(&purpose).copied().unwrap_or_default();
        Box::pin(async move { Ok(until) })
    }

    fn newest_version(&self, datanet: DatanetId) -> BoxFuture<'_, Result<u64>> {
        assert_eq!(datanet, DATANET);
        Box::pin(async move { Ok(self.roots.lock().unwrap().len() as u64) })
    }

    fn version_root(&self, datanet: DatanetId, version: u64) -> BoxFuture<'_, Result<B256>> {
        assert_eq!(datanet, DATANET);
        let root = self.roots.lock().unwrap().get(version as usize - 1).copied().unwrap_or_default();
        Box::pin(async move { Ok(root) })
    }

    fn publish<'a>(
        &'a self,
        key: &'a str,
        publication: &'a Publication,
        _: &'a Signature,
    ) -> BoxFuture<'a, Result<Done<PublishedVersion>>> {
        let published = self.published(key, publication);
        Box::pin(async move { published })
    }

    fn grant<'a>(&'a self, key: &'a str, _: &'a Grant, _: &'a Signature) -> BoxFuture<'a, Result<Mined>> {
        let mined = self.send(key);
        Box::pin(async move { Ok(mined) })
    }
}

/// A node with a contract of datanets, in which one datanet has an owner.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) contract: Arc<Contract>,
    pub(super) datanets: Datanets,
    pub(super) owner: Key,
}

impl World {
    pub(super) async fn new() -> Self {
        let (store, contract, owner) = (store().await, Arc::new(Contract::default()), Key::demo(1, "owner"));
        let terms = rights().terms_hash().unwrap();
        contract.terms.lock().unwrap().extend([(DATANET, terms), (DatanetId(4), terms)]);
        let datanets = Datanets::new(store.clone(), Arc::clone(&contract) as _);
        let world = Self { store, contract, datanets, owner };
        world.mint(1, DATANET).await;
        world
    }

    /// Has the index see that the owner got a title.
    async fn mint(&self, block: u64, datanet: DatanetId) {
        self.transfer(block, datanet, self.owner.address()).await;
    }

    /// Has the index see that an account got a title.
    async fn transfer(&self, block: u64, datanet: DatanetId, to: Address) {
        let (contract, token, from) = (DOMAIN.contract, word(datanet.0), Address::ZERO);
        let transfer = Transfer { block, log_index: 0, contract, token, from, to };
        let at = BlockRef { number: block, hash: keccak(block.to_be_bytes()) };
        let seen: Stored<()> = transact!(self.store, |tx| tx.append_range(block, at, &[], &[transfer], &[]).await);
        seen.unwrap();
    }

    /// Adds a contribution of one record, with its title.
    pub(super) async fn contribution(&self, number: u8) -> ContributionId {
        let (id, ada) = (ContributionId(B256::repeat_byte(number)), Address::repeat_byte(1));
        let contribution = ContributionRow {
            id,
            datanet: DATANET,
            registrant: ada,
            contributors: vec![ada],
            root: B256::repeat_byte(0x70),
            count: 1,
            seq: 0,
            state: ContributionState::Committed,
            payee: None,
        };
        let record = Record {
            id: format!("record of {number}"),
            contributors: vec!["ada".into()],
            license: "CC0-1.0".into(),
            body: Body::Text { text: format!("The {number}. spring tide of the year.") },
            meta: serde_json::Map::new(),
        };
        let row = RecordRow {
            at: RecordRef { contribution: id, index: 0 },
            record_id: record.id.clone(),
            content_hash: B256::repeat_byte(number),
            content_root: B256::repeat_byte(number),
            length: 30,
            license: record.license.clone(),
            owner: None,
            multiplier: u16::MAX,
        };
        let bodies = [(row.at, serde_json::to_vec(&record).unwrap())];
        let added: Stored<()> = transact!(self.store, |tx| {
            tx.put_contribution(&contribution).await?;
            tx.put_records(std::slice::from_ref(&row)).await?;
            tx.put_record_bodies(&bodies).await?;
            tx.register_contribution(id, ada).await
        });
        added.unwrap();
        id
    }

    /// The owner's signature under what is to be published next.
    pub(super) async fn signed(&self) -> Signature {
        self.owner.sign(self.datanets.next_version(DATANET).await.unwrap().1)
    }
}

pub(super) fn rights() -> Rights {
    Rights {
        license: "CC0-1.0".into(),
        purposes: Purposes::of(&REQUIRED_PURPOSES),
        attribution: false,
        share_alike: false,
        min_royalty_bps: 0,
        until: None,
    }
}

pub(super) fn tides() -> NewDatanet {
    NewDatanet { id: DATANET, name: "tides".into(), description: "of the north sea".into(), rights: rights() }
}

#[tokio::test]
async fn a_datanet_is_taken_up_with_the_owner_of_its_title_and_a_repeat_gives_the_same() {
    let world = World::new().await;
    let taken = world.datanets.take_up(&tides()).await.unwrap();
    assert_eq!((taken.id, taken.owner), (DATANET, world.owner.address()));
    let again = NewDatanet { description: "another".into(), ..tides() };
    assert_eq!(world.datanets.take_up(&again).await.unwrap(), taken);
}

#[tokio::test]
async fn a_datanet_without_a_title_or_with_other_terms_on_chain_is_not_taken_up() {
    let world = World::new().await;
    let untitled = NewDatanet { id: DatanetId(9), ..tides() };
    assert_eq!(code(world.datanets.take_up(&untitled).await), "not-found");
    let others = Rights { attribution: true, ..rights() };
    assert_eq!(code(world.datanets.take_up(&NewDatanet { rights: others, ..tides() }).await), "terms-differ");
    assert_eq!(code(world.datanets.known(DATANET).await), "not-found");
}

#[tokio::test]
async fn terms_that_do_not_allow_training_and_answers_are_too_narrow() {
    let world = World::new().await;
    let narrow = Rights { purposes: Purposes::of(&[Purpose::Evaluate]), ..rights() };
    world.contract.terms.lock().unwrap().insert(DATANET, narrow.terms_hash().unwrap());
    assert_eq!(code(world.datanets.take_up(&NewDatanet { rights: narrow, ..tides() }).await), "rights-too-narrow");
}

#[tokio::test]
async fn the_name_of_a_datanet_is_taken_once() {
    let world = World::new().await;
    world.datanets.take_up(&tides()).await.unwrap();
    world.mint(2, DatanetId(4)).await;
    let same_name = NewDatanet { id: DatanetId(4), ..tides() };
    assert_eq!(code(world.datanets.take_up(&same_name).await), "name-taken");
}

#[tokio::test]
async fn there_is_no_next_version_without_a_contribution_that_is_not_published() {
    let world = World::new().await;
    assert_eq!(code(world.datanets.next_version(DATANET).await), "not-found");
    world.datanets.take_up(&tides()).await.unwrap();
    assert_eq!(code(world.datanets.next_version(DATANET).await), "nothing-new");
    world.contribution(1).await;
    let signature = world.signed().await;
    pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap();
    assert_eq!(code(world.datanets.next_version(DATANET).await), "nothing-new");
}

#[tokio::test]
async fn a_version_is_published_with_the_owners_signature_and_nobody_elses() {
    let world = World::new().await;
    world.datanets.take_up(&tides()).await.unwrap();
    let first = world.contribution(1).await;
    let digest = world.datanets.next_version(DATANET).await.unwrap().1;
    let forged = Key::demo(1, "somebody else").sign(digest);
    let refused = pipeline::publish(&world.datanets, DATANET, &forged).await;
    assert!(matches!(refused, Err(NodeError::Signature(_))), "{refused:?}");
    assert!(world.contract.sent.lock().unwrap().is_empty());

    let signature = world.signed().await;
    let published = pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap();
    let kept = world.datanets.version(DATANET, 1).await.unwrap();
    assert_eq!((published.version, published.root, kept.contributions), (1, kept.root, vec![first]));
}

#[tokio::test]
async fn a_datanet_that_was_sold_is_published_by_its_new_owner_only() {
    let world = World::new().await;
    world.datanets.take_up(&tides()).await.unwrap();
    world.contribution(1).await;
    let (buyer, digest) = (Key::demo(1, "buyer"), world.datanets.next_version(DATANET).await.unwrap().1);
    world.transfer(2, DATANET, buyer.address()).await;
    let refused = pipeline::publish(&world.datanets, DATANET, &world.owner.sign(digest)).await;
    assert!(matches!(refused, Err(NodeError::Signature(_))), "{refused:?}");
    assert_eq!(pipeline::publish(&world.datanets, DATANET, &buyer.sign(digest)).await.unwrap().version, 1);
}

#[tokio::test]
async fn a_publication_that_is_repeated_names_the_same_transaction_and_makes_no_other_version() {
    let world = World::new().await;
    world.datanets.take_up(&tides()).await.unwrap();
    world.contribution(1).await;
    let signature = world.signed().await;
    let first = pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap();
    // A contribution that came meanwhile is not in it.
    let second = world.contribution(2).await;
    assert_eq!(pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap(), first);
    let key = format!("datanet/3/publish/1/{}", first.root);
    assert_eq!(*world.contract.sent.lock().unwrap(), [key.clone(), key]);
    let signature = world.signed().await;
    pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap();
    assert_eq!(world.datanets.version(DATANET, 2).await.unwrap().contributions[1], second);
}

/// A version that was published and, after a crash, not kept; with the owner's signature for it.
async fn published_and_not_kept(world: &World) -> (Plan, Signature) {
    let signature = world.signed().await;
    let plan = world.datanets.plan(DATANET).await.unwrap();
    world.datanets.send(&plan, &signature).await.unwrap();
    assert_eq!(code(world.datanets.version(DATANET, 1).await), "not-found");
    (plan, signature)
}

#[tokio::test]
async fn a_version_that_a_crash_kept_from_the_database_is_taken_up_as_it_was_planned() {
    let world = World::new().await;
    world.datanets.take_up(&tides()).await.unwrap();
    let first = world.contribution(1).await;
    let (plan, signature) = published_and_not_kept(&world).await;
    // Without it, version 1 would be planned again, over both contributions, and refused for ever.
    let second = world.contribution(2).await;
    assert_eq!(world.datanets.next_version(DATANET).await.unwrap().0.expected_version, 2);
    let kept = world.datanets.version(DATANET, 1).await.unwrap();
    assert_eq!((kept.root, kept.contributions), (plan.publication.root, vec![first]));
    let repeated = pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap();
    assert_eq!((repeated.version, repeated.root), (1, plan.publication.root));
    let signature = world.signed().await;
    pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap();
    assert_eq!(world.datanets.version(DATANET, 2).await.unwrap().contributions, [first, second]);
}

#[tokio::test]
async fn a_repeat_after_a_crash_keeps_the_version_that_its_signature_is_for() {
    let world = World::new().await;
    world.datanets.take_up(&tides()).await.unwrap();
    let first = world.contribution(1).await;
    let (plan, signature) = published_and_not_kept(&world).await;
    world.contribution(2).await;
    let published = pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap();
    assert_eq!((published.version, published.root), (1, plan.publication.root));
    assert_eq!(world.datanets.version(DATANET, 1).await.unwrap().contributions, [first]);
}

#[tokio::test]
async fn a_version_that_another_database_planned_is_refused_by_its_number_and_root() {
    let world = World::new().await;
    world.datanets.take_up(&tides()).await.unwrap();
    world.contribution(1).await;
    let root = B256::repeat_byte(0x77);
    world.contract.roots.lock().unwrap().push(root);
    let refused = world.datanets.next_version(DATANET).await.unwrap_err();
    assert_eq!(refused.code(), "conflict");
    assert!(refused.to_string().contains(&format!("version 1 of datanet 3 with root {root}")), "{refused}");
}

#[tokio::test]
async fn a_transaction_that_published_another_root_is_refused_and_nothing_is_kept() {
    let world = World::new().await;
    world.datanets.take_up(&tides()).await.unwrap();
    world.contribution(1).await;
    let signature = world.signed().await;
    let root = world.datanets.plan(DATANET).await.unwrap().publication.root;
    let other = PublishedVersion { datanet: DATANET, version: 1, root: B256::repeat_byte(0x77) };
    world.contract.published.lock().unwrap().insert(format!("datanet/3/publish/1/{root}"), other);
    assert_eq!(code(pipeline::publish(&world.datanets, DATANET, &signature).await), "conflict");
    assert_eq!(code(world.datanets.version(DATANET, 1).await), "not-found");
}
