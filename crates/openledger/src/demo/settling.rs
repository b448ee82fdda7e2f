//! The last part of the walk: the epoch is closed on chain, everybody is paid, a stranger checks all of it.

use std::collections::BTreeMap;

use openledger_ledger::{ExportedEpoch, verify_bundle};
use openledger_node::evidence::{self, TrainedRecord};
use openledger_protocol::{Address, Amount, Manifest};
use serde_json::{Value, json};

use super::DemoArgs;
use super::asking::bundle;
use super::driver::Driver;
use super::summary::Summary;
use super::training::Offered;
use crate::api::field;
use crate::error::{CliError, Result};
use crate::verbs::audit::checks;
use crate::verbs::node::base_dir;

/// Claims named one by one.
const NAMED: usize = 40;

/// A line of `POST claims`.
#[derive(serde::Deserialize, Clone, Debug, PartialEq, Eq)]
struct Claimed {
    account: Address,
    name: Option<String>,
    amount: Amount,
    balance: Amount,
}

/// Closes the epoch and pays everybody.
pub(crate) async fn settle(driver: &Driver, args: &DemoArgs, model: &Offered, summary: &mut Summary) -> Result<()> {
    let voice = &driver.voice;
    voice.step("The epoch is settled on chain");
    let settled = match driver.again(4, async || driver.post_once("/api/v1/epochs", &json!({}), "settle").await).await {
        // The node was killed after it had settled and before it had said so: the newest epoch tells.
        Err(error) if error.is_code("no-receipts") => {
            let epochs = driver.get("/api/v1/epochs").await?;
            let numbers = epochs["epochs"].as_array().into_iter().flatten().filter_map(|card| card["number"].as_u64());
            let number = numbers.max().ok_or(error)?;
            driver.get(&format!("/api/v1/epochs/{number}")).await?
        }
        settled => settled?,
    };
    for step in settled["steps"].as_array().into_iter().flatten() {
        let what = step["what"].as_str().unwrap_or_default();
        voice.line(format!(
            "{what:<40} block {:>5}  {:>9} gas  {}",
            step["block"],
            step["gas"].to_string(),
            step["tx"].as_str().unwrap_or_default()
        ));
    }
    let epoch: ExportedEpoch =
        serde_json::from_value(settled.clone()).map_err(|_| CliError::lacks("POST epochs", "an epoch's header"))?;
    voice.figure(
        "epoch",
        format!("{}: {} receipts, {}", epoch.header.epoch, epoch.header.receipt_count, epoch.header.entries_total),
    );
    voice.figure("payout root", format!("{} over {}", epoch.header.payout_root, epoch.header.total));
    claim(driver, &epoch, summary).await?;
    stranger(driver, args, model, &epoch, summary).await
}

/// Everybody's earnings are claimed for them, twice: the second time moves nothing.
async fn claim(driver: &Driver, epoch: &ExportedEpoch, summary: &mut Summary) -> Result<()> {
    let voice = &driver.voice;
    voice.step("Everybody is paid");
    let payouts = driver.get(&format!("/api/v1/epochs/{}/payouts", epoch.header.epoch)).await?;
    let mut owed: BTreeMap<Address, Amount> = BTreeMap::new();
    for payout in payouts["payouts"].as_array().into_iter().flatten() {
        owed.insert(field(payout, "GET payouts", "account")?, field(payout, "GET payouts", "cumulative")?);
    }
    let mut largest: Vec<(Address, Amount)> = owed.iter().map(|(account, amount)| (*account, *amount)).collect();
    largest.sort_by_key(|(account, amount)| (std::cmp::Reverse(*amount), *account));
    largest.truncate(NAMED);
    let flow = driver.flow(&driver.key("payer")).await?;
    let mut before: BTreeMap<Address, Amount> = BTreeMap::new();
    for (account, _) in &largest {
        before.insert(*account, driver.again(0, async || Ok(flow.token_balance(*account).await?)).await?);
    }

    let claims = claims(driver, "claim").await?;
    let by_account: BTreeMap<Address, &Claimed> = claims.iter().map(|claim| (claim.account, claim)).collect();
    for (account, _) in &largest {
        let Some(claim) = by_account.get(account) else { continue };
        let had = before.get(account).copied().unwrap_or_default();
        let name = claim.name.clone().unwrap_or_else(|| "several, by splitter".to_owned());
        voice.line(format!("{account} {name:<22} {} : {had} -> {}", claim.amount, claim.balance));
    }
    if claims.len() > NAMED {
        voice.line(format!("and {} more accounts", claims.len() - NAMED));
    }
    let total = Amount::sum(claims.iter().map(|claim| claim.amount))?;
    voice.figure("claimed", format!("{total} by {} accounts", claims.len()));
    summary.promise(total == epoch.header.total, driver, "all that was paid in was paid out, to the last unit");
    let again = self::claims(driver, "claim-again").await?;
    summary.promise(again == claims, driver, "claiming again moves nothing");
    summary.settled(epoch, &owed, claims.iter().map(|claim| (claim.account, claim.amount, claim.balance)));
    Ok(())
}

async fn claims(driver: &Driver, key: &str) -> Result<Vec<Claimed>> {
    let answer =
        driver.again(4, async || driver.post_once("/api/v1/claims", &json!({ "accounts": [] }), key).await).await?;
    field(&answer, "POST claims", "claims")
}

/// A stranger takes three files and checks a receipt without the node.
async fn stranger(
    driver: &Driver,
    args: &DemoArgs,
    model: &Offered,
    epoch: &ExportedEpoch,
    summary: &mut Summary,
) -> Result<()> {
    let voice = &driver.voice;
    let Some(id) = summary.first_receipt() else { return Ok(()) };
    voice.step("A stranger checks the first receipt from files alone");
    let receipt = bundle(driver, &id).await?;
    let document = driver.get(&format!("/api/v1/models/{}/manifest", model.name)).await?;
    let manifest: Manifest =
        serde_json::from_value(document.clone()).map_err(|_| CliError::lacks("GET manifest", "a manifest"))?;
    let exported = driver.get(&format!("/api/v1/epochs/{}", epoch.header.epoch)).await?;
    let files = [
        driver.export("receipt.json", &serde_json::to_value(&receipt)?)?,
        driver.export("epoch.json", &exported)?,
        driver.export("manifest.json", &document)?,
    ];
    let checked = verify_bundle(&receipt, epoch, &manifest);
    for fault in checked.as_ref().err().into_iter().flatten() {
        voice.bad(fault);
    }
    summary.promise(checked.is_ok(), driver, "the receipt verifies from bundle, epoch header and manifest");
    let records = driver.get(&format!("/api/v1/models/{}/records", model.name)).await?;
    let records: Vec<TrainedRecord> = field(&records, "GET records", "records")?;
    let records = driver.export_text("records.jsonl", &evidence::to_jsonl(&records)?)?;
    let [file, epoch, manifest] = files.map(|file| file.display().to_string());
    voice.line(format!("openledger receipt verify {file} --epoch {epoch} --manifest {manifest}"));
    voice.line("and with base, adapter and records at hand, answer and credits again:");
    voice.line(format!(
        "  … --reexecute --base {} --adapter {} --records {}",
        base_dir(args.base.clone())?.display(),
        driver.adapter_folder(receipt.completion.adapter).display(),
        records.display()
    ));
    if args.exit {
        return Ok(());
    }
    voice.line(format!("the model is title {}; look it up with any wallet at /rpc", model.id));
    Ok(())
}

/// The node's own audit, as anybody may ask for it.
pub(crate) async fn audit(driver: &Driver, summary: &mut Summary) -> Result<()> {
    driver.voice.step("Audit");
    let audit = driver.get("/api/v1/audit").await?;
    for check in checks(&audit)? {
        summary.promise(check.ok, driver, &format!("{}: {}", check.name, check.detail));
    }
    summary.audited(audit["ok"] == Value::Bool(true));
    Ok(())
}
