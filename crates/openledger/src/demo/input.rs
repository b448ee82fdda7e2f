//! The demonstration's input: files of records, one datanet each.

use std::path::{Path, PathBuf};

use openledger_datanet::{Limits, handle, parse_jsonl};
use openledger_protocol::{Body, Record};
use serde_json::Value;

use super::args::DemoArgs;
use crate::embedded::SAMPLES;
use crate::error::{CliError, Exit, Result};

/// A file of records.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// The datanet's name: the file's, or its folder's where the file is called `records`.
    pub(crate) name: String,
    /// The bytes to import.
    pub(crate) bytes: Vec<u8>,
    /// The records as the import rules read them; empty for a file that the node will refuse.
    pub(crate) records: Vec<Record>,
    /// Everybody the lines name as a contributor, in order of first appearance.
    pub(crate) contributors: Vec<String>,
}

/// The question a record answers: its prompt, or the first line of its text.
pub(crate) fn question(body: &Body) -> String {
    match body {
        Body::Dialog { prompt, .. } => prompt.trim().to_owned(),
        Body::Text { text } => text.trim().lines().next().unwrap_or_default().trim().to_owned(),
    }
}

/// Reads the files of `--data`, of the folder of `--samples`, or the samples in the program, cut to
/// `--records` records.
pub(crate) fn load(args: &DemoArgs) -> Result<Vec<Input>> {
    let from = |file: &PathBuf| Ok(read(file, &std::fs::read(file).map_err(CliError::file(file))?, args.records));
    let inputs: Vec<Input> = match (&args.data[..], &args.samples) {
        ([], None) => SAMPLES.iter().map(|(name, bytes)| read(Path::new(name), bytes, args.records)).collect(),
        ([], Some(folder)) => files_of(folder)?.iter().map(from).collect::<Result<_>>()?,
        (files, _) => files.iter().map(from).collect::<Result<_>>()?,
    };
    for (at, input) in inputs.iter().enumerate() {
        if inputs[..at].iter().any(|earlier| earlier.name == input.name) {
            let message = format!("two files would both become the datanet `{}`; rename one", input.name);
            return Err(CliError::refused(Exit::Usage, message));
        }
    }
    Ok(inputs)
}

/// The sample files in a folder, by name.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(CliError::file(folder))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    let none =
        || CliError::refused(Exit::Config, format!("{} holds no .jsonl file; name files by --data", folder.display()));
    if files.is_empty() { Err(none()) } else { Ok(files) }
}

fn read(file: &Path, bytes: &[u8], limit: Option<usize>) -> Input {
    let bytes = limit.map_or(bytes, |limit| first_lines(bytes, limit));
    let records = match parse_jsonl(bytes, &Limits::default()) {
        Ok(parsed) => parsed.records.into_iter().map(|parsed| parsed.record).collect(),
        // The node says what is wrong with it, once it is asked to import.
        Err(_) => Vec::new(),
    };
    Input { name: name(file), bytes: bytes.to_vec(), records, contributors: contributors(bytes) }
}

/// The first `limit` lines that hold anything.
fn first_lines(bytes: &[u8], limit: usize) -> &[u8] {
    let (mut end, mut taken) = (0, 0);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if taken == limit {
            break;
        }
        end += line.len();
        taken += usize::from(!line.iter().all(u8::is_ascii_whitespace));
    }
    &bytes[..end]
}

/// The handles of all lines that can be read, in the spelling in which an import keeps them.
fn contributors(bytes: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(record) = serde_json::from_slice::<Value>(line) else { continue };
        let one = record["contributor"].as_str();
        let several = record["contributors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // A handle that no import takes needs no account.
        for name in one.into_iter().chain(several).filter_map(|name| handle(name).ok()) {
            if seen.insert(name.clone()) {
                names.push(name);
            }
        }
    }
    names
}

fn name(file: &Path) -> String {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = text(file.file_stem()).unwrap_or_default();
    let folder = text(file.parent().and_then(Path::file_name));
    match folder {
        Some(folder) if stem == "records" => folder,
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_records_are_counted_without_blank_lines() {
        assert_eq!(first_lines(b"a\n\nb\nc\n", 2), b"a\n\nb\n");
        assert_eq!(first_lines(b"a\nb", 5), b"a\nb");
    }

    #[test]
    fn contributors_are_found_in_both_spellings_and_bad_lines_are_passed_over() {
        let lines = b"{\"contributor\":\"b\"}\nnonsense\n{\"contributor\":\"b\",\"contributors\":[\"b\",\"a\"]}\n";
        assert_eq!(contributors(lines), ["b", "a"]);
        let twice = "\u{feff}{\"contributor\":\"Zofia S\u{301}wie\u{328}tek\"}\n{\"contributor\":\"Zofia Świętek\"}";
        assert_eq!(contributors(twice.as_bytes()), ["Zofia Świętek"]);
    }

    #[test]
    fn a_file_called_records_is_named_after_its_folder() {
        assert_eq!(name(Path::new("data/coding-tldr/records.jsonl")), "coding-tldr");
        assert_eq!(name(Path::new("samples/night-sky.jsonl")), "night-sky");
    }

    #[test]
    fn running_text_is_asked_for_by_its_first_line() {
        assert_eq!(question(&Body::Text { text: "\n Title \nBody".into() }), "Title");
    }
}
