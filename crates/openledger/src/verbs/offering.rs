//! `openledger model train|publish`: an adapter ordered from a node, and its title on chain with a
//! price.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use openledger_api::{DatanetVersionRef, JobOrder, JobResult, ModelOffer, TrainOrder};
use openledger_chain::flow::NewModel;
use openledger_factory::Recipe;
use openledger_protocol::{Address, Amount, DatanetId, Mix, ModelId};
use serde_json::json;

use super::job::{ended, state_name};
use super::signing::Signer;
use super::{body_key, checked_name, fresh_key, print_json, with_title};
use crate::connection::NodeArgs;
use crate::error::{CliError, Exit, Result};

/// Interval between polls of a job.
const LOOK: Duration = Duration::from_millis(500);

/// Arguments of `openledger model train`.
#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// Name of the model.
    name: String,
    /// Datanet version to train on, `ID:VERSION`; may be repeated.
    #[arg(long, value_name = "ID:VERSION", required = true)]
    datanet: Vec<String>,
    /// File of the recipe, TOML or JSON; default: the built-in recipe.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
}

/// Arguments of `openledger model publish`.
#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// Name of the model; must be free on the node.
    name: String,
    /// Id of the training job.
    #[arg(long)]
    job: u64,
    /// Id of a title that is on chain already; default: register a new one. It must be of the
    /// job's adapter; its prices and shares stay as they are on chain.
    #[arg(long, value_name = "ID")]
    title: Option<u64>,
    /// Price of 1,000 prompt tokens with its unit, `0.5 OPEN` or `5000000 base` (base units).
    #[arg(long, default_value = "0.5 OPEN")]
    price_in: Amount,
    /// Price of 1,000 answer tokens.
    #[arg(long, default_value = "2 OPEN")]
    price_out: Amount,
    /// Price of each answer, in addition.
    #[arg(long, default_value = "0.1 OPEN")]
    price_flat: Amount,
    /// Share of the platform, in basis points.
    #[arg(long, default_value_t = 1000)]
    platform_bps: u16,
    /// Share of owner and node, in basis points.
    #[arg(long, default_value_t = 2000)]
    model_bps: u16,
    /// Share of stakers, in basis points; contributors get the rest.
    #[arg(long, default_value_t = 2000)]
    stakers_bps: u16,
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    node: NodeArgs,
}

/// Orders a training job and waits for it.
pub(crate) async fn train(args: TrainArgs) -> Result<()> {
    let mut versions = Vec::new();
    for text in &args.datanet {
        let parts =
            text.split_once(':').and_then(|(id, version)| Some((id.parse::<u64>().ok()?, version.parse().ok()?)));
        let (id, version): (u64, u64) = parts.ok_or_else(|| {
            CliError::refused(Exit::Usage, format!("`{text}` is not a datanet version: write ID:VERSION"))
        })?;
        versions.push(DatanetVersionRef { datanet: DatanetId(id), version });
    }
    let recipe = args.recipe.as_deref().map(Recipe::load).transpose()?.unwrap_or_default();
    let mix = Mix { spans_bps: 5_000, influence_bps: 5_000, retrieval_bps: 0 };
    let order = TrainOrder { name: args.name, datanets: versions, recipe: wire(&recipe)?, mix };
    let order = JobOrder::Train(order);
    let client = args.node.client()?;
    // The node gives the job of an equal order, unless that failed: a kept response would name the
    // failed job.
    let id = client.order_job(&order, &fresh_key("train")).await?.job;
    eprintln!("job {id}");
    loop {
        let job = client.job(id).await?;
        if job.state.is_final() {
            ended(&job)?;
            return print_json(&json!({ "job": id, "result": job.result }));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A recipe in the form of an order: as it is hashed, every number a decimal string.
pub(crate) fn wire(recipe: &Recipe) -> Result<openledger_api::Recipe> {
    Ok(serde_json::from_value(recipe.to_json()?.into())?)
}

/// Registers the title of the trained adapter, or goes on with one that exists, and offers the
/// model under its name. What the node would refuse is checked before a title is registered: a
/// title costs gas and cannot be taken back.
pub(crate) async fn publish(args: PublishArgs) -> Result<()> {
    args.signer.check()?;
    let client = args.node.client()?;
    let name = checked_name(&args.name)?;
    let title = args.title.map(ModelId);
    let job = client.job(args.job).await?;
    let Some(JobResult::Train(trained)) = job.result else {
        let (id, state) = (args.job, state_name(job.state));
        let message = format!("job {id} has no adapter, it {state}; `openledger job follow {id}` shows how it ends");
        return Err(CliError::refused(Exit::Conflict, message));
    };
    let known = client.models().all().await?.into_iter().find(|model| model.name == name);
    if let Some(known) = known.filter(|known| Some(known.id) != title) {
        let message = format!("`{name}` is model {} already; choose another name", known.id);
        return Err(CliError::refused(Exit::Conflict, message));
    }
    let id = match title {
        Some(title) => title,
        None => {
            let network = client.network().await?;
            let model = NewModel {
                weights: trained.adapter.0,
                manifest: trained.manifest_hash,
                price_in: args.price_in,
                price_out: args.price_out,
                price_flat: args.price_flat,
                parent: None,
                platform_bps: args.platform_bps,
                model_bps: args.model_bps,
                stakers_bps: args.stakers_bps,
                parent_bps: 0,
                stake_vault: Address::ZERO,
            };
            let flow = args.signer.flow(&client, &network).await?;
            let done = flow.models().register("model", &model, &format!("openledger:model/{name}")).await?;
            eprintln!("title {} in transaction {}", done.value, done.mined.hash);
            done.value
        }
    };
    let offer = ModelOffer { id, name, job: args.job };
    print_json(&client.offer_model(&offer, &body_key("model", &offer)?).await.map_err(with_title(id))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_reaches_the_node_as_it_is() {
        let recipe = Recipe { rank: 3, lr: 0.25, seed: u64::MAX, ..Recipe::default() };
        let sent = serde_json::to_value(wire(&recipe).unwrap()).unwrap();
        assert_eq!(serde_json::from_value::<Recipe>(sent).unwrap(), recipe);
    }
}
