//! `openledger ask`: one question to a node's model, with what the answer rests on and costs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use openledger_protocol::ReceiptBundle;
use serde_json::{Value, json};

use super::{print_json, receipt};
use crate::api::NodeArgs;
use crate::error::{CliError, Exit, Result};

/// How much of the attribution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attribution {
    /// None: the price is split by training weights.
    None,
    /// Coverage and top contributors.
    Summary,
    /// Spans and scores.
    Full,
}

/// Arguments of `openledger ask`.
#[derive(Args, Debug)]
pub(crate) struct AskArgs {
    /// The model's name.
    #[arg(long)]
    model: String,
    /// What to compute of what the answer rests on.
    #[arg(long, value_enum, default_value = "full")]
    attribution: Attribution,
    /// Most tokens of the answer.
    #[arg(long, default_value_t = 96)]
    max_tokens: u32,
    /// Names the call: a repeat with the same name gets the same answer and is paid once.
    #[arg(long)]
    idempotency_key: Option<String>,
    /// File with the API key of a channel; without, the variable OPENLEDGER_API_KEY.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
    /// Print the node's answer as JSON.
    #[arg(long)]
    json: bool,
    /// The question.
    question: String,
}

/// The body of a chat request.
pub(crate) fn request(model: &str, question: &str, max_tokens: u32, attribution: &str, key: &str) -> Value {
    json!({
        "model": model,
        "messages": [{ "role": "user", "content": question }],
        "max_tokens": max_tokens,
        "temperature": 0,
        "seed": 0,
        "openledger": { "attribution": attribution, "idempotency_key": key },
    })
}

/// Asks and prints the answer with its receipt.
pub(crate) async fn run(args: AskArgs) -> Result<()> {
    let api_key = match &args.api_key_file {
        Some(file) => std::fs::read_to_string(file).map_err(CliError::file(file))?,
        None => std::env::var("OPENLEDGER_API_KEY").map_err(|_| {
            CliError::refused(Exit::Permission, "give the channel's API key by --api-key-file or OPENLEDGER_API_KEY")
        })?,
    };
    let api = args.node.api()?;
    let attribution = format!("{:?}", args.attribution).to_lowercase();
    // Without a name the time of day names the call: the same question later is a new one.
    let key = args.idempotency_key.clone().unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        format!("ask-{}", since.as_nanos())
    });
    let body = request(&args.model, &args.question, args.max_tokens, &attribution, &key);
    let answer = api.chat(api_key.trim(), &body, &key).await?;
    if args.json {
        return print_json(&answer);
    }
    let text = answer["choices"][0]["message"]["content"].as_str();
    println!("{}", text.ok_or_else(|| CliError::lacks("chat", "choices[0].message.content"))?);
    if let Some(id) = answer["openledger"]["receipt_id"].as_str() {
        let bundle = api.get(&format!("/api/v1/receipts/{id}")).await?;
        let bundle: ReceiptBundle = serde_json::from_value(bundle).map_err(|source| CliError::Json {
            path: format!("receipt {id}").into(),
            what: "a bundle",
            source,
        })?;
        println!();
        receipt::describe(&bundle);
    }
    Ok(())
}
