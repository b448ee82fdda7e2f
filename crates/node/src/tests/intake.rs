//! Intake: a file becomes batches to sign, signed batches become titles, all or nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use openledger_api::{Handle, ImportReport};
use openledger_chain::flow::{Done, NewContribution};
use openledger_chain::sender::Mined;
use openledger_protocol::{Address, B256, ContributionId, Domain, Key, Signature, contribution_id, keccak};
use openledger_store::chain_events::BlockRef;
use openledger_store::contributions::ContributionState;
use openledger_store::titles::Transfer;
use openledger_store::{Result as Stored, Store, transact};

use super::code;
use super::datanets::{DATANET, World as Datanets, tides};
use crate::config::PlatformAccounts;
use crate::error::{NodeError, Result};
use crate::handles::Handles;
use crate::intake::{BATCHES_MAX, Intake};
use crate::keys::NodeKeys;
use crate::on_chain::ContributionsOnChain;
use crate::pipeline;
use crate::records::Records;

const DOMAIN: Domain = Domain { chain_id: 7, contract: Address::repeat_byte(0xcb) };
/// The block in which all registrations are.
const BLOCK: u64 = 9;

/// The contract of contributions: it registers what is signed, once for a key.
struct Contract {
    store: Store,
    /// The titles, in order of registration, each with the key of its transaction and its holder.
    titles: Mutex<Vec<(String, ContributionId, Address)>>,
    /// The keys of all transactions, as they were sent.
    sent: Mutex<Vec<String>>,
    /// How many titles the index has seen.
    indexed: Mutex<usize>,
}

impl ContributionsOnChain for Contract {
    fn domain(&self) -> Domain {
        DOMAIN
    }

    fn newest_block(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async { Ok(BLOCK) })
    }

    fn next_block(&self, _: u64) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let titles = self.titles.lock().unwrap().clone();
            let known = std::mem::replace(&mut *self.indexed.lock().unwrap(), titles.len());
            let mint = |at: usize| {
                let (_, ContributionId(token), to) = titles[at];
                let (contract, from) = (DOMAIN.contract, Address::ZERO);
                Transfer { block: BLOCK, log_index: u32::try_from(at).unwrap(), contract, token, from, to }
            };
            let new: Vec<Transfer> = (known..titles.len()).map(mint).collect();
            // Which range of blocks the index read does not matter, only that it goes on.
            let seen: Stored<()> = transact!(self.store, |tx| {
                let number = tx.chain_cursor().await?.map_or(0, |last| last.number + 1);
                let to = BlockRef { number, hash: keccak(number.to_be_bytes()) };
                tx.append_range(number, to, &[], &new, &[]).await
            });
            Ok(seen?)
        })
    }

    fn nonce(&self, registrant: Address) -> BoxFuture<'_, Result<u64>> {
        let titles = self.titles.lock().unwrap();
        let nonce = titles.iter().filter(|(_, _, holder)| *holder == registrant).count() as u64;
        Box::pin(async move { Ok(nonce) })
    }

    fn commit<'a>(&'a self, key: &'a str, _: &'a [NewContribution]) -> BoxFuture<'a, Result<()>> {
        self.sent.lock().unwrap().push(key.to_owned());
        Box::pin(async { Ok(()) })
    }

    fn register<'a>(
        &'a self,
        key: &'a str,
        batches: &'a [NewContribution],
    ) -> BoxFuture<'a, Result<Done<Vec<ContributionId>>>> {
        self.sent.lock().unwrap().push(key.to_owned());
        let mut titles = self.titles.lock().unwrap();
        if !titles.iter().any(|(of, _, _)| of == key) {
            for &NewContribution { registrant, .. } in batches {
                let nonce = titles.iter().filter(|(_, _, holder)| *holder == registrant).count() as u64;
                let id = contribution_id(DOMAIN.chain_id, DOMAIN.contract, registrant, nonce);
                titles.push((key.to_owned(), id, registrant));
            }
        }
        let value = titles.iter().filter(|(of, _, _)| of == key).map(|(_, id, _)| *id).collect();
        let mined = Mined { hash: keccak(key), block: BLOCK, block_hash: B256::ZERO, gas_used: 1, logs: Vec::new() };
        Box::pin(async move { Ok(Done { value, mined }) })
    }
}

struct World {
    datanets: Datanets,
    contract: Arc<Contract>,
    intake: Intake,
}

impl World {
    /// A datanet, and the handles of Ada and Bob.
    async fn new() -> Self {
        let datanets = Datanets::new().await;
        datanets.datanets.take_up(&tides()).await.unwrap();
        let store = datanets.store.clone();
        let contract = Arc::new(Contract {
            store: store.clone(),
            titles: Mutex::default(),
            sent: Mutex::default(),
            indexed: Mutex::default(),
        });
        let nobody = Address::ZERO;
        let platform = PlatformAccounts { treasury: nobody, validation: nobody, insurance: nobody };
        let handles = Handles::new(store.clone(), platform, nobody);
        let entries = ["ada", "bob"].map(|name| Handle { name: name.to_owned(), address: key(name).address() });
        handles.register(&entries).await.unwrap();
        let intake = Intake::new(
            store.clone(),
            Arc::clone(&contract) as _,
            datanets.datanets.clone(),
            handles,
            Records::new(store),
            NodeKeys::new(Key::demo(1, "node")),
            datanets.contract.time.clock(),
        );
        Self { datanets, contract, intake }
    }

    async fn contribute(&self, file: &str) -> ImportReport {
        pipeline::contribute(&self.intake, DATANET, file.as_bytes()).await.unwrap()
    }

    /// The number of contributions that are in the datanet, with or without a title.
    async fn entered(&self) -> usize {
        self.datanets.store.contributions_of(DATANET).await.unwrap().len()
    }

    fn sent(&self) -> Vec<String> {
        self.contract.sent.lock().unwrap().clone()
    }
}

fn key(name: &str) -> Key {
    Key::demo(1, name)
}

/// A line of a file.
fn line(id: &str, contributor: &str, text: &str) -> String {
    format!(r#"{{"id":"{id}","contributor":"{contributor}","license":"CC0-1.0","text":"{text}"}}"#) + "\n"
}

/// A file with a record of Ada's and one of Bob's.
fn file() -> String {
    line("tide-1", "ada", "High water at the pier came an hour after the moon had passed the south.")
        + &line("tide-2", "bob", "The gauge in the harbour reads four decimetres more when the wind is west.")
}

/// The signatures of Ada and Bob under their batches.
fn signatures(report: &ImportReport) -> BTreeMap<ContributionId, Signature> {
    let keys = ["ada", "bob"].map(key);
    let signed = report.batches.iter().map(|batch| {
        let signer = keys.iter().find(|key| key.address() == batch.registrant).unwrap();
        (batch.contribution, signer.sign(batch.digest))
    });
    signed.collect()
}

#[tokio::test]
async fn signed_batches_enter_the_datanet_and_become_titles_of_their_contributors() {
    let world = World::new().await;
    let report = world.contribute(&file()).await;
    assert_eq!((report.lines, report.accepted, report.batches.len()), (2, 2, 2));
    assert_eq!(world.entered().await, 0, "nothing enters before it is signed");
    let registered = pipeline::register(&world.intake, report.import, &signatures(&report)).await.unwrap();
    let holders: Vec<_> = registered.iter().map(|batch| batch.holder).collect();
    assert_eq!(holders, ["ada", "bob"].map(|name| key(name).address()));
    let rows = world.datanets.store.contributions_of(DATANET).await.unwrap();
    assert!(rows.iter().all(|row| row.state == ContributionState::Registered && row.count == 1), "{rows:?}");
    let keys = ["commit", "register"].map(|step| format!("import/{}/{step}/0", report.import));
    assert_eq!(world.sent(), keys);
}

#[tokio::test]
async fn a_registration_that_is_repeated_names_the_same_titles_and_transactions() {
    let world = World::new().await;
    let report = world.contribute(&file()).await;
    let first = pipeline::register(&world.intake, report.import, &signatures(&report)).await.unwrap();
    let again = pipeline::register(&world.intake, report.import, &signatures(&report)).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(world.contribute(&file()).await, report, "the import is final");
    assert_eq!(world.contract.titles.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_batch_that_is_unsigned_or_signed_by_another_keeps_the_whole_file_out() {
    let world = World::new().await;
    let report = world.contribute(&file()).await;
    let mut signatures = signatures(&report);
    let bobs = report.batches.iter().find(|batch| batch.registrant == key("bob").address()).unwrap();
    signatures.insert(bobs.contribution, key("ada").sign(bobs.digest));
    let refused = pipeline::register(&world.intake, report.import, &signatures).await;
    assert!(matches!(refused, Err(NodeError::Signature(_))), "{refused:?}");
    signatures.remove(&bobs.contribution);
    assert_eq!(code(pipeline::register(&world.intake, report.import, &signatures).await), "unsigned");
    assert_eq!((world.entered().await, world.sent()), (0, Vec::new()));
}

#[tokio::test]
async fn a_file_whose_records_came_with_another_file_first_is_stale_and_nothing_of_it_enters() {
    let world = World::new().await;
    let first = world.contribute(&file()).await;
    let other = file() + &line("tide-3", "ada", "The lowest ebb of the year lays the old wreck bare for an hour.");
    let second = world.contribute(&other).await;
    assert_eq!(second.accepted, 3, "what nobody signed is a duplicate of nothing");
    pipeline::register(&world.intake, first.import, &signatures(&first)).await.unwrap();
    let refused = pipeline::register(&world.intake, second.import, &signatures(&second)).await;
    assert_eq!(code(refused), "stale-import");
    assert_eq!(world.entered().await, 2);
    let again = world.contribute(&other).await;
    assert_eq!((again.accepted, again.refused.len()), (1, 2));
    pipeline::register(&world.intake, again.import, &signatures(&again)).await.unwrap();
    assert_eq!(world.entered().await, 3);
}

#[tokio::test]
async fn a_damaged_file_or_an_unknown_contributor_leaves_nothing_behind() {
    let world = World::new().await;
    let damaged = file() + "{\"id\":";
    let refused = pipeline::contribute(&world.intake, DATANET, damaged.as_bytes()).await.unwrap_err();
    assert!(matches!(&refused, NodeError::Malformed { problems } if problems[0].0 == 3), "{refused:?}");
    let stranger = line("tide-4", "carol", "Spring tides follow the full moon by a day and a half on this coast.");
    assert_eq!(code(pipeline::contribute(&world.intake, DATANET, stranger.as_bytes()).await), "unknown-contributor");
    for file in [damaged, stranger] {
        let import = Intake::import_id(DATANET, file.as_bytes());
        assert_eq!(world.datanets.store.import(import).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_file_with_too_many_lists_of_contributors_is_refused_before_any_work() {
    let world = World::new().await;
    let gauge = |n: usize| {
        let text = format!("Gauge {n} in the harbour reads {} decimetres when the wind is west.", n * 7);
        line(&format!("gauge-{n}"), &format!("keeper-{n}"), &text)
    };
    let most: String = (0..BATCHES_MAX).map(gauge).collect();
    // As many as the limit go on, to the question who these contributors are.
    let refused = pipeline::contribute(&world.intake, DATANET, most.as_bytes()).await;
    assert_eq!(code(refused), "unknown-contributor");
    let more = most + &gauge(BATCHES_MAX);
    let refused = pipeline::contribute(&world.intake, DATANET, more.as_bytes()).await;
    let told = refused.as_ref().unwrap_err().to_string();
    assert!(told.contains("1001 different lists") && told.contains("at most 1000"), "{told}");
    assert_eq!(code(refused), "too-many-batches");
    let import = Intake::import_id(DATANET, more.as_bytes());
    assert_eq!(world.datanets.store.import(import).await.unwrap(), None);
}

#[tokio::test]
async fn planning_a_large_file_does_not_hold_up_the_async_thread() {
    let world = World::new().await;
    let record = |n: usize| {
        let text: String = (0..80).map(|word| format!("tide{} ", (n * 7919 + word * 104_729) % 50_000)).collect();
        line(&format!("tide-{n}"), "ada", &text)
    };
    let file: String = (0..3_000).map(record).collect();
    let mut contributed = Box::pin(pipeline::contribute(&world.intake, DATANET, file.as_bytes()));
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    let report = std::future::poll_fn(|context| {
        let from = Instant::now();
        let polled = contributed.as_mut().poll(context);
        longest = longest.max(from.elapsed());
        polled
    });
    assert_eq!(report.await.unwrap().accepted, 3_000);
    let whole = began.elapsed();
    assert!(longest < whole / 2, "one poll took {longest:?} of {whole:?}");
}
