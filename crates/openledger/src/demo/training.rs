//! The second part of the walk: an adapter is trained under the grants, registered by its builder
//! and offered.

use std::time::{Duration, Instant};

use openledger_api::{
    DatanetVersionRef, HeldOutLoss, JobOrder, JobResult, JobState, ModelOffer, TrainOrder, TrainResult as Trained,
};
use openledger_chain::flow::NewModel;
use openledger_factory::Recipe;
use openledger_protocol::{Address, Amount, BlobHash, Mix, ModelId};

use super::args::DemoArgs;
use super::datanets::Published;
use super::driver::Driver;
use super::summary::Summary;
use crate::error::{CliError, Exit, Result};
use crate::verbs::job::state_name;
use crate::verbs::offering::wire;
use crate::verbs::progress::nats;

/// What training counts for when kills are spread.
pub(crate) const POINTS: u64 = 12;
/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(150);
/// Basis points of platform, model and stakers: the defaults of the economy; contributors get the
/// other half.
const SPLIT: (u16, u16, u16) = (1_000, 2_000, 2_000);

/// A model that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    /// Its name.
    pub(crate) name: String,
    /// Its title.
    pub(crate) id: ModelId,
    /// The share of records that was held out.
    pub(crate) holdout: f64,
    /// The blob of the folder that training kept.
    pub(crate) artifact: BlobHash,
}

/// As many records as an adapter can learn by heart within a demonstration.
const FEW_RECORDS: usize = 400;

/// Trains and offers.
pub(crate) async fn train_and_offer(
    driver: &Driver,
    args: &DemoArgs,
    datanets: &[Published],
    summary: &mut Summary,
) -> Result<Offered> {
    let records: usize = datanets.iter().map(|datanet| datanet.records.len()).sum();
    let recipe = recipe(records, args);
    recipe.validate()?;
    let name = "demo".to_owned();
    let (job, trained) = train(driver, &name, &recipe, datanets).await?;
    summary.model(trained.adapter.0, trained.manifest_hash, trained.held_out_loss);
    let id = offer(driver, &name, job, &trained).await?;
    Ok(Offered { name, id, holdout: recipe.holdout, artifact: trained.artifact })
}

/// A few hundred records are learned by heart, so that answers quote them and the receipt has
/// something to show; of many the adapter learns the manner in about a minute of two cores.
fn recipe(records: usize, args: &DemoArgs) -> Recipe {
    let few = records <= FEW_RECORDS;
    let usual = if few {
        Recipe { rank: 32, alpha: 64.0, batch: 16, holdout: 0.04, max_steps: 400, ..Recipe::default() }
    } else {
        Recipe { max_steps: 80, ..Recipe::default() }
    };
    Recipe { seed: args.seed, max_steps: args.max_steps.unwrap_or(usual.max_steps), ..usual }
}

async fn train(driver: &Driver, name: &str, recipe: &Recipe, datanets: &[Published]) -> Result<(u64, Trained)> {
    let console = &driver.console;
    console.step("The builder has an adapter trained on what was granted");
    let used = datanets.iter().map(|used| DatanetVersionRef { datanet: used.id, version: used.version }).collect();
    let mix = Mix { spans_bps: 5_000, influence_bps: 5_000, retrieval_bps: 0 };
    let order = TrainOrder { name: name.to_owned(), datanets: used, recipe: wire(recipe)?, mix };
    let order = JobOrder::Train(order);
    let started = Instant::now();
    let job = driver.call(1, async |node| node.order_job(&order, "train").await).await?.job;
    driver.killer.pass(POINTS);
    let mut shown = 0;
    let trained = loop {
        let now = driver.call(0, async |node| node.job(job).await).await?;
        match (now.state, now.result) {
            (JobState::Done, Some(JobResult::Train(trained))) => break trained,
            (JobState::Failed | JobState::Cancelled | JobState::Done, _) => {
                let cause = now.cause.as_deref().unwrap_or("without a cause");
                let message = format!("training {}: {cause}", state_name(now.state));
                return Err(CliError::refused(Exit::Failure, message));
            }
            (JobState::Queued | JobState::Running, _) => {}
        }
        if let Some(progress) = now.progress
            && progress.step >= shown + (progress.steps / 5).max(1)
        {
            shown = progress.step;
            let loss = progress.loss_micro.map_or_else(String::new, |loss| format!(": loss {}", nats(loss)));
            let speed = progress.tokens_per_s.map_or_else(String::new, |n| format!(", {n} tokens/s"));
            console.line(format!("step {} of {}{loss}{speed}", progress.step, progress.steps));
        }
        tokio::time::sleep(LOOK).await;
    };
    let seconds = started.elapsed().as_secs_f64();
    let HeldOutLoss { base_micro: before, adapter_micro: after } = trained.held_out_loss;
    console.figure(
        "trained on",
        format!("{} records, {} tokens, {} steps", trained.records, trained.tokens, trained.steps),
    );
    let seen = trained.tokens as f64 * passes(recipe, &trained);
    console.figure(
        "took",
        format!("{seconds:.1} s with caches for attribution, about {:.0} tokens/s", seen / seconds.max(0.001)),
    );
    console.figure("held-out loss", format!("{} before, {} after (nats a token)", nats(before), nats(after)));
    console.figure("adapter", trained.adapter);
    console.figure("manifest", trained.manifest_hash);
    Ok((job, trained))
}

/// How often the records were gone through; a figure for people.
fn passes(recipe: &Recipe, trained: &Trained) -> f64 {
    let seen = trained.steps as f64 * recipe.batch as f64;
    (seen / (trained.records as f64).max(1.0)).max(1.0)
}

/// The builder's title on chain, and the model on offer.
async fn offer(driver: &Driver, name: &str, job: u64, trained: &Trained) -> Result<ModelId> {
    driver.console.step("The builder registers the model and names its price");
    let builder = driver.key("model-builder");
    driver.fund("model-builder", Amount::open(100)?).await?;
    let (platform_bps, model_bps, stakers_bps) = SPLIT;
    let model = NewModel {
        weights: trained.adapter.0,
        manifest: trained.manifest_hash,
        price_in: Amount(Amount::open(1)?.0 / 2),
        price_out: Amount::open(2)?,
        price_flat: Amount(Amount::open(1)?.0 / 10),
        parent: None,
        platform_bps,
        model_bps,
        stakers_bps,
        parent_bps: 0,
        stake_vault: Address::ZERO,
    };
    let flow = driver.flow(&builder).await?;
    let uri = format!("openledger:model/{name}");
    let done = driver.again(1, async || Ok(flow.models().register("model", &model, &uri).await?)).await?;
    let offer = ModelOffer { id: done.value, name: name.to_owned(), job };
    driver.call(1, async |node| node.offer_model(&offer, "offer").await).await?;
    let console = &driver.console;
    console.figure("title", format!("model {} of {}, {} gas", done.value, builder.address(), done.mined.gas_used));
    console.figure(
        "price",
        format!("{} per 1,000 tokens in, {} out, {} an answer", model.price_in, model.price_out, model.price_flat),
    );
    let (platform, owner, stakers) = SPLIT;
    let rest = 10_000 - platform - owner - stakers;
    console.figure(
        "split",
        format!(
            "{} % platform, {} % model, {} % stakers, {} % contributors",
            platform / 100,
            owner / 100,
            stakers / 100,
            rest / 100
        ),
    );
    Ok(done.value)
}
