//! `openledger receipt`: what an answer was, cost and rests on; and checking that from files alone.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use openledger_ledger::{ExportedEpoch, Fault, Verified, verify_bundle, verify_receipt};
use openledger_protocol::{Amount, Layer, Manifest, PayeeRole, ReceiptBundle, ReceiptId, read_json};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::reexecute::{self, Materials};
use super::{ListArgs, print_json, print_list};
use crate::connection::{KeyArgs, NodeArgs};
use crate::error::{CliError, Exit, Result};

/// Verbs on receipts.
#[derive(Subcommand, Debug)]
pub(crate) enum ReceiptVerb {
    /// List the receipts of a node, newest first.
    List {
        #[command(flatten)]
        node: NodeArgs,
        #[command(flatten)]
        list: ListArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a receipt: answer, spans, payments. With --json print the bundle that `verify` reads.
    /// For the payer, who gives the channel's API key, and for the operator.
    Show {
        /// Id of the receipt.
        id: ReceiptId,
        #[command(flatten)]
        key: KeyArgs,
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Verify a receipt from files, and name each field that does not agree; needs no node.
    /// --reexecute needs --base and --adapter.
    Verify(VerifyArgs),
}

/// Arguments of `openledger receipt verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// File of the bundle, as `receipt show --json` prints it.
    file: PathBuf,
    /// File of the epoch's header, as `epoch export` prints it; default: inclusion is not checked.
    #[arg(long, value_name = "FILE")]
    epoch: Option<PathBuf>,
    /// File of the model's manifest, as `model manifest` prints it.
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// Also recompute the answer, and with --records its credits: spans, influence, coverage.
    #[arg(long, requires_all = ["base", "adapter"])]
    reexecute: bool,
    /// Folder of the base model, or its name on the hub, `org/name[@revision]`.
    #[arg(long, value_name = "DIR|ID", requires = "reexecute")]
    base: Option<PathBuf>,
    /// Offline: use local models only; never contact the hub.
    #[arg(long)]
    offline: bool,
    /// Folder of the adapter.
    #[arg(long, value_name = "DIR", requires = "reexecute")]
    adapter: Option<PathBuf>,
    /// File of the training records, as `model records` prints them; default: credits are not
    /// recomputed.
    #[arg(long, value_name = "FILE", requires = "reexecute")]
    records: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) async fn run(verb: ReceiptVerb) -> Result<()> {
    match verb {
        ReceiptVerb::List { node, list, json } => print_list(node.client()?.receipts(), &list, json).await,
        ReceiptVerb::Show { id, key, node, json } => {
            let client = key.of(node.client()?)?;
            let bundle = client.receipt_bundle(id).await?;
            if json {
                return print_json(&bundle);
            }
            describe(&bundle);
            Ok(())
        }
        ReceiptVerb::Verify(mut args) => {
            if let Some(base) = &mut args.base {
                *base = crate::hub::base(base, args.offline).await?.dir;
            }
            super::blocking(move || verify(&args)).await
        }
    }
}

/// Reads a JSON file; an error names the member by its path.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<T> {
    let bytes = std::fs::read(path).map_err(CliError::file(path))?;
    read_json(&bytes).map_err(|source| CliError::Json { path: path.to_owned(), what, source })
}

fn verify(args: &VerifyArgs) -> Result<()> {
    let bundle: ReceiptBundle = read(&args.file, "a receipt bundle")?;
    let manifest: Manifest = read(&args.manifest, "a manifest")?;
    let checked: std::result::Result<Verified, Vec<Fault>> = match &args.epoch {
        Some(file) => verify_bundle(&bundle, &read::<ExportedEpoch>(file, "an exported epoch")?, &manifest),
        None => verify_receipt(&bundle, &manifest),
    };
    let (verified, mut faults) = match checked {
        Ok(verified) => (Some(verified), Vec::new()),
        Err(faults) => (None, faults),
    };
    let mut done_again = Vec::new();
    if let (true, Some(base), Some(adapter)) = (args.reexecute, &args.base, &args.adapter) {
        let materials = Materials { base, adapter, records: args.records.as_deref() };
        let (found, done) = reexecute::answer_again(&bundle, &manifest, &materials)?;
        faults.extend(found);
        done_again = done;
    }
    if args.json {
        print_json(&json!({
            "ok": faults.is_empty(), "verified": verified, "faults": faults, "reexecuted": done_again,
        }))?;
    } else {
        for fault in &faults {
            println!("FAULT  {}", crate::console::one_line(&fault.to_string()));
        }
        for done in &done_again {
            println!("again  {done}");
        }
        if let (Some(verified), true) = (&verified, faults.is_empty()) {
            println!("ok     receipt {}", verified.receipt);
            println!("       signed by node {}, price {}", verified.node, verified.price);
            println!("       manifest {}: compare it with the model's title on chain", verified.manifest);
            match verified.epoch_hash {
                Some(hash) => println!("       epoch header {hash}: compare it with Payouts on chain"),
                None => println!("       no epoch was given: whether it was settled is not checked"),
            }
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} fields do not agree with what was signed; get the files again, and do not rely on them while this stays",
        faults.len()
    );
    Err(CliError::refused(Exit::Failure, message))
}

/// The name of a line of the split.
pub(crate) fn role_name(role: PayeeRole) -> &'static str {
    match role {
        PayeeRole::Treasury => "treasury",
        PayeeRole::Validation => "validation",
        PayeeRole::Insurance => "insurance",
        PayeeRole::Owner => "model owner",
        PayeeRole::Node => "node",
        PayeeRole::Stakers => "stakers",
        PayeeRole::Contributor => "contributor",
        PayeeRole::Parent => "parent model",
    }
}

/// Prints a bundle as text.
pub(crate) fn describe(bundle: &ReceiptBundle) {
    let receipt = &bundle.signed.receipt;
    println!("receipt   {}", receipt.id());
    println!("answer    {}", openledger_datanet::printable(&bundle.completion.text));
    println!("price     {} for {} + {} tokens", receipt.price, receipt.tokens_in, receipt.tokens_out);
    let coverage = &bundle.credits.coverage;
    println!(
        "coverage  spans {} %, influence {} %",
        coverage.of(Layer::Spans) / 10_000,
        coverage.of(Layer::Influence) / 10_000
    );
    for span in &bundle.credits.spans {
        let (from, to) = (span.output_offset as usize, (span.output_offset + span.length) as usize);
        let quote = bundle.completion.text.get(from..to).unwrap_or_default();
        let record = format!("{}/{}", span.record.contribution.short(), span.record.index);
        println!(
            "span      {from}..{to} \"{}\" = record {record}, {} milli-bits",
            crate::console::short(quote, 60),
            span.weight
        );
    }
    for entry in &bundle.entries {
        println!("pays      {:<12} {} {}", role_name(entry.role), entry.account, Amount(entry.amount.0));
    }
}
