//! `openledger trace`: which records a text repeats, on plain files.

use std::path::PathBuf;

use clap::Subcommand;
use openledger_attribution::folder::{TraceSpan, trace_index, trace_query};
use openledger_attribution::spans::SpanRules;
use openledger_protocol::Params;

use super::print_json;
use crate::console::short;
use crate::error::{CliError, Result};

/// Verbs of tracing.
#[derive(Subcommand, Debug)]
pub(crate) enum TraceVerb {
    /// Index the records of a file.
    Index {
        /// File of records, JSONL.
        #[arg(long, value_name = "FILE")]
        records: PathBuf,
        /// Tokenizer: `tokenizer.json`, or a folder with it.
        #[arg(long, value_name = "FILE")]
        tokenizer: PathBuf,
        /// Folder of the index.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Find the spans of a text in an index.
    Query {
        /// Folder of the index.
        #[arg(long, value_name = "DIR")]
        index: PathBuf,
        /// File with the text.
        #[arg(long, value_name = "FILE")]
        text_file: PathBuf,
        /// File with the prompt of the text; words repeated from the prompt are not credited.
        #[arg(long, value_name = "FILE")]
        prompt_file: Option<PathBuf>,
        /// Minimum rarity of a span, in bits.
        #[arg(long, default_value_t = SpanRules::default().min_millibits / 1000)]
        min_bits: u64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the verb.
pub(crate) fn run(verb: &TraceVerb) -> Result<()> {
    match verb {
        TraceVerb::Index { records, tokenizer, out, json } => {
            let report = trace_index(&crate::records::sources(records)?, tokenizer, out)?;
            if *json {
                return print_json(&report);
            }
            println!("{} records, {} tokens, root {}", report.records, report.tokens, report.root);
            Ok(())
        }
        TraceVerb::Query { index, text_file, prompt_file, min_bits, json } => {
            let text = read(text_file)?;
            let prompt = prompt_file.as_ref().map_or_else(|| Ok(String::new()), read)?;
            let rules = SpanRules { min_millibits: min_bits.saturating_mul(1000), ..SpanRules::default() };
            let report = trace_query(index, &prompt, &text, &rules, &Params::GENESIS)?;
            if *json {
                return print_json(&report);
            }
            println!(
                "{} of {} tokens stand in the records, coverage {} %",
                report.covered,
                report.tokens,
                report.coverage / 10_000
            );
            for span in &report.spans {
                println!("{}", line(span));
            }
            Ok(())
        }
    }
}

/// A span as a line of text: where it begins, its words, its record and who wrote that.
fn line(span: &TraceSpan) -> String {
    let by = span.record.contributors.iter().map(|name| short(name, 40)).collect::<Vec<_>>().join(", ");
    let (at, text, record) = (span.output_offset, short(&span.text, 80), short(&span.record.id, 40));
    format!("{at:>6}  \"{text}\"  {record} {by}, {} milli-bits", span.weight)
}

fn read(path: &PathBuf) -> Result<String> {
    std::fs::read_to_string(path).map_err(CliError::file(path))
}

#[cfg(test)]
mod tests {
    use openledger_attribution::folder::RecordName;

    use super::*;

    #[test]
    fn what_a_record_says_of_itself_moves_no_cursor() {
        let record =
            RecordName { id: "tide\u{1b}[2J".to_owned(), contributors: vec!["ada".into(), "b\u{9b}2J".into()] };
        let span = TraceSpan {
            record,
            record_offset: 0,
            output_offset: 12,
            text: "spring\ntides".to_owned(),
            weight: 900,
            shared_by: 1,
        };
        let shown = "    12  \"spring tides\"  tide\\u{1b}[2J ada, b\\u{9b}2J, 900 milli-bits";
        assert_eq!(line(&span), shown);
    }
}
