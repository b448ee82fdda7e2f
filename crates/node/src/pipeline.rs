//! The economy, read top to bottom: from a file of records to money at a contributor's account.
//!
//! Each function composes the stages of one step and names the crate that knows how; the result of a step is the input
//! of the next one. The gateway and jobs call these, and nothing below them that writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::B256;
use futures::future::BoxFuture;
use openledger_api::{
    BatchRegistered, Claimed, EpochSettled, GrantPublished, ImportReport, JobKind, JobResult, ModelOffered, TrainOrder,
    VersionPublished,
};
use openledger_protocol::{Address, ContributionId, DatanetId, Grant, ModelId, ReceiptBundle, Signature};
use openledger_serving::Answer;
use openledger_store::epochs::EpochState;

use crate::answering::{Answering, Ask, Begin, Held, Keyed};
use crate::crediting::Crediting;
use crate::datanets::Datanets;
use crate::epochs::Epochs;
use crate::error::Result;
use crate::grants::Grants;
use crate::intake::Intake;
use crate::jobs::{JobHandle, Work};
use crate::models::Models;
use crate::settlement::{Settlement, Standing};
use crate::training::Training;

/// A file becomes batches to sign. Repeated, it gives the same report while nothing it rests on has changed.
///
/// `datanet` parses it and finds copies, near copies and batches; `store` keeps the report.
///
/// # Errors
/// [`crate::NodeError::Malformed`] when the file is damaged: then nothing of it is kept.
pub async fn contribute(intake: &Intake, datanet: DatanetId, file: &[u8]) -> Result<ImportReport> {
    let import = Intake::import_id(datanet, file);
    if let Some(report) = intake.begun(import).await? {
        return Ok(report);
    }
    let parsed = Intake::parse(file.to_vec()).await?;
    let planned = intake.plan(datanet, import, parsed).await?;
    intake.keep(datanet, file, &planned.report).await?;
    Ok(planned.report)
}

/// Signed batches become titles, each held by its contributor or by a splitter of several.
///
/// `datanet` plans the file again, `store` takes the records in, `chain` registers the titles, `store` notes holders.
///
/// # Errors
/// An unsigned or wrongly signed batch, or `stale-import`: then nothing is kept or sent.
pub async fn register(
    intake: &Intake,
    import: B256,
    signatures: &BTreeMap<ContributionId, Signature>,
) -> Result<Vec<BatchRegistered>> {
    let (datanet, file, report) = intake.kept(import).await?;
    let batches = intake.signed(&report, signatures)?;
    if batches.is_empty() {
        return Ok(Vec::new());
    }
    if !intake.has_entered(&report).await? {
        let parsed = Intake::parse(intake.file(file).await?).await?;
        let planned = intake.plan(datanet, import, parsed).await?;
        intake.enter(&report, &planned).await?;
    }
    let on_chain = intake.send(import, &report, &batches).await?;
    intake.conclude(import, on_chain).await
}

/// The owner publishes a version: the root over the contributions so far.
///
/// `datanet` computes the root, `chain` publishes it with the owner's signature, `store` keeps the version.
///
/// # Errors
/// [`crate::NodeError::Signature`] when it is not the owner's; `nothing-new`.
pub async fn publish(datanets: &Datanets, datanet: DatanetId, signature: &Signature) -> Result<VersionPublished> {
    let plan = match datanets.already_published(datanet, signature).await? {
        Some(published) => published,
        None => datanets.plan(datanet).await?,
    };
    datanets.verify(&plan, signature).await?;
    let mined = datanets.send(&plan, signature).await?;
    datanets.keep(&plan, &mined).await
}

/// The owner grants this node the use of a version.
///
/// `datanet` checks signature and terms, `chain` sets the slot, `store` keeps the grant.
///
/// # Errors
/// A version that is not published, a signature that is not the owner's, or other terms.
pub async fn grant(grants: &Grants, grant: &Grant, signature: &Signature) -> Result<GrantPublished> {
    let hash = grants.checked(grant, signature).await?;
    let mined = grants.send(grant, signature).await?;
    grants.keep(grant, signature).await?;
    Ok(GrantPublished { grant: hash, tx: mined.hash, block: mined.block })
}

/// An adapter is ordered; the number of its job. The same order again gives the same job, unless
/// that failed or was cancelled.
///
/// # Errors
/// A recipe, mix or version that cannot be, or no live grant.
pub async fn train(training: &Training, order: &TrainOrder) -> Result<u64> {
    training.check(order).await?;
    training.enqueue(order).await
}

/// The work of a training job: `datanet` checks the grants, `store` reads the rows, `factory` trains, `attribution`
/// builds the evidence, and the model's folder goes into the blob store.
pub(crate) struct TrainAdapter(pub(crate) Training);

impl Work for TrainAdapter {
    fn kind(&self) -> JobKind {
        JobKind::Train
    }

    fn run<'a>(&'a self, order: &'a str, job: &'a JobHandle) -> BoxFuture<'a, Result<JobResult>> {
        Box::pin(async move {
            let training = &self.0;
            let order = Training::order(order)?;
            let material = Arc::new(training.material(&order).await?);
            job.log(&format!("read {} records", material.len())).await;
            let (trained, rate) = training.fit(&order, Arc::clone(&material), job).await?;
            let trained = Arc::new(trained);
            let ledger = training.ledger(&material, &trained).await?;
            job.log("building the evidence of attribution").await;
            let (manifest, artifact) = training.keep(&order, Arc::clone(&trained), &material, ledger).await?;
            Training::outcome(&trained, (&manifest, artifact), rate)
        })
    }

    fn ended(&self, job: u64) {
        self.0.remove_checkpoint(job);
    }
}

/// A trained adapter is offered under the title its owner registered; tested bytes are the bytes on offer.
///
/// # Errors
/// A title of other weights, or a name that is taken.
pub async fn offer(models: &Models, id: ModelId, name: &str, job: u64) -> Result<ModelOffered> {
    let row = models.plan(id, name, job).await?;
    models.keep(&row).await
}

/// A request becomes an answer that is being written. Repeated under its idempotency key, it gives the first answer.
///
/// `ledger` prices the dearest answer, `store` reserves that on the channel, `serving` generates.
///
/// # Errors
/// `over-max-price`, `insufficient-deposit`, `deposit-withdrawn`, `key-reused`; what is wrong with the request, or that
/// there is no room for it now. Then nothing is kept and nothing stays reserved.
pub async fn answer(answering: &Answering, ask: &Ask) -> Result<Begin> {
    let key = match answering.take_key(ask).await? {
        Keyed::Replayed(bundle) => return Ok(Begin::Replayed(bundle)),
        Keyed::New(key) => key,
    };
    let largest = answering.largest_price(ask).await?;
    let money = answering.reserve(ask, largest).await?;
    let generation = answering.generate(ask).await?;
    Ok(Begin::Running(generation, Held { money, key }))
}

/// A generated answer becomes a receipt: `attribution` credits it, `ledger` prices and splits it, `store` charges the
/// channel and keeps the signed receipt.
///
/// # Errors
/// [`crate::NodeError`] of a stage; then nothing is kept and nothing is charged.
pub async fn receipt(
    answering: &Answering,
    crediting: &dyn Crediting,
    ask: &Ask,
    held: Held,
    answer: &Answer,
) -> Result<ReceiptBundle> {
    let params = answering.governed();
    let credits = crediting.credit(&ask.model, &answer.completion, &params).await?;
    answering.settle(ask, held, answer, credits, &params).await
}

/// The open epoch is settled. Repeated after a crash it goes on where it stopped; a refuted one is proposed again.
///
/// `store` closes it to receipts, `ledger` computes its roots, `chain` redeems its channels, takes the proposal, waits
/// out the window and finalizes.
///
/// # Errors
/// `no-receipts`; `window-open` while the proposal may be refuted; `false-books`, `another-epoch`; `step-reverted` when a
/// transaction reverted: a repeat sends another one.
pub async fn settle(settlement: &Settlement, epochs: &Epochs) -> Result<EpochSettled> {
    let turn = settlement.take_turn("settlement").await?;
    let mut row = settlement.due(&turn).await?;
    let mut steps = Vec::new();
    if row.state == EpochState::Proposed && matches!(settlement.standing(&row).await?, Standing::Dropped) {
        row = settlement.reopen(&turn, &row).await?;
    }
    if row.state == EpochState::Closing {
        let receipts = settlement.books(&turn, &row).await?;
        let closed = Arc::new(epochs.close(&row, receipts).await?);
        settlement.check_again(&row, &closed).await?;
        row = settlement.fix(&turn, &row, &closed).await?;
    }
    if row.state == EpochState::Closed {
        steps.extend(settlement.redeem(&turn, &row).await?);
        steps.push(settlement.propose(&turn, &row, &epochs.header(&row)?).await?);
    }
    steps.extend(settlement.finalize(&turn, &row).await?);
    steps.extend(settlement.sweep(&turn, &row).await?);
    settlement.conclude(&turn, &row, steps).await
}

/// Earnings are paid out, by anyone for anyone; no account named: to everybody. Repeated, it pays nothing again and
/// returns the same claims.
///
/// `ledger`'s tree proves what each account earned, `chain` pays it, `store` notes the claims.
///
/// # Errors
/// `not-finalized` before the first epoch is; `step-reverted`; `claim-passed-over` when the chain has other payouts.
pub async fn claim(settlement: &Settlement, accounts: &[Address]) -> Result<Vec<Claimed>> {
    let turn = settlement.take_turn("claims").await?;
    let due = settlement.claimable(accounts).await?;
    let paid = settlement.pay(&turn, due).await?;
    settlement.claimed(paid).await
}
