//! `openledger datanet`: what an owner and contributors do, step by step. The node relays; each step carries its signature.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Subcommand;
use openledger_datanet::{Limits, licence, parse_jsonl};
use openledger_protocol::{Address, B256, DatanetId, Grant, Key, Purpose, Purposes, Rights};
use serde_json::{Value, json};

use super::print_json;
use super::signing::{Network, Signer};
use crate::api::{Api, NodeArgs, field};
use crate::error::{CliError, Exit, Result};

/// A year, in seconds.
const YEAR_S: u64 = 365 * 24 * 3600;

/// Verbs on datanets.
#[derive(Subcommand, Debug)]
pub(crate) enum DatanetVerb {
    /// The datanets of a node.
    List {
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Create a datanet: the owner's title on chain, taken up by the node.
    Create {
        /// Its name on the node.
        name: String,
        /// What it is about.
        #[arg(long, default_value = "")]
        description: String,
        /// The licence of its terms.
        #[arg(long, default_value = "CC-BY-4.0")]
        license: String,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Bring a file of records: import it, sign its batches, register them.
    Contribute {
        /// The datanet.
        id: u64,
        /// Records, JSONL.
        file: PathBuf,
        /// Exit with 1 when a record was refused.
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Publish a version that holds everything registered so far.
    Publish {
        /// The datanet.
        id: u64,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Grant the use of a version for fine-tuning, evaluation and inference.
    Grant {
        /// The datanet.
        id: u64,
        /// The version.
        #[arg(id = "of")]
        version: u64,
        /// Who may; without, the node.
        #[arg(long, value_name = "0x…")]
        grantee: Option<Address>,
        /// For how many seconds from now.
        #[arg(long, default_value_t = YEAR_S)]
        seconds: u64,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// Does what was asked.
pub(crate) async fn run(verb: DatanetVerb) -> Result<()> {
    match verb {
        DatanetVerb::List { node, json } => super::epoch::list(&node, "/api/v1/datanets", "datanets", json).await,
        DatanetVerb::Create { name, description, license, signer, node } => {
            create(&node.api()?, &signer, &name, &description, &license).await
        }
        DatanetVerb::Contribute { id, file, strict, signer, node } => {
            let bytes = std::fs::read(&file).map_err(CliError::file(&file))?;
            contribute(&node.api()?, &signer, id, bytes, strict).await
        }
        DatanetVerb::Publish { id, signer, node } => publish(&node.api()?, &signer, id).await,
        DatanetVerb::Grant { id, version, grantee, seconds, signer, node } => {
            grant(&node.api()?, &signer, DatanetId(id), version, grantee, seconds).await
        }
    }
}

/// The terms: what the licence allows.
fn terms(license: &str) -> Result<Rights> {
    let found = licence::normalise(license);
    if found.known {
        return Ok(found.rights);
    }
    Err(CliError::refused(Exit::Usage, format!("`{license}` is not a licence with known rights; try CC-BY-4.0")))
}

async fn create(api: &Api, signer: &Signer, name: &str, description: &str, license: &str) -> Result<()> {
    let rights = terms(license)?;
    let network = Network::of(api).await?;
    let flow = signer.flow(api, &network).await?;
    let created = flow.create_datanet(name, rights.terms_hash()?, &format!("openledger:datanet/{name}")).await?;
    let body = json!({ "id": created.value, "name": name, "description": description, "rights": rights });
    api.post("/api/v1/datanets", &body, &format!("datanet/{}", created.value)).await?;
    println!("datanet {} in transaction {}", created.value, created.mined.hash);
    Ok(())
}

async fn contribute(api: &Api, signer: &Signer, id: u64, bytes: Vec<u8>, strict: bool) -> Result<()> {
    // Damage is found by the node, which lists every bad line; here only the handles are read.
    let parsed = parse_jsonl(&bytes, &Limits::default()).unwrap_or_default();
    let handles: BTreeSet<&String> = parsed.records.iter().flat_map(|parsed| &parsed.record.contributors).collect();
    let mut keys: BTreeMap<Address, Key> = BTreeMap::new();
    let mut accounts = Vec::new();
    for handle in handles {
        let key = signer.contributor(handle)?;
        accounts.push(json!({ "name": handle, "address": key.address() }));
        keys.insert(key.address(), key);
    }
    let name = openledger_protocol::sha256(&bytes);
    api.post("/api/v1/accounts", &json!({ "accounts": accounts }), &format!("accounts/{name}")).await?;
    let path = format!("/api/v1/datanets/{id}/imports");
    let import = api.post_file(&path, bytes, &format!("import/{id}/{name}")).await?;
    for refused in import["refused"].as_array().into_iter().flatten() {
        let record = refused["id"].as_str().unwrap_or("no id");
        println!("refused line {} ({record}): {}", refused["line"], refused["reason"].as_str().unwrap_or_default());
    }
    let mut signatures = Vec::new();
    for batch in import["batches"].as_array().into_iter().flatten() {
        let registrant: Address = field(batch, "an import", "registrant")?;
        let digest: B256 = field(batch, "an import", "digest")?;
        let key = keys.get(&registrant).ok_or_else(|| CliError::lacks("an import", "a registrant of the file"))?;
        signatures.push(json!({ "contribution": batch["contribution"], "signature": key.sign(digest) }));
    }
    let refused = import["refused"].as_array().map_or(0, Vec::len);
    println!("{} records accepted, {refused} refused, {} batches", import["accepted"], signatures.len());
    if !signatures.is_empty() {
        let import: B256 = field(&import, "an import", "import")?;
        let path = format!("/api/v1/imports/{import}/signatures");
        let answer = api.post(&path, &json!({ "signatures": signatures }), &format!("register/{import}")).await?;
        for one in answer["registered"].as_array().into_iter().flatten() {
            println!("contribution {} held by {}", text(one, "contribution"), text(one, "holder"));
        }
    }
    if strict && refused > 0 {
        return Err(CliError::refused(Exit::Failure, format!("{refused} records were refused")));
    }
    Ok(())
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

async fn publish(api: &Api, signer: &Signer, id: u64) -> Result<()> {
    let next = api.get(&format!("/api/v1/datanets/{id}/next-version")).await?;
    let digest: B256 = field(&next, "GET next-version", "digest")?;
    let body = json!({ "signature": signer.key()?.sign(digest) });
    print_json(&api.post(&format!("/api/v1/datanets/{id}/versions"), &body, &format!("publish/{digest}")).await?)
}

async fn grant(
    api: &Api,
    signer: &Signer,
    datanet: DatanetId,
    version: u64,
    grantee: Option<Address>,
    seconds: u64,
) -> Result<()> {
    let network = Network::of(api).await?;
    let flow = signer.flow(api, &network).await?;
    let now = flow.client().latest().await?.map_or(0, |head| head.timestamp);
    let grant = Grant {
        datanet,
        version,
        grantee: grantee.unwrap_or(network.node),
        purposes: Purposes::of(&[Purpose::Finetune, Purpose::Evaluate, Purpose::Infer]),
        until: now.saturating_add(seconds),
        terms: flow.datanet(datanet).await?.terms,
    };
    let signature = signer.key()?.sign(network.domain(network.addresses.datanets).digest(grant.struct_hash()));
    let body = json!({ "grant": grant, "signature": signature });
    let path = format!("/api/v1/datanets/{datanet}/grants");
    print_json(&api.post(&path, &body, &format!("grant/{}", grant.struct_hash())).await?)
}
