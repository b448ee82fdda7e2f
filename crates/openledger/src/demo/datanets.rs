//! The first part of the walk: titles on chain, files in, batches signed, versions published, use
//! granted.

use std::collections::{BTreeMap, BTreeSet};

use openledger_api::{
    BatchSignature, Handle, ImportReport, ImportSignatures, NewDatanet, NewHandles, SignedGrant, SignedVersion,
};
use openledger_protocol::{Address, Amount, B256, DatanetId, Grant, Key, Purpose, Purposes, Record, Rights};

use super::driver::Driver;
use super::input::Input;
use super::summary::Summary;
use crate::console::short;
use crate::error::{CliError, Exit, Result};

/// How many refused records are named.
const NAMED: usize = 10;
/// How long a grant lasts: a year of block time, in seconds.
const GRANTED_S: u64 = 365 * 24 * 3600;

/// A datanet that was published and granted.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// Its title.
    pub(crate) id: DatanetId,
    /// Its version.
    pub(crate) version: u64,
    /// The records in it, in file order.
    pub(crate) records: Vec<Record>,
    /// Records that are nearly another one, with that one's id.
    pub(crate) near: BTreeMap<String, String>,
}

/// The terms of a demonstration's datanets: anything but passing the records on, the makers named.
fn terms() -> Rights {
    use Purpose::{Commercial, Derive, Evaluate, Finetune, Infer, Retrieve, Train};
    Rights {
        license: "CC-BY-4.0".to_owned(),
        purposes: Purposes::of(&[Train, Finetune, Evaluate, Retrieve, Infer, Derive, Commercial]),
        attribution: true,
        share_alike: false,
        min_royalty_bps: 0,
        until: None,
    }
}

/// Brings every input onto the network.
pub(crate) async fn contribute(driver: &Driver, inputs: Vec<Input>, summary: &mut Summary) -> Result<Vec<Published>> {
    let owner = driver.key("datanet-owner");
    driver.console.step("An owner creates datanets, contributors sign what they bring");
    driver.fund("datanet-owner", Amount::open(100)?).await?;
    driver.console.figure("owner", owner.address());
    let mut published = Vec::new();
    for input in inputs {
        published.push(bring(driver, &owner, input, summary).await?);
    }
    Ok(published)
}

/// One file, from its title to its grant.
async fn bring(driver: &Driver, owner: &Key, input: Input, summary: &mut Summary) -> Result<Published> {
    let console = &driver.console;
    console.step(&format!(
        "Datanet {}: {} bytes, {} contributors",
        input.name,
        input.bytes.len(),
        input.contributors.len()
    ));
    let id = create(driver, owner, &input.name).await?;
    let keys = note_handles(driver, &input.contributors).await?;

    let key = format!("import/{}", input.name);
    let import = driver.call(1, async |node| node.import_records(id, input.bytes.clone(), &key).await).await?;
    tell(driver, &import);
    register(driver, &import, &keys, summary).await?;
    let version = publish(driver, owner, id).await?;
    grant(driver, owner, id, version).await?;

    let refused: BTreeSet<&str> = import.refused.iter().filter_map(|refused| refused.id.as_deref()).collect();
    let records = input.records.into_iter().filter(|record| !refused.contains(record.id.as_str())).collect();
    let near = import.near_duplicates.iter().map(|near| (near.record.clone(), near.of.clone())).collect();
    Ok(Published { id, version, records, near })
}

/// The owner's title on chain, taken up by the node.
async fn create(driver: &Driver, owner: &Key, name: &str) -> Result<DatanetId> {
    let rights = terms();
    let hash = rights.terms_hash()?;
    let flow = driver.flow(owner).await?;
    let (key, uri) = (format!("datanet/{name}"), format!("openledger:datanet/{name}"));
    let created = driver.again(1, async || Ok(flow.datanets().create(&key, hash, &uri).await?)).await?;
    let description = format!("The records of {name}");
    let datanet = NewDatanet { id: created.value, name: name.to_owned(), description, rights };
    driver.call(1, async |node| node.add_datanet(&datanet, &key).await).await?;
    driver.console.figure("title", format!("datanet {} in transaction {}", created.value, created.mined.hash));
    Ok(created.value)
}

/// Gives every handle its account; returns the keys by account.
async fn note_handles(driver: &Driver, handles: &[String]) -> Result<BTreeMap<Address, Key>> {
    let keys: Vec<(&String, Key)> = handles.iter().map(|handle| (handle, driver.key(handle))).collect();
    let list = keys.iter().map(|(name, key)| Handle { name: (*name).clone(), address: key.address() });
    let list = NewHandles { handles: list.collect() };
    let name = format!("handles/{}", openledger_protocol::sha256(handles.join("\n")));
    driver.call(1, async |node| node.note_handles(&list, &name).await).await?;
    Ok(keys.into_iter().map(|(_, key)| (key.address(), key)).collect())
}

fn tell(driver: &Driver, import: &ImportReport) {
    let console = &driver.console;
    console.figure(
        "records",
        format!("{} read, {} accepted, {} refused", import.lines, import.accepted, import.refused.len()),
    );
    for refused in import.refused.iter().take(NAMED) {
        let id = refused.id.as_deref().unwrap_or("no id");
        console.line(format!("refused line {} ({}): {}", refused.line, short(id, 40), short(&refused.reason, 90)));
    }
    if import.refused.len() > NAMED {
        console.line(format!("and {} more refused", import.refused.len() - NAMED));
    }
    if !import.near_duplicates.is_empty() {
        console.figure(
            "near duplicates",
            format!("{}: the earlier record's contributor keeps what both say", import.near_duplicates.len()),
        );
        for near in import.near_duplicates.iter().take(NAMED) {
            console.line(format!("{} is nearly {}", short(&near.record, 40), short(&near.of, 40)));
        }
    }
}

/// Every batch is signed by its registrant and becomes a title.
async fn register(
    driver: &Driver,
    import: &ImportReport,
    keys: &BTreeMap<Address, Key>,
    summary: &mut Summary,
) -> Result<()> {
    let mut signatures = Vec::new();
    for batch in &import.batches {
        let unknown = || {
            let message = format!("the node wants a signature of {}, who contributed nothing", batch.registrant);
            CliError::refused(Exit::Unavailable, message)
        };
        let key = keys.get(&batch.registrant).ok_or_else(unknown)?;
        signatures.push(BatchSignature { contribution: batch.contribution, signature: key.sign(batch.digest) });
        summary.contribution(batch.contribution.0, batch.registered.root);
    }
    let (id, signed) = (import.import, ImportSignatures { signatures });
    let key = format!("register/{id}");
    let done = driver.call(1, async |node| node.sign_import(id, &signed, &key).await).await?.registered;
    let transactions: BTreeSet<B256> = done.iter().map(|batch| batch.tx).collect();
    driver
        .console
        .figure("contributions", format!("{} titles registered in {} transactions", done.len(), transactions.len()));
    Ok(())
}

/// The owner signs the version that holds everything registered.
async fn publish(driver: &Driver, owner: &Key, id: DatanetId) -> Result<u64> {
    let digest = driver.call(1, async |node| node.next_version(id).await).await?.digest;
    let signed = SignedVersion { signature: owner.sign(digest) };
    let key = format!("publish/{id}");
    let published = driver.call(1, async |node| node.publish_version(id, &signed, &key).await).await;
    let (version, root) = match published {
        // The node was killed between publication and response: the datanet shows the version.
        Err(error) if error.is_code("nothing-new") => {
            let datanets = driver.call(1, async |node| node.datanets().all().await).await?;
            let known = datanets.into_iter().find(|datanet| datanet.id == id);
            known.and_then(|datanet| Some((datanet.version, datanet.root?))).ok_or(error)?
        }
        published => {
            let published = published?;
            (published.version, published.root)
        }
    };
    driver.console.figure("version", format!("{version}, root {root}"));
    Ok(version)
}

/// The owner lets the node train, measure and answer with the version for a year.
async fn grant(driver: &Driver, owner: &Key, id: DatanetId, version: u64) -> Result<()> {
    let flow = driver.flow(owner).await?;
    let head = driver.again(0, async || Ok(flow.client().latest().await?)).await?;
    let grant = Grant {
        datanet: id,
        version,
        grantee: driver.network.node,
        purposes: Purposes::of(&[Purpose::Finetune, Purpose::Evaluate, Purpose::Infer]),
        until: head.map_or(0, |head| head.timestamp) + GRANTED_S,
        terms: terms().terms_hash()?,
    };
    let signature = owner.sign(driver.domain(driver.network.addresses.datanets).digest(grant.struct_hash()));
    let (purposes, signed) = (grant.purposes, SignedGrant { grant, signature });
    let key = format!("grant/{id}/{version}");
    let hash = driver.call(1, async |node| node.publish_grant(&signed, &key).await).await?.grant;
    driver.console.figure("grant", format!("{:?} for a year, {hash}", purposes));
    Ok(())
}
