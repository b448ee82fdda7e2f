//! `openledger ask`: one question to a node's model, with what the answer rests on and costs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use openledger_api::openai::{AttributionLevel, ChatCompletionRequest, Extension};

use super::{fresh_key, print_json, receipt};
use crate::connection::{NodeArgs, checked_token, token};
use crate::error::{CliError, Exit, Result};

/// Extent of the attribution in the response's note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attribution {
    /// Id and price of the receipt only.
    None,
    /// Also split, coverage and the records with the largest weights.
    Summary,
    /// Also the spans.
    Full,
}

/// Arguments of `openledger ask`.
#[derive(Args, Debug)]
pub(crate) struct AskArgs {
    /// Name of the model.
    #[arg(long)]
    model: String,
    /// Extent of the attribution in the note that --json prints. Receipt, price and split do not
    /// depend on it.
    #[arg(long, value_enum, default_value = "full")]
    attribution: Attribution,
    /// Maximum number of tokens of the answer.
    #[arg(long, default_value_t = 96)]
    max_tokens: u32,
    /// Idempotency key: a repeat with the same key returns the same answer and is charged once.
    #[arg(long)]
    idempotency_key: Option<String>,
    /// File with the API key of a channel; default: the variable OPENLEDGER_API_KEY.
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
pub(crate) fn request(
    model: &str,
    question: &str,
    max_tokens: u32,
    attribution: AttributionLevel,
    key: &str,
) -> ChatCompletionRequest {
    ChatCompletionRequest {
        max_tokens: Some(max_tokens),
        temperature: Some(0.0),
        seed: Some(0),
        openledger: Some(Extension {
            attribution: Some(attribution),
            max_price: None,
            idempotency_key: Some(key.to_owned()),
        }),
        ..ChatCompletionRequest::question(model, question)
    }
}

/// Sends the question and prints the answer with its receipt.
pub(crate) async fn run(args: AskArgs) -> Result<()> {
    let api_key = match &args.api_key_file {
        Some(file) => token(file)?,
        None => {
            let key = std::env::var("OPENLEDGER_API_KEY").map_err(|_| {
                let message = "give the channel's API key by --api-key-file or OPENLEDGER_API_KEY";
                CliError::refused(Exit::Permission, message)
            })?;
            checked_token(&key, "OPENLEDGER_API_KEY")?
        }
    };
    let client = args.node.client()?.with_token(api_key);
    let attribution = match args.attribution {
        Attribution::None => AttributionLevel::None,
        Attribution::Summary => AttributionLevel::Summary,
        Attribution::Full => AttributionLevel::Full,
    };
    // Without a key the same question later is a new one.
    let key = args.idempotency_key.clone().unwrap_or_else(|| fresh_key("ask"));
    let body = request(&args.model, &args.question, args.max_tokens, attribution, &key);
    let answer = client.chat(&body, &key).await?;
    if args.json {
        return print_json(&answer);
    }
    let empty = || CliError::refused(Exit::Unavailable, "the response has no answer in it; ask again");
    // A model writes what it was trained on, which strangers wrote.
    println!("{}", openledger_datanet::printable_lines(&answer.choices.first().ok_or_else(empty)?.message.content));
    if let Some(note) = &answer.openledger {
        let bundle = client.receipt_bundle(note.receipt_id).await?;
        println!();
        receipt::describe(&bundle);
    }
    Ok(())
}
