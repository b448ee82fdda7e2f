//! The last part of the walk: the epoch is closed on chain, everybody is paid, a stranger checks
//! all of it.

use std::collections::BTreeMap;

use openledger_api::{Claimed, ClaimsRequest, EpochState};
use openledger_datanet::printable;
use openledger_ledger::{ExportedEpoch, verify_bundle};
use openledger_protocol::{Address, Amount};

use super::args::DemoArgs;
use super::asking::bundle;
use super::driver::Driver;
use super::summary::Summary;
use super::training::Offered;
use crate::connection::exported;
use crate::error::Result;

/// Claims named one by one.
const NAMED: usize = 40;

/// Closes the epoch and pays everybody.
pub(crate) async fn settle(driver: &Driver, args: &DemoArgs, model: &Offered, summary: &mut Summary) -> Result<()> {
    let console = &driver.console;
    console.step("The epoch is settled on chain");
    let settled = driver.call(4, async |node| node.settle("settle").await).await;
    let (epoch, steps) = match settled {
        // The node was killed between settlement and response: the newest epoch is the settled one.
        Err(error) if error.is_code("no-receipts") => {
            let epochs = driver.call(1, async |node| node.epochs().all().await).await?;
            let settled = epochs.iter().filter(|epoch| epoch.state == EpochState::Finalized);
            let number = settled.map(|epoch| epoch.number).max().ok_or(error)?;
            (driver.call(1, async |node| node.epoch(number).await).await?, Vec::new())
        }
        settled => {
            let settled = settled?;
            (settled.epoch, settled.steps)
        }
    };
    for step in &steps {
        console.line(format!("{:<40} block {:>5}  {:>9} gas  {}", step.what, step.block, step.gas, step.tx));
    }
    let epoch = exported(&epoch);
    console.figure(
        "epoch",
        format!("{}: {} receipts, {}", epoch.header.epoch, epoch.header.receipt_count, epoch.header.entries_total),
    );
    console.figure("payout root", format!("{} over {}", epoch.header.payout_root, epoch.header.total));
    claim(driver, &epoch, summary).await?;
    stranger(driver, args, model, &epoch, summary).await
}

/// Everybody's earnings are claimed for them, twice: the second time moves nothing.
async fn claim(driver: &Driver, epoch: &ExportedEpoch, summary: &mut Summary) -> Result<()> {
    let console = &driver.console;
    console.step("Everybody is paid");
    let number = epoch.header.epoch;
    let payouts = driver.call(1, async |node| node.payouts(number).all().await).await?;
    let owed: BTreeMap<Address, Amount> = payouts.iter().map(|payout| (payout.account, payout.cumulative)).collect();
    let mut largest: Vec<(Address, Amount)> = owed.iter().map(|(account, amount)| (*account, *amount)).collect();
    largest.sort_by_key(|(account, amount)| (std::cmp::Reverse(*amount), *account));
    largest.truncate(NAMED);
    let flow = driver.flow(&driver.key("payer")).await?;
    let mut before: BTreeMap<Address, Amount> = BTreeMap::new();
    for (account, _) in &largest {
        before.insert(*account, driver.again(0, async || Ok(flow.token().balance(*account).await?)).await?);
    }

    let claims = claims(driver).await?;
    let by_account: BTreeMap<Address, &Claimed> = claims.iter().map(|claim| (claim.account, claim)).collect();
    for (account, _) in &largest {
        let Some(claim) = by_account.get(account) else { continue };
        let had = before.get(account).copied().unwrap_or_default();
        let name = claim.name.as_deref().map_or_else(|| "several, by splitter".to_owned(), printable);
        console.line(format!("{account} {name:<22} {} : {had} -> {}", claim.amount, claim.balance));
    }
    if claims.len() > NAMED {
        console.line(format!("and {} more accounts", claims.len() - NAMED));
    }
    let total = Amount::sum(claims.iter().map(|claim| claim.amount))?;
    console.figure("claimed", format!("{total} by {} accounts", claims.len()));
    summary.promise(total == epoch.header.total, driver, "all that was paid in was paid out, to the last unit");
    let again = self::claims(driver).await?;
    summary.promise(again == claims, driver, "claiming again moves nothing");
    summary.settled(epoch, &owed, claims.iter().map(|claim| (claim.account, claim.amount, claim.balance)));
    Ok(())
}

async fn claims(driver: &Driver) -> Result<Vec<Claimed>> {
    let request = ClaimsRequest::default();
    Ok(driver.call(4, async |node| node.claim(&request).await).await?.claims)
}

/// A stranger takes three files and checks a receipt without the node.
async fn stranger(
    driver: &Driver,
    args: &DemoArgs,
    model: &Offered,
    epoch: &ExportedEpoch,
    summary: &mut Summary,
) -> Result<()> {
    let console = &driver.console;
    let Some(id) = summary.first_receipt() else { return Ok(()) };
    console.step("A stranger checks the first receipt from files alone");
    let receipt = bundle(driver, id).await?;
    let manifest = driver.call(1, async |node| node.manifest(&model.name).await).await?;
    let number = epoch.header.epoch;
    let header = driver.call(1, async |node| node.epoch(number).await).await?;
    let files = [
        driver.export("receipt.json", &receipt)?,
        driver.export("epoch.json", &header)?,
        driver.export("manifest.json", &manifest)?,
    ];
    let checked = verify_bundle(&receipt, epoch, &manifest);
    for fault in checked.as_ref().err().into_iter().flatten() {
        console.bad(fault);
    }
    summary.promise(checked.is_ok(), driver, "the receipt verifies from bundle, epoch header and manifest");
    let records = driver.call(1, async |node| node.trained_records(&model.name).all().await).await?;
    let lines = records.iter().map(serde_json::to_string).collect::<std::result::Result<Vec<_>, _>>()?;
    let records = driver.export_text("records.jsonl", &(lines.join("\n") + "\n"))?;
    let [file, epoch, manifest] = files.map(|file| file.display().to_string());
    console.line(format!("openledger receipt verify {file} --epoch {epoch} --manifest {manifest}"));
    console.line("and with base, adapter and records at hand, answer and credits again:");
    console.line(format!(
        "  … --reexecute --base {} --adapter {} --records {}",
        driver.base_folder().display(),
        driver.adapter_folder(model.artifact).display(),
        records.display()
    ));
    if args.exit {
        return Ok(());
    }
    console.line(format!("the model is title {}; look it up with any wallet at /rpc", model.id));
    Ok(())
}

/// The node's audit of its own books, called for by its operator.
pub(crate) async fn audit(driver: &Driver, summary: &mut Summary) -> Result<()> {
    driver.console.step("Audit");
    let audit = driver.call(1, async |node| node.audit(false).await).await?;
    for check in &audit.checks {
        summary.promise(check.ok, driver, &format!("{}: {}", check.name, check.detail));
    }
    summary.audited(audit.ok);
    Ok(())
}
