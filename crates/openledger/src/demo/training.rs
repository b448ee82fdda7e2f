//! The second part of the walk: an adapter is trained under the grants, registered by its builder and offered.

use std::time::{Duration, Instant};

use openledger_chain::flow::NewModel;
use openledger_factory::Recipe;
use openledger_protocol::{Address, Amount, B256, Mix, ModelId};
use serde_json::{Value, json};

use super::DemoArgs;
use super::datanets::Published;
use super::driver::Driver;
use super::summary::Summary;
use crate::api::field;
use crate::error::{CliError, Exit, Result};
use crate::verbs::progress::nats;

/// What training counts for when kills are spread.
pub(crate) const POINTS: u64 = 12;
/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(150);
/// Basis points of platform, model and stakers: the defaults of the economy; contributors get the other half.
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
}

/// As many records as an adapter can learn by heart within a demonstration.
const FEW_RECORDS: usize = 400;

/// The job's result.
#[derive(serde::Deserialize)]
struct Trained {
    adapter: B256,
    manifest_hash: B256,
    held_out_loss: (u64, u64),
    records: u64,
    tokens: u64,
    steps: u64,
}

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
    summary.model(trained.adapter, trained.manifest_hash, trained.held_out_loss);
    let id = offer(driver, &name, job, &trained).await?;
    Ok(Offered { name, id, holdout: recipe.holdout })
}

/// A few hundred records are learned by heart, so that answers quote them and the receipt has something to show; of many
/// the adapter learns the manner in about a minute of two cores.
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
    let voice = &driver.voice;
    voice.step("The builder has an adapter trained on what was granted");
    let used: Vec<Value> = datanets.iter().map(|d| json!({ "datanet": d.id, "version": d.version })).collect();
    let mix = Mix { spans_bps: 5_000, influence_bps: 5_000, retrieval_bps: 0 };
    let order = json!({ "kind": "train", "name": name, "datanets": used, "recipe": recipe, "mix": mix });
    let started = Instant::now();
    let job: u64 = field(&driver.post("/api/v1/jobs", &order, "train").await?, "POST jobs", "job")?;
    driver.killer.pass(POINTS);
    let mut told = 0;
    let card = loop {
        let card = driver.peek(&format!("/api/v1/jobs/{job}")).await?;
        match card["state"].as_str().unwrap_or_default() {
            "done" => break card,
            "failed" => {
                let message = format!("training failed: {}", card["error"].as_str().unwrap_or("without a reason"));
                return Err(CliError::refused(Exit::Failure, message));
            }
            _ => {}
        }
        let progress = &card["progress"];
        if let (Some(step), Some(steps)) = (progress["step"].as_u64(), progress["steps"].as_u64())
            && step >= told + (steps / 5).max(1)
        {
            told = step;
            let loss = progress["loss"].as_f64().map_or_else(String::new, |loss| format!(": loss {loss:.4}"));
            let speed = progress["tokens_per_s"].as_u64().map_or_else(String::new, |n| format!(", {n} tokens/s"));
            voice.line(format!("step {step} of {steps}{loss}{speed}"));
        }
        tokio::time::sleep(LOOK).await;
    };
    let trained: Trained = field(&card, "GET jobs", "result")?;
    let seconds = started.elapsed().as_secs_f64();
    let (before, after) = trained.held_out_loss;
    voice.figure(
        "trained on",
        format!("{} records, {} tokens, {} steps", trained.records, trained.tokens, trained.steps),
    );
    let seen = trained.tokens as f64 * passes(recipe, &trained);
    voice.figure(
        "took",
        format!("{seconds:.1} s with caches for attribution, about {:.0} tokens/s", seen / seconds.max(0.001)),
    );
    voice.figure("held-out loss", format!("{} before, {} after (nats a token)", nats(before), nats(after)));
    voice.figure("adapter", trained.adapter);
    voice.figure("manifest", trained.manifest_hash);
    Ok((job, trained))
}

/// How often the records were gone through; a figure for people.
fn passes(recipe: &Recipe, trained: &Trained) -> f64 {
    let seen = trained.steps as f64 * recipe.batch as f64;
    (seen / (trained.records as f64).max(1.0)).max(1.0)
}

/// The builder's title on chain, and the model on offer.
async fn offer(driver: &Driver, name: &str, job: u64, trained: &Trained) -> Result<ModelId> {
    driver.voice.step("The builder registers the model and names its price");
    let builder = driver.key("model-builder");
    driver.fund("model-builder", Amount::open(100)?).await?;
    let (platform_bps, model_bps, stakers_bps) = SPLIT;
    let model = NewModel {
        weights: trained.adapter,
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
    let done = driver.again(1, async || Ok(flow.register_model("model", &model, &uri).await?)).await?;
    let body = json!({ "id": done.value, "name": name, "job": job });
    driver.post("/api/v1/models", &body, "offer").await?;
    let voice = &driver.voice;
    voice.figure("title", format!("model {} of {}, {} gas", done.value, builder.address(), done.mined.gas_used));
    voice.figure(
        "price",
        format!("{} per 1,000 tokens in, {} out, {} an answer", model.price_in, model.price_out, model.price_flat),
    );
    let (platform, owner, stakers) = SPLIT;
    let rest = 10_000 - platform - owner - stakers;
    voice.figure(
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
