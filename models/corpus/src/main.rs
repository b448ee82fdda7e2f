//! Writes the corpus of a seed to standard output, one JSON object with `text` a line.
//!
//! `cargo run -p openledger-corpus -- SEED RECORDS > corpus.jsonl`; `openledger model pretrain`
//! takes such files.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = arguments.iter().map_while(|argument| argument.parse().ok()).collect();
    let &[seed, records] = numbers.as_slice() else {
        eprintln!("usage: openledger-corpus SEED RECORDS");
        return ExitCode::from(2);
    };
    let records = usize::try_from(records).unwrap_or(usize::MAX);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for record in openledger_corpus::generate(seed, records) {
        if let Err(error) = writeln!(out, "{}", serde_json::json!({ "text": record.text })) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    match out.flush() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
