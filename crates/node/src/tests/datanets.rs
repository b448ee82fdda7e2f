//! Datanets: titles taken up from the chain, versions published with the owner's signature.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use openledger_api::NewDatanet;
use openledger_chain::sender::Mined;
use openledger_datanet::REQUIRED_PURPOSES;
use openledger_protocol::{
    Address, B256, ContributionId, DatanetId, Domain, Grant, Key, Publication, Purpose, Purposes, Rights, Signature,
    keccak, word,
};
use openledger_store::chain_events::BlockRef;
use openledger_store::contributions::{ContributionRow, ContributionState};
use openledger_store::titles::Transfer;
use openledger_store::{Result as Stored, Store, transact};

use super::{ManualTime, code, store};
use crate::datanets::Datanets;
use crate::error::{NodeError, Result};
use crate::on_chain::DatanetsOnChain;
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
}

impl Contract {
    fn send(&self, key: &str) -> BoxFuture<'static, Result<Mined>> {
        self.sent.lock().unwrap().push(key.to_owned());
        let mined = Mined { hash: keccak(key), block: 8, block_hash: keccak("block"), gas_used: 1, logs: Vec::new() };
        Box::pin(async move { Ok(mined) })
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

    fn publish<'a>(&'a self, key: &'a str, _: &'a Publication, _: &'a Signature) -> BoxFuture<'a, Result<Mined>> {
        self.send(key)
    }

    fn grant<'a>(&'a self, key: &'a str, _: &'a Grant, _: &'a Signature) -> BoxFuture<'a, Result<Mined>> {
        self.send(key)
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

    /// Has the index see the mint of a title for the owner.
    async fn mint(&self, block: u64, datanet: DatanetId) {
        let (contract, token, to) = (DOMAIN.contract, word(datanet.0), self.owner.address());
        let mint = Transfer { block, log_index: 0, contract, token, from: Address::ZERO, to };
        let at = BlockRef { number: block, hash: keccak(block.to_be_bytes()) };
        let seen: Stored<()> = transact!(self.store, |tx| tx.append_range(block, at, &[], &[mint], &[]).await);
        seen.unwrap();
    }

    /// Adds a contribution of ten records, with its title.
    async fn contribution(&self, number: u8) -> ContributionId {
        let id = ContributionId(B256::repeat_byte(number));
        let row = ContributionRow {
            id,
            datanet: DATANET,
            registrant: Address::repeat_byte(1),
            contributors: vec![Address::repeat_byte(1)],
            root: B256::repeat_byte(0x70),
            count: 10,
            seq: 0,
            state: ContributionState::Committed,
            payee: None,
        };
        let added: Stored<()> = transact!(self.store, |tx| {
            tx.put_contribution(&row).await?;
            tx.register_contribution(id, Address::repeat_byte(1)).await
        });
        added.unwrap();
        id
    }

    /// The owner's signature under what is to be published next.
    async fn signed(&self) -> Signature {
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
async fn a_publication_that_is_repeated_names_the_same_transaction_and_makes_no_other_version() {
    let world = World::new().await;
    world.datanets.take_up(&tides()).await.unwrap();
    world.contribution(1).await;
    let signature = world.signed().await;
    let first = pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap();
    // A contribution that came meanwhile is not in it.
    let second = world.contribution(2).await;
    assert_eq!(pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap(), first);
    assert_eq!(*world.contract.sent.lock().unwrap(), ["datanet/3/publish/1", "datanet/3/publish/1"]);
    let signature = world.signed().await;
    pipeline::publish(&world.datanets, DATANET, &signature).await.unwrap();
    assert_eq!(world.datanets.version(DATANET, 2).await.unwrap().contributions[1], second);
}
