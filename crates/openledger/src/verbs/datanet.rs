//! `openledger datanet`: what an owner and contributors do, step by step. The node relays; each
//! step carries its signature.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Subcommand;
use openledger_api::client::Client;
use openledger_api::{
    BatchSignature, Handle, ImportSignatures, NewDatanet, NewHandles, RefusedRecord, SignedGrant, SignedVersion,
};
use openledger_datanet::{Limits, REQUIRED_PURPOSES, licence, parse_jsonl};
use openledger_protocol::{Address, DatanetId, Grant, Key, Purpose, Purposes, Rights};

use super::signing::Signer;
use super::{ListArgs, body_key, checked_name, fresh_key, print_json, print_list, with_title};
use crate::connection::{NodeArgs, domain};
use crate::console::one_line;
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
        /// Name on the node; must be free there.
        name: String,
        /// Id of a title that is on chain already; default: register a new one. Its terms must be
        /// those of --license.
        #[arg(long, value_name = "ID")]
        title: Option<u64>,
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
        #[arg(id = "of", value_name = "VERSION")]
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
        DatanetVerb::Create { name, title, description, license, signer, node } => {
            let rights = terms(&license)?;
            signer.check()?;
            create(&node.client()?, &signer, &name, title.map(DatanetId), &description, rights).await
        }
        DatanetVerb::Contribute { id, file, strict, signer, node } => {
            let bytes = std::fs::read(&file).map_err(CliError::file(&file))?;
            signer.check()?;
            contribute(&node.client()?, &signer, DatanetId(id), bytes, strict).await
        }
        DatanetVerb::Publish { id, signer, node } => {
            signer.check()?;
            publish(&node.client()?, &signer, DatanetId(id)).await
        }
        DatanetVerb::Grant { id, version, grantee, seconds, signer, node } => {
            signer.check()?;
            grant(&node.client()?, &signer, DatanetId(id), version, grantee, seconds).await
        }
    }
}

/// The terms: what the licence allows, which must reach as far as a node needs.
fn terms(license: &str) -> Result<Rights> {
    let found = licence::normalise(license);
    if !found.known {
        let message = format!("`{license}` is not a licence with known rights; try CC-BY-4.0");
        return Err(CliError::refused(Exit::Usage, message));
    }
    let needed = Purposes::of(&REQUIRED_PURPOSES);
    if !found.rights.purposes.allow(needed) {
        let message = format!("`{license}` does not allow {needed:?}; try CC-BY-4.0");
        return Err(CliError::refused(Exit::Usage, message));
    }
    Ok(found.rights)
}

/// Registers the title, or goes on with `title`, and has the node take it up. What the node would
/// refuse is checked before a title is registered: a title costs gas and cannot be taken back.
async fn create(
    client: &Client,
    signer: &Signer,
    name: &str,
    title: Option<DatanetId>,
    description: &str,
    rights: Rights,
) -> Result<()> {
    let name = checked_name(name)?;
    // Jobs are read by the operator alone, as datanets are added by the operator alone.
    client.jobs(None).limit(1).next().await?;
    let known = client.datanets().all().await?.into_iter().find(|datanet| datanet.name == name);
    if let Some(known) = known.filter(|known| Some(known.id) != title) {
        let message = format!("`{name}` is datanet {} already; choose another name", known.id);
        return Err(CliError::refused(Exit::Conflict, message));
    }
    let id = match title {
        Some(title) => title,
        None => {
            let network = client.network().await?;
            let flow = signer.flow(client, &network).await?;
            let uri = format!("openledger:datanet/{name}");
            let created = flow.datanets().create(&name, rights.terms_hash()?, &uri).await?;
            eprintln!("title {} in transaction {}", created.value, created.mined.hash);
            created.value
        }
    };
    let datanet = NewDatanet { id, name, description: description.to_owned(), rights };
    let taken_up = client.add_datanet(&datanet, &body_key("datanet", &datanet)?).await.map_err(with_title(id))?;
    println!("datanet {} named {}", taken_up.id, openledger_datanet::printable(&taken_up.name));
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
    let handles = NewHandles { handles };
    client.note_handles(&handles, &body_key("handles", &handles)?).await?;
    // The node recognises a file that it knows. A kept report could be stale for as long as it is
    // kept: another import may have come first.
    let import = client.import_records(id, bytes, &fresh_key("import")).await?;
    for refused in &import.refused {
        println!("{}", refused_line(refused));
    }
    let mut signatures = Vec::new();
    for batch in &import.batches {
        let unknown = || {
            let message = format!(
                "the node wants a signature of {}, who is not in the file; contribute with that account's key",
                batch.registrant
            );
            CliError::refused(Exit::Unavailable, message)
        };
        let key = keys.get(&batch.registrant).ok_or_else(unknown)?;
        signatures.push(BatchSignature { contribution: batch.contribution, signature: key.sign(batch.digest) });
    }
    let refused = import.refused.len();
    println!("{} records accepted, {refused} refused, {} batches", import.accepted, signatures.len());
    if !signatures.is_empty() {
        let signed = ImportSignatures { signatures };
        let done = client.sign_import(import.import, &signed, &body_key("register", &signed)?).await?;
        for batch in done.registered {
            println!("contribution {} held by {}", batch.contribution, batch.holder);
        }
    }
    if strict && refused > 0 {
        let message = format!("{refused} records were refused; change their lines and contribute the file again");
        return Err(CliError::refused(Exit::Failure, message));
    }
    Ok(())
}

/// A refused record as a line of text.
fn refused_line(refused: &RefusedRecord) -> String {
    let record = refused.id.as_deref().map_or_else(|| "no id".to_owned(), openledger_datanet::printable);
    format!("refused line {} ({record}): {}", refused.line, one_line(&refused.reason))
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::extract::State;
    use axum::http::{HeaderMap, Uri};
    use axum::{Json, Router};
    use clap::Parser;
    use openledger_protocol::B256;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::{Cli, Verb};

    /// Path and idempotency key of each call.
    type Calls = Arc<Mutex<Vec<(String, String)>>>;

    /// Answers each call as a node does that refused the whole file.
    async fn note(State(calls): State<Calls>, uri: Uri, headers: HeaderMap) -> Json<Value> {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        calls.lock().unwrap().push((uri.path().to_owned(), key));
        Json(json!({
            "handles": 1, "import": B256::ZERO, "lines": 1, "accepted": 0, "refused": [], "near_duplicates": [],
            "batches": [],
        }))
    }

    #[tokio::test]
    async fn a_file_that_is_contributed_again_is_read_again() {
        let calls = Calls::default();
        let router = Router::new().fallback(note).with_state(Arc::clone(&calls));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.jsonl");
        std::fs::write(&file, r#"{"id":"a","contributor":"ada","license":"CC0-1.0","text":"words"}"#).unwrap();
        let file = file.display().to_string();
        for seed in ["1", "1", "2"] {
            let words = ["openledger", "datanet", "contribute", "1", &file, "--node", &url, "--demo-seed", seed];
            let Verb::Datanet(verb) = Cli::try_parse_from(words).unwrap().verb else { panic!("another verb") };
            run(verb).await.unwrap();
        }
        let keys = |path: &str| -> Vec<String> {
            let calls = calls.lock().unwrap();
            calls.iter().filter(|(called, _)| called == path).map(|(_, key)| key.clone()).collect()
        };
        let (handles, imports) = (keys("/api/v1/handles"), keys("/api/v1/datanets/1/imports"));
        assert_eq!((handles.len(), imports.len()), (3, 3));
        assert!(imports[0] != imports[1], "a kept report could be stale");
        assert!(handles[0] == handles[1] && handles[1] != handles[2], "another signer has another key");
    }

    #[test]
    fn what_a_record_says_of_itself_moves_no_cursor() {
        let refused = |id: Option<&str>| RefusedRecord {
            line: 4,
            id: id.map(str::to_owned),
            reason: "licence `\u{202e}CC0`\nis unknown".to_owned(),
        };
        let reason = "licence `\\u{202e}CC0` is unknown";
        let record = refused(Some("tide\n\u{1b}[2J"));
        assert_eq!(refused_line(&record), format!("refused line 4 (tide\\u{{a}}\\u{{1b}}[2J): {reason}"));
        assert_eq!(refused_line(&refused(None)), format!("refused line 4 (no id): {reason}"));
    }

    #[test]
    fn terms_that_allow_no_training_are_refused_before_a_title_is_registered() {
        assert!(terms("CC-BY-4.0").is_ok());
        assert_eq!(terms("no such licence").unwrap_err().exit(), Exit::Usage);
    }
}
