//! The rules of datanets from outside: on the sample files, on real files, and on anything at all.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod commitments;
mod files;
mod grants;
mod imports;
mod intake;
mod near;
mod plain;

use openledger_protocol::{Body, Record};

/// A line of JSONL with this id, contributor and text, under CC0.
fn line(id: &str, contributor: &str, text: &str) -> String {
    serde_json::json!({"id": id, "contributor": contributor, "license": "CC0-1.0", "text": text}).to_string()
}

fn text_of(record: &Record) -> String {
    match &record.body {
        Body::Text { text } => text.clone(),
        Body::Dialog { response, .. } => response.clone(),
    }
}
