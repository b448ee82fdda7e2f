//! The first part of the walk: titles on chain, files in, batches signed, versions published, use granted.

use std::collections::{BTreeMap, BTreeSet};

use openledger_protocol::{Address, Amount, B256, DatanetId, Grant, Key, Purpose, Purposes, Record, Rights, Signature};
use serde_json::{Value, json};

use super::driver::Driver;
use super::input::Input;
use super::summary::Summary;
use crate::api::field;
use crate::error::Result;
use crate::voice::short;

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

/// What the node answers to an import, as far as it is told.
#[derive(serde::Deserialize)]
struct Import {
    import: B256,
    lines: u64,
    accepted: u64,
    refused: Vec<Refused>,
    near_duplicates: Vec<NearDuplicate>,
    batches: Vec<Batch>,
}

#[derive(serde::Deserialize)]
struct Refused {
    line: u64,
    id: Option<String>,
    reason: String,
}

#[derive(serde::Deserialize)]
struct NearDuplicate {
    record: String,
    of: String,
}

#[derive(serde::Deserialize)]
struct Batch {
    contribution: B256,
    registrant: Address,
    digest: B256,
    #[serde(default)]
    root: Option<B256>,
    #[serde(default)]
    registered: Value,
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
    driver.voice.step("An owner creates datanets, contributors sign what they bring");
    driver.fund("datanet-owner", Amount::open(100)?).await?;
    driver.voice.figure("owner", owner.address());
    let mut published = Vec::new();
    for input in inputs {
        published.push(bring(driver, &owner, input, summary).await?);
    }
    Ok(published)
}

/// One file, from its title to its grant.
async fn bring(driver: &Driver, owner: &Key, input: Input, summary: &mut Summary) -> Result<Published> {
    let voice = &driver.voice;
    voice.step(&format!(
        "Datanet {}: {} bytes, {} contributors",
        input.name,
        input.bytes.len(),
        input.contributors.len()
    ));
    let id = create(driver, owner, &input.name).await?;
    let keys = accounts(driver, &input.contributors).await?;

    let path = format!("/api/v1/datanets/{id}/imports");
    let answer = driver.post_file(&path, &input.bytes, &format!("import/{}", input.name)).await?;
    let import: Import = field(&json!({ "import": answer }), &path, "import")?;
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
    let created = driver.again(1, async || Ok(flow.create_datanet(&key, hash, &uri).await?)).await?;
    let body = json!({
        "id": created.value, "name": name, "description": format!("The records of {name}"), "rights": rights,
    });
    driver.post("/api/v1/datanets", &body, &format!("datanet/{name}")).await?;
    driver.voice.figure("title", format!("datanet {} in transaction {}", created.value, created.mined.hash));
    Ok(created.value)
}

/// Gives every handle its account; returns the keys by account.
async fn accounts(driver: &Driver, handles: &[String]) -> Result<BTreeMap<Address, Key>> {
    let keys: Vec<(&String, Key)> = handles.iter().map(|handle| (handle, driver.key(handle))).collect();
    let list: Vec<Value> =
        keys.iter().map(|(handle, key)| json!({ "name": handle, "address": key.address() })).collect();
    let name = format!("accounts/{}", openledger_protocol::sha256(handles.join("\n")));
    driver.post("/api/v1/accounts", &json!({ "accounts": list }), &name).await?;
    Ok(keys.into_iter().map(|(_, key)| (key.address(), key)).collect())
}

fn tell(driver: &Driver, import: &Import) {
    let voice = &driver.voice;
    voice.figure(
        "records",
        format!("{} read, {} accepted, {} refused", import.lines, import.accepted, import.refused.len()),
    );
    for refused in import.refused.iter().take(NAMED) {
        let id = refused.id.as_deref().unwrap_or("no id");
        voice.line(format!("refused line {} ({}): {}", refused.line, short(id, 40), short(&refused.reason, 90)));
    }
    if import.refused.len() > NAMED {
        voice.line(format!("and {} more refused", import.refused.len() - NAMED));
    }
    if !import.near_duplicates.is_empty() {
        voice.figure(
            "near duplicates",
            format!("{}: the earlier record's contributor keeps what both say", import.near_duplicates.len()),
        );
        for near in import.near_duplicates.iter().take(NAMED) {
            voice.line(format!("{} is nearly {}", short(&near.record, 40), short(&near.of, 40)));
        }
    }
}

/// Every batch is signed by its registrant and becomes a title.
async fn register(
    driver: &Driver,
    import: &Import,
    keys: &BTreeMap<Address, Key>,
    summary: &mut Summary,
) -> Result<()> {
    let mut signatures = Vec::new();
    for batch in &import.batches {
        let lacks = || crate::error::CliError::lacks("import", "a registrant among the contributors");
        let key = keys.get(&batch.registrant).ok_or_else(lacks)?;
        signatures.push(json!({ "contribution": batch.contribution, "signature": key.sign(batch.digest) }));
        let root = batch.root.or_else(|| serde_json::from_value(batch.registered["root"].clone()).ok());
        summary.contribution(batch.contribution, root.unwrap_or_default());
    }
    let path = format!("/api/v1/imports/{}/signatures", import.import);
    let answer =
        driver.post(&path, &json!({ "signatures": signatures }), &format!("register/{}", import.import)).await?;
    let registered = answer["registered"].as_array().map_or(0, Vec::len);
    let transactions: BTreeSet<&str> =
        answer["registered"].as_array().into_iter().flatten().filter_map(|one| one["tx"].as_str()).collect();
    driver
        .voice
        .figure("contributions", format!("{registered} titles registered in {} transactions", transactions.len()));
    Ok(())
}

/// The owner signs the version that holds everything registered.
async fn publish(driver: &Driver, owner: &Key, id: DatanetId) -> Result<u64> {
    let (next, path) = (format!("/api/v1/datanets/{id}/next-version"), format!("/api/v1/datanets/{id}/versions"));
    let digest: B256 = field(&driver.get(&next).await?, "GET next-version", "digest")?;
    let signature: Signature = owner.sign(digest);
    let published = match driver.post(&path, &json!({ "signature": signature }), &format!("publish/{id}")).await {
        // The node was killed after it had published and before it had said so: the datanet's card tells.
        Err(error) if error.is_code("nothing-new") => {
            let cards = driver.get("/api/v1/datanets").await?;
            let card = cards["datanets"].as_array().into_iter().flatten().find(|card| card["id"] == json!(id)).cloned();
            card.ok_or(error)?
        }
        published => published?,
    };
    let version: u64 = field(&published, "POST versions", "version")?;
    let root: B256 = field(&published, "POST versions", "root")?;
    driver.voice.figure("version", format!("{version}, root {root}"));
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
    let body = json!({ "grant": grant, "signature": signature });
    let answer = driver.post(&format!("/api/v1/datanets/{id}/grants"), &body, &format!("grant/{id}/{version}")).await?;
    let hash: B256 = field(&answer, "POST grants", "grant")?;
    driver.voice.figure("grant", format!("{:?} for a year, {hash}", grant.purposes));
    Ok(())
}
