//! `openledger model train|publish`: an adapter ordered from a node, and its title on chain with a price.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use openledger_chain::flow::NewModel;
use openledger_factory::Recipe;
use openledger_protocol::{Address, Amount, B256, Mix};
use serde_json::{Value, json};

use super::print_json;
use super::signing::{Network, Signer};
use crate::api::{NodeArgs, field};
use crate::error::{CliError, Exit, Result};

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Arguments of `openledger model train`.
#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// The model's name.
    name: String,
    /// A datanet version to train on, `ID:VERSION`; may be repeated.
    #[arg(long, value_name = "ID:VERSION", required = true)]
    datanet: Vec<String>,
    /// A recipe (TOML, or JSON); without, the default one.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
}

/// Arguments of `openledger model publish`.
#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// The model's name.
    name: String,
    /// The training job.
    #[arg(long)]
    job: u64,
    /// For 1,000 tokens of the prompt, such as `0.5 OPEN`.
    #[arg(long, default_value = "0.5 OPEN")]
    price_in: Amount,
    /// For 1,000 tokens of the answer.
    #[arg(long, default_value = "2 OPEN")]
    price_out: Amount,
    /// For every answer.
    #[arg(long, default_value = "0.1 OPEN")]
    price_flat: Amount,
    /// The platform's share in basis points.
    #[arg(long, default_value_t = 1000)]
    platform_bps: u16,
    /// The owner's and the node's share.
    #[arg(long, default_value_t = 2000)]
    model_bps: u16,
    /// The stakers' share.
    #[arg(long, default_value_t = 2000)]
    stakers_bps: u16,
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    node: NodeArgs,
}

/// Orders an adapter and waits for it.
pub(crate) async fn train(args: TrainArgs) -> Result<()> {
    let mut versions = Vec::new();
    for text in &args.datanet {
        let parts =
            text.split_once(':').and_then(|(id, version)| Some((id.parse::<u64>().ok()?, version.parse().ok()?)));
        let (id, version): (u64, u64) = parts.ok_or_else(|| {
            CliError::refused(Exit::Usage, format!("`{text}` is not a datanet version: write ID:VERSION"))
        })?;
        versions.push(json!({ "datanet": id, "version": version }));
    }
    let recipe = args.recipe.as_deref().map(Recipe::load).transpose()?.unwrap_or_default();
    let mix = Mix { spans_bps: 5_000, influence_bps: 5_000, retrieval_bps: 0 };
    let order = json!({ "kind": "train", "name": args.name, "datanets": versions, "recipe": recipe, "mix": mix });
    let api = args.node.api()?;
    let key = format!("train/{}", openledger_protocol::sha256(order.to_string()));
    let job: u64 = field(&api.post("/api/v1/jobs", &order, &key).await?, "POST jobs", "job")?;
    eprintln!("job {job}");
    loop {
        let card = api.get(&format!("/api/v1/jobs/{job}")).await?;
        match card["state"].as_str().unwrap_or_default() {
            "done" => return print_json(&json!({ "job": job, "result": card["result"] })),
            "failed" => {
                let reason = card["error"].as_str().unwrap_or("without a reason");
                return Err(CliError::refused(Exit::Failure, format!("job {job} failed: {reason}")));
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Registers the trained adapter's title and offers it under its name.
pub(crate) async fn publish(args: PublishArgs) -> Result<()> {
    let api = args.node.api()?;
    let card: Value = api.get(&format!("/api/v1/jobs/{}", args.job)).await?;
    let weights: B256 = field(&card["result"], "a finished job", "adapter")?;
    let manifest: B256 = field(&card["result"], "a finished job", "manifest_hash")?;
    let network = Network::of(&api).await?;
    let model = NewModel {
        weights,
        manifest,
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
    let flow = args.signer.flow(&api, &network).await?;
    let done = flow.register_model("model", &model, &format!("openledger:model/{}", args.name)).await?;
    let body = json!({ "id": done.value, "name": args.name, "job": args.job });
    print_json(&api.post("/api/v1/models", &body, &format!("model/{}", done.value)).await?)
}
