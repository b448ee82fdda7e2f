//! Makes the base model: `cargo run --release -p openledger-factory --example pretrain -- models/base/recipe.toml models/base`.
//!
//! A third argument names the checkpoint, from which a run that was ended goes on (`<out>/pretrain.checkpoint` by default).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use openledger_factory::{Event, Saving, Verdict, pretrain};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).map(PathBuf::from);
    let (Some(recipe), Some(out)) = (args.next(), args.next()) else {
        eprintln!("usage: pretrain RECIPE OUT [CHECKPOINT]");
        return ExitCode::from(2);
    };
    let checkpoint = args.next().unwrap_or_else(|| out.join("pretrain.checkpoint"));
    let started = Instant::now();
    let (mut total, mut tokens) = (0, 0);
    let mut watch = |event: &Event| {
        match event {
            Event::Started { steps, done, records, .. } => {
                total = *steps;
                eprintln!("{records} windows, {steps} steps, {done} of them done before");
            }
            Event::Stepped(report) => {
                tokens += report.tokens;
                if report.step.is_multiple_of(20) {
                    let rate = tokens as f64 / started.elapsed().as_secs_f64();
                    eprintln!("step {} of {total}: loss {:.4}, {rate:.0} tokens/s", report.step, report.loss);
                }
            }
            Event::Evaluated { micro_nats, .. } => eprintln!("held out: {micro_nats} micro-nats a token"),
            _ => {}
        }
        Verdict::Continue
    };
    match pretrain(&recipe, &out, Saving { file: Some(&checkpoint), every: 100 }, &mut watch) {
        Ok(made) => {
            println!("{made:#?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            if let Some(source) = std::error::Error::source(&error) {
                eprintln!("{source}");
            }
            ExitCode::FAILURE
        }
    }
}
