//! `openledger datanet`: what an owner and contributors do, step by step. The node relays; each
//! step carries its signature.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Subcommand;
use openledger_api::client::Client;
use openledger_api::{BatchSignature, Handle, ImportSignatures, NewDatanet, NewHandles, SignedGrant, SignedVersion};
use openledger_datanet::{Limits, licence, parse_jsonl};
use openledger_protocol::{Address, DatanetId, Grant, Key, Purpose, Purposes, Rights};

use super::signing::Signer;
use super::{ListArgs, print_json, print_list};
use crate::connection::{NodeArgs, domain};
use crate::error::{CliError, Exit, Result};

/// A year, in seconds.
const YEAR_S: u64 = 365 * 24 * 3600;

/// Verbs on datanets.
#[derive(Subcommand, Debug)]
pub(crate) enum DatanetVerb {
    /// List the datanets of a node.
    List {
        #[command(flatten)]
        node: NodeArgs,
        #[command(flatten)]
        list: ListArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Create a datanet: register its title on chain and its terms with the node.
    Create {
        /// Name on the node.
        name: String,
        /// Description of its subject.
        #[arg(long, default_value = "")]
        description: String,
        /// Licence of its terms, as an SPDX identifier.
        #[arg(long, default_value = "CC-BY-4.0")]
        license: String,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Contribute a file of records: import it, sign its batches, register them.
    Contribute {
        /// Id of the datanet.
        id: u64,
        /// File of records, JSONL.
        file: PathBuf,
        /// Exit with status 1 if a record was refused.
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Publish a version with all registered contributions.
    Publish {
        /// Id of the datanet.
        id: u64,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Grant the use of a version for fine-tuning, evaluation and inference.
    Grant {
        /// Id of the datanet.
        id: u64,
        /// Number of the version.
        #[arg(id = "of")]
        version: u64,
        /// Account of the grantee; default: the node.
        #[arg(long, value_name = "0x…")]
        grantee: Option<Address>,
        /// Duration of the grant, in seconds from now.
        #[arg(long, default_value_t = YEAR_S)]
        seconds: u64,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// Runs the verb.
pub(crate) async fn run(verb: DatanetVerb) -> Result<()> {
    match verb {
        DatanetVerb::List { node, list, json } => print_list(node.client()?.datanets(), &list, json).await,
        DatanetVerb::Create { name, description, license, signer, node } => {
            create(&node.client()?, &signer, &name, &description, &license).await
        }
        DatanetVerb::Contribute { id, file, strict, signer, node } => {
            let bytes = std::fs::read(&file).map_err(CliError::file(&file))?;
            contribute(&node.client()?, &signer, DatanetId(id), bytes, strict).await
        }
        DatanetVerb::Publish { id, signer, node } => publish(&node.client()?, &signer, DatanetId(id)).await,
        DatanetVerb::Grant { id, version, grantee, seconds, signer, node } => {
            grant(&node.client()?, &signer, DatanetId(id), version, grantee, seconds).await
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

async fn create(client: &Client, signer: &Signer, name: &str, description: &str, license: &str) -> Result<()> {
    let rights = terms(license)?;
    let network = client.network().await?;
    let flow = signer.flow(client, &network).await?;
    let created = flow.datanets().create(name, rights.terms_hash()?, &format!("openledger:datanet/{name}")).await?;
    let datanet = NewDatanet { id: created.value, name: name.to_owned(), description: description.to_owned(), rights };
    client.add_datanet(&datanet, &format!("datanet/{}", created.value)).await?;
    println!("datanet {} in transaction {}", created.value, created.mined.hash);
    Ok(())
}

async fn contribute(client: &Client, signer: &Signer, id: DatanetId, bytes: Vec<u8>, strict: bool) -> Result<()> {
    // Damage is found by the node, which lists every bad line; here only the handles are read.
    let parsed = parse_jsonl(&bytes, &Limits::default()).unwrap_or_default();
    let names: BTreeSet<&String> = parsed.records.iter().flat_map(|parsed| &parsed.record.contributors).collect();
    let mut keys: BTreeMap<Address, Key> = BTreeMap::new();
    let mut handles = Vec::new();
    for name in names {
        let key = signer.contributor(name)?;
        handles.push(Handle { name: name.clone(), address: key.address() });
        keys.insert(key.address(), key);
    }
    let name = openledger_protocol::sha256(&bytes);
    client.note_handles(&NewHandles { handles }, &format!("handles/{name}")).await?;
    let import = client.import_records(id, bytes, &format!("import/{id}/{name}")).await?;
    for refused in &import.refused {
        let record = refused.id.as_deref().unwrap_or("no id");
        println!("refused line {} ({record}): {}", refused.line, refused.reason);
    }
    let mut signatures = Vec::new();
    for batch in &import.batches {
        let unknown = || {
            let message = format!("the node wants a signature of {}, who is not in the file", batch.registrant);
            CliError::refused(Exit::Unavailable, message)
        };
        let key = keys.get(&batch.registrant).ok_or_else(unknown)?;
        signatures.push(BatchSignature { contribution: batch.contribution, signature: key.sign(batch.digest) });
    }
    let refused = import.refused.len();
    println!("{} records accepted, {refused} refused, {} batches", import.accepted, signatures.len());
    if !signatures.is_empty() {
        let signed = ImportSignatures { signatures };
        let done = client.sign_import(import.import, &signed, &format!("register/{}", import.import)).await?;
        for batch in done.registered {
            println!("contribution {} held by {}", batch.contribution, batch.holder);
        }
    }
    if strict && refused > 0 {
        return Err(CliError::refused(Exit::Failure, format!("{refused} records were refused")));
    }
    Ok(())
}

async fn publish(client: &Client, signer: &Signer, id: DatanetId) -> Result<()> {
    let digest = client.next_version(id).await?.digest;
    let signed = SignedVersion { signature: signer.key()?.sign(digest) };
    print_json(&client.publish_version(id, &signed, &format!("publish/{digest}")).await?)
}

async fn grant(
    client: &Client,
    signer: &Signer,
    datanet: DatanetId,
    version: u64,
    grantee: Option<Address>,
    seconds: u64,
) -> Result<()> {
    let network = client.network().await?;
    let flow = signer.flow(client, &network).await?;
    let now = flow.client().latest().await?.map_or(0, |head| head.timestamp);
    let grant = Grant {
        datanet,
        version,
        grantee: grantee.unwrap_or(network.node),
        purposes: Purposes::of(&[Purpose::Finetune, Purpose::Evaluate, Purpose::Infer]),
        until: now.saturating_add(seconds),
        terms: flow.datanets().state(datanet).await?.terms,
    };
    let (hash, contract) = (grant.struct_hash(), network.addresses.datanets);
    let signature = signer.key()?.sign(domain(&network, contract).digest(hash));
    print_json(&client.publish_grant(&SignedGrant { grant, signature }, &format!("grant/{hash}")).await?)
}
