//! The third part of the walk: money is deposited, questions are asked, answers come with what they
//! rest on.

use std::collections::BTreeMap;

use openledger_api::openai::AttributionLevel;
use openledger_api::{NewChannel, RecordView, SessionKeyRequest};
use openledger_protocol::{
    Amount, ChannelConfig, Layer, PayeeRole, ReceiptBundle, ReceiptId, RecordRef, Score, sha256,
};

use super::args::DemoArgs;
use super::datanets::Published;
use super::driver::Driver;
use super::summary::Summary;
use super::training::Offered;
use crate::console::short;
use crate::error::{CliError, Exit, Result};
use crate::verbs::ask::request;
use crate::verbs::receipt::role_name;

/// What the payer deposits, in whole OPEN.
const DEPOSIT: u64 = 100;
/// A question that the shipped samples answer.
const SAMPLE_QUESTION: &str = "What torque does a cassette lockring need?";
/// Records and contributors named under an answer.
const NAMED: usize = 5;

/// The payer's way to pay.
pub(crate) struct Channel {
    /// The bearer token that spends the deposit.
    pub(crate) api_key: String,
}

/// The payer wraps OPEN, deposits it and gets a key that can spend it.
pub(crate) async fn open_channel(driver: &Driver) -> Result<Channel> {
    let console = &driver.console;
    console.step("A payer deposits OPEN and gets an API key");
    let payer = driver.key("payer");
    let deposit = Amount::open(DEPOSIT)?;
    driver.fund("payer", Amount::open(2 * DEPOSIT)?).await?;
    let flow = driver.flow(&payer).await?;
    driver.again(1, async || Ok(flow.token().wrap("wrap", deposit).await?)).await?;
    let channels = driver.network.addresses.channels;
    driver.again(1, async || Ok(flow.token().approve("approve", channels, deposit).await?)).await?;
    let salt = sha256("openledger demo channel");
    let request = SessionKeyRequest { payer: payer.address(), salt };
    let session = driver.call(1, async |node| node.session_key(&request, "session").await).await?;
    let config = ChannelConfig {
        payer: payer.address(),
        authorizer: session.authorizer,
        node: driver.network.node,
        withdraw_delay: 1,
        salt,
    };
    let done = driver.again(1, async || Ok(flow.channels().deposit("deposit", &config, deposit).await?)).await?;
    let channel = NewChannel { config };
    let opened = driver.call(1, async |node| node.open_channel(&channel).await).await?;
    console.figure("payer", payer.address());
    console.figure("channel", format!("{} holds {deposit}", done.value));
    Ok(Channel { api_key: opened.api_key })
}

/// The questions: the caller's, or one that fits the data.
pub(crate) fn questions(args: &DemoArgs, datanets: &[Published]) -> Vec<String> {
    if !args.question.is_empty() {
        return args.question.clone();
    }
    if args.data.is_empty() {
        return vec![SAMPLE_QUESTION.to_owned()];
    }
    let first = datanets.iter().flat_map(|datanet| &datanet.records).next();
    vec![first.map_or_else(|| SAMPLE_QUESTION.to_owned(), |record| super::input::question(&record.body))]
}

/// Asks one question and shows what comes with the answer.
pub(crate) async fn ask(
    driver: &Driver,
    args: &DemoArgs,
    model: &Offered,
    channel: &Channel,
    at: usize,
    question: &str,
    summary: &mut Summary,
) -> Result<()> {
    let console = &driver.console;
    console.step("A question, its answer, and what the answer rests on");
    let started = std::time::Instant::now();
    let bundle = answer(driver, args, model, channel, &format!("question/{at}"), question).await?;
    console.figure("question", short(question, 300));
    console.figure("answer", short(&bundle.completion.text, 600));
    console.figure(
        "took",
        format!(
            "{} ms, {} + {} tokens",
            started.elapsed().as_millis(),
            bundle.completion.usage.prompt_tokens,
            bundle.completion.usage.completion_tokens
        ),
    );
    console.figure("receipt", bundle.signed.receipt.id());
    rests_on(driver, &bundle).await?;
    split(driver, &bundle);
    summary.receipt(&bundle);
    Ok(())
}

/// The bundle of the answer to `question`; `name` names the call, so that a repeat is not paid
/// again.
pub(crate) async fn answer(
    driver: &Driver,
    args: &DemoArgs,
    model: &Offered,
    channel: &Channel,
    name: &str,
    question: &str,
) -> Result<ReceiptBundle> {
    let body = request(&model.name, question, args.max_tokens, AttributionLevel::Full, name);
    let answer = driver.call_as(&channel.api_key, async |node| node.chat(&body, name).await).await?;
    let missing = || CliError::refused(Exit::Unavailable, "the answer has no receipt");
    bundle(driver, answer.openledger.ok_or_else(missing)?.receipt_id).await
}

/// A receipt's bundle.
pub(crate) async fn bundle(driver: &Driver, id: ReceiptId) -> Result<ReceiptBundle> {
    driver.call(1, async |node| node.receipt_bundle(id).await).await
}

/// Spans, top records, contributors and coverage.
async fn rests_on(driver: &Driver, bundle: &ReceiptBundle) -> Result<()> {
    let console = &driver.console;
    let credits = &bundle.credits;
    let percent = |layer: Layer| f64::from(credits.coverage.of(layer)) / 10_000.0;
    console.figure(
        "coverage",
        format!("{:.1} % of the spans' pot, {:.1} % of influence's", percent(Layer::Spans), percent(Layer::Influence)),
    );
    for span in credits.spans.iter().take(NAMED) {
        let (from, to) = (span.output_offset as usize, (span.output_offset + span.length) as usize);
        let quote = bundle.completion.text.get(from..to).unwrap_or_default();
        let card = record(driver, span.record).await?;
        let (name, who) = (short(&card.record, 40), contributors(&card));
        let bits = span.weight as f64 / 1_000.0;
        console.line(format!("span {from}..{to} \"{}\" is in {name} by {who} ({bits:.1} bits)", short(quote, 60)));
    }
    for layer in [Layer::Spans, Layer::Influence] {
        let mut scores: Vec<&Score> = credits.scores.iter().filter(|score| score.layer == layer).collect();
        scores.sort_by_key(|score| (std::cmp::Reverse(score.score), score.record));
        let total: u128 = scores.iter().map(|score| u128::from(score.score)).sum();
        for score in scores.iter().take(NAMED) {
            let card = record(driver, score.record).await?;
            let share = 100.0 * score.score as f64 / (total as f64).max(1.0);
            let name = format!("{layer:?}").to_lowercase();
            console.line(format!(
                "{name}: {share:5.1} % {} by {}: {}",
                short(&card.record, 40),
                contributors(&card),
                short(&card.text, 70)
            ));
        }
    }
    Ok(())
}

/// The fee and its lines, summed by role and, for contributors, named.
fn split(driver: &Driver, bundle: &ReceiptBundle) {
    let console = &driver.console;
    let price = bundle.signed.receipt.price;
    console.figure("fee", price);
    let sum = |wanted: &[PayeeRole]| {
        let amounts = bundle.entries.iter().filter(|entry| wanted.contains(&entry.role)).map(|entry| entry.amount);
        Amount::sum(amounts).unwrap_or_default()
    };
    let parts: [(&str, &[PayeeRole]); 4] = [
        ("platform", &[PayeeRole::Treasury, PayeeRole::Validation, PayeeRole::Insurance]),
        ("model", &[PayeeRole::Owner, PayeeRole::Node, PayeeRole::Parent]),
        ("stakers", &[PayeeRole::Stakers]),
        ("contributors", &[PayeeRole::Contributor]),
    ];
    for (name, roles) in parts {
        let names: Vec<String> = roles
            .iter()
            .map(|role| (role, sum(&[*role])))
            .filter(|(_, amount)| *amount != Amount::ZERO)
            .map(|(role, amount)| format!("{} {amount}", role_name(*role)))
            .collect();
        console.figure(&format!("  {name}"), format!("{} ({})", sum(roles), names.join(", ")));
    }
    let mut by_account: BTreeMap<_, Amount> = BTreeMap::new();
    for entry in bundle.entries.iter().filter(|entry| entry.role == PayeeRole::Contributor) {
        let account = by_account.entry(entry.account).or_default();
        *account = account.plus(entry.amount).unwrap_or(*account);
    }
    console.figure("  paid contributors", by_account.len());
}

/// A record.
pub(crate) async fn record(driver: &Driver, at: RecordRef) -> Result<RecordView> {
    driver.call(0, async |node| node.record(at.contribution, at.index).await).await
}

fn contributors(record: &RecordView) -> String {
    record.contributors.iter().map(|name| short(name, 30)).collect::<Vec<_>>().join(", ")
}
